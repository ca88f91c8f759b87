"""The log of a detached container: `<container>/log`, in the text format of the Kubernetes CRI (podman's `k8s-file`).

A line is `TIME STREAM TAG CONTENT`: RFC 3339 with nanoseconds, `stdout` or `stderr`, `F` for a full line or `P` for a
part of one, then the bytes exactly as the container wrote them. Removing the newline of each `P` line restores the
output. Each line is one write(2) to a file opened with O_APPEND, so lines of both streams never mix; a launcher that is
killed leaves at most one incomplete line.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from arstore.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

LOG_NAME = "log"
LONGEST_LINE = 16 << 10
"""Maximum number of content bytes in one line of the log; a longer line is split into parts."""

_READ = 1 << 16
_STREAMS = {b"stdout": "stdout", b"stderr": "stderr"}


class LogLine(NamedTuple):
    """A piece of output; *data* ends with a newline if the container wrote one."""

    time: str
    stream: str
    data: bytes


class LogWriter:
    """Writes one stream to the log. Data that the file system refuses (ENOSPC) is lost: a full disk must not stop the
    container.
    """

    def __init__(self, fd: int, stream: str) -> None:
        self._fd = fd
        self._stream = stream.encode()
        self._rest = b""

    def write(self, data: bytes) -> None:
        """Accept *data*; complete lines are written at once."""
        lines = (self._rest + data).split(b"\n")
        self._rest = lines.pop()
        for line in lines:
            self._line(line, b"F")
        while len(self._rest) >= LONGEST_LINE:
            self._put_line(self._rest[:LONGEST_LINE], b"P")
            self._rest = self._rest[LONGEST_LINE:]

    def finish(self) -> None:
        """Write the rest, which has no newline yet, as a part."""
        if self._rest:
            self._put_line(self._rest, b"P")
            self._rest = b""

    def _line(self, line: bytes, tag: bytes) -> None:
        while len(line) > LONGEST_LINE:
            self._put_line(line[:LONGEST_LINE], b"P")
            line = line[LONGEST_LINE:]
        self._put_line(line, tag)

    def _put_line(self, content: bytes, tag: bytes) -> None:
        try:
            os.write(self._fd, b"%b %b %b %b\n" % (_now(), self._stream, tag, content))
        except OSError:
            return


def read_log_lines(directory: str, *, wait: Callable[[], bool] | None = None) -> Iterator[LogLine]:
    """Yield the log of the container in *directory*, from its start; damaged lines are skipped, a missing log is empty.

    With *wait*, the end of the file is not final: *wait* is called before each read, may pause, and returns whether
    more may come after that read. Raises OSError.
    """
    try:
        fd = os.open(os.path.join(directory, LOG_NAME), os.O_RDONLY | os.O_NOFOLLOW)
    except FileNotFoundError:
        return
    try:
        rest, more = b"", True
        while more:
            # Called before reading, so that the last read comes after the last write.
            more = wait is not None and wait()
            while data := os.read(fd, _READ):
                *lines, rest = (rest + data).split(b"\n")
                yield from (found for found in map(_parse, lines) if found is not None)
    finally:
        os.close(fd)


def _parse(line: bytes) -> LogLine | None:
    fields = line.split(b" ", 3)
    if len(fields) != 4 or fields[1] not in _STREAMS or fields[2] not in {b"F", b"P"}:
        return None
    data = fields[3] + b"\n" if fields[2] == b"F" else fields[3]
    return LogLine(fields[0].decode("ascii", "replace"), _STREAMS[fields[1]], data)


def _now() -> bytes:
    seconds, nanoseconds = divmod(time.time_ns(), 10**9)
    return b"%b.%09dZ" % (time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)).encode(), nanoseconds)
