"""Streams that one process fetches and another reads, because who reads hostile bytes may open nothing.

The fetching process opens one stream after the other, and sends what it reads through a pipe, in frames:

    kind (1 byte), length (u32, little-endian), data

    D   bytes of the current stream, at most CHUNK
    E   the end of the stream; what follows is the next one's
    F   why there is no more: the error, as `wire`; the last frame

So the end of a stream is never the end of the process, and what went wrong there is raised where the bytes are read.
Memory: one chunk in either process, and the pipe's own buffer. Not in scope: what a stream is read from, and the
rights of either process.
"""

from __future__ import annotations

import fcntl
import os
import struct
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple, Protocol

from arstore.digest import CHUNK
from arstore.errors import ArstoreError, HostError, naming, reportable
from arstore.linux.files.writing import write_all
from arstore.workers.wire import packed, unpacked

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    class Stream(Protocol):
        """What is fetched."""

        def read(self, size: int = -1, /) -> bytes:
            """At most *size* bytes, b"" at the end."""

        def close(self) -> None:
            """Release it."""


_FRAME = struct.Struct("<cI")
_PIPE = 256 << 10
"""Bytes that the pipe holds: what is in it when the processes are killed has to be fetched again."""
_PART = 128 << 10
"""Bytes of a stream that are read before they are sent, for the same reason: both processes have so many in hand."""
_DATA, _END, _FAILURE = b"D", b"E", b"F"
_HINT = "what it was reading may have taken it over"


class Wanted(NamedTuple):
    """A stream to fetch: what it is called in errors, the *size* that was announced, and what opens it."""

    what: str
    size: int
    open: Callable[[], Stream]


def fetch(wanted: Iterable[Wanted], pipe: int) -> None:
    """Send these streams, in order, each opened when the one before has ended; of each one byte too many at most.

    What fails is sent too, and is the end. Raises BrokenPipeError when nobody reads any more.
    """
    with suppress(OSError):  # a user's pipes may have their share of memory already
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
        except BaseException as error:  # what is not said here is lost
            _send(pipe, _FAILURE, packed(_told(error, one.what)))
            return


def _told(error: BaseException, what: str) -> Exception:
    """*error* as the worker is to raise it: one that says something."""
    told = reportable(error, what)
    if told is error or not isinstance(told, HostError):
        return told
    return HostError(what, f"cannot be fetched: {told.why}")


class _NobodyReadsError(Exception):
    """The pipe is broken: not to be taken for an error of the stream."""


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
    """The streams at the reading end of the pipe, to be read in the order in which they were wanted."""

    def __init__(self, pipe: int) -> None:
        self._pipe = pipe
        self._opened = 0
        self._current = 0
        self._left = 0

    def next(self) -> FetchedStream:
        """The next of the streams; it may be read once those before it have been."""
        self._opened += 1
        return FetchedStream(self, self._opened - 1)

    def read(self, number: int, size: int) -> bytes:
        """At most *size* bytes of the stream *number*, b"" at its end and ever after.

        Raises what its reading raised, and HostError.
        """
        while self._current < number:
            self._part(CHUNK)
        return self._part(size) if self._current == number else b""

    def _part(self, size: int) -> bytes:
        """At most *size* bytes of the current stream; b"" at its end, and then the next one is the current."""
        if not self._left:
            kind, length = _FRAME.unpack(self._exactly(_FRAME.size))
            if kind == _END:
                self._current += 1
                return b""
            if kind == _FAILURE and length <= CHUNK:
                raise _failure(unpacked(self._exactly(length)))
            if kind != _DATA or not 0 < length <= CHUNK:
                raise HostError("worker", "a fetching process sent what is no stream", _HINT)
            self._left = length
        # All of the frame, as far as it is wanted: whoever takes it has work with each piece.
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
    """One of the streams."""

    def __init__(self, streams: Fetched, number: int) -> None:
        self._streams = streams
        self._number = number

    def read(self, size: int = -1, /) -> bytes:
        """At most *size* bytes, b"" at the end. Raises as `Fetched.read`."""
        if size < 0:
            return b"".join(iter(lambda: self.read(CHUNK), b""))
        return self._streams.read(self._number, size) if size else b""


def _failure(error: object) -> BaseException:
    if isinstance(error, ArstoreError | OSError):
        return error
    return HostError("worker", "a fetching process sent what is no error", _HINT)


def _ended() -> HostError:
    return HostError("worker", "a fetching process ended unexpectedly")
