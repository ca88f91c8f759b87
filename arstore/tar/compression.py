"""Compression of archives and layers: told by content, undone as a stream, and made for exports.

Formats: gzip (RFC 1952), zstd (RFC 8878), xz (the .xz file format 1.2), bzip2. A stream may consist of several members
or frames, one after the other, as pigz, pbzip2, eStargz and zstd:chunked write them; zstd's skippable frames, xz's
stream padding and zeros after the last gzip member are passed over, anything else there is an error.

Not in scope: what is inside, and digests (a `VerifiedReader` beneath or above does those). A decompressing reader reads
its source until that gives b"", so that a verifier beneath it has seen everything.

Memory: one read gives at most the bytes asked for, whatever a bomb would inflate to, and a stream that wants a window
over 128 MiB (`zstd --long=27` is within) is refused.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from arstore.digest import CHUNK
from arstore.errors import CompressionError, LimitError, TruncatedError
from arstore.tar.codec import HEAD, Compression, codec, detect, gzip_compressing, zstd_compressing

if TYPE_CHECKING:
    from collections.abc import Callable

    from arstore.digest import Reader
    from arstore.tar.codec import Compressing, Frame
    from arstore.tar.limits import Limits

__all__ = ["Compression", "Compressor", "Decompressed", "compressor", "decompressed", "detect"]

INPUT = 1 << 18
"""Compressed bytes taken from a source at a time."""
FIRST_STEP = 1 << 12
"""Compressed bytes fed to a new frame at first: what one tiny frame after the other leaves over is copied each time."""


class PlainReader:
    """A stream that is not compressed, with the bytes that were read from it to find that out put back."""

    compression = Compression.NONE

    def __init__(self, source: Reader, head: bytes, what: str = "", limit: int | None = None) -> None:
        self._source = source
        self._head = head
        self._what = what
        self._limit = limit
        self.produced = 0

    def read(self, size: int = -1, /) -> bytes:
        """At most *size* bytes, b"" at the end. Raises LimitError past the limit on the whole content."""
        if size < 0:
            return _read_all(self)
        if self.produced < len(self._head):
            data = self._head[self.produced : self.produced + size]
        else:
            data = self._source.read(size)
        self.produced += len(data)
        _check_limit(self.produced, self._limit, self._what)
        return data


class InflatingReader:
    """A compressed stream, undone while it is read."""

    def __init__(
        self,
        source: Reader,
        head: bytes,
        compression: Compression,
        what: str = "",
        limit: int | None = None,
        limits: Limits | None = None,
    ) -> None:
        self.compression = compression
        self.produced = 0
        self._limits = limits
        self._consumed = len(head)
        self._source = source
        self._what = what
        self._limit = limit
        self._codec = codec(compression)
        self._buffer = head
        self._at = 0
        self._step = FIRST_STEP
        self._frame: Frame | None = None
        self._first = True
        self._exhausted = False
        self._ended = False

    def read(self, size: int = -1, /) -> bytes:
        """At most *size* bytes, and at least half of them unless the content ends; b"" at the end.

        A negative *size* reads everything: only for content whose size is limited in some other way.

        Raises TruncatedError, CompressionError, LimitError.
        """
        if size < 0:
            return _read_all(self)
        parts: list[bytes] = []
        missing = size
        while missing > size // 2 and not self._ended:
            data = self._inflate(missing)
            if data:
                parts.append(data)
                missing -= len(data)
        self.produced += size - missing
        _check_limit(self.produced, self._limit, self._what)
        if self._limits is not None:
            self._limits.check_inflated(self.produced, self._consumed, self._what)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _inflate(self, size: int) -> bytes:
        """One step: up to *size* bytes, b"" also where a step gave none."""
        frame = self._frame
        if frame is None:
            frame = self._frame = self._next_frame()
            if frame is None:
                self._ended = True
                return b""
        data: bytes | memoryview = b""
        if frame.needs_input:
            if self._at == len(self._buffer):
                self._refill()
            data = memoryview(self._buffer)[self._at : self._at + self._step]
            self._at += len(data)
            self._step = min(2 * self._step, INPUT)
        output = self._codec.decompress(frame, data, size, self._what)
        if frame.eof:
            # What a frame leaves over is the end of what it was fed last, and no refill came between.
            self._at -= len(frame.unused_data)
            self._frame = None
            self._step = FIRST_STEP
        elif not output and self._exhausted and not data:
            raise TruncatedError(self._what, f"its {self.compression.value} stream ends too early")
        return output

    def _refill(self) -> None:
        """Replace the buffer, which has been used up, by the source's next bytes."""
        if not self._exhausted:
            self._buffer = self._source.read(INPUT)
            self._consumed += len(self._buffer)
            self._at = 0
            self._exhausted = not self._buffer

    def _peek(self, size: int) -> bytes:
        """The next *size* bytes of input, fewer only at its end; they stay unread."""
        while len(self._buffer) - self._at < size and not self._exhausted:
            held = self._buffer[self._at :]
            self._refill()
            if held:
                self._buffer = held + self._buffer
        return self._buffer[self._at : self._at + size]

    def _next_frame(self) -> Frame | None:
        """A decompressor for what follows, or None when nothing does."""
        head = self._peek(HEAD)
        if not head and not self._first:
            return None
        if head.startswith(self._codec.magics):
            self._first = False
            return self._codec.open()
        name = self.compression.value
        if len(head) < HEAD and any(magic.startswith(head) for magic in self._codec.magics):
            raise TruncatedError(self._what, f"its {name} stream ends too early")
        if self._first:
            raise CompressionError(self._what, f"no {name} stream")
        if head[0] or not self._codec.padding:
            raise CompressionError(self._what, f"something other than {name} after the end of its {name} stream")
        self._skip_padding()
        return self._next_frame() if self._peek(1) else None

    def _skip_padding(self) -> None:
        """Pass over zeros; the codec says which amounts are allowed, and whether another frame may follow."""
        name = self.compression.value
        count = 0
        while self._peek(1) == b"\0":
            rest = self._buffer[self._at :].lstrip(b"\0")
            count += len(self._buffer) - self._at - len(rest)
            self._at = len(self._buffer) - len(rest)
        if count % self._codec.padding:
            raise CompressionError(self._what, f"its {name} stream is followed by padding of an odd length")
        if self._peek(1) and not self._codec.padding_between:
            raise CompressionError(self._what, f"something other than zeros after the end of its {name} stream")


Decompressed = PlainReader | InflatingReader
"""What `decompressed` gives: `read`, `compression` as found, and `produced`, the bytes given so far."""


def decompressed(
    source: Reader,
    what: str = "",
    compression: Compression | None = None,
    *,
    limit: int | None = None,
    limits: Limits | None = None,
) -> Decompressed:
    """A reader of what *source* holds, its compression undone.

    *compression* None looks at the first bytes. *what* names the source in errors. *limit* is the most bytes that the
    whole content may have; *limits* also say how much more than its own size a compressed one may give.

    Raises CompressionError when the compression is known but not read. Reading raises TruncatedError where the stream
    is cut, CompressionError where it is damaged, LimitError for a window over 128 MiB or content over *limit*.
    """
    head = b""
    if compression is None:
        while len(head) < HEAD and (more := source.read(INPUT)):
            head = head + more if head else more
        compression = detect(head[:HEAD], what)
    if compression is Compression.NONE:
        return PlainReader(source, head, what, limit)
    return InflatingReader(source, head, compression, what, limit, limits)


def _read_all(reader: Reader) -> bytes:
    parts = []
    while data := reader.read(CHUNK):
        parts.append(data)
    return b"".join(parts)


def _check_limit(produced: int, limit: int | None, what: str) -> None:
    if limit is not None and produced > limit:
        raise LimitError(what, f"holds more than {limit} bytes when it is decompressed")


class Compressor:
    """Writes a compressed stream to a sink. `close` ends the stream, and leaves the sink open."""

    def __init__(self, sink_write: Callable[[bytes | memoryview], object], state: Compressing | None) -> None:
        self._sink_write = sink_write
        self._state = state

    def write(self, data: bytes | memoryview) -> None:
        """Add *data*; what the sink's write raises passes through."""
        if self._state is None:
            self._sink_write(data)
        elif output := self._state.compress(data):
            self._sink_write(output)

    def close(self) -> None:
        """Write all that is still held back, and the end of the stream."""
        if self._state is not None:
            self._sink_write(self._state.flush())
            self._state = None
        self._sink_write = _refuse


def _refuse(data: bytes | memoryview) -> object:
    raise ValueError("write to a compressor that was closed")


def compressor(
    sink_write: Callable[[bytes | memoryview], object], compression: Compression, level: int | None = None
) -> Compressor:
    """A compressor to gzip, zstd or none that passes its output to *sink_write*.

    The output depends on nothing but the input, how it is cut into writes, the level (None: 6 for gzip, 3 for zstd)
    and the library's version.

    Raises CompressionError for xz and bzip2, which are only read.
    """
    if compression is Compression.NONE:
        return Compressor(sink_write, None)
    if compression is Compression.GZIP:
        return Compressor(sink_write, gzip_compressing(6 if level is None else level))
    if compression is Compression.ZSTD:
        return Compressor(sink_write, zstd_compressing(3 if level is None else level))
    raise CompressionError(compression.value, "is a compression that is only read", "use gzip or zstd")
