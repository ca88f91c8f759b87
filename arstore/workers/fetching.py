"""Streams that one process fetches and another reads, because the reader of hostile bytes may not open anything.

The fetching process opens one stream after the other, and sends the bytes through a pipe, in frames:

    kind (1 byte), length (u32, little-endian), data

    D   bytes of the current stream, at most CHUNK
    E   the end of the stream; the next frame belongs to the next stream
    F   why there are no more bytes: the error, as `wire`; the last frame

So the end of a stream is distinct from the end of the process, and a fetching error is raised where the bytes are read.
Memory: one chunk in either process, and the pipe's buffer. Not here: the source of a stream, and the privileges of
either process.
"""

from __future__ import annotations

import fcntl
import os
import struct
from contextlib import suppress
from typing import TYPE_CHECKING, Protocol

from arstore.digest import CHUNK
from arstore.errors import ArstoreError, HostError, naming, reportable
from arstore.linux.files.writing import write_all
from arstore.values import NamedTuple
from arstore.workers.wire import packed, unpacked

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    class Stream(Protocol):
        """A stream to fetch."""

        def read(self, size: int = -1, /) -> bytes:
            """Return at most *size* bytes, b"" at the end."""

        def close(self) -> None:
            """Release it."""


_FRAME = struct.Struct("<cI")
_PIPE = 256 << 10
"""Bytes that the pipe holds. Its content is lost when the processes are killed, and has to be fetched again."""
_PART = 128 << 10
"""Bytes of a stream that are read before they are sent. Small for the same reason: each process holds that many."""
_DATA, _END, _FAILURE = b"D", b"E", b"F"
_HINT = "it may have been compromised by its input"


class Wanted(NamedTuple):
    """A stream to fetch: its name in errors, its announced *size* in bytes, and the function that opens it."""

    what: str
    size: int
    open: Callable[[], Stream]


def fetch(wanted: Iterable[Wanted], pipe: int) -> None:
    """Send these streams, in order, each opened when the previous one has ended; at most one byte too many of each.

    An error is sent too, and ends the sending. Raises BrokenPipeError when the reader has gone.
    """
    with suppress(OSError):  # the user's pipes may have used up their memory limit
        fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, _PIPE)
    for one in wanted:
        try:
            with naming(one.what):
                stream = one.open()
                try:
                    _send_stream(stream, one.size, pipe)
                finally:
                    stream.close()
        except _NobodyReadsError:
            raise BrokenPipeError from None
        except BaseException as error:  # an error that is not sent is lost
            _send(pipe, _FAILURE, packed(_told(error, one.what)))
            return


def _told(error: BaseException, what: str) -> Exception:
    """Return *error* as the worker should raise it, with a message that makes sense there."""
    told = reportable(error, what)
    if told is error or not isinstance(told, HostError):
        return told
    return HostError(what, f"cannot be fetched: {told.why}")


class _NobodyReadsError(Exception):
    """The pipe is broken. A separate class, because a stream may also raise BrokenPipeError."""


def _send_stream(stream: Stream, size: int, pipe: int) -> None:
    left = size + 1
    while left > 0 and (data := stream.read(min(left, _PART))):
        left -= len(data)
        _send(pipe, _DATA, data)
    _send(pipe, _END, b"")


def _send(pipe: int, kind: bytes, data: bytes) -> None:
    try:
        write_all(pipe, _FRAME.pack(kind, len(data)))
        write_all(pipe, data)
    except BrokenPipeError as error:
        raise _NobodyReadsError from error


class Fetched:
    """The streams at the reading end of the pipe. They are read in the order in which they are sent."""

    def __init__(self, pipe: int) -> None:
        self._pipe = pipe
        self._opened = 0
        self._current = 0
        self._left = 0

    def next(self) -> FetchedStream:
        """Return the next stream. Earlier streams have to be read first."""
        self._opened += 1
        return FetchedStream(self, self._opened - 1)

    def read(self, number: int, size: int) -> bytes:
        """Return at most *size* bytes of the stream *number*; b"" at its end and after it.

        Raises HostError, and the ArstoreError or OSError that the fetching process met.
        """
        while self._current < number:
            self._part(CHUNK)
        return self._part(size) if self._current == number else b""

    def _part(self, size: int) -> bytes:
        """Return at most *size* bytes of the current stream; at its end, b"", and go on to the next one."""
        if not self._left:
            kind, length = _FRAME.unpack(self._exactly(_FRAME.size))
            if kind == _END:
                self._current += 1
                return b""
            if kind == _FAILURE and length <= CHUNK:
                raise _failure(unpacked(self._exactly(length)))
            if kind != _DATA or not 0 < length <= CHUNK:
                raise HostError("worker", "a fetching process sent an invalid stream", _HINT)
            self._left = length
        # Take the whole frame, up to *size*: each piece costs the caller some work.
        data = self._exactly(min(size, self._left))
        self._left -= len(data)
        return data

    def _exactly(self, size: int) -> bytes:
        data = os.read(self._pipe, size)
        if len(data) == size:
            return data
        parts = [data]
        left = size - len(data)
        while left:
            data = os.read(self._pipe, left)
            if not data:
                raise _ended()
            parts.append(data)
            left -= len(data)
        return b"".join(parts)


class FetchedStream:
    """One stream, read from the pipe."""

    def __init__(self, streams: Fetched, number: int) -> None:
        self._streams = streams
        self._number = number

    def read(self, size: int = -1, /) -> bytes:
        """Return at most *size* bytes, b"" at the end. Raises HostError, ArstoreError, OSError, as `Fetched.read`."""
        if size < 0:
            return b"".join(iter(lambda: self.read(CHUNK), b""))
        return self._streams.read(self._number, size) if size else b""


def _failure(error: object) -> BaseException:
    if isinstance(error, ArstoreError | OSError):
        return error
    return HostError("worker", "a fetching process sent an invalid error", _HINT)


def _ended() -> HostError:
    return HostError("worker", "a fetching process ended unexpectedly")
