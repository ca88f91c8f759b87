"""A log of the store's totals: what `du` measured, at most once an hour.

    <root>/graph/usage     SLOTS slots of 64 bytes: a time, sizes by kind, the number of images, a checksum

The file has its full size from the beginning, so that writing to it does not change the usage. A slot is written by one
pwrite(2), and counts only if its checksum is right: after a crash, an entry is there, or the slot is empty. Nothing
else depends on the file, so it is not synced, and errors are ignored: a store that may only be read keeps its log.

Within the last week every entry is kept, before that the last one of each day. So there is about a year in 32 KiB.
"""

from __future__ import annotations

import os
import struct
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from arstore.disk.access import Access, access_to
from arstore.linux.files.writing import write_all
from arstore.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

    from arstore.disk.paths import Directories
    from arstore.maintenance.disk_usage import Usage

NAME = "usage"
"""The file's name, in the directory of the graph."""
SLOTS = 512
HOUR, DAY = 3600, 86400
_RECENT = 7 * DAY
_SLOT = struct.Struct("<Q5QQ8s")
_SIZE = SLOTS * _SLOT.size


class Entry(NamedTuple):
    """Totals at one *time*, in seconds since the epoch: bytes by kind, and the number of images.

    *others* are metadata, unfinished imports and orphans.
    """

    time: int
    blobs: int
    trees: int
    containers: int
    volumes: int
    others: int
    images: int

    @property
    def total(self) -> int:
        """All bytes."""
        return sum(self.sizes().values())

    def sizes(self) -> Mapping[str, int]:
        """Return the bytes by kind."""
        names = ("blobs", "trees", "containers", "volumes", "others")
        return {name: getattr(self, name) for name in names}


def entry_of(usage: Usage, images: int, moment: float) -> Entry:
    """Return the entry for a measured *usage*."""
    rest = usage.metadata + usage.ingest + usage.orphans
    return Entry(int(moment), usage.blobs, usage.trees, usage.containers, usage.volumes, rest, images)


def entries(directories: Directories) -> list[Entry]:
    """Return the entries, oldest first; none if there is no log, or it cannot be read."""
    return sorted(entry for entry in _slots(_content(directories)) if entry is not None)


def prepare(directories: Directories, *, start: bool) -> bool:
    """Return whether an entry is due and can be written; with *start*, make the file if it is missing.

    The file takes space. So it is made only when someone asks for the log, and measuring a store leaves it as it is.
    """
    now = time.time()
    with suppress(OSError):
        if access_to(directories.root) is not Access.OWNER:
            return False
        content = _content(directories)
        if not (content or start):
            return False
        if any(entry is not None and abs(now - entry.time) < HOUR for entry in _slots(content)):
            return False
        if len(content) != _SIZE:
            _make(directories, content[:_SIZE])
        return True
    return False


def note(directories: Directories, usage: Usage) -> None:
    """Write an entry for *usage*, into the slot that is needed least. Errors are ignored."""
    assert usage.basis is not None
    entry = entry_of(usage, len(usage.basis.shares.images), time.time())
    with suppress(OSError):
        place = _victim(_slots(_content(directories)), entry.time)
        fd = os.open(_path(directories), os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            if os.fstat(fd).st_size == _SIZE:
                os.pwrite(fd, _packed(entry), place * _SLOT.size)
        finally:
            os.close(fd)


def _path(directories: Directories) -> str:
    return f"{directories.graph}/{NAME}"


def _content(directories: Directories) -> bytes:
    try:
        with open(_path(directories), "rb") as file:
            return file.read(_SIZE + 1)
    except OSError:
        return b""


def _make(directories: Directories, content: bytes) -> None:
    """Make the file with all its space, beginning with *content*, or not at all. Raises OSError."""
    path = _path(directories)
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        os.ftruncate(fd, 0)
        write_all(fd, content.ljust(_SIZE, b"\0"))
    except OSError:
        os.unlink(path)
        raise
    finally:
        os.close(fd)


def _slots(content: bytes) -> list[Entry | None]:
    """Return the entry of each slot; None for an empty or a broken one."""
    whole = content[: min(_SIZE, len(content) - len(content) % _SLOT.size)]
    return [_parsed(whole[start : start + _SLOT.size]) for start in range(0, len(whole), _SLOT.size)]


def _parsed(slot: bytes) -> Entry | None:
    *fields, checksum = _SLOT.unpack(slot)
    return Entry(*fields) if fields[0] and checksum == _checksum(slot) else None


def _packed(entry: Entry) -> bytes:
    slot = _SLOT.pack(*entry, bytes(8))
    return slot[:-8] + _checksum(slot)


def _checksum(slot: bytes) -> bytes:
    from blake3 import blake3

    return blake3(slot[:-8]).digest(8)


def _victim(slots: list[Entry | None], now: int) -> int:
    """Return the slot for a new entry: an empty one, else an old one with a later entry of its day, else the oldest."""
    if None in slots or not slots:
        return slots.index(None) if slots else 0
    known = [(entry, place) for place, entry in enumerate(slots) if entry is not None]
    known.sort()
    last = {entry.time // DAY: entry.time for entry, _ in known}
    for entry, place in known:
        if entry.time < now - _RECENT and last[entry.time // DAY] != entry.time:
            return place
    return known[0][1]
