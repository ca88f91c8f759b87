"""The options for encrypted layers, and their meaning."""

from __future__ import annotations

from typing import TYPE_CHECKING

from arstore import errors
from arstore.cli.parameter import Range, option

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypedDict, TypeVar

    from arstore.cli.session import Session
    from arstore.transport.decryption.keys import DecryptionKeys
    from arstore.transport.export.encryption import Encryption

    F = TypeVar("F", bound=Callable[..., Any])

    class DecryptionWords(TypedDict):
        """The option of `decryption_option` as it was typed."""

        decryption_key: tuple[str, ...]

    class EncryptionWords(TypedDict):
        """The options of `encryption_options` as they were typed."""

        encryption_key: tuple[str, ...]
        encrypt_layer: tuple[int, ...]


KEY_ERRORS: tuple[type[errors.ArstoreError], ...] = (errors.DecryptionError, errors.KeyFileError)
"""Errors of commands that decrypt layers."""


decryption_option = option(
    "--decryption-key",
    metavar="KEYFILE[:file=PASSFILE]",
    multiple=True,
    help="Decrypt layers with this private key; repeatable. Its passphrase is read from PASSFILE, or from the "
    "descriptor in :fd=NUMBER.",
)
"""Adds the repeatable option `--decryption-key` to a command."""


def encryption_options(function: F) -> F:
    """Add `--encryption-key` and `--encrypt-layer` to a command."""
    for one in (
        option(
            "--encryption-key",
            metavar="jwe:KEYFILE",
            multiple=True,
            help="Encrypt layers for the owner of this public key or certificate; repeatable for more readers.",
        ),
        option(
            "--encrypt-layer",
            metavar="N",
            type=Range(int, -10_000, 9_999),
            multiple=True,
            help="Encrypt only this layer: 0 is the first, -1 the last; repeatable. By default all are encrypted.",
        ),
    )[::-1]:
        function = one(function)
    return function


def decryption_keys(session: Session, words: DecryptionWords) -> DecryptionKeys | None:
    """Return the keys to decrypt layers with; None if there are none. Raises UsageError."""
    if not words["decryption_key"]:
        return None
    from arstore.transport.decryption.keys import DecryptionKeys

    return DecryptionKeys.named(words["decryption_key"], session.note)


def encryption(words: EncryptionWords) -> Encryption | None:
    """Return the readers of encrypted layers and which layers to encrypt; None without a key.

    Raises UsageError, KeyFileError.
    """
    if not words["encryption_key"]:
        if words["encrypt_layer"]:
            raise errors.UsageError("--encrypt-layer", "needs --encryption-key")
        return None
    from arstore.transport.export.encryption import Encryption

    return Encryption.named(words["encryption_key"], words["encrypt_layer"])
