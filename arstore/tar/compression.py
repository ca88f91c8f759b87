"""Compression of archives and layers: detected by content, decompressed as a stream, and made for exports.

Formats: gzip (RFC 1952), zstd (RFC 8878), xz (the .xz file format 1.2), bzip2. A stream may consist of several members
or frames, one after the other, as pigz, pbzip2, eStargz and zstd:chunked write them. zstd's skippable frames, xz's
stream padding and zeros after the last gzip member are skipped; anything else there is an error.

Not here: the content, and digests (a `VerifiedReader` below or above checks those). A decompressing reader reads its
source until that returns b"", so that a verifier below it has seen everything.

Memory: one read returns at most the bytes asked for, even of a decompression bomb. A stream that needs a window over
128 MiB (`zstd --long=27` is within) is refused.
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
"""Compressed bytes fed to a new frame at first: small, because input left over by each tiny frame is copied."""


class PlainReader:
    """A stream that is not compressed; it returns first the bytes that were read to find that out."""

    compression = Compression.NONE

    def __init__(self, source: Reader, head: bytes, what: str = "", limit: int | None = None) -> None:
        self._source = source
        self._head = head
        self._what = what
        self._limit = limit
        self.produced = 0

    def read(self, size: int = -1, /) -> bytes:
        """Return at most *size* bytes, b"" at the end. Raises LimitError if the whole content is over the limit."""
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
    """A compressed stream that is decompressed while it is read."""

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
        """Return at most *size* bytes, and at least half of them unless the content ends; b"" at the end.

        A negative *size* reads everything: use it only if something else limits the size of the content.

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
        """Do one step; return up to *size* bytes, also b"" if the step had no output."""
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
            # The rest is the end of the last input, which is still in the buffer: no refill happened since.
            self._at -= len(frame.unused_data)
            self._frame = None
            self._step = FIRST_STEP
        elif not output and self._exhausted and not data:
            raise TruncatedError(self._what, f"its {self.compression.value} stream ends too early")
        return output

    def _refill(self) -> None:
        """Replace the buffer, which is used up, by the source's next bytes."""
        if not self._exhausted:
            self._buffer = self._source.read(INPUT)
            self._consumed += len(self._buffer)
            self._at = 0
            self._exhausted = not self._buffer

    def _peek(self, size: int) -> bytes:
        """Return the next *size* bytes of input without consuming them; fewer only at the end."""
        while len(self._buffer) - self._at < size and not self._exhausted:
            held = self._buffer[self._at :]
            self._refill()
            if held:
                self._buffer = held + self._buffer
        return self._buffer[self._at : self._at + size]

    def _next_frame(self) -> Frame | None:
        """Return a decompressor for the next frame, or None at the end."""
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
            raise CompressionError(self._what, f"not a {name} stream")
        if head[0] or not self._codec.padding:
            raise CompressionError(self._what, f"something other than {name} after the end of its {name} stream")
        self._skip_padding()
        return self._next_frame() if self._peek(1) else None

    def _skip_padding(self) -> None:
        """Skip zeros. The codec says which amounts are allowed, and whether another frame may follow."""
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
"""Result of `decompressed`: `read`, `compression` as detected, and `produced`, the bytes returned so far."""


def decompressed(
    source: Reader,
    what: str = "",
    compression: Compression | None = None,
    *,
    limit: int | None = None,
    limits: Limits | None = None,
) -> Decompressed:
    """Return a reader of the decompressed content of *source*.

    With *compression* None, the first bytes decide. *what* names the source in errors. *limit* is the maximum size of
    the whole content in bytes; *limits* also bounds the ratio of content to compressed bytes.

    Raises CompressionError when the compression is known but not supported. Reading raises TruncatedError where the
    stream is cut, CompressionError where it is damaged, LimitError for a window over 128 MiB or content over *limit*.
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
        raise LimitError(what, f"has more than {limit} bytes when decompressed")


class Compressor:
    """Writes a compressed stream to a sink. `close` ends the stream, but does not close the sink."""

    def __init__(self, sink_write: Callable[[bytes | memoryview], object], state: Compressing | None) -> None:
        self._sink_write = sink_write
        self._state = state

    def write(self, data: bytes | memoryview) -> None:
        """Add *data*. Raises what the sink's write raises."""
        if self._state is None:
            self._sink_write(data)
        elif output := self._state.compress(data):
            self._sink_write(output)

    def close(self) -> None:
        """Write all bytes held back, and the end of the stream."""
        if self._state is not None:
            self._sink_write(self._state.flush())
            self._state = None
        self._sink_write = _refuse


def _refuse(data: bytes | memoryview) -> object:
    raise ValueError("write to a compressor that was closed")


def compressor(
    sink_write: Callable[[bytes | memoryview], object], compression: Compression, level: int | None = None
) -> Compressor:
    """Return a compressor to gzip, zstd or none that passes its output to *sink_write*.

    The output depends only on the input, its division into writes, the level (None: 6 for gzip, 3 for zstd) and the
    library's version.

    Raises CompressionError for xz and bzip2, which are only read.
    """
    if compression is Compression.NONE:
        return Compressor(sink_write, None)
    if compression is Compression.GZIP:
        return Compressor(sink_write, gzip_compressing(6 if level is None else level))
    if compression is Compression.ZSTD:
        return Compressor(sink_write, zstd_compressing(3 if level is None else level))
    raise CompressionError(compression.value, "can be read, but not written", "use gzip or zstd")
