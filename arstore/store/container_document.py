"""A container's permanent document, `run.json`: a JSON object with a version and a checksum, written once.

    {"version": 1, "crc32": "<8 hexadecimal digits>", "request": {...}}

The checksum is over version and request, in a list, as compact JSON with sorted keys. The content of the request is not
known here: the runtime package writes and reads it, and `check` only verifies that it is whole. The file also has
the locks of the container's life, on single bytes that need not exist (the kind of locks of `disk.owner`): one is held
by the process that starts the container and attends to it, others by processes that want to read how it ended.
"""

from __future__ import annotations

import json
import os
from binascii import crc32
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from arstore.errors import StoreDamagedError, StoreVersionError
from arstore.linux.files.filelock import is_locked, lock_byte
from arstore.linux.files.reading import read_start
from arstore.linux.files.writing import replace_file

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

RUN_NAME = "run.json"
VERSION = 1

_LIMIT = 16 << 20
_LAUNCHER = 0
_READERS = 1 << 32
"""Offset of the first byte that readers lock; each locks the byte at this offset plus its pid."""
_RESTARTING = 1 << 33
"""The same, for processes that stop the container and start it again."""
_MOST_READERS = 1 << 22
"""PID_MAX_LIMIT of the kernel."""


def write_request(directory: str, request: dict[str, Any], *, durable: bool) -> None:
    """Write the document of the container in *directory*. Raises OSError."""
    document = {"version": VERSION, "crc32": _sum(VERSION, request), "request": request}
    path = f"{directory}/{RUN_NAME}"
    replace_file(path, json.dumps(document).encode(), f"{path}.new", durable=durable)


def read_request(directory: str) -> dict[str, Any] | None:
    """Return the request in the document of the container in *directory*; None if there is no document.

    Raises StoreDamagedError, StoreVersionError for a document of a newer arstore, OSError.
    """
    path = f"{directory}/{RUN_NAME}"
    try:
        data = read_start(path, _LIMIT)
    except FileNotFoundError:
        return None
    try:
        document = json.loads(data)
        version, request = document["version"], document["request"]
        whole = type(version) is int and isinstance(request, dict) and document["crc32"] == _sum(version, request)
    except (ValueError, KeyError, TypeError, RecursionError):
        whole = False
    if not whole:
        raise StoreDamagedError(
            path, "is damaged, so the container cannot be started again", "what it wrote can still be committed"
        )
    if version > VERSION:
        raise StoreVersionError(path, f"was written by a newer arstore, in version {version}")
    return dict(request)


def is_startable(directory: str) -> bool:
    """Return whether the container in *directory* has a document, in whatever condition."""
    return os.path.lexists(f"{directory}/{RUN_NAME}")


def _sum(version: int, request: dict[str, Any]) -> str:
    return f"{crc32(json.dumps([version, request], sort_keys=True, separators=(',', ':')).encode()):08x}"


def take_launch_lock(directory: str) -> int | None:
    """Return a descriptor that holds the launcher's lock of the container, None if another process holds it.

    The lock lasts as long as a copy of the descriptor is open in any process. Returns -1 for a container without a
    document, or on a file system without such locks. Raises OSError.
    """
    try:
        fd = os.open(f"{directory}/{RUN_NAME}", os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return -1
    try:
        lock_byte(fd, _LAUNCHER)
    except (BlockingIOError, PermissionError):
        os.close(fd)
        return None
    except OSError:
        os.close(fd)
        return -1
    return fd


def is_unattended(directory: str) -> bool:
    """Return whether no process holds the launcher's lock of the container; False if that cannot be found out."""
    with suppress(OSError):
        fd = os.open(f"{directory}/{RUN_NAME}", os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            return not is_locked(fd, _LAUNCHER)
        finally:
            os.close(fd)
    return False


@contextmanager
def reading_end(directory: str) -> Iterator[None]:
    """Keep the launcher of a container that is removed at its end from removing it during the context."""
    with _own_byte(directory, _READERS):
        yield


@contextmanager
def being_restarted(directory: str) -> Iterator[None]:
    """Mark the container in *directory* as being stopped and started again, during the context."""
    with _own_byte(directory, _RESTARTING):
        yield


@contextmanager
def _own_byte(directory: str, first: int) -> Iterator[None]:
    """Hold this process's byte, of those from *first* on, during the context, if there is a file to lock."""
    fd = -1
    with suppress(OSError):
        fd = os.open(f"{directory}/{RUN_NAME}", os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        lock_byte(fd, first + os.getpid())
    try:
        yield
    finally:
        if fd >= 0:
            os.close(fd)


def is_being_restarted(directory: str) -> bool:
    """Return whether a process is in the context of `being_restarted`."""
    return _is_held(directory, _RESTARTING)


def has_readers(directory: str) -> bool:
    """Return whether a process is in the context of `reading_end`."""
    return _is_held(directory, _READERS)


def _is_held(directory: str, first: int) -> bool:
    """Return whether a process holds one of the bytes from *first* on that belong to processes."""
    with suppress(OSError):
        fd = os.open(f"{directory}/{RUN_NAME}", os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            return is_locked(fd, first, _MOST_READERS)
        finally:
            os.close(fd)
    return False
