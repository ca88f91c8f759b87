from __future__ import annotations

import hashlib
import io
import subprocess
import tarfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arstore.errors import SizeMismatchError, TarError
from arstore.tar.entry import Entry, Kind
from arstore.tar.limits import ACCEPTED
from arstore.tar.reader import TarReader
from arstore.tar.writer import TarWriter

Pair = tuple[Entry, bytes]


def written(pairs: list[Pair], piece: int = 1000) -> bytes:
    archive = io.BytesIO()
    writer = TarWriter(archive.write)
    for entry, data in pairs:
        writer.add(entry, (data[start : start + piece] for start in range(0, len(data), piece)))
    writer.close()
    return archive.getvalue()


def read(archive: bytes) -> list[Pair]:
    reader = TarReader(io.BytesIO(archive), limits=ACCEPTED)
    found = []
    for entry in reader:
        entry.offset = 0
        found.append((entry, b"".join(reader.chunks())))
    return found


NAMES = st.one_of(
    st.sampled_from([b"a", b"x" * 99, b"x" * 100, b"x" * 101, "文件".encode(), b"\xff\xfe", b"n" * 255, b"a b\nc"]),
    st.binary(min_size=1, max_size=30).filter(lambda n: b"\0" not in n and b"/" not in n and n not in (b".", b"..")),
)
PATHS = st.lists(NAMES, min_size=1, max_size=6).map(b"/".join)
XATTRS = st.dictionaries(
    st.one_of(st.just(b"security.capability"), st.just(b"user.a=b%"), st.binary(min_size=1, max_size=20)).filter(
        lambda name: b"\0" not in name
    ),
    st.binary(max_size=100),
    max_size=3,
)
IDS = st.one_of(st.integers(0, 0o7777777 + 1), st.integers(0, (1 << 32) - 2))
TIMES = st.one_of(
    st.sampled_from([0, 10**9, 1, -1, -(10**9), -1_500_000_000, 0o77777777777 * 10**9, (0o77777777777 + 1) * 10**9]),
    st.integers(-(1 << 63) * 10**9, ((1 << 63) - 1) * 10**9),
)


@st.composite
def pairs(draw: st.DrawFn) -> Pair:
    entry = Entry(
        draw(st.one_of(PATHS, st.just(b""))),
        draw(st.sampled_from(list(Kind))),
        draw(st.integers(0, 0o7777)),
        draw(IDS),
        draw(IDS),
        draw(TIMES),
    )
    entry.xattrs = draw(XATTRS)
    data = b""
    if entry.kind is Kind.FILE:
        entry.path = entry.path or b"f"
        data = draw(st.binary(max_size=2000))
        entry.size = len(data)
        if draw(st.booleans()):
            blocks = draw(st.lists(st.tuples(st.integers(1, 1 << 40), st.integers(1, 3)), max_size=3))
            runs, offset = [], 0
            for gap, count in [(gap, 512 * count) for gap, count in blocks] + [(5, len(data))] * bool(data):
                runs.append((offset + gap, count))
                offset += gap + count
            data = b"b" * sum(length for _, length in runs[: len(blocks)]) + data
            entry.sparse = runs
            entry.size = offset + draw(st.integers(0, 1 << 40))
    elif entry.kind is Kind.SYMLINK:
        entry.link = draw(st.one_of(PATHS, st.just(b"../../x//"), st.just(b"t" * 300)))
    elif entry.kind is Kind.HARDLINK:
        entry.link = draw(PATHS)
    elif entry.kind in (Kind.CHARACTER, Kind.BLOCK):
        entry.major, entry.minor = draw(st.integers(0, 4095)), draw(st.integers(0, (1 << 20) - 1))
    return entry, data


@given(st.lists(pairs(), max_size=5))
def test_what_is_written_reads_back(given_pairs: list[Pair]) -> None:
    archive = written(given_pairs)
    assert len(archive) % 512 == 0
    assert read(archive) == given_pairs
    assert written(given_pairs, 7) == archive


def typical() -> list[Pair]:
    data = b"content" * 1000
    return [
        (Entry(b"", Kind.DIRECTORY, 0o755), b""),
        (Entry(b"d" * 90 + b"/" + b"e" * 90, Kind.DIRECTORY, 0o1777, 1000, 3_000_000, 1_500_000_001), b""),
        (Entry("目录/文件".encode(), Kind.FILE, 0o4755, 5, 6, -1_250_000_000, 7000, xattrs={b"user.a": b"v"}), data),
        (Entry(b"plain", Kind.FILE, 0o644, 0, 0, 10**9, 3), b"abc"),
        (Entry(b"link", Kind.SYMLINK, 0o777, link=b"t" * 200), b""),
        (Entry(b"hard", Kind.HARDLINK, 0o644, link=b"plain"), b""),
        (Entry(b"null", Kind.CHARACTER, 0o666, major=1, minor=3), b""),
        (Entry(b"fifo", Kind.FIFO, 0o600), b""),
        (Entry(b"hole", Kind.FILE, 0o600, size=100_000, sparse=[(4096, 512), (50_000, 4)]), b"a" * 512 + b"bbbb"),
        (Entry(b"\xff" * 10, Kind.FILE, 0o600), b""),
    ]


def test_read_by_the_standard_library() -> None:
    with tarfile.open(fileobj=io.BytesIO(written(typical())), encoding="utf-8", errors="surrogateescape") as tar:
        members = tar.getmembers()
        assert [m.name.encode("utf-8", "surrogateescape") for m in members] == [e.path or b"." for e, _ in typical()]
        assert [m.mode for m in members] == [e.mode for e, _ in typical()]
        assert [m.linkname.encode() for m in members] == [e.link for e, _ in typical()]
        assert [(m.uid, m.gid) for m in members] == [(e.uid, e.gid) for e, _ in typical()]
        assert [m.size for m in members] == [e.size for e, _ in typical()]
        assert members[2].mtime == -1.25
        assert members[2].pax_headers["SCHILY.xattr.user.a"] == "v"
        hole = tar.extractfile("hole")
        assert hole is not None
        content = hole.read()
        assert content == bytes(4096) + b"a" * 512 + bytes(50_000 - 4608) + b"bbbb" + bytes(49_996)


@pytest.mark.tools("tar")
def test_read_by_gnu_tar(tmp_path_factory: pytest.TempPathFactory) -> None:
    directory = tmp_path_factory.mktemp("out")
    archive = written([pair for pair in typical() if pair[0].kind is not Kind.CHARACTER])
    quoting = ["--quoting-style=literal", "--full-time", "--numeric-owner"]
    listing = subprocess.run(["tar", "-tvf-", *quoting], input=archive, capture_output=True, check=True)
    lines = listing.stdout.splitlines()
    assert len(lines) == 9
    assert b"1000/3000000" in lines[1]
    assert lines[2].startswith(b"-rwsr-xr-x 5/6")
    assert lines[2].endswith(" 目录/文件".encode())
    assert b"hard link to plain" in lines[5]
    extract = ["tar", "-xf-", "-C", directory, "--no-same-owner", "hole", "plain", "hard"]
    subprocess.run(extract, input=archive, check=True)
    hole = (directory / "hole").read_bytes()
    assert hole == bytes(4096) + b"a" * 512 + bytes(50_000 - 4608) + b"bbbb" + bytes(49_996)
    assert (directory / "plain").stat().st_ino == (directory / "hard").stat().st_ino


def test_the_bytes_stay_what_they_are() -> None:
    # A change here changes the digest of every layer that commit makes: it needs a reason.
    digest = hashlib.sha256(written(typical())).hexdigest()
    assert digest == "8e35fe1809e44ab2b455d44b7830d1a7ded7a2d5210afb7d891711294202b11d"


def test_no_extended_header_where_none_is_needed() -> None:
    assert len(written([(Entry(b"n" * 100, Kind.FILE, mtime=10**9, size=1), b"x")])) == 512 * 4
    assert len(written([(Entry(b"n" * 101, Kind.FILE, mtime=10**9, size=1), b"x")])) == 512 * 6


@pytest.mark.parametrize("data", [b"", b"xx", b"xxxx", b"x" * 10_000])
def test_content_of_another_size_is_refused(data: bytes) -> None:
    with pytest.raises(SizeMismatchError, match="file"):
        written([(Entry(b"file", Kind.FILE, size=3), data)])


@pytest.mark.parametrize(
    "entry",
    [
        Entry(b"a\0b", Kind.FILE),
        Entry(b"a", Kind.SYMLINK, link=b"x\0"),
        Entry(b"a", Kind.SYMLINK),
        Entry(b"a", Kind.HARDLINK),
        Entry(b"a", Kind.FILE, xattrs={b"u\0": b""}),
        Entry(b"a", Kind.FILE, uid=-1),
        Entry(b"a", Kind.FILE, size=-1),
        Entry(b"a", Kind.CHARACTER, major=1 << 30),
        Entry(b"a", Kind.FILE, mode=1 << 30),
        Entry(b"a", Kind.FILE, size=99, sparse=[(5, 3), (10, 4)]),
    ],
)
def test_what_no_archive_can_hold(entry: Entry) -> None:
    with pytest.raises(TarError):
        written([(entry, b"")])
