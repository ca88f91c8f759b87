"""What directories of trees held when they were last listed, for as long as nothing has changed in them.

    <runroot>/listings   a line of format, device and count; then inode numbers, and times of last change with a kind

To list 10^5 directories takes the kernel longer than to ask for the two files in each. A directory's time of last
change, which nobody can set, is another one as soon as an entry comes, goes or is renamed: while inode and time are
what they were, it holds what it held. Only directories that held exactly what their form puts there are remembered, and
none that had changed just before it was listed, because more may happen within one tick of the clock. Of files nothing
is remembered: they are asked for each time.
"""

from __future__ import annotations

import contextlib
import os
import time
from array import array
from typing import TYPE_CHECKING

from arstore.linux.files.writing import replace_file
from arstore.mounts.leftovers import passing_name
from arstore.trees.forms import FORMS, MERGED

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

NAME = "listings"
"""The file's name below the runroot."""

_FORMAT = b"arstore listings 1"
_KINDS = tuple(tuple(sorted(form.files)) for form in (*FORMS.values(), MERGED) if not form.extracts)
"""What may be in a directory, sorted, by the number of its kind. Other kinds, or another order, are another _FORMAT."""
_BITS = (len(_KINDS) - 1).bit_length()
"""What the number takes of a mark, at its end."""
_BY_NAMES = {names: kind for kind, names in enumerate(_KINDS)}
_FEWEST = 10_000
"""Directories that are worth a file."""
_STILL = 2_000_000_000
"""Nanoseconds for which a directory must not have changed."""


class Listings:
    """Those of one file system that are known. A *mark* is a time of last change in nanoseconds, and a kind."""

    def __init__(self, marks: Mapping[int, int] | None = None) -> None:
        self._marks = marks or {}
        self._latest = time.time_ns() - _STILL

    def __bool__(self) -> bool:
        return bool(self._marks)

    def names(self, status: os.stat_result) -> tuple[str, ...]:
        """What the directory of this *status* holds; nothing where that is not known."""
        mark = self._marks.get(status.st_ino)
        if mark is None or mark >> _BITS != status.st_ctime_ns:
            return ()
        kind = mark & (1 << _BITS) - 1
        return _KINDS[kind] if kind < len(_KINDS) else ()

    def mark(self, status: os.stat_result, names: Collection[str]) -> int | None:
        """The mark of a directory that held *names*, and had this *status* before; None for one to list each time."""
        kind = _BY_NAMES.get(tuple(sorted(names)))
        return None if kind is None or status.st_ctime_ns > self._latest else status.st_ctime_ns << _BITS | kind

    def remember(self, runroot: str, device: int, fresh: Mapping[int, int], count: int) -> None:
        """Know *fresh* marks by inode, too. There are *count* directories in all.

        A runroot that cannot be written to is no failure.
        """
        marks = {**self._marks, **fresh}
        if not fresh or len(marks) < _FEWEST:
            return
        if len(marks) > 2 * count:
            # Most are of directories that have gone. The others are found again.
            marks = dict(fresh)
        head = b"%s %d %d\n" % (_FORMAT, device, len(marks))
        columns = array("Q", marks.keys()).tobytes() + array("Q", marks.values()).tobytes()
        with contextlib.suppress(OSError):
            replace_file(f"{runroot}/{NAME}", head + columns, f"{runroot}/{passing_name(NAME)}")

    @classmethod
    def of(cls, runroot: str, device: int) -> Listings:
        """Those that were remembered of the file system *device*; whatever is wrong with the file, none."""
        with contextlib.suppress(OSError, ValueError, OverflowError), open(f"{runroot}/{NAME}", "rb") as file:
            form, of, count = file.readline(80).rsplit(b" ", 2)
            content = array("Q", file.read())
            if form == _FORMAT and int(of) == device and len(content) == 2 * int(count):
                return cls(dict(zip(content[: int(count)], content[int(count) :], strict=True)))
        return cls()
