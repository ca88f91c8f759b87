"""Read passphrases from a file or the terminal, never from an argument, which all users of the host can see."""

from __future__ import annotations

import os

from arstore import errors

_HINT = "give --passphrase-file"


def existing(path: str | None, what: str) -> bytes:
    """Return the passphrase of the existing key *what*, read from the file *path* or from the terminal.

    Raises KeyFileError, NotFoundError; UsageError if there is no terminal.
    """
    return _from(path) if path is not None else _asked(f"Passphrase of {what}: ")


def new(path: str | None) -> bytes:
    """Return a passphrase for a new key, read from the file *path*, or twice from the terminal.

    Raises KeyFileError, NotFoundError; UsageError if there is no terminal, or the two passphrases differ.
    """
    if path is not None:
        return _from(path)
    found = _asked("Passphrase for the new key: ")
    if found != _asked("The same again: "):
        raise errors.UsageError("keygen", "the two passphrases differ")
    return found


def _from(path: str) -> bytes:
    from arstore.trust.signing.key_files import read_passphrase_file

    return read_passphrase_file(path)


def _asked(prompt: str) -> bytes:
    import getpass

    if not os.isatty(0):
        raise errors.UsageError("passphrase", "stdin is not a terminal", _HINT)
    try:
        text = getpass.getpass(prompt)
    except EOFError as error:
        raise errors.UsageError("passphrase", "is missing", _HINT) from error
    if not text:
        raise errors.UsageError("passphrase", "is empty")
    return text.encode("utf-8", "surrogateescape")
