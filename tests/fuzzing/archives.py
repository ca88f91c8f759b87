"""Targets that read archives: tar, extended headers, sparse maps, compression."""

from __future__ import annotations

import io
import struct

from support import images, tarblocks

from arstore.tar import pax, sparse
from arstore.tar.compression import decompressed
from arstore.tar.limits import Limits
from arstore.tar.reader import TarReader
from fuzzing import mutators
from fuzzing.target import Target

LIMITS = Limits(
    headers=60, path=300, depth=20, pax=2048, long_name=1024, xattr_value=256, xattrs=512, sparse_runs=64,
    inflated=1 << 16,
    ratio=50, ratio_from=1 << 12,
)  # fmt: skip
"""Limits so low that short inputs exceed them."""


def read_tar(data: bytes) -> None:
    """Read all entries with their content; then by the headers alone, with the same result."""
    entries = []
    reader = TarReader(io.BytesIO(data), "archive", LIMITS)
    for entry in reader:
        for _ in reader.chunks():
            pass
        entries.append(entry)
    assert list(TarReader(io.BytesIO(data), "archive", LIMITS, seekable=True)) == entries


def seek_tar(data: bytes) -> None:
    """Read by the headers alone, in an archive that may be damaged."""
    for entry in TarReader(io.BytesIO(data), "archive", LIMITS, seekable=True):
        assert entry.size >= 0


def read_pax(data: bytes) -> None:
    """Read the records of an extended header, and apply them to a member."""
    pax.extension(pax.records(data, "archive"), LIMITS, "archive")


def read_sparse(data: bytes) -> None:
    """Read a map in one of its forms: in the header, in the data, in records."""
    if len(data) < 9:
        return
    form, size, stored = struct.unpack_from("<BII", data)
    blocks = iter([data[place : place + 512].ljust(512, b"\0") for place in range(9, len(data), 512)])

    def following() -> bytes:
        return next(blocks, bytes(512))

    if form % 3 == 0:
        # A header ends with its map; the blocks that follow begin with theirs.
        block = bytes(386) + data[9:135]
        runs, size = sparse.old_gnu(block.ljust(512, b"\0"), following, LIMITS, "archive")
    elif form % 3 == 1:
        runs = sparse.map_in_data(following, LIMITS, "archive")
    else:
        numbers = [number for (number,) in struct.iter_unpack("<I", data[9 : 9 + (len(data) - 9) // 4 * 4])]
        runs = sparse.pairs_of(numbers, "archive")
    assert sum(length for _, length in sparse.checked(runs, size, stored, "archive")) == stored


def inflate(data: bytes) -> None:
    """Inflate a stream of any compression, in steps, to its end."""
    reader = decompressed(io.BytesIO(data), "stream", limit=1 << 17, limits=LIMITS)
    total = 0
    while piece := reader.read(4096):
        total += len(piece)
    assert total == reader.produced


def _short(members: list[images.Member]) -> bytes:
    """The archive of the members without the zeros that pad it to 10 KiB."""
    data = images.tar(members)
    return data[: len(data.rstrip(b"\0")) + 511 & ~511] + tarblocks.END


def tar_seeds() -> list[bytes]:
    """Small archives of every form."""
    plain = [
        images.directory("d"),
        images.file("d/f", b"content"),
        images.hardlink("h", "d/f"),
        images.symlink("l", "d"),
        images.file("l/x", b"y" * 600),
    ]
    marks = [images.file("d/.wh.f"), images.file("d/.wh..wh..opq"), images.file("e/.wh.g"), images.fifo("p")]
    attributed = [images.file("a", b"1", xattrs={"user.a": b"1", "security.capability": b"\1\0\0\2" + bytes(16)})]
    blocks = tarblocks
    runs = b"%011o\0%011o\0" % (0, 5) + b"%011o\0%011o\0" % (4096, 3)
    old = bytearray(blocks.header(b"s", b"S", 8, magic=b"ustar  \0"))
    old[386 : 386 + len(runs)] = runs
    old[483:495] = b"%011o\0" % 5000
    sparse_map = b"2\n0\n5\n4096\n3\n".ljust(512, b"\0") + b"abcdefgh"
    gnu = blocks.pax(
        (b"GNU.sparse.major", b"1"),
        (b"GNU.sparse.minor", b"0"),
        (b"GNU.sparse.name", b"s"),
        (b"GNU.sparse.realsize", b"5000"),
    )
    return [
        _short(plain),
        _short(marks),
        _short(attributed),
        _short([images.file(f"n{number}", b"z" * 40 * number, uid=70_000, mtime_ns=-1) for number in range(2)]),
        blocks.summed(bytes(old)) + blocks.padded(b"abcdefgh") + blocks.END,
        gnu + blocks.member(b"g", sparse_map) + blocks.END,
        blocks.member(b"././@LongLink", b"long/" * 30 + b"\0", b"L") + blocks.member(b"x", b"1") + blocks.END,
        blocks.member(b"././@LongLink", b"t" * 200 + b"\0", b"K") + blocks.header(b"x", b"2") + blocks.END,
        blocks.pax((b"path", b"p/q"), (b"size", b"3"), (b"mtime", b"-1.5"), letter=b"g") + blocks.member(b"x", b"123"),
        blocks.header(b"c", b"3", major=b"0000001\0", minor=b"0000003\0") + blocks.header(b"w", b"3") + blocks.END,
        blocks.member(b"v", b"vol", b"V") + blocks.member(b"D", b"dump", b"D") + blocks.member(b"7", b"7", b"7"),
    ]


def _pax_seeds() -> list[bytes]:
    record = tarblocks.record
    return [
        record(b"path", b"a/b") + record(b"linkpath", b"c") + record(b"size", b"12") + record(b"uid", b"1"),
        record(b"mtime", b"1700000000.123456789") + record(b"gid", b"70000") + record(b"mtime", b""),
        record(b"SCHILY.xattr.user.a", b"\0\1") + record(b"LIBARCHIVE.xattr.user%2eb", b"YQ"),
        record(b"GNU.sparse.map", b"0,5,4096,3") + record(b"GNU.sparse.size", b"5000"),
        record(b"GNU.sparse.offset", b"0") + record(b"GNU.sparse.numbytes", b"5") + record(b"GNU.sparse.major", b"1"),
    ]


def _sparse_seeds() -> list[bytes]:
    head = struct.Struct("<BII")
    pairs = b"%011o\0%011o\0" % (0, 5) + b"%011o\0%011o\0" % (4096, 3)
    return [
        head.pack(0, 0, 8) + pairs.ljust(97, b"\0") + b"%011o\0" % 5000,
        head.pack(0, 0, 8) + pairs.ljust(96, b"\0") + b"\1" + b"%011o\0" % 5000 + pairs,
        head.pack(1, 5000, 8) + b"2\n0\n5\n4096\n3\n",
        head.pack(2, 5000, 8) + struct.pack("<4I", 0, 5, 4096, 3),
    ]


def _stream_seeds() -> list[bytes]:
    text = b"text " * 20
    made = [images.compressed(text, name) for name in images.COMPRESSIONS]
    twice = [one + one for one in made[1:]]
    return [*made, *twice, *(one + bytes(4) for one in made[1:]), images.compressed(bytes(1 << 15), "gzip"),
            b"\x50\x2a\x4d\x18\x03\0\0\0abc" + made[2]]  # fmt: skip


TARGETS = (
    Target("tar", read_tar, tar_seeds, 5120, mutators.tar),
    Target("tar-headers", seek_tar, tar_seeds, 5120, mutators.tar),
    Target("pax", read_pax, _pax_seeds, 512, mutators.pax),
    Target("sparse", read_sparse, _sparse_seeds, 1200, words=(b"00000000005\0", b"\n", b"4096\n")),
    Target("compression", inflate, _stream_seeds, 512),
)
