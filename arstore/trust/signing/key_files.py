"""Key files: read them within bounds, and write a pair without replacing files.

A key file must be a regular file: reading a FIFO or a device could block. The private half of a pair has mode 0600 from
the start, the public half 0644. Not in scope: the content (`private`, `trust.keys`).
"""

from __future__ import annotations

import errno
import os
from contextlib import suppress

from arstore.errors import ConflictError, KeyFileError, NotFoundError, from_os_error
from arstore.linux.files.reading import read_file
from arstore.linux.files.sync import sync_directory
from arstore.linux.files.writing import write_all
from arstore.trust.keys import LARGEST_KEY
from arstore.trust.signing.private import LONGEST_PASSPHRASE

PRIVATE, PUBLIC = ".key", ".pub"
"""Suffixes of the two files of a pair."""


def read_key_file(path: str, most: int = LARGEST_KEY) -> bytes:
    """The content of the key file *path*.

    Raises NotFoundError, KeyFileError if it is not a regular file or has more than *most* bytes,
    PermissionDeniedError, HostError.
    """
    try:
        return read_file(path, most)
    except FileNotFoundError as error:
        raise NotFoundError(path, "no such key file") from error
    except OSError as error:
        # ENXIO: a socket, or a device without a driver.
        if error.errno in {errno.EINVAL, errno.ENXIO}:
            raise KeyFileError(path, "is not a regular file") from error
        if error.errno == errno.EFBIG:
            raise KeyFileError(path, f"has more than {most} bytes") from error
        raise from_os_error(error, path) from error


def read_passphrase_file(path: str) -> bytes:
    """The passphrase in the file *path*: its first line.

    Raises KeyFileError also if that line is empty, NotFoundError, PermissionDeniedError, HostError.
    """
    line = read_key_file(path).split(b"\n", 1)[0].removesuffix(b"\r")
    if not line:
        raise KeyFileError(path, "its first line is empty, but must be the passphrase")
    if len(line) > LONGEST_PASSPHRASE:
        raise KeyFileError(path, f"its first line is longer than {LONGEST_PASSPHRASE} bytes")
    return line


def write_pair(prefix: str, private: bytes, public: bytes) -> tuple[str, str]:
    """Write the files *prefix*.key and *prefix*.pub; return their paths.

    Raises ConflictError if one of them exists, and then writes neither; NoSpaceError,
    PermissionDeniedError, HostError.
    """
    made: list[str] = []
    try:
        for path, data, mode in ((prefix + PRIVATE, private, 0o600), (prefix + PUBLIC, public, 0o644)):
            _write_new(path, data, mode, made)
        sync_directory(os.path.dirname(prefix) or ".")
    except BaseException as error:
        for path in made:
            with suppress(OSError):
                os.unlink(path)
        if isinstance(error, FileExistsError):
            raise ConflictError(str(error.filename), "the file exists already", "choose another name") from error
        if isinstance(error, OSError):
            raise from_os_error(error, error.filename or prefix) from error
        raise
    return prefix + PRIVATE, prefix + PUBLIC


def _write_new(path: str, data: bytes, mode: int, made: list[str]) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
    made.append(path)
    try:
        # Independent of the umask.
        os.fchmod(fd, mode)
        write_all(fd, data)
        os.fsync(fd)
    finally:
        os.close(fd)
