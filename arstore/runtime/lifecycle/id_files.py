"""Files that the user names for a container's id (`--cidfile`) and its process's number (`--pidfile`)."""

from __future__ import annotations

import errno
import os

from arstore.builtin import suppress
from arstore.errors import HostError, from_os_error


def write_id_file(path: str, text: str) -> None:
    """Write *text* to the file *path*, in place of what it had. A symlink is never followed.

    The file may be in a directory where other users can make links, such as /tmp. Raises HostError, NotFoundError,
    PermissionDeniedError.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
    try:
        fd = os.open(path, flags, 0o644)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise HostError(path, "is a symbolic link; the file is written only at its own place") from error
        raise from_os_error(error, path) from error
    try:
        with open(fd, "w", encoding="utf-8", errors="surrogateescape") as file:
            file.write(text)
    except OSError as error:
        raise from_os_error(error, path) from error


def remove_id_file(path: str, text: str) -> None:
    """Remove the file *path* if it is a file with *text*. Does nothing if that fails."""
    with suppress(OSError):
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(fd, "rb") as file:
            is_ours = file.read(len(text) + 1) == text.encode()
        if is_ours:
            os.unlink(path)
