"""Where passphrases come from: a file, or the terminal. Never an argument, which everybody on the host can read."""

from __future__ import annotations

import os

from arstore import errors

_HINT = "give --passphrase-file"


def existing(path: str | None, what: str) -> bytes:
    """The passphrase of the key *what*, which is there already: from the file *path*, or asked for.

    Raises KeyFileError, NotFoundError, UsageError without a terminal.
    """
    return _from(path) if path is not None else _asked(f"Passphrase of {what}: ")


def new(path: str | None) -> bytes:
    """A passphrase for a new key: from the file *path*, or asked for twice. Raises as `existing`."""
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
