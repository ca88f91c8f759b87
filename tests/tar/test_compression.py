from __future__ import annotations

import bz2
import functools
import gzip
import io
import lzma
import random
import struct
import subprocess
import sys
import zlib
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arstore.digest import Digest, VerifiedReader
from arstore.errors import ArstoreError, CompressionError, DigestMismatchError, LimitError, TruncatedError
from arstore.tar.codec import zstd_compressing
from arstore.tar.compression import Compression, compressor, decompressed

if TYPE_CHECKING:
    from collections.abc import Callable

READ = [Compression.GZIP, Compression.ZSTD, Compression.XZ, Compression.BZIP2]


def zstd(data: bytes) -> bytes:
    state = zstd_compressing(3)
    return state.compress(data) + state.flush()


PACK: dict[Compression, Callable[[bytes], bytes]] = {
    Compression.NONE: bytes,
    Compression.GZIP: gzip.compress,
    Compression.ZSTD: zstd,
    Compression.XZ: lzma.compress,
    Compression.BZIP2: bz2.compress,
}


class Dripping:
    """A source that returns at most *most* bytes at a time, like a pipe, and counts reads after its end."""

    def __init__(self, data: bytes, most: int) -> None:
        self.file = io.BytesIO(data)
        self.most = most
        self.ends = 0

    def read(self, size: int = -1, /) -> bytes:
        data = self.file.read(self.most if size < 0 else min(size, self.most))
        self.ends += not data
        return data


def sample(size: int = 200_000) -> bytes:
    chance = random.Random(size)
    return bytes(chance.choices(b"abcdefgh", k=size)) + bytes(size)


@pytest.mark.parametrize("compression", PACK)
@pytest.mark.parametrize("most", [1 << 20, 1000, 7])
@pytest.mark.parametrize("size", [1 << 20, 4096, -1])
def test_content_comes_out_whole_however_it_is_read(compression: Compression, most: int, size: int) -> None:
    data = sample(20_000)
    source = Dripping(PACK[compression](data), most)
    reader = decompressed(source, "layer")
    assert reader.compression is compression
    found = []
    while chunk := reader.read(size):
        assert size < 0 or len(chunk) <= size
        found.append(chunk)
    assert b"".join(found) == data
    assert reader.produced == len(data)
    assert source.ends >= 1
    assert reader.read(10) == b""


@pytest.mark.parametrize("compression", READ)
def test_a_large_read_gives_much_at_once(compression: Compression) -> None:
    reader = decompressed(Dripping(PACK[compression](random.Random(1).randbytes(1_200_000)), 1 << 16))
    assert len(reader.read(1 << 20)) >= 1 << 19


@pytest.mark.parametrize("compression", READ)
@given(parts=st.lists(st.binary(max_size=300), min_size=1, max_size=30), most=st.integers(1, 5000))
def test_frames_one_after_the_other(compression: Compression, parts: list[bytes], most: int) -> None:
    stream = b"".join(PACK[compression](part) for part in parts)
    assert decompressed(Dripping(stream, most), "layer", compression).read() == b"".join(parts)


def test_many_tiny_members_do_not_take_for_ever() -> None:
    assert decompressed(io.BytesIO(gzip.compress(b"") * 50_000)).read() == b""


def test_skippable_frames_of_zstd() -> None:
    skip = struct.pack("<II", 0x184D2A53, 700_000) + bytes(700_000)
    assert decompressed(Dripping(skip + zstd(b"one") + skip + zstd(b"two") + skip, 9000)).read() == b"onetwo"


@pytest.mark.parametrize("compression", READ)
def test_a_stream_cut_anywhere_is_truncated(compression: Compression) -> None:
    stream = PACK[compression](sample(3000))
    for cut in {*range(60), *range(60, len(stream), 17), *range(len(stream) - 20, len(stream))}:
        with pytest.raises(TruncatedError):
            decompressed(io.BytesIO(stream[:cut]), "layer", compression).read()
        if cut:
            with pytest.raises(TruncatedError):
                decompressed(io.BytesIO(stream + stream[:cut]), "layer", compression).read()


@pytest.mark.parametrize("compression", READ)
def test_damage_never_gives_an_error_of_another_kind(compression: Compression) -> None:
    data = sample(3000)
    stream = PACK[compression](data)
    chance = random.Random(1)
    errors = 0
    for _ in range(300):
        altered = bytearray(stream)
        altered[chance.randrange(len(altered))] ^= 1 << chance.randrange(8)
        try:
            same = decompressed(io.BytesIO(bytes(altered)), "layer", compression).read() == data
        except ArstoreError:
            errors += 1
        else:
            # Bits without meaning, such as a gzip header's time.
            assert same
    assert errors > 200


@pytest.mark.parametrize("compression", READ)
@given(st.binary(max_size=200))
def test_anything_at_all(compression: Compression, data: bytes) -> None:
    try:
        decompressed(io.BytesIO(data), "layer", compression).read()
        decompressed(io.BytesIO(PACK[compression](b"x") + data), "layer").read()
    except (CompressionError, TruncatedError, LimitError):
        pass


@pytest.mark.parametrize(
    ("compression", "tail", "error"),
    [
        (Compression.GZIP, bytes(1), None),
        (Compression.GZIP, bytes(700_001), None),
        (Compression.GZIP, b"junk", CompressionError),
        (Compression.GZIP, bytes(10) + b"junk", CompressionError),
        (Compression.GZIP, bytes(10) + gzip.compress(b"x", mtime=0), CompressionError),
        (Compression.XZ, bytes(4), None),
        (Compression.XZ, bytes(512), None),
        (Compression.XZ, bytes(3), CompressionError),
        (Compression.XZ, bytes(4) + b"junk", CompressionError),
        (Compression.ZSTD, bytes(4), CompressionError),
        (Compression.ZSTD, b"\x04\x22\x4d\x18" + bytes(20), CompressionError),
        (Compression.BZIP2, bytes(512), CompressionError),
    ],
)
@pytest.mark.parametrize("most", [1 << 20, 3])
def test_what_may_follow_the_last_frame(
    compression: Compression, tail: bytes, error: type[ArstoreError] | None, most: int
) -> None:
    if len(tail) > 1000 and most == 3:
        most = 4097
    reader = decompressed(Dripping(PACK[compression](b"content") + tail, most), "layer")
    if error is None:
        assert reader.read() == b"content"
    else:
        with pytest.raises(error, match="layer"):
            reader.read()


def test_padding_between_xz_streams() -> None:
    assert decompressed(io.BytesIO(lzma.compress(b"a") + bytes(8) + lzma.compress(b"b"))).read() == b"ab"


def test_a_bomb_comes_out_in_bounded_pieces_and_stops_at_the_limit() -> None:
    bomb = gzip.compress(bytes(50_000_000))
    reader = decompressed(io.BytesIO(bomb), "layer", limit=3_000_000)
    sizes: list[int] = []
    with pytest.raises(LimitError, match="more than 3000000 bytes"):
        sizes.extend(map(len, iter(lambda: reader.read(100_000), b"")))
    assert max(sizes) <= 100_000
    assert sum(sizes) <= 3_000_000
    plain = decompressed(io.BytesIO(bytes(101)), "layer", limit=100)
    with pytest.raises(LimitError):
        plain.read()
    assert decompressed(io.BytesIO(gzip.compress(bytes(100))), limit=100).read() == bytes(100)


def test_windows_over_128_mib_are_refused() -> None:
    def xz(dictionary: int) -> bytes:
        return lzma.compress(b"x" * 1000, filters=[{"id": lzma.FILTER_LZMA2, "dict_size": dictionary}])

    def zstd_frame(window_log: int) -> bytes:
        # A frame header with a window descriptor, and one last raw block (RFC 8878, 3.1.1).
        return b"\x28\xb5\x2f\xfd\x00" + bytes([window_log - 10 << 3]) + (1 << 3 | 1).to_bytes(3, "little") + b"x"

    assert decompressed(io.BytesIO(xz(1 << 26))).read() == b"x" * 1000
    assert decompressed(io.BytesIO(zstd_frame(27))).read() == b"x"
    for stream in (xz(3 << 26), zstd_frame(28), zstd_frame(31)):
        with pytest.raises(LimitError, match="128 MiB"):
            decompressed(io.BytesIO(stream), "layer").read()


def test_a_verifier_beneath_sees_the_whole_source() -> None:
    stream = gzip.compress(b"content") + bytes(1000)
    good = VerifiedReader(io.BytesIO(stream), Digest.of(stream), len(stream))
    assert decompressed(good).read() == b"content"
    assert good.consumed == len(stream)
    with pytest.raises(DigestMismatchError):
        decompressed(VerifiedReader(io.BytesIO(stream), Digest.of(b""), len(stream))).read()


def test_a_foreign_compression_is_named() -> None:
    with pytest.raises(CompressionError, match="layer: compressed with lz4"):
        decompressed(io.BytesIO(b"\x04\x22\x4d\x18" + bytes(20)), "layer")


@pytest.fixture(params=["isal", "zlib_ng", "zlib"])
def inflater(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """One of the libraries that inflate, as if no faster one were installed."""
    name: str = request.param
    pytest.importorskip(name)
    for faster in ("isal", "zlib_ng", "zlib"):
        if faster == name:
            break
        monkeypatch.setitem(sys.modules, faster, None)
        for module in [one for one in sys.modules if one.startswith(f"{faster}.")]:
            monkeypatch.setitem(sys.modules, module, None)
    return name


@pytest.mark.usefixtures("inflater")
def test_every_library_that_inflates() -> None:
    stream = gzip.compress(sample())
    for data in (stream, stream * 3, stream + bytes(700)):
        expected = sample() * data.count(stream)
        assert decompressed(io.BytesIO(data)).read() == expected
        in_pieces = functools.partial(decompressed(io.BytesIO(data)).read, 777)
        assert b"".join(iter(in_pieces, b"")) == expected
    assert decompressed(io.BytesIO(gzip.compress(b""))).read() == b""


@pytest.mark.usefixtures("inflater")
@pytest.mark.parametrize("place", [-1, -5, 3, 20])
def test_damage_is_found_by_every_library(place: int) -> None:
    damaged = bytearray(gzip.compress(sample()))
    damaged[place] ^= 0xFF
    with pytest.raises((CompressionError, TruncatedError)):
        decompressed(io.BytesIO(bytes(damaged))).read()


@pytest.mark.usefixtures("inflater")
def test_a_cut_is_found_by_every_library() -> None:
    stream = gzip.compress(b"content" * 100)
    for length in range(1, len(stream)):
        with pytest.raises((CompressionError, TruncatedError)):
            decompressed(io.BytesIO(stream[:length]), compression=Compression.GZIP).read()


@pytest.mark.usefixtures("inflater")
def test_a_bomb_gives_no_more_than_was_asked_for() -> None:
    reader = decompressed(io.BytesIO(gzip.compress(bytes(50 << 20))))
    assert max(len(data) for data in iter(lambda: reader.read(1 << 20), b"")) <= 1 << 20


def test_writing_without_zlib_ng(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "zlib_ng", None)
    written = io.BytesIO()
    sink = compressor(written.write, Compression.GZIP)
    sink.write(b"content")
    sink.close()
    assert gzip.decompress(written.getvalue()) == b"content"


@pytest.mark.tools("gzip", "zstd", "xz", "bzip2")
@pytest.mark.parametrize(
    "command",
    [["gzip", "-1"], ["zstd", "-1"], ["zstd", "--long=27"], ["xz", "-0", "-T2"], ["xz", "-0C", "sha256"], ["bzip2"]],
)
def test_what_the_real_programs_write(command: list[str]) -> None:
    data = sample()
    stream = subprocess.run([*command, "-c"], input=data, stdout=subprocess.PIPE, check=True).stdout
    assert decompressed(io.BytesIO(stream)).read() == data


@pytest.mark.parametrize("compression", [Compression.NONE, Compression.GZIP, Compression.ZSTD])
@pytest.mark.parametrize("level", [None, 1])
def test_written_streams_read_back_and_are_the_same_each_time(compression: Compression, level: int | None) -> None:
    streams = []
    for _ in range(2):
        written = io.BytesIO()
        sink = compressor(written.write, compression, level)
        for start in range(0, 400_000, 100_000):
            sink.write(memoryview(sample())[start : start + 100_000])
        sink.close()
        streams.append(written.getvalue())
    assert streams[0] == streams[1]
    assert decompressed(io.BytesIO(streams[0]), compression=compression).read() == sample()
    if compression is Compression.GZIP:
        assert streams[0][3:8] == bytes(5)
        assert zlib.decompress(streams[0], 31) == sample()


@pytest.mark.parametrize("compression", [Compression.XZ, Compression.BZIP2])
def test_compressions_that_are_only_read(compression: Compression) -> None:
    with pytest.raises(CompressionError, match="can be read, but not written"):
        compressor(io.BytesIO().write, compression)


def test_a_closed_compressor_takes_nothing() -> None:
    sink = compressor(io.BytesIO().write, Compression.GZIP)
    sink.close()
    with pytest.raises(ValueError, match="closed"):
        sink.write(b"x")
