"""The container's standard input, output and error, and the threads that move bytes where the files themselves cannot
be given.

A pipe or file of the user's is given to the container as it is, with two exceptions. A terminal is never given away
without `-t`: the container would hold the user's keyboard. And standard error goes through a pipe, because the
runtime writes to the same descriptor when it fails, and what it says belongs into arstore's error; where output and
error are one file they share that pipe, so that their order stays. With a terminal of the container's own, everything
passes through that.

Threads do the moving, because every read and write may block. Out of scope: the terminal's modes and size, see
`terminal`.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import threading
from typing import TYPE_CHECKING, NamedTuple

from arstore.runtime import terminal
from arstore.runtime.logs import LogWriter

if TYPE_CHECKING:
    from collections.abc import Callable

    Sink = Callable[[bytes], None]

_PIPE_SIZE = 1 << 20
_READ = 1 << 16


class Stdio(NamedTuple):
    """Where the three streams are to go: this process's own 0, 1 and 2, or the log that *log_fd* has open."""

    interactive: bool = False
    tty: bool = False
    log_fd: int | None = None


class Streams:
    """One container process's streams. *given* are the descriptors for the runtime: input, output, error."""

    def __init__(self, stdio: Stdio) -> None:
        self._stdio = stdio
        self._ends: list[int] = []
        self._inputs: list[tuple[int, int]] = []
        self._outputs: list[tuple[int, Sink, Callable[[], None]]] = []
        self._threads: list[threading.Thread] = []
        self._errors = -1
        self._master = -1
        self.given = self._plan()

    def _plan(self) -> tuple[int, int, int]:
        if self._stdio.tty:
            null = self._null()
            return null, null, self._output(2, "stderr")
        if self._stdio.log_fd is not None:
            return self._null(), self._output(1, "stdout"), self._output(2, "stderr")
        source = self._input() if self._stdio.interactive else self._null()
        errors = self._output(2, "stderr")
        if _same_file(1, 2):
            return source, errors, errors
        return source, self._output(1, "stdout") if os.isatty(1) else 1, errors

    def _null(self) -> int:
        self._ends.append(os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC))
        return self._ends[-1]

    def _input(self) -> int:
        if not os.isatty(0):
            return 0
        reading, writing = os.pipe()
        self._ends.append(reading)
        self._inputs.append((0, writing))
        return reading

    def _output(self, target: int, stream: str) -> int:
        reading, writing = os.pipe()
        with contextlib.suppress(OSError):
            fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, _PIPE_SIZE)
        self._ends.append(writing)
        if stream == "stderr":
            self._errors = reading
        self._outputs.append((reading, *self._sink(target, stream)))
        return writing

    def _sink(self, target: int, stream: str) -> tuple[Sink, Callable[[], None]]:
        if self._stdio.log_fd is None:
            return lambda data: write_all(target, data), _nothing
        writer = LogWriter(self._stdio.log_fd, stream)
        return writer.write, writer.finish

    def handed_over(self) -> None:
        """The runtime has its descriptors: close them here, so that an end is seen as one."""
        for fd in self._ends:
            os.close(fd)
        self._ends.clear()

    def printed(self) -> bytes:
        """What a runtime that failed, and has ended, wrote to standard error."""
        os.set_blocking(self._errors, False)
        with contextlib.suppress(BlockingIOError):
            return os.read(self._errors, _PIPE_SIZE)
        return b""

    def attach(self, master: int) -> None:
        """Take the container's terminal; before `start`."""
        self._master = master
        self._outputs.append((master, *self._sink(1, "stdout")))
        self.resize()

    def resize(self) -> None:
        """Give the container's terminal the size of the user's."""
        if self._master >= 0 and self._stdio.log_fd is None:
            terminal.follow_size(self._master, 0, 1, 2)

    def start(self) -> None:
        """Begin to move bytes."""
        for source, sink, finish in self._outputs:
            self._thread(_move, source, sink, finish, join=True)
        for source, target in self._inputs:
            self._thread(_feed, source, target, join=False)
        if self._master >= 0 and self._stdio.interactive and self._stdio.log_fd is None:
            self._thread(_type, 0, self._master, join=False)

    def drain(self) -> None:
        """Wait until all that the container wrote is where it belongs; the container has ended."""
        for thread in self._threads:
            thread.join()

    def _thread(self, target: Callable[..., None], *args: object, join: bool) -> None:
        thread = threading.Thread(target=target, args=args, daemon=True)
        thread.start()
        if join:
            self._threads.append(thread)


def write_all(fd: int, data: bytes) -> None:
    """Write all of *data*, however many calls it takes. Raises OSError."""
    view = memoryview(data)
    while view:
        try:
            view = view[os.write(fd, view) :]
        except BlockingIOError:
            _wait_writable(fd)


def _wait_writable(fd: int) -> None:
    """Somebody has made the user's file non-blocking: the flag belongs to all who share the file, so it stays."""
    import select

    poll = select.poll()
    poll.register(fd, select.POLLOUT)
    poll.poll()


def _read(fd: int) -> bytes:
    """The next bytes; b"" at the end, which a terminal whose other side has closed reports as EIO."""
    while True:
        try:
            return os.read(fd, _READ)
        except BlockingIOError:
            import select

            poll = select.poll()
            poll.register(fd, select.POLLIN)
            poll.poll()
        except OSError as error:
            if terminal.is_hang_up(error):
                return b""
            raise


def _move(source: int, sink: Sink, finish: Callable[[], None]) -> None:
    """Pass on until the end. When nobody reads any more (EPIPE), the container learns it in the same way."""
    try:
        while data := _read(source):
            sink(data)
    except OSError:
        # The target is gone or full: closing the pipe is how the container is told.
        pass
    finally:
        with contextlib.suppress(OSError):
            finish()
        os.close(source)


def _feed(source: int, target: int) -> None:
    with contextlib.suppress(OSError):
        while data := _read(source):
            write_all(target, data)
    os.close(target)


def _type(source: int, master: int) -> None:
    """Type what the user types; the end of an input that is no terminal is typed as the end of file."""
    with contextlib.suppress(OSError):
        while data := _read(source):
            write_all(master, data)
        write_all(master, terminal.END_OF_FILE)


def _same_file(first: int, second: int) -> bool:
    try:
        one, two = os.fstat(first), os.fstat(second)
    except OSError:
        return False
    return (one.st_dev, one.st_ino) == (two.st_dev, two.st_ino)


def _nothing() -> None:
    return
