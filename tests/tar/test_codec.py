from __future__ import annotations

import bz2
import gzip
import lzma

import pytest
from support import tarblocks

from arstore.errors import CompressionError
from arstore.tar.codec import Compression, detect, zstd_compressing


def zstd(data: bytes) -> bytes:
    state = zstd_compressing(3)
    return state.compress(data) + state.flush()


@pytest.mark.parametrize(
    ("stream", "compression"),
    [
        (gzip.compress(b"x", mtime=0), Compression.GZIP),
        (zstd(b"x"), Compression.ZSTD),
        (b"\x5f\x2a\x4d\x18\x00\x00\x00\x00", Compression.ZSTD),
        (lzma.compress(b"x"), Compression.XZ),
        (bz2.compress(b"x"), Compression.BZIP2),
        (bz2.compress(b""), Compression.BZIP2),
        (b"", Compression.NONE),
        (b"\x1f", Compression.NONE),
        (b"{}", Compression.NONE),
        (bytes(512), Compression.NONE),
        (tarblocks.header(b"BZh9 notes"), Compression.NONE),
        (tarblocks.header(b"LZIP"), Compression.NONE),
        (tarblocks.header(b"]"), Compression.NONE),
        (tarblocks.header(b"PK"), Compression.NONE),
    ],
)
def test_detect(stream: bytes, compression: Compression) -> None:
    assert detect(stream[:16]) is compression


@pytest.mark.parametrize(
    ("head", "name"),
    [
        (b"\x04\x22\x4d\x18\x64\x40\xa7", "lz4"),
        (b"\x02\x21\x4c\x18", "lz4"),
        (b"LZIP\x01\x0c", "lzip"),
        (lzma.compress(b"x", format=lzma.FORMAT_ALONE)[:16], "lzma-alone"),
        (b"\x1f\x9d\x90", "compress"),
        (b"\x1f\x1e", "pack"),
        (b"\x89LZO\0\r\n\x1a\n", "lzop"),
        (b"7z\xbc\xaf\x27\x1c", "7z"),
        (b"PK\x03\x04", "zip"),
        (b"\x27\xb5\x2f\xfd", "zstd older"),
        (b"\xff\x06\x00\x00sNaPpY", "snappy"),
    ],
)
def test_what_is_known_but_not_read_is_named(head: bytes, name: str) -> None:
    with pytest.raises(CompressionError, match=name):
        detect(head, "layer")
