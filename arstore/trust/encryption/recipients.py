"""Recipients of encrypted layers: makes the annotations that hold a layer's key for each of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from arstore.errors import UsageError
from arstore.trust.encryption import lock, options
from arstore.trust.encryption.key_file import Recipient, parse_encryption, read_recipient

if TYPE_CHECKING:
    from collections.abc import Sequence

    from arstore.digest import Digest
    from arstore.trust.encryption.cipher import Encrypting

MOST = 256
"""Recipients of a layer, at most."""


class Recipients:
    """Public keys that layers are encrypted for: each of them can decrypt every layer."""

    def __init__(self, keys: Sequence[Recipient]) -> None:
        self._keys = tuple(keys)

    @classmethod
    def named(cls, texts: Sequence[str]) -> Recipients:
        """Read the values of `--encryption-key`. Raises UsageError, KeyFileError."""
        if len(texts) > MOST:
            raise UsageError("--encryption-key", f"is given {len(texts)} times, but at most {MOST} times are allowed")
        return cls([read_recipient(parse_encryption(text)) for text in texts])

    def annotations(self, done: Encrypting, digest: Digest) -> dict[str, str]:
        """The annotations of an encrypted layer; *digest* is that of the blob before encryption."""
        from arstore.trust.encryption.jwe import sealed

        private = options.private(done.key, done.nonce, digest)
        return lock.build(sealed(private, self._keys), done.mac())
