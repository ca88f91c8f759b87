"""Decompress a whole archive in a process that can do nothing else.

Untrusted bytes are decompressed by C code. The process has no capabilities, opens no files, and the kernel refuses it
nearly everything else (`workers.confinement`); it reads from open descriptors and writes to a pipe. The importing
process reads the table of the archive from the pipe and spools the members, on another processor.
"""

from __future__ import annotations

import fcntl
import os
from typing import TYPE_CHECKING

from arstore.builtin import ExitStack, contextmanager, suppress
from arstore.digest import CHUNK
from arstore.linux.files.writing import write_all
from arstore.tar.compression import decompressed
from arstore.trees.preload import preload
from arstore.workers import confinement
from arstore.workers.pool import beside

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from arstore.digest import Reader
    from arstore.tar.codec import Compression
    from arstore.tar.limits import Limits


@contextmanager
def inflating(source: Reader, head: bytes, what: str, compression: Compression, limits: Limits) -> Iterator[Inflated]:
    """The decompressed content of *source*, which begins with *head*; another process reads *source*.

    Reading raises the errors of `decompressed`, OSError, and HostError if the process ends in another way. If the
    context ends before the content does, the process is ended.
    """
    with ExitStack() as stack:
        reading, writing = os.pipe2(os.O_CLOEXEC)
        stack.callback(os.close, reading)
        with ExitStack() as until_started:
            until_started.callback(os.close, writing)
            with suppress(OSError):  # the pipes of this user may have reached their memory limit
                fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, CHUNK)

            def inflate() -> int:
                os.close(reading)
                preload(heads=[head])
                confinement.reading().enter()
                counted = _Counted(source)
                inflated = decompressed(counted, what, compression, limits=limits)
                while data := inflated.read(CHUNK):
                    write_all(writing, data)
                # The reader must see the end of the pipe before it gets the outcome.
                os.close(writing)
                return counted.count

            outcome = stack.enter_context(beside(inflate))
        yield Inflated(reading, outcome)


class _Counted:
    """Counts the bytes that are read from *source*."""

    def __init__(self, source: Reader) -> None:
        self._source = source
        self.count = 0

    def read(self, size: int = -1, /) -> bytes:
        data = self._source.read(size)
        self.count += len(data)
        return data


class Inflated:
    """The reading end of the pipe; at its end, the outcome of the other process is raised or kept.

    At the end, `consumed` is the number of bytes read from the source.
    """

    def __init__(self, fd: int, outcome: Callable[[], int]) -> None:
        self.consumed = 0
        self._fd = fd
        self._outcome = outcome
        self._ended = False

    def read(self, size: int = -1, /) -> bytes:
        """At most *size* bytes, b"" at the end."""
        if size < 0:
            return b"".join(iter(lambda: self.read(CHUNK), b""))
        data = b"" if self._ended else os.read(self._fd, size)
        if not data and size and not self._ended:
            self._ended = True
            self.consumed = self._outcome()
        return data
