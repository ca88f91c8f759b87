"""The container's standard input, output and error.

A container never gets one of the caller's files: it could open it again through /proc/self/fd with other rights,
truncate it, or make it non-blocking for everyone who shares it, and the runtime would change its owner. It gets pipes,
or with `-t` a terminal, and `relay` or `hub` moves the bytes. If the caller's output and error are one file, they share
a pipe, which keeps their order. A failing runtime writes to the same standard error; its text becomes part of arstore's
error.

Out of scope: the terminal's modes and size, see `terminal`.
"""

from __future__ import annotations

import fcntl
import os
from contextlib import suppress
from typing import TYPE_CHECKING

from arstore.runtime.stdio import terminal
from arstore.runtime.stdio.logs import LogLimit, LogWriter
from arstore.runtime.stdio.relay import Relay, feed, write_waiting
from arstore.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

    from arstore.runtime.stdio.hub import Hub
    from arstore.runtime.stdio.log_files import LogFile

_PIPE_SIZE = 1 << 20
STREAMS = ("stdin", "stdout", "stderr")


class Detached(NamedTuple):
    """Where the streams of a process in the background lead; all numbers are open descriptors, -1 for none."""

    log_directory: int = -1
    """The directory with the log."""
    limit: LogLimit = LogLimit()
    listener: int = -1
    """The socket for clients."""
    client: int = -1
    """The socket of the command that started it."""
    ends_with_client: bool = True
    """Whether the process is killed if its own client ends without detaching."""
    size: tuple[int, int] | None = None
    """The first size of its terminal."""
    passed: tuple[int, int] | None = None
    """Files for output and error, in addition."""

    @property
    def inherited(self) -> tuple[int, ...]:
        """The descriptors that only the process which supervises the other one needs."""
        return tuple(fd for fd in (self.log_directory, self.listener, self.client) if fd >= 0)

    @property
    def descriptors(self) -> tuple[int, ...]:
        """All of them that are open."""
        return (*self.inherited, *(self.passed or ()))


class Stdio(NamedTuple):
    """Targets of the streams: this process's own 0, 1 and 2, those of them that are *attached*; or, if *detached* is
    given, what that says.
    """

    interactive: bool = False
    tty: bool = False
    detached: Detached | None = None
    attached: tuple[str, ...] = STREAMS


class Streams:
    """The streams of one container process. *given* are the descriptors for the runtime: input, output, error.

    *deliver* sends it a signal, for a client.
    """

    def __init__(self, stdio: Stdio, deliver: Callable[[int], None] = lambda _: None) -> None:
        self._stdio = stdio
        self._ends: list[int] = []
        self._outputs: list[tuple[str, Relay]] = []
        self._input_end = -1
        self._errors = -1
        self._master = -1
        self._log: LogFile | None = None
        self._hub: Hub | None = None
        if stdio.detached is not None:
            self._detach(stdio.detached, deliver)
        self.given = self._plan()

    def _detach(self, detached: Detached, deliver: Callable[[int], None]) -> None:
        # Not needed by commands that stay in the foreground.
        from arstore.runtime.stdio.hub import Hub
        from arstore.runtime.stdio.log_files import LogFile

        if detached.log_directory >= 0:
            self._log = LogFile(detached.log_directory, detached.limit)
        self._hub = Hub(deliver, detached.listener)
        if detached.client >= 0:
            self._hub.add_own(detached.client, ends_container=detached.ends_with_client)

    def _plan(self) -> tuple[int, int, int]:
        errors = self._output(2, "stderr")
        if self._stdio.tty:
            null = self._null()
            return null, null, errors
        takes_input = self._stdio.interactive and "stdin" in self._stdio.attached
        source = self._input() if takes_input else self._null()
        if self._hub is None and {"stdout", "stderr"} <= {*self._stdio.attached} and _same_file(1, 2):
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
        with suppress(OSError):
            fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, _PIPE_SIZE)
        self._ends.append(writing)
        if stream == "stderr":
            self._errors = reading
        self._connect(reading, target, stream)
        return writing

    def _connect(self, source: int, target: int, stream: str) -> None:
        """Have what comes from *source* passed on, later."""
        if self._hub is None:
            if stream not in self._stdio.attached:
                target = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
            self._outputs.append((stream, Relay(source, target)))
            return
        detached = self._stdio.detached
        if detached is not None and detached.passed is not None:
            fd = detached.passed[target - 1]
            self._hub.read(source, stream, lambda data: _written(fd, data))
        elif self._log is not None:
            writer = LogWriter(self._log.put, stream)
            self._hub.read(source, stream, writer.write, writer.finish)
        else:
            self._hub.read(source, stream, lambda _: None)

    def handed_over(self) -> None:
        """Close the runtime's descriptors on this side, so that the end of a stream is noticed."""
        for fd in self._ends:
            os.close(fd)
        self._ends.clear()

    def printed(self) -> bytes:
        """Return the text that a failed runtime, which has ended, wrote to standard error."""
        os.set_blocking(self._errors, False)
        with suppress(BlockingIOError):
            return os.read(self._errors, _PIPE_SIZE)
        return b""

    def attach(self, master: int) -> None:
        """Take over the container's terminal; call it before `start`."""
        self._master = master
        self._connect(master, 1, "stdout")
        if self._hub is not None:
            self._hub.resize(master)
            if self._stdio.interactive:
                self._hub.write(master)
        detached = self._stdio.detached
        if detached is None:
            self.resize()
        elif detached.size is not None:
            terminal.set_size(master, detached.size)

    def resize(self) -> None:
        """Set the container's terminal to the size of the user's; in the background, that is a client's business."""
        if self._master >= 0 and self._stdio.detached is None:
            terminal.follow_size(self._master, 0, 1, 2)

    def start(self) -> None:
        """Start to move bytes."""
        if self._hub is not None:
            if self._input_end >= 0:
                self._hub.write(self._input_end)
            self._hub.start()
            return
        for _, relay in self._outputs:
            relay.start()
        if self._input_end >= 0:
            feed(0, self._input_end)
        elif self._master >= 0 and self._stdio.interactive and "stdin" in self._stdio.attached:
            # The end of an input that is not a terminal is sent as the end-of-file character.
            feed(0, os.dup(self._master), terminal.END_OF_FILE)

    def drain(self, status: int) -> dict[str, OSError]:
        """Pass on what the container has written; return the errors of writing, by stream.

        Clients get the exit *status*, and what the log could not take is counted in `lost`.
        """
        failed = {}
        for stream, relay in self._outputs:
            relay.finish()
            if relay.error is not None:
                failed[stream] = relay.error
        if self._hub is not None:
            self._hub.finish(status)
        if self._log is not None:
            self._log.close()
        return failed

    @property
    def lost(self) -> int:
        """Bytes of output that are missing in the log, without a line in it that says so."""
        return 0 if self._log is None else self._log.lost


def _written(fd: int, data: bytes) -> None:
    with suppress(OSError):
        write_waiting(fd, data)


def _same_file(first: int, second: int) -> bool:
    try:
        one, two = os.fstat(first), os.fstat(second)
    except OSError:
        return False
    return (one.st_dev, one.st_ino) == (two.st_dev, two.st_ino)
