"""The log of a detached container, in the text format of the Kubernetes CRI (podman's `k8s-file`).

A line is `TIME STREAM TAG CONTENT`: RFC 3339 with nanoseconds, `stdout` or `stderr`, `F` for a full line or `P` for a
part of one, then the bytes exactly as the container wrote them. Removing the newline of each `P` line restores the
output. A launcher that is killed leaves at most one incomplete line.

The log is `<container>/log`. One that has reached its limit is renamed to `log.N`, where N only grows, and the oldest
files are deleted. So a reader finds the file that follows another by its number. Out of scope: `log_files` writes it,
`log_reader` reads it.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from arstore.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

LOG_NAME = "log"
LONGEST_LINE = 16 << 10
"""Maximum number of content bytes in one line of the log; a longer line is split into parts."""

DEFAULT_SIZE = 10 << 20
DEFAULT_FILES = 5
"""Limits of the kubelet, for the same format."""

_STREAMS = {b"stdout": "stdout", b"stderr": "stderr"}


class LogLimit(NamedTuple):
    """How large a log may become: bytes of one file, 0 for no limit, and number of files."""

    size: int = DEFAULT_SIZE
    files: int = DEFAULT_FILES


class LogLine(NamedTuple):
    """A piece of output; *data* ends with a newline if the container wrote one."""

    time: str
    stream: str
    data: bytes


class LogWriter:
    """Splits one stream into lines for the log, and passes them to *put*, several at a time."""

    def __init__(self, put: Callable[[list[bytes]], None], stream: str) -> None:
        self._put = put
        self._stream = stream.encode()
        self._rest = b""

    def write(self, data: bytes) -> None:
        """Accept *data*; complete lines are written at once."""
        lines = (self._rest + data).split(b"\n")
        self._rest = lines.pop()
        found: list[bytes] = []
        for line in lines:
            content = self._parts(line, found)
            found.append(self._line(content, b"F"))
        self._rest = self._parts(self._rest, found)
        if found:
            self._put(found)

    def finish(self) -> None:
        """Write the rest, which has no newline yet, as a part."""
        if self._rest:
            self._put([self._line(self._rest, b"P")])
            self._rest = b""

    def _parts(self, line: bytes, found: list[bytes]) -> bytes:
        """Add the parts of a long line to *found*, and return the last one, which is not longer than LONGEST_LINE."""
        start = 0
        while len(line) - start > LONGEST_LINE:
            found.append(self._line(line[start : start + LONGEST_LINE], b"P"))
            start += LONGEST_LINE
        return line[start:] if start else line

    def _line(self, content: bytes, tag: bytes) -> bytes:
        return b"%b %b %b %b\n" % (now(), self._stream, tag, content)


def parse(line: bytes) -> LogLine | None:
    """Return the content of a line of the log, which has no newline; None for a damaged one."""
    fields = line.split(b" ", 3)
    if len(fields) != 4 or fields[1] not in _STREAMS or fields[2] not in {b"F", b"P"}:
        return None
    data = fields[3] + b"\n" if fields[2] == b"F" else fields[3]
    return LogLine(fields[0].decode("ascii", "replace"), _STREAMS[fields[1]], data)


def log_time(seconds: float) -> str:
    """Return a time, in seconds since the epoch, as the log has it; such texts sort by time."""
    whole = int(seconds // 1)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(whole))}.{int((seconds - whole) * 10**9):09d}Z"


def now() -> bytes:
    """Return the present time as the log has it."""
    seconds, nanoseconds = divmod(time.time_ns(), 10**9)
    return b"%b.%09dZ" % (time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)).encode(), nanoseconds)


def rotated(directory: str | int) -> list[int]:
    """Return the numbers of the files `log.N` in *directory*, in ascending order: the oldest comes first."""
    found = []
    for name in os.listdir(directory):
        head, _, number = name.partition(".")
        if head == LOG_NAME and number.isascii() and number.isdigit() and str(int(number)) == number:
            found.append(int(number))
    return sorted(found)
