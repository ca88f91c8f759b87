"""Codecs: how the streams of each compression begin, are decompressed, and are made.

Libraries are imported when a codec is created, not earlier. Decompression of gzip uses ISA-L, else zlib-ng, where they
are installed (zlib takes twice as long, ISA-L a tenth less than zlib-ng); compression uses zlib-ng. zstd comes from the
standard library from Python 3.14 on, from backports.zstd below. Not here: streams of several frames (`compression`).
"""

from __future__ import annotations

import sys
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Protocol

from arstore.errors import CompressionError, LimitError

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType
    from typing import Any

WINDOW_LOG = 27
"""log2 of the largest window that a frame may ask for."""
HEAD = 16
"""Bytes that `detect` needs."""


_INFLATERS = ("isal.isal_zlib", "zlib_ng.zlib_ng", "zlib")
"""Modules that inflate, the fastest first; the last one is always installed."""


class Compression(Enum):
    """Compressions that can be read; the values are the names for people."""

    NONE = "none"
    GZIP = "gzip"
    ZSTD = "zstd"
    XZ = "xz"
    BZIP2 = "bzip2"


_MAGIC = {
    Compression.GZIP: b"\x1f\x8b",
    Compression.ZSTD: b"\x28\xb5\x2f\xfd",
    Compression.XZ: b"\xfd7zXZ\x00",
    Compression.BZIP2: b"BZh",
}
_SKIPPABLE = b"\x2a\x4d\x18"
_BZIP2_BLOCKS = (b"1AY&SY", b"\x17rE8P\x90")
_UNSUPPORTED = {
    b"\x04\x22\x4d\x18": "lz4",
    b"\x02\x21\x4c\x18": "lz4 (legacy)",
    b"LZIP\x01": "lzip",
    b"\x1f\x9d": "compress (.Z)",
    b"\x1f\xa0": "compress (LZH)",
    b"\x1f\x1e": "pack",
    b"\x89LZO\x00\r\n\x1a\n": "lzop",
    b"7z\xbc\xaf\x27\x1c": "7z",
    b"PK\x03\x04": "zip",
    b"PK\x05\x06": "zip",
    b"Rar!\x1a\x07": "rar",
    b"\xff\x06\x00\x00sNaPpY": "snappy",
}


def detect(head: bytes, what: str = "") -> Compression:
    """Return the compression of a stream that begins with *head* (`HEAD` bytes, or all there are); NONE if unknown.

    Raises CompressionError, with the name, for a compression that is known but not supported.
    """
    if head.startswith(_MAGIC[Compression.GZIP]) and head[2:3] in (b"", b"\x08"):
        return Compression.GZIP
    if head.startswith(_MAGIC[Compression.ZSTD]) or _is_skippable(head):
        return Compression.ZSTD
    if head.startswith(_MAGIC[Compression.XZ]):
        return Compression.XZ
    if head.startswith(_MAGIC[Compression.BZIP2]) and head[3:4] in b"123456789" and head[4:10] in _BZIP2_BLOCKS:
        return Compression.BZIP2
    name = _unsupported(head)
    if name:
        raise CompressionError(what, f"compressed with {name}, which is not supported", "use gzip or zstd")
    return Compression.NONE


def _is_skippable(head: bytes) -> bool:
    return head[1:4] == _SKIPPABLE and head[0] & 0xF0 == 0x50


def _unsupported(head: bytes) -> str:
    for magic, name in _UNSUPPORTED.items():
        if head.startswith(magic):
            return name
    if head[1:4] == b"\xb5\x2f\xfd" and 0x1E <= head[0] <= 0x27:
        return "zstd older than 0.8"
    # An lzma-alone header has no magic: its properties, a dictionary size that is 2^n or 2^n + 2^(n-1), a length.
    dictionary = int.from_bytes(head[1:5], "little")
    if head[:1] == b"\x5d" and len(head) >= 13 and dictionary >= 4096:
        length = int.from_bytes(head[5:13], "little")
        if dictionary.bit_count() <= 2 and (length < 1 << 40 or length == (1 << 64) - 1):
            return "lzma-alone"
    return ""


class Frame(Protocol):
    """One gzip member, zstd frame, xz or bzip2 stream being decompressed, with the interface of `bz2` and `lzma`."""

    @property
    def eof(self) -> bool:
        """Whether the frame has ended."""

    @property
    def needs_input(self) -> bool:
        """Whether all input is used up; if not, feed b""."""

    @property
    def unused_data(self) -> bytes:
        """After the end: the input beyond it."""

    def decompress(self, data: bytes | memoryview, /, max_length: int = -1) -> bytes:
        """Feed *data*, and return at most *max_length* bytes."""


class _Deflated(Protocol):
    """A `zlib.decompressobj`, of zlib or of zlib-ng."""

    @property
    def eof(self) -> bool: ...
    @property
    def unconsumed_tail(self) -> bytes: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes | memoryview, max_length: int = 0, /) -> bytes: ...


class _GzipMember:
    """A gzip member, with the interface of the other decompressors; zlib checks header and trailer."""

    __slots__ = ("_full", "_inflate")

    def __init__(self, inflate: _Deflated) -> None:
        self._inflate = inflate
        self._full = False

    @property
    def eof(self) -> bool:
        return self._inflate.eof

    @property
    def needs_input(self) -> bool:
        # Output that exactly fills max_length may be followed by more, even if no input is left over.
        return not self._full and not self._inflate.unconsumed_tail

    @property
    def unused_data(self) -> bytes:
        return self._inflate.unused_data

    def decompress(self, data: bytes | memoryview, /, max_length: int = -1) -> bytes:
        output = self._inflate.decompress(self._inflate.unconsumed_tail or data, max_length)
        self._full = len(output) == max_length
        return output


@dataclass(frozen=True, slots=True, kw_only=True)
class Codec:
    """Properties of the streams of one compression.

    `open` creates the decompressor of one frame. It raises `error` on damage; the message contains `limit_text` when
    the frame needs too much memory. The length of zeros after a frame must be a multiple of `padding`; 0 permits none.
    `padding_between` says whether another frame may follow them.
    """

    compression: Compression
    open: Callable[[], Frame]
    error: type[Exception] | tuple[type[Exception], ...]
    magics: tuple[bytes, ...]
    limit_text: str = ""
    padding: int = 0
    padding_between: bool = False

    def decompress(self, frame: Frame, data: bytes | memoryview, size: int, what: str) -> bytes:
        """Return at most *size* bytes of *frame*, after feeding *data*. Raises CompressionError, LimitError."""
        try:
            return frame.decompress(data, size)
        except self.error as error:
            name = self.compression.value
            if self.limit_text and self.limit_text in str(error):
                raise LimitError(what, f"its {name} stream needs a window over {1 << WINDOW_LOG - 20} MiB") from error
            raise CompressionError(what, f"its {name} stream is damaged") from error


def load(head: bytes) -> None:
    """Import the decompressor of a stream that begins with *head*, before a confinement that forbids imports."""
    with suppress(CompressionError):
        compression = detect(head)
        if compression is not Compression.NONE:
            codec(compression)


def codec(compression: Compression) -> Codec:
    """Return the codec of any compression but NONE."""
    return _CODECS[compression]()


def _gzip() -> Codec:
    module = _inflater()
    opener: Callable[[int], _Deflated] = module.decompressobj
    error: Any = module.error
    return Codec(
        compression=Compression.GZIP,
        open=lambda: _GzipMember(opener(16 + 15)),
        error=error,
        magics=(_MAGIC[Compression.GZIP],),
        padding=1,
    )


def _inflater() -> ModuleType:
    """Return the fastest installed module with zlib's interface."""

    import importlib

    for name in _INFLATERS:
        with suppress(ImportError):
            return importlib.import_module(name)
    raise AssertionError("unreachable")


def _zstd() -> Codec:
    zstd = _zstd_module()
    options = {zstd.DecompressionParameter.window_log_max: WINDOW_LOG}
    return Codec(
        compression=Compression.ZSTD,
        open=lambda: zstd.ZstdDecompressor(options=options),
        error=zstd.ZstdError,
        magics=(_MAGIC[Compression.ZSTD], *(bytes([0x50 | low]) + _SKIPPABLE for low in range(16))),
        limit_text="too much memory",
    )


def _xz() -> Codec:
    import lzma

    # The decoder needs some tens of KiB in addition to its dictionary.
    memory = (1 << WINDOW_LOG) + (1 << 20)
    return Codec(
        compression=Compression.XZ,
        open=lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=memory),
        error=lzma.LZMAError,
        magics=(_MAGIC[Compression.XZ],),
        limit_text="limit exceeded",
        padding=4,
        padding_between=True,
    )


def _bzip2() -> Codec:
    import bz2

    return Codec(
        compression=Compression.BZIP2,
        open=bz2.BZ2Decompressor,
        error=(OSError, ValueError),
        magics=(_MAGIC[Compression.BZIP2],),
    )


_CODECS: dict[Compression, Callable[[], Codec]] = {
    Compression.GZIP: _gzip,
    Compression.ZSTD: _zstd,
    Compression.XZ: _xz,
    Compression.BZIP2: _bzip2,
}


class Compressing(Protocol):
    """A `zlib.compressobj`, or a zstd compressor."""

    def compress(self, data: bytes | memoryview, /) -> bytes:
        """Add *data*; return what is ready."""

    def flush(self) -> bytes:
        """End the stream; return all that is left."""


def gzip_compressing(level: int) -> Compressing:
    """Return the state of a gzip member whose header has neither name nor time."""
    try:
        from zlib_ng import zlib_ng

        return zlib_ng.compressobj(level, zlib_ng.DEFLATED, 16 + 15)
    except ImportError:
        import zlib

        return zlib.compressobj(level, zlib.DEFLATED, 16 + 15)


def portable_compressing(compression: Compression, level: int | None = None) -> Compressing | None:
    """Return a compressor with the same output on every machine: zlib (level 6), libzstd (level 3), or None for NONE.

    zlib-ng and ISA-L are faster, but their output depends on the processor. Raises CompressionError for xz and bzip2.
    """
    if compression is Compression.NONE:
        return None
    if compression is Compression.GZIP:
        import zlib

        return zlib.compressobj(6 if level is None else level, zlib.DEFLATED, 16 + 15)
    if compression is Compression.ZSTD:
        return zstd_compressing(3 if level is None else level)
    raise CompressionError(compression.value, "can be read, but not written", "use gzip or zstd")


def zstd_compressing(level: int) -> Compressing:
    """Return the state of a zstd frame with a checksum."""
    zstd = _zstd_module()
    parameter = zstd.CompressionParameter
    options = {parameter.compression_level: level, parameter.checksum_flag: 1}
    state: Compressing = zstd.ZstdCompressor(options=options)
    return state


def _zstd_module() -> ModuleType:
    if sys.version_info >= (3, 14):
        from compression import zstd
    else:
        from backports import zstd
    return zstd
