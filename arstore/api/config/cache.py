"""The parsed form of configuration files, kept until the next boot, so that a command need not parse them.

    <usual runroot>/config.json     a checksum on the first line; below it the entries as JSON

The directory is the default runroot of this user, whatever runroot a file names: `/run/ar`, or the user's runtime
directory. An entry belongs to a path with a device, an inode, a size, a time of modification and one of change; if any
of them differs, it is not used. The cache is believed only if this user owns it and no other user can write to it or to
its directory, if it is not a symlink, and if its checksum is right. Whatever is wrong with it, the file is parsed.

A file that changed at the time of its last look may change again without any visible sign, because the kernel's clock
for files ticks every few milliseconds. So an entry is made only when that tick is over.
"""

from __future__ import annotations

import json
import os
import stat
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from arstore import __version__
from arstore.digest import short_hash
from arstore.linux.files.writing import replace_file

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

NAME = "config.json"
FORMAT = 2
"""Version of the entries: a new one when the meaning of a value changes."""

_MOST = 16
"""Entries that are kept, the last ones made."""
_LARGEST = 1 << 20
_TICK_NS = 20_000_000
"""More than one tick of the kernel's clock for times of files (10 ms at CONFIG_HZ=100)."""
_COARSE_NS = 2_000_000_000
"""The same on file systems that keep whole seconds, or two."""
_SUM = 16
_WRITABLE_BY_OTHERS = stat.S_IWGRP | stat.S_IWOTH


class Cache:
    """The entries in *directory*, read once."""

    def __init__(self, directory: str) -> None:
        self._directory = directory
        self._entries = _load(directory)

    def recall(self, path: str, status: os.stat_result) -> dict[str, Any] | None:
        """Return the values of the file *path*, if it is still the one that was parsed."""
        entry = self._entries.get(path)
        return None if entry is None or entry[0] != _key(status) else dict(entry[1])

    def remember(self, path: str, status: os.stat_result, values: dict[str, Any]) -> None:
        """Keep the *values* of the file *path*, which had this *status* when it was read; if that is possible."""
        with suppress(OSError, ValueError):
            _wait_for_tick(status)
            if _key(os.stat(path)) != _key(status):
                return
            entries = {name: entry for name, entry in self._entries.items() if name != path}
            self._entries = dict([*list(entries.items())[1 - _MOST :], (path, [_key(status), values])])
            _save(self._directory, self._entries)


def _key(status: os.stat_result) -> list[int]:
    return [status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns]


def _wait_for_tick(status: os.stat_result) -> None:
    """Wait until a change would show in the times of the file. Raises ValueError if that takes too long."""
    age = time.time_ns() - status.st_ctime_ns
    if status.st_ctime_ns % 1_000_000_000 == 0 and age < _COARSE_NS:
        raise ValueError("changed just now, on a file system with coarse times")
    if age < 0:
        raise ValueError("changed in the future")
    if age < _TICK_NS:
        time.sleep((_TICK_NS - age) / 1e9)


def _load(directory: str) -> dict[str, list[Any]]:
    with suppress(OSError, ValueError, KeyError, TypeError, RecursionError), _opened(directory) as dir_fd:
        fd = os.open(NAME, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=dir_fd)
        try:
            if not _is_own(os.fstat(fd), stat.S_IFREG):
                return {}
            data = os.read(fd, _LARGEST)
        finally:
            os.close(fd)
        checksum, _, body = data.partition(b"\n")
        if checksum.decode("ascii") != short_hash(body, _SUM):
            return {}
        document = json.loads(body)
        if document["maker"] == _maker():
            return {path: [key, values] for path, key, values in document["entries"]}
    return {}


def _save(directory: str, entries: dict[str, list[Any]]) -> None:
    """Raises OSError."""
    from arstore.mounts.leftovers import passing_name

    with suppress(FileExistsError):
        os.mkdir(directory, 0o700)
    document = {"maker": _maker(), "entries": [[path, *entry] for path, entry in entries.items()]}
    body = json.dumps(document).encode()
    with _opened(directory) as dir_fd:
        replace_file(NAME, short_hash(body, _SUM).encode() + b"\n" + body, passing_name(NAME), dir_fd=dir_fd)


@contextmanager
def _opened(directory: str) -> Iterator[int]:
    """Open *directory*, to which only this user can write. Raises OSError."""
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        if not (_is_own(os.fstat(fd), stat.S_IFDIR) and _is_safe(os.stat(os.path.dirname(directory)))):
            raise PermissionError(f"{directory} is not private")
        yield fd
    finally:
        os.close(fd)


def _is_own(status: os.stat_result, kind: int) -> bool:
    is_kind = stat.S_IFMT(status.st_mode) == kind
    return is_kind and status.st_uid == os.geteuid() and not status.st_mode & _WRITABLE_BY_OTHERS


def _is_safe(parent: os.stat_result) -> bool:
    """Whether no other user can put another directory in the place of one in *parent*."""
    return parent.st_uid in {0, os.geteuid()} and not parent.st_mode & _WRITABLE_BY_OTHERS


def _maker() -> str:
    return f"{__version__} {FORMAT}"
