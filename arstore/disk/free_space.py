"""Free space of a file system during writing: an import fails before it takes the last byte.

Free space is checked before anything is written, and again after every MiB. Bytes that are announced but not written
yet count as used. The reserve is for other users of that file system, and for what an import writes after the check:
directories, indexes, documents, the graph. It applies only to content from outside: what the store has accepted can be
rebuilt as long as the kernel has space.

Inodes are checked in the same way, where a file system has a fixed number of them: a twentieth stays free.

Not here: quotas that statvfs(3) does not report; the kernel's error is shown when one is used up.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from arstore.errors import NoSpaceError
from arstore.linux.isolation import user_namespace

if TYPE_CHECKING:
    from collections.abc import Callable

    from arstore.tar.limits import Limits

EVERY = 1 << 20
"""Bytes between two checks, which take about a microsecond each."""
_LEAST, _MOST = 16 << 20, 1 << 30
"""The reserve is 1/200 of the file system, within these bounds; on a small file system it is 1/16 at most."""
_INODES_EVERY = 256
"""Inodes between two checks, at most."""
_INODES_PART = 20
"""One of so many inodes of a file system is left free."""


def default_reserve(size: int) -> int:
    """Return how many bytes stay free by default on a file system of *size* bytes."""
    return min(max(size // 200, min(_LEAST, size // 16)), _MOST)


def free_space(place: str | int) -> tuple[int, int]:
    """Return the bytes that this user may still write on the file system of *place*, and its size in bytes.

    *place* is a path or an open descriptor. Both are 0 if the file system does not report them. Raises OSError.
    """
    status = os.statvfs(place)
    blocks = status.f_bfree if _may_use_all() else status.f_bavail
    return blocks * status.f_frsize, status.f_blocks * status.f_frsize


def free_inodes(place: str | int) -> tuple[int, int]:
    """Return the inodes that this user may still create on the file system of *place*, and their total number.

    Both are 0 if the file system does not count inodes. Raises OSError.
    """
    status = os.statvfs(place)
    return (status.f_ffree if _may_use_all() else status.f_favail), status.f_files


def _may_use_all() -> bool:
    """Whether this process may use the space that a file system reserves for root: root of a user namespace may not."""
    return os.geteuid() == 0 and user_namespace.is_initial()


class Room:
    """Space that may still be written on the file system of *place* (a path, or an open descriptor).

    *announced* is how many bytes are known to follow; *what* names the whole in errors. *relief* is called with the
    bytes that are missing, before an error, and returns the bytes that it has freed. Several threads may note what they
    write. Raises OSError when the file system cannot be asked.
    """

    __slots__ = ("_announced", "_inodes", "_place", "_relief", "_reserve", "_unchecked", "_unseen", "_what")

    def __init__(
        self,
        place: str | int,
        limits: Limits,
        what: str,
        announced: int = 0,
        relief: Callable[[int], int] | None = None,
    ) -> None:
        self._relief = relief
        self._place = place
        self._what = what
        self._unchecked = 0
        self._announced = announced
        self._reserve = limits.reserve
        self._inodes = limits.inodes
        self._unseen = 0

    def expect(self, count: int) -> None:
        """Replace the announced number of bytes by *count*."""
        self._announced = count

    def came(self, count: int) -> None:
        """Subtract *count* bytes, which are written, from the announced bytes."""
        self._announced -= count

    def note(self, count: int) -> None:
        """Add *count* bytes written; check again after every MiB. Raises NoSpaceError, OSError."""
        self._unchecked += count
        if self._unchecked >= EVERY:
            self.check()

    def note_inode(self) -> None:
        """Count an inode that will be created; check from time to time. Raises NoSpaceError, OSError."""
        self._unseen -= 1
        if self._unseen < 0:
            self._check_inodes()

    def check(self) -> None:
        """Compare the announced bytes and the reserves with what is free. Raises NoSpaceError, OSError."""
        self._check_bytes()
        self._check_inodes()

    def _check_inodes(self) -> None:
        self._unseen = _INODES_EVERY
        if self._inodes == 0:
            return
        free, count = free_inodes(self._place)
        reserve = count // _INODES_PART if self._inodes is None else self._inodes
        if count:
            # Other processes create inodes in the meantime.
            self._unseen = min((free - reserve) // 4, _INODES_EVERY)
        if count and free < reserve:
            why = f"no inodes left: {free} are free, and {reserve} are reserved"
            raise NoSpaceError(self._what, why, "remove some files, or run `arstore gc`, or change --limit inodes")

    def _check_bytes(self) -> None:
        self._unchecked = 0
        free, size = free_space(self._place)
        if not size:
            return
        reserve = default_reserve(size) if self._reserve is None else self._reserve
        lacking = self._announced + reserve - free
        if lacking > 0 and self._relief is not None and self._relief(lacking) >= lacking:
            free, size = free_space(self._place)
            lacking = self._announced + reserve - free
        if lacking > 0:
            come = f"{self._announced} bytes are still needed" if self._announced else "more is needed"
            why = f"no space left: {come}, {free} are free, and {reserve} are reserved"
            raise NoSpaceError(self._what, why, "free some space, or run `arstore gc`, or change --limit reserve")
