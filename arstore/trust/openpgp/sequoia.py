"""OpenPGP messages verified by pysequoia, an optional package, in place of gpg.

Its interface is not stable, so everything that is asked of it stands here. It does not do two of gpg's checks: it takes
messages in clear text, which the caller's look at the first byte refuses; and it passes over signatures of unknown keys
beside a good one, so a message that asks for two keys is refused here.
"""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING, Any

from arstore.errors import KeyFileError, SignatureError

if TYPE_CHECKING:
    from collections.abc import Sequence

_WHAT = "OpenPGP signature"


def available() -> bool:
    """Whether pysequoia is installed."""
    return importlib.util.find_spec("pysequoia") is not None


class Certificates:
    """A keyring for pysequoia."""

    def __init__(self, keyring: Sequence[bytes]) -> None:
        """Read every key in *keyring*, binary or armoured. Raises KeyFileError for a file without a key."""
        import pysequoia  # type: ignore[import-not-found]

        self._certificates: list[Any] = []
        for number, data in enumerate(keyring, 1):
            try:
                found = pysequoia.Cert.split_bytes(data)
            except Exception as error:  # its errors have no common class
                raise KeyFileError(f"OpenPGP keyring {number}", "is not one that pysequoia can read") from error
            if not found:
                raise KeyFileError(f"OpenPGP keyring {number}", "holds no public key")
            self._certificates += found

    def verify(self, blob: bytes, most: int) -> tuple[bytes, str]:
        """The text in *blob* and the fingerprint of the key that signed it. Raises SignatureError."""
        import pysequoia

        asked: list[str] = []

        def store(key_ids: list[str]) -> list[Any]:
            asked.extend(key_ids)
            return self._certificates

        try:
            found = pysequoia.verify(blob, store)
        except Exception as error:  # its errors have no common class
            raise SignatureError(_WHAT, "is not a good one by any key of the keyring") from error
        if len(found.valid_sigs) != 1 or len(asked) != 1:
            raise SignatureError(_WHAT, f"the message holds {max(len(asked), len(found.valid_sigs))} signatures; one")
        text = bytes(found.bytes)
        if len(text) > most:
            raise SignatureError("OpenPGP message", f"holds more than {most} bytes")
        return text, str(found.valid_sigs[0].certificate).upper()
