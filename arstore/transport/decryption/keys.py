"""The private keys that a user gave for encrypted layers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from arstore.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from arstore.trust.encryption.key_file import KeyWord


class DecryptionKeys(NamedTuple):
    """Private keys as the user named them. `tell` takes messages about images that were decrypted."""

    words: tuple[KeyWord, ...]
    tell: Callable[[str], object]

    @classmethod
    def named(cls, files: Sequence[str], tell: Callable[[str], object] = lambda _: None) -> DecryptionKeys:
        """Parse values of `--decryption-key`: `KEYFILE[:file=PASSFILE]`. Raises UsageError."""
        from arstore.trust.encryption.key_file import parse_decryption

        return cls(tuple(map(parse_decryption, files)), tell)
