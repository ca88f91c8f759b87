"""Cache of the content of tree directories, valid as long as a directory has not changed.

    <runroot>/listings   a line of format, device and count; then inode numbers, and times of last change with a kind

Listing 10^5 directories takes the kernel longer than a stat(2) of the two files in each. A directory's ctime, which no
process can set, changes whenever an entry is added, removed or renamed. While inode and ctime are the same, so is the
content. Only directories with exactly the files of their form are remembered, and none that had changed just before it
was listed, because more may happen within one tick of the clock. Nothing is remembered of the files: they are always
read with stat(2).
"""

from __future__ import annotations

import os
import time
from array import array
from contextlib import suppress
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
"""File names in a directory, sorted, by the number of the kind. Changing kinds or their order needs a new _FORMAT."""
_BITS = (len(_KINDS) - 1).bit_length()
"""Number of low bits of a mark that hold the kind."""
_BY_NAMES = {names: kind for kind, names in enumerate(_KINDS)}
_FEWEST = 10_000
"""Number of directories from which on a file is written."""
_STILL = 2_000_000_000
"""Nanoseconds for which a directory must have been unchanged."""


class Listings:
    """The known directories of one file system. A *mark* is a ctime in nanoseconds, combined with a kind."""

    def __init__(self, marks: Mapping[int, int] | None = None) -> None:
        self._marks = marks or {}
        self._latest = time.time_ns() - _STILL

    def __bool__(self) -> bool:
        return bool(self._marks)

    def names(self, status: os.stat_result) -> tuple[str, ...]:
        """Return the file names in the directory with this *status*; empty if unknown."""
        mark = self._marks.get(status.st_ino)
        if mark is None or mark >> _BITS != status.st_ctime_ns:
            return ()
        kind = mark & (1 << _BITS) - 1
        return _KINDS[kind] if kind < len(_KINDS) else ()

    def mark(self, status: os.stat_result, names: Collection[str]) -> int | None:
        """Return the mark of a directory with *names* and, before that, this *status*; None if it cannot be cached."""
        kind = _BY_NAMES.get(tuple(sorted(names)))
        return None if kind is None or status.st_ctime_ns > self._latest else status.st_ctime_ns << _BITS | kind

    def remember(self, runroot: str, device: int, fresh: Mapping[int, int], count: int) -> None:
        """Save *fresh* marks, by inode, too. There are *count* directories in total.

        Nothing happens if the runroot cannot be written to.
        """
        marks = {**self._marks, **fresh}
        if not fresh or len(marks) < _FEWEST:
            return
        if len(marks) > 2 * count:
            # Most belong to directories that are gone. The others are found again.
            marks = dict(fresh)
        head = b"%s %d %d\n" % (_FORMAT, device, len(marks))
        columns = array("Q", marks.keys()).tobytes() + array("Q", marks.values()).tobytes()
        with suppress(OSError):
            replace_file(f"{runroot}/{NAME}", head + columns, f"{runroot}/{passing_name(NAME)}")

    @classmethod
    def of(cls, runroot: str, device: int) -> Listings:
        """Return the saved marks of the file system *device*; none if the file is missing or invalid."""
        with suppress(OSError, ValueError, OverflowError), open(f"{runroot}/{NAME}", "rb") as file:
            form, of, count = file.readline(80).rsplit(b" ", 2)
            content = array("Q", file.read())
            if form == _FORMAT and int(of) == device and len(content) == 2 * int(count):
                return cls(dict(zip(content[: int(count)], content[int(count) :], strict=True)))
        return cls()
