"""The part of the graph's file that is mapped into this process's memory.

LMDB reads the file through a map, and the kernel leaves every page mapped that was read, with fifteen around it. These
pages belong to the page cache, but count as memory of the process, and towards the limit of its control group. A
command that reads a large table would have the whole file mapped in the end. So it lets go of all pages from time to
time; those that are needed again are mapped again, which takes microseconds.

After a reboot the pages of a table are read one by one, from everywhere in the file. A command that needs most tables
has the whole file read in order, meanwhile, which takes a third of the time.
"""

from __future__ import annotations

import mmap
import os

from arstore.graph.datafile import DATA
from arstore.linux.syscall import libc

STEP = 4 << 20
"""Bytes of records after whose reading the pages are let go: with their neighbours these are 64 MiB at most."""
SPREAD = 4 << 10
"""Bytes that a single read counts for: it usually is on a separate page."""

_MADV_WILLNEED, _MADV_DONTNEED = 3, 4
_SHARED_READ = "r--s"
"""Permissions of the map in /proc/PID/maps: LMDB writes through the file, so that no change can be lost here."""


class Residency:
    """Counts what one transaction reads, and lets go of the pages in good time."""

    __slots__ = ("_count",)

    def __init__(self) -> None:
        self._count = 0

    def note(self, size: int = SPREAD) -> None:
        """Note that *size* bytes of records were read."""
        self._count += size
        if self._count >= STEP:
            self._count = 0
            let_go()


def let_go() -> int:
    """Unmap the pages of all graphs that this process has open, and return the bytes of the maps, used or not.

    Does nothing where /proc is not mounted.
    """
    return _advise(_MADV_DONTNEED)


def read_ahead() -> int:
    """Let the kernel read the files of these graphs into its page cache, without waiting. Otherwise like `let_go`."""
    return _advise(_MADV_WILLNEED)


def _advise(how: int) -> int:
    total = 0
    try:
        for start, end in _maps():
            libc("madvise", start, end - start, how)
            total += end - start
    except OSError:
        pass
    return total


def _maps() -> list[tuple[int, int]]:
    """Return the addresses of the maps of data files, each up to the end of its file. Raises OSError."""
    found = []
    with open("/proc/self/maps", "rb") as file:
        for line in file:
            place, permissions, _, _, _, *path = line.split(None, 5)
            if not path or permissions != _SHARED_READ.encode() or os.path.basename(path[0].strip()) != DATA.encode():
                continue
            start, end = (int(part, 16) for part in place.split(b"-"))
            found.append((start, min(end, start + _size(path[0].strip(), end - start))))
    return found


def _size(path: bytes, otherwise: int) -> int:
    """Return the size of a mapped file, in whole pages, of which the map may have many times as many."""
    try:
        return -(-os.stat(path).st_size // mmap.PAGESIZE) * mmap.PAGESIZE
    except OSError:
        return otherwise
