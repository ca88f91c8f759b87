"""The container's standard input, output and error.

A container never gets one of the caller's files: it could open it again through /proc/self/fd with other rights,
truncate it, or make it non-blocking for everyone who shares it, and the runtime would change its owner. It gets pipes,
or with `-t` a terminal, and `relay` moves the bytes. If the caller's output and error are one file, they share a pipe,
which keeps their order. A failing runtime writes to the same standard error; its text becomes part of arstore's error.

Out of scope: the terminal's modes and size, see `terminal`.
"""

from __future__ import annotations

import contextlib
import fcntl
import os

from arstore.runtime.stdio import terminal
from arstore.runtime.stdio.logs import LogWriter
from arstore.runtime.stdio.relay import Relay, feed
from arstore.values import NamedTuple

_PIPE_SIZE = 1 << 20


class Stdio(NamedTuple):
    """Targets of the three streams: this process's own 0, 1 and 2, or the open log *log_fd*."""

    interactive: bool = False
    tty: bool = False
    log_fd: int | None = None


class Streams:
    """The streams of one container process. *given* are the descriptors for the runtime: input, output, error."""

    def __init__(self, stdio: Stdio) -> None:
        self._stdio = stdio
        self._ends: list[int] = []
        self._outputs: list[tuple[str, Relay]] = []
        self._input_end = -1
        self._errors = -1
        self._master = -1
        self.given = self._plan()

    def _plan(self) -> tuple[int, int, int]:
        errors = self._output(2, "stderr")
        if self._stdio.tty:
            null = self._null()
            return null, null, errors
        has_log = self._stdio.log_fd is not None
        source = self._input() if self._stdio.interactive and not has_log else self._null()
        if not has_log and _same_file(1, 2):
            return source, errors, errors
        return source, self._output(1, "stdout"), errors

    def _null(self) -> int:
        self._ends.append(os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC))
        return self._ends[-1]

    def _input(self) -> int:
        reading, self._input_end = os.pipe()
        self._ends.append(reading)
        return reading

    def _output(self, target: int, stream: str) -> int:
        reading, writing = os.pipe()
        with contextlib.suppress(OSError):
            fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, _PIPE_SIZE)
        self._ends.append(writing)
        if stream == "stderr":
            self._errors = reading
        self._outputs.append((stream, self._relay(reading, target, stream)))
        return writing

    def _relay(self, source: int, target: int, stream: str) -> Relay:
        if self._stdio.log_fd is None:
            return Relay(source, target)
        writer = LogWriter(self._stdio.log_fd, stream)
        return Relay(source, sink=writer.write, finish=writer.finish)

    def handed_over(self) -> None:
        """Close the runtime's descriptors on this side, so that the end of a stream is noticed."""
        for fd in self._ends:
            os.close(fd)
        self._ends.clear()

    def printed(self) -> bytes:
        """Return the text that a failed runtime, which has ended, wrote to standard error."""
        os.set_blocking(self._errors, False)
        with contextlib.suppress(BlockingIOError):
            return os.read(self._errors, _PIPE_SIZE)
        return b""

    def attach(self, master: int) -> None:
        """Take over the container's terminal; call it before `start`."""
        self._master = master
        self._outputs.append(("stdout", self._relay(master, 1, "stdout")))
        self.resize()

    def resize(self) -> None:
        """Set the container's terminal to the size of the user's."""
        if self._master >= 0 and self._stdio.log_fd is None:
            terminal.follow_size(self._master, 0, 1, 2)

    def start(self) -> None:
        """Start to move bytes."""
        for _, relay in self._outputs:
            relay.start()
        if self._input_end >= 0:
            feed(0, self._input_end)
        elif self._master >= 0 and self._stdio.interactive and self._stdio.log_fd is None:
            # The end of an input that is not a terminal is sent as the end-of-file character.
            feed(0, os.dup(self._master), terminal.END_OF_FILE)

    def drain(self) -> dict[str, OSError]:
        """Pass on everything that the process, which has ended, has written; others may still hold its streams.

        Return the errors of streams that could not be written to, by name (stdout, stderr).
        """
        failed = {}
        for stream, relay in self._outputs:
            relay.finish()
            if relay.error is not None:
                failed[stream] = relay.error
        return failed


def _same_file(first: int, second: int) -> bool:
    try:
        one, two = os.fstat(first), os.fstat(second)
    except OSError:
        return False
    return (one.st_dev, one.st_ino) == (two.st_dev, two.st_ino)
