"""The room of a file system while something is written to it: an import ends before it takes the last byte.

What is left is asked for before anything is written, and again whenever a MiB more was; what is announced and still to
come counts as if it were there. The reserve is for the others on that file system, and for what an import writes after
it was asked: directories, indexes, documents, the graph. It holds at the border, for what comes from outside: what the
store has accepted can be built again as long as the kernel has room.

Inodes are looked after in the same way, where a file system has a fixed number of them: a twentieth stays free.

Out of scope: quotas that statvfs(3) does not tell; when these are used up, the kernel says so.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from arstore.errors import NoSpaceError

if TYPE_CHECKING:
    from arstore.tar.limits import Limits

EVERY = 1 << 20
"""Bytes between two looks, which take about a microsecond each."""
_LEAST, _MOST = 16 << 20, 1 << 30
"""The reserve is a two hundredth of the file system, within these; of a small one it is a sixteenth at most."""
_INODES_EVERY = 256
"""Inodes between two looks, at most."""
_INODES_PART = 20
"""The part of a file system's inodes that is left free."""


def default_reserve(size: int) -> int:
    """What is left free of a file system of so many bytes unless somebody says otherwise."""
    return min(max(size // 200, min(_LEAST, size // 16)), _MOST)


def free_space(place: str | int) -> tuple[int, int]:
    """Bytes that this user may still write where *place* (a path, or an open descriptor) lies, and all that there are.

    Both are 0 for a file system that does not say. Raises OSError.
    """
    status = os.statvfs(place)
    blocks = status.f_bavail if os.geteuid() else status.f_bfree
    return blocks * status.f_frsize, status.f_blocks * status.f_frsize


def free_inodes(place: str | int) -> tuple[int, int]:
    """Inodes that this user may still make where *place* lies, and all that there are; both 0 where none are counted.

    Raises OSError.
    """
    status = os.statvfs(place)
    return (status.f_favail if os.geteuid() else status.f_ffree), status.f_files


class Room:
    """What may still be written where *place* (a path, or an open descriptor) lies.

    *announced* is how many bytes are known to come; *what* names the whole for people. Several threads of one pass may
    note what they write. Raises OSError when the file system cannot be asked.
    """

    __slots__ = ("_announced", "_inodes", "_place", "_reserve", "_unchecked", "_unseen", "_what")

    def __init__(self, place: str | int, limits: Limits, what: str, announced: int = 0) -> None:
        self._place = place
        self._what = what
        self._unchecked = 0
        self._announced = announced
        self._reserve = limits.reserve
        self._inodes = limits.inodes
        self._unseen = 0

    def expect(self, count: int) -> None:
        """Have *count* bytes announced, in place of what was."""
        self._announced = count

    def came(self, count: int) -> None:
        """Note that *count* of the bytes that were announced are written."""
        self._announced -= count

    def note(self, count: int) -> None:
        """Look again when a MiB has been written since; *count* bytes more were now. Raises NoSpaceError, OSError."""
        self._unchecked += count
        if self._unchecked >= EVERY:
            self.check()

    def note_inode(self) -> None:
        """Look at the inodes, now and then, before one more is made. Raises NoSpaceError, OSError."""
        self._unseen -= 1
        if self._unseen < 0:
            self._check_inodes()

    def check(self) -> None:
        """Compare what is announced, and the reserves, with what is free. Raises NoSpaceError, OSError."""
        self._check_bytes()
        self._check_inodes()

    def _check_inodes(self) -> None:
        self._unseen = _INODES_EVERY
        if self._inodes == 0:
            return
        free, count = free_inodes(self._place)
        reserve = count // _INODES_PART if self._inodes is None else self._inodes
        if count:
            # Others make some meanwhile.
            self._unseen = min((free - reserve) // 4, _INODES_EVERY)
        if count and free < reserve:
            why = f"no inodes left: {free} are free, and {reserve} are to stay so"
            raise NoSpaceError(self._what, why, "remove some files, or `arstore gc`, or change --limit inodes")

    def _check_bytes(self) -> None:
        self._unchecked = 0
        free, size = free_space(self._place)
        if not size:
            return
        reserve = default_reserve(size) if self._reserve is None else self._reserve
        if self._announced + reserve > free:
            come = f"{self._announced} bytes are to come" if self._announced else "there is more to come"
            why = f"no space left: {come}, {free} are free, and {reserve} are to stay so"
            raise NoSpaceError(self._what, why, "free some space, or `arstore gc`, or change --limit reserve")
