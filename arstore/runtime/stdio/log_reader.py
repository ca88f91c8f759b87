"""Reading the log: from the start or from its last lines, to the end or further, across files.

A reader may fall behind: files that were deleted before it came to them are counted in `missed`. Only the end of the
log is read for its last lines.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

from arstore.runtime.stdio.logs import LOG_NAME, LogLine, parse, rotated
from arstore.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

_READ = 1 << 16
_LONGEST = 1 << 20
"""Bytes. A longer line is damaged, and is not kept in memory."""
_FARTHEST = 4 << 20
"""Bytes that are read before the last lines, to find the parts of the first of them."""

Position = tuple[int, int]
"""Number of a file, and an offset in it. The file `log` has the number that it gets when it is renamed."""

_EVERYTHING: Position = (-1, 0)


class Wanted(NamedTuple):
    """The lines to read: the last *tail* ones (None for all), not before *since* and not after *until*, which are times
    as the log has them; "" for no limit.
    """

    tail: int | None = None
    since: str = ""
    until: str = ""


class LogReader:
    """Reads the log of the container in *directory*. `read` can be called again, for what was written since."""

    def __init__(self, directory: str, wanted: Wanted | None = None) -> None:
        self._directory = directory
        self._wanted = wanted or Wanted()
        self._fd = -1
        self._number = 0
        self._main = _EVERYTHING
        self._parts: dict[str, Position] = {}
        self.missed = 0
        """Number of files that were deleted before they were read."""

    def __enter__(self) -> LogReader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file that is being read."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    @property
    def exists(self) -> bool:
        """Whether there is a log."""
        return os.path.lexists(f"{self._directory}/{LOG_NAME}") or bool(rotated(self._directory))

    def read(self) -> Iterator[LogLine]:
        """Yield the lines up to the present end. Raises OSError."""
        if self._fd < 0 and not self._begin():
            return
        while True:
            # Looked at before reading: nothing is written to a file that has been renamed.
            is_last = self._is_current()
            yield from self._to_end()
            if is_last or not self._open_after(self._number):
                return

    def _begin(self) -> bool:
        """Open the first file; return False if there is none."""
        while True:
            before = self._files()
            start = (0, 0) if self._wanted.tail is None else self._tail_start(self._wanted.tail)
            if not self._open_after(start[0] - 1):
                return False
            if self._files() == before:
                break
            self.close()
        if start[0] == self._number:
            os.lseek(self._fd, start[1], os.SEEK_SET)
        return True

    def _files(self) -> tuple[int, ...]:
        """Return what changes when the writer begins a new file."""
        with suppress(FileNotFoundError):
            return (os.stat(f"{self._directory}/{LOG_NAME}").st_ino, *rotated(self._directory))
        return (0, *rotated(self._directory))

    def _to_end(self) -> Iterator[LogLine]:
        """Yield the whole lines up to the end of the open file. What follows them may still be cut off."""
        offset = os.lseek(self._fd, 0, os.SEEK_CUR)
        rest = b""
        while data := os.read(self._fd, _READ):
            *lines, rest = (rest + data).split(b"\n")
            if len(rest) > _LONGEST:
                offset += len(rest) - 1
                rest = rest[:1]
            for line in lines:
                found = parse(line)
                place = (self._number, offset)
                offset += len(line) + 1
                if found is not None and self._is_wanted(found, place):
                    yield found
        os.lseek(self._fd, offset, os.SEEK_SET)

    def _is_wanted(self, line: LogLine, place: Position) -> bool:
        if place < self._main and not place >= self._parts.get(line.stream, self._main):
            return False
        since, until = self._wanted.since, self._wanted.until
        return (not since or line.time >= since) and (not until or line.time <= until)

    def _is_current(self) -> bool:
        """Whether the open file is the one that is being written."""
        try:
            there = os.stat(f"{self._directory}/{LOG_NAME}", follow_symlinks=False)
        except FileNotFoundError:
            return False
        here = os.fstat(self._fd)
        return (there.st_dev, there.st_ino) == (here.st_dev, here.st_ino)

    def _open_after(self, number: int) -> bool:
        """Open the oldest file whose number is greater than *number*; return False if there is none yet."""
        while True:
            later = [one for one in rotated(self._directory) if one > number]
            try:
                fd = os.open(self._path(later[0] if later else None), os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
            except FileNotFoundError:
                if later:
                    continue
                return False
            there = rotated(self._directory)
            if later or not any(one > number for one in there):
                break
            # `log` has been renamed, and what was opened need not be the next file.
            os.close(fd)
        if self._fd >= 0:
            self.missed += max(0, later[0] - number - 1) if later else 0
            os.close(self._fd)
        self._fd, self._number = fd, later[0] if later else max([0, number, *there]) + 1
        return True

    def _path(self, number: int | None) -> str:
        return f"{self._directory}/{LOG_NAME}" + ("" if number is None else f".{number}")

    def _tail_start(self, count: int) -> Position:
        """Find where the last *count* lines begin.

        A long line has several parts in the log, with lines of the other stream between them. So the first part may be
        before `_main`, where nothing else is taken.
        """
        size = 0
        with suppress(FileNotFoundError):
            size = os.stat(self._path(None), follow_symlinks=False).st_size
        main: Position = (max(rotated(self._directory), default=0) + 1, size)
        parts: dict[str, Position] = {}
        whole: set[str] = set()
        before = 0
        for place, line in self._backwards():
            if not count:
                before += len(line)
                if parts.keys() <= whole or before > _FARTHEST:
                    break
            found = parse(line)
            if found is None or found.stream in whole:
                continue
            is_part = line.split(b" ", 3)[2] == b"P" and found.stream in parts
            if is_part or count:
                parts[found.stream] = place
                main = place if count else main
                count -= not is_part
            else:
                whole.add(found.stream)
        self._main, self._parts = main, parts
        return min([main, *parts.values()])

    def _backwards(self) -> Iterator[tuple[Position, bytes]]:
        """Yield the lines from the last one, each with its position."""
        numbers = rotated(self._directory)
        for number in (None, *reversed(numbers)):
            with suppress(FileNotFoundError):
                fd = os.open(self._path(number), os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
                try:
                    for offset, line in lines_backwards(fd):
                        yield (max(numbers, default=0) + 1 if number is None else number, offset), line
                finally:
                    os.close(fd)


def lines_backwards(fd: int) -> Iterator[tuple[int, bytes]]:
    """Yield the complete lines of a file from the last one, without their newlines, each with its offset."""
    end = os.fstat(fd).st_size
    buffer = b""
    is_cut = False
    while end > 0:
        start = max(0, end - _READ)
        buffer = os.pread(fd, end - start, start) + buffer
        end = start
        if not is_cut:
            # What follows the last newline is incomplete.
            last = buffer.rfind(b"\n")
            buffer, is_cut = buffer[: last + 1], last >= 0
        first, *lines = buffer.split(b"\n")
        if lines:
            place = end + len(buffer)
            for line in reversed(lines[:-1]):
                place -= len(line) + 1
                yield place, line
            buffer = first + b"\n"
    if buffer:
        yield 0, buffer[:-1]
