"""Verify OpenPGP messages with pysequoia, an optional package, instead of gpg.

Its interface is not stable, so all calls to it are in this module. It lacks three of gpg's checks. It accepts messages
in clear text, which the caller refuses by their first byte. It ignores signatures of unknown keys if there is a good
one, so a message that needs two keys is refused here. It accepts a key that was valid at the time in the signature, so
keys that have expired since are refused here.
"""

from __future__ import annotations

import importlib.util
from datetime import UTC, datetime
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
        # Import it now: after the confinement, nothing can be loaded any more.
        import pysequoia
        import pysequoia.packet

        self._certificates: list[Any] = []
        for number, data in enumerate(keyring, 1):
            try:
                found = pysequoia.Cert.split_bytes(data)
            except Exception as error:  # its errors have no common class
                raise KeyFileError(f"OpenPGP keyring {number}", "cannot be read by pysequoia") from error
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
            raise SignatureError(_WHAT, "is not valid for any key of the keyring") from error
        if len(found.valid_sigs) != 1 or len(asked) != 1:
            raise SignatureError(_WHAT, "the message holds several signatures; it must hold one")
        text, signer = bytes(found.bytes or b""), found.valid_sigs[0]
        if len(text) > most:
            raise SignatureError("OpenPGP message", f"holds more than {most} bytes")
        for certificate in self._certificates:
            if certificate.fingerprint == signer.certificate:
                _check_expiry(certificate, signer.signing_key)
        return text, str(signer.certificate).upper()


def _check_expiry(certificate: Any, key: str) -> None:  # noqa: ANN401 - it has no types here
    """Check that neither the certificate nor its subkey with the fingerprint *key* has expired."""
    from pysequoia.packet import PacketPile, SignatureType

    ends = [certificate.expiration]
    made, newest, binding = None, None, None
    for packet in PacketPile.from_bytes(bytes(certificate)):
        if packet.fingerprint is not None:
            made = packet.key_created if packet.fingerprint == key else None
        elif made is not None and packet.signature_type == SignatureType.SubkeyBinding:
            created = packet.signature_created
            # The newest binding counts.
            if newest is None or (created is not None and created >= newest):
                newest, binding = created, packet.key_validity_period
                ends[1:] = [] if binding is None else [made + binding]
    now = datetime.now(UTC)
    if any(end is not None and end <= now for end in ends):
        raise SignatureError(_WHAT, "was made with a key that has expired")
