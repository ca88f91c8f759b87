from __future__ import annotations

import contextlib
import io
import os
import random
import subprocess
import tarfile
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.tarblocks import END, base256, gnu_long, header, member, padded, pax

from arstore.errors import ArstoreError, LimitError, TarError, TruncatedError, UnsafePathError
from arstore.tar.entry import Entry, Kind
from arstore.tar.reader import DEFAULT_LIMITS, Limits, TarReader

if TYPE_CHECKING:
    from pathlib import Path


XATTR = b"SCHILY.xattr.user.a"


class Dripping:
    """A source that returns at most *most* bytes at a time."""

    def __init__(self, data: bytes, most: int) -> None:
        self.file = io.BytesIO(data)
        self.most = most

    def read(self, size: int = -1, /) -> bytes:
        return self.file.read(min(size, self.most))


class Counting(io.BytesIO):
    """A file that counts the bytes read."""

    total = 0

    def read(self, size: int | None = -1, /) -> bytes:
        data = super().read(size)
        self.total += len(data)
        return data


def entries(archive: bytes, limits: Limits = DEFAULT_LIMITS) -> list[Entry]:
    return list(TarReader(io.BytesIO(archive), "t", limits))


def only(archive: bytes) -> Entry:
    [entry] = entries(archive + END)
    return entry


def contents(reader: TarReader) -> list[tuple[bytes, bytes]]:
    return [(entry.path, b"".join(reader.chunks())) for entry in reader]


# --- one member, field by field -------------------------------------------------------------------------------------


def test_every_field_of_a_plain_header() -> None:
    entry = only(member(b"./usr/bin/x", b"abc", mode=b"0104755\0", uid=b"0001750\0", gid=b"0000012\0", mtime=octal(77)))
    expected = Entry(b"usr/bin/x", Kind.FILE, 0o4755, 1000, 10, 77_000_000_000, 3, offset=512)
    assert entry == expected


def octal(value: int) -> bytes:
    return b"%011o\0" % value


@pytest.mark.parametrize(
    ("letter", "name", "kind"),
    [
        (b"0", b"a", Kind.FILE),
        (b"\0", b"a", Kind.FILE),
        (b"\0", b"a/", Kind.DIRECTORY),
        (b"0", b"a/", Kind.FILE),
        (b"7", b"a", Kind.FILE),
        (b"1", b"a", Kind.HARDLINK),
        (b"2", b"a", Kind.SYMLINK),
        (b"3", b"a", Kind.CHARACTER),
        (b"4", b"a", Kind.BLOCK),
        (b"5", b"a", Kind.DIRECTORY),
        (b"5", b"a/", Kind.DIRECTORY),
        (b"6", b"a", Kind.FIFO),
    ],
)
def test_types(letter: bytes, name: bytes, kind: Kind) -> None:
    entry = only(header(name, letter, link=b"target"))
    assert (entry.kind, entry.path) == (kind, b"a")


@pytest.mark.parametrize("letter", [b"M", b"N", b"A", b"E", b"I", b"8", b"z", b"\xff", b" "])
def test_types_that_make_nothing_known(letter: bytes) -> None:
    with pytest.raises(TarError, match="not supported"):
        only(header(b"a", letter))


@pytest.mark.parametrize("letter", [b"1", b"2", b"3", b"4", b"5", b"6"])
def test_a_size_where_there_is_no_content(letter: bytes) -> None:
    found = entries(header(b"a", letter, 5000, link=b"t") + member(b"b", b"x") + END)
    assert [(entry.path, entry.size) for entry in found] == [(b"a", 0), (b"b", 1)]


def test_a_volume_label_is_passed_over_and_so_is_a_dump_of_a_directory() -> None:
    archive = member(b"label", b"x" * 600, b"V") + member(b"d", b"Yname\0\0", b"D") + member(b"f", b"y") + END
    assert [(entry.path, entry.kind, entry.size) for entry in entries(archive)] == [
        (b"d", Kind.DIRECTORY, 0),
        (b"f", Kind.FILE, 1),
    ]


def test_links() -> None:
    assert only(header(b"l", b"2", link=b"/../a//b/")).link == b"/../a//b/"
    assert only(header(b"l", b"1", link=b"/./a//b/../c")).link == b"a/c"
    assert only(header(b"l", b"2", link=b"t" * 100)).link == b"t" * 100
    with pytest.raises(UnsafePathError):
        only(header(b"l", b"1", link=b"../a"))
    with pytest.raises(TarError):
        only(header(b"l", b"2"))
    with pytest.raises(TarError):
        only(header(b"l", b"1"))
    with pytest.raises(TarError):
        only(pax((b"linkpath", b"a\0b")) + header(b"l", b"2"))
    assert len(only(pax((b"linkpath", b"t" * 4095)) + header(b"l", b"2")).link) == 4095
    with pytest.raises(LimitError):
        only(pax((b"linkpath", b"t" * 4096)) + header(b"l", b"2"))


def test_devices() -> None:
    entry = only(header(b"null", b"3", major=b"0000001\0", minor=b"0000003\0"))
    assert (entry.major, entry.minor) == (1, 3)
    entry = only(header(b"sda", b"4", major=b"0007777\0", minor=b"3777777\0", magic=b"ustar  \0"))
    assert (entry.major, entry.minor) == (4095, 0xFFFFF)
    assert only(header(b"v7", b"3", major=b"garbage!", magic=bytes(8))).major == 0
    assert only(header(b"f", major=b"garbage!")).major == 0
    for major, minor in ((b"0010000\0", bytes(8)), (bytes(8), b"4000000\0"), (base256(-1, 8), bytes(8))):
        with pytest.raises(TarError, match="device number"):
            only(header(b"d", b"3", major=major, minor=minor))


@pytest.mark.parametrize(
    "fields",
    [
        {"uid": base256(-(1 << 31) - 1, 8)},
        {"gid": base256(1 << 32, 8)},
        {"mtime": base256(1 << 63)},
        {"mtime": base256(-(1 << 63) - 1)},
        {"size": base256(-1)},
        {"size": base256(1 << 63)},
        {"size": b"12345678xyz\0"},
        {"mode": b"rwxr-xr-"},
        {"name": b""},
    ],
)
def test_values_that_no_file_can_have(fields: dict[str, Any]) -> None:
    with pytest.raises(TarError):
        only(header(**fields))


def test_numbers_in_base_256() -> None:
    entry = only(header(b"a", b"5", uid=base256(0xFFFFFFFE, 8), mtime=base256(-5)))
    assert (entry.uid, entry.mtime) == (0xFFFFFFFE, -5_000_000_000)
    assert only(header(b"a", b"5", mtime=base256(-(1 << 63)))).mtime == -(1 << 63) * 10**9


def test_names_leave_the_root_or_have_a_prefix() -> None:
    assert only(header(b"n", prefix=b"./p//q")).path == b"p/q/n"
    with pytest.raises(UnsafePathError, match="t: the name"):
        only(header(b"a/../../x"))


# --- extended headers -----------------------------------------------------------------------------------------------


def test_pax_says_everything() -> None:
    records = [
        (b"path", b"p" * 200 + b"/\xff"),
        (b"size", b"4"),
        (b"uid", b"3000000"),
        (b"gid", b"4000000"),
        (b"mtime", b"-1.25"),
        (b"SCHILY.xattr.security.capability", b"\1\0\0\2=\n\0"),
        (b"uname", b"nobody"),
        (b"SCHILY.acl.access", b"user::rw-"),
    ]
    entry = only(pax(*records) + header(b"short", size=9999) + padded(b"abcd"))
    expected = Entry(b"p" * 200 + b"/\xff", Kind.FILE, 0o644, 3000000, 4000000, -1_250_000_000, 4)
    expected.xattrs = {b"security.capability": b"\1\0\0\2=\n\0"}
    expected.offset = entry.offset
    assert entry == expected


def test_pax_is_for_one_member_only() -> None:
    found = entries(pax((b"mtime", b"5.5"), (b"SCHILY.xattr.user.a", b"1")) + member(b"a") + member(b"b") + END)
    assert [(entry.mtime, entry.xattrs) for entry in found] == [(5_500_000_000, {b"user.a": b"1"}), (0, {})]


def test_the_last_of_several_extended_headers_counts() -> None:
    assert only(pax((b"path", b"a"), (b"uid", b"7")) + pax((b"path", b"b")) + member(b"c")).path == b"b"
    assert only(pax((b"uid", b"7"), letter=b"X") + member(b"c")).uid == 7


def test_global_records_hold_until_they_are_taken_back() -> None:
    archive = pax((b"mtime", b"9"), (b"uid", b"5"), (b"comment", b"c"), letter=b"g") + member(b"a")
    archive += pax((b"uid", b"6"), (b"mtime", b"")) + member(b"b") + member(b"c")
    archive += pax((b"uid", b""), letter=b"g") + member(b"d") + END
    found = entries(archive)
    assert [(entry.path, entry.uid, entry.mtime // 10**9) for entry in found] == [
        (b"a", 5, 9),
        (b"b", 6, 0),
        (b"c", 5, 9),
        (b"d", 0, 9),
    ]


def test_gnu_long_names_override() -> None:
    long = b"d/" * 200 + b"name"
    entry = only(gnu_long(long) + gnu_long(b"t" * 300, b"K") + header(b"d/d", b"2", link=b"t", magic=b"ustar  \0"))
    assert (entry.path, entry.link) == (long, b"t" * 300)
    assert only(pax((b"path", b"p")) + gnu_long(b"l") + member(b"c")).path == b"l"
    assert only(gnu_long(b"l\0garbage") + member(b"c")).path == b"l"
    assert only(gnu_long(b"d/") + header(b"d", b"\0")).kind is Kind.DIRECTORY


@pytest.mark.parametrize("extra", [pax((b"path", b"p")), gnu_long(b"long"), gnu_long(b"long", b"K")])
def test_an_extension_without_its_member(extra: bytes) -> None:
    with pytest.raises(TarError, match="has no member"):
        entries(extra + END)
    with pytest.raises(TruncatedError):
        entries(extra)


# --- limits ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("archive", "limits"),
    [
        (member(b"a") * 4, Limits(headers=3)),
        (pax((b"comment", b"c")) * 4 + member(b"a"), Limits(headers=4)),
        (header(b"x", b"x", (1 << 20) + 1), Limits()),
        (header(b"x", b"g", base256(1 << 62)), Limits()),
        (header(b"x", b"L", (1 << 16) + 1), Limits()),
        (gnu_long(b"a/" * 3000) + member(b"a"), Limits()),
        (pax(*((XATTR + b"%d" % n, b"v") for n in range(9)), letter=b"g") + member(b"a") * 9, Limits(steps=9000)),
        (pax((XATTR, b"c" * 90), letter=b"g") + pax((XATTR + b"b", b"c" * 90), letter=b"g"), Limits(pax=200)),
        (pax((XATTR, b"v" * 65537)) + member(b"a"), Limits(xattr_value=65536)),
    ],
)
def test_limits(archive: bytes, limits: Limits) -> None:
    with pytest.raises(LimitError):
        entries(archive + END, limits)


# --- the stream -----------------------------------------------------------------------------------------------------


SAMPLE = (
    member(b"a", b"A" * 700)
    + pax((b"mtime", b"1.5"))
    + member(b"b", b"B" * 512)
    + gnu_long(b"l/" * 150)
    + member(b"c", b"")
    + member(b"d", b"D" * 2_000_000)
    + member(b"e", b"E")
    + END
)


@pytest.mark.parametrize("most", [1 << 30, 1 << 16, 5000, 512, 511, 100])
def test_content_whatever_the_source_gives_at_a_time(most: int) -> None:
    found = contents(TarReader(Dripping(SAMPLE, most)))
    assert [path for path, _ in found] == [b"a", b"b", (b"l/" * 150)[:-1], b"d", b"e"]
    assert [data[:1] * len(data) for _, data in found] == [data for _, data in found]
    assert [len(data) for _, data in found] == [700, 512, 0, 2_000_000, 1]


@pytest.mark.parametrize("seekable", [False, True])
def test_content_that_is_not_taken_or_only_begun(seekable: bool) -> None:
    reader = TarReader(io.BytesIO(SAMPLE), seekable=seekable)
    for entry in reader:
        begun = b""
        if entry.path in (b"a", b"d"):
            begun = bytes(next(reader.chunks()))
        if entry.kind is Kind.FILE:
            assert SAMPLE[entry.offset : entry.offset + entry.size].startswith(begun)
        assert entry.size == SAMPLE[entry.offset : entry.offset + entry.size].count(entry.path[-1:].upper())
        if entry.path == b"d":
            assert reader.content(1 << 21) == SAMPLE[entry.offset + len(begun) : entry.offset + entry.size]
            assert reader.content(0) == b""


def test_content_refuses_what_is_too_large() -> None:
    reader = TarReader(io.BytesIO(SAMPLE))
    next(reader)
    with pytest.raises(LimitError):
        reader.content(699)
    assert len(reader.content(700)) == 700


def test_a_seekable_archive_is_indexed_by_its_headers() -> None:
    archive = b"".join(member(b"blob%d" % number, bytes(1_000_000)) for number in range(20)) + END
    source = Counting(b"skipped" + archive)
    source.seek(7)
    found = list(TarReader(source, seekable=True))
    assert [entry.offset % 512 for entry in found] == [0] * 20
    assert source.total < len(archive) // 10
    assert [entry.offset for entry in found] == [entry.offset for entry in entries(archive)]


@pytest.mark.parametrize("seekable", [False, True])
def test_cut_at_every_place(seekable: bool) -> None:
    archive = member(b"a", b"A" * 700) + pax((b"mtime", b"1.5")) + member(b"b", b"B" * 40_000)
    complete = {0, *range(512 + 700, 512 + 1024 + 1)}
    content_end = len(archive) - (-40_000 % 512)
    for cut in {*range(0, 3100, 31), *range(511, 3100, 512), *range(512, 3100, 512), content_end - 1}:
        reader = TarReader(io.BytesIO(archive[:cut]), "t", seekable=seekable)
        if cut in complete:
            list(reader)
        else:
            with pytest.raises(TruncatedError):
                list(reader)
    with pytest.raises(TruncatedError, match="ends after 1200 bytes, in the content"):
        contents(TarReader(io.BytesIO(archive[:1200]), "t"))


def test_how_an_archive_may_end() -> None:
    one = member(b"a", b"x")
    for end in (b"", bytes(512), END, END + b"garbage", END + member(b"hidden"), bytes(10240)):
        assert [entry.path for entry in entries(one + end)] == [b"a"]
    with pytest.raises(TarError, match="single block of zeros"):
        entries(one + bytes(512) + one)
    with pytest.raises(TruncatedError):
        entries(one + bytes(700))
    assert entries(b"") == entries(END) == entries(bytes(512)) == []
    reader = TarReader(io.BytesIO(one + END + one))
    assert len(list(reader)) == 1
    assert list(reader) == []


def test_what_is_no_tar() -> None:
    for data in (b"{}" * 400, b"\x7fELF" + bytes(1000), b"\xff" * 512, os.urandom(2048)):
        with pytest.raises(TarError, match="t: not a tar archive"):
            entries(data)
    with pytest.raises(TarError, match="no valid header at byte 1024"):
        entries(member(b"a", b"x") + b"\xff" * 512)
    with pytest.raises(TruncatedError):
        entries(b"{}")


def test_drain_reads_to_the_end_and_ends_the_iteration() -> None:
    source = Counting(SAMPLE + b"more" * 500_000)
    reader = TarReader(source)
    list(reader)
    reader.drain()
    assert source.total == len(SAMPLE) + 2_000_000
    source = Counting(SAMPLE)
    reader = TarReader(source)
    next(reader)
    reader.drain()
    assert (source.total, list(reader), list(reader.chunks())) == (len(SAMPLE), [], [])


def test_drain_ends_where_there_is_no_end() -> None:
    class Endless(Counting):
        def read(self, size: int = -1, /) -> bytes:
            return super().read(size) or bytes(size)

    source = Endless(SAMPLE)
    reader = TarReader(source)
    list(reader)
    with pytest.raises(LimitError, match="--limit trailing="):
        reader.drain(5 << 20)
    reader = TarReader(Counting(SAMPLE + b"more" * 500_000))
    list(reader)
    reader.drain(2_000_000)


def test_seekable_needs_a_source_that_seeks() -> None:
    with pytest.raises(TypeError):
        TarReader(Dripping(b"", 1), seekable=True)


# --- what programs write --------------------------------------------------------------------------------------------


def listed(archive: bytes) -> list[tuple[object, ...]]:
    """The entries of this reader, in the terms of the standard library's."""
    letters = {Kind.FILE: "0", Kind.DIRECTORY: "5", Kind.SYMLINK: "2", Kind.HARDLINK: "1", Kind.FIFO: "6"}
    reader = TarReader(io.BytesIO(archive))
    return [(e.path, letters[e.kind], e.mode, e.uid, e.gid, e.size, e.link, b"".join(reader.chunks())) for e in reader]


def listed_by_tarfile(archive: bytes) -> list[tuple[object, ...]]:
    found: list[tuple[object, ...]] = []
    with tarfile.open(fileobj=io.BytesIO(archive), encoding="utf-8", errors="surrogateescape") as tar:
        for m in tar:
            file = tar.extractfile(m) if m.isfile() else None
            path = b"" if m.name == "." else os.fsencode(m.name.removeprefix("./"))
            link = os.fsencode(m.linkname.removeprefix("./") if m.islnk() else m.linkname)
            content = file.read() if file else b""
            letter = m.type.decode().replace("\0", "0")
            found.append((path, letter, m.mode & 0o7777, m.uid, m.gid, len(content), link, content))
    return found


def make_tree(root: Path, *, short: bool) -> None:
    (root / "dir").mkdir(mode=0o700)
    (root / "dir" / "file").write_bytes(b"content" * 1000)
    (root / "dir" / "file").chmod(0o4711)
    (root / "empty").write_bytes(b"")
    (root / "link").symlink_to("dir/file")
    os.link(root / "dir" / "file", root / "hard")
    os.utime(root / "empty", ns=(0, 1_234_567_890_123_456_789))
    os.mkfifo(root / "fifo")
    (root / os.fsdecode(b"\xff\xfe \n")).write_bytes(b"x")
    if not short:
        deep = root / ("o" * 90) / ("p" * 90) / ("q" * 90)
        deep.mkdir(parents=True)
        (deep / ("文" * 60)).write_bytes(b"deep")
        (root / "far").symlink_to("t" * 300)


@pytest.mark.tools("tar")
@pytest.mark.parametrize("form", ["v7", "oldgnu", "gnu", "ustar", "pax"])
def test_all_forms_of_gnu_tar(tmp_path: Path, form: str) -> None:
    make_tree(tmp_path, short=form in ("v7", "ustar"))
    exclude = ["--exclude=./fifo"] if form == "v7" else []
    archive = subprocess.run(
        ["tar", f"--format={form}", *exclude, "-C", tmp_path, "-cf-", "."], stdout=subprocess.PIPE, check=True
    ).stdout
    found = listed(archive)
    assert found == listed_by_tarfile(archive)
    assert len(found) >= 7
    times = {entry.path: entry.mtime for entry in entries(archive)}
    assert times[b"empty"] == (1_234_567_890_123_456_789 if form == "pax" else 1_234_567_890_000_000_000)


@pytest.mark.tools("bsdtar")
@pytest.mark.parametrize("form", ["gnutar", "ustar", "pax"])
def test_all_forms_of_bsdtar(tmp_path: Path, form: str) -> None:
    make_tree(tmp_path, short=form == "ustar")
    archive = subprocess.run(
        ["bsdtar", "--format", form, "-C", tmp_path, "-cf-", "."], stdout=subprocess.PIPE, check=True
    ).stdout
    assert listed(archive) == listed_by_tarfile(archive)


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_all_forms_of_tarfile(form: int) -> None:
    written = io.BytesIO()
    with tarfile.open(fileobj=written, mode="w", format=form, errors="surrogateescape") as tar:
        for number in range(30):
            info = tarfile.TarInfo("d" * 60 + "/" + "n" * (number * 3 + 1))
            info.size = number * 100
            info.mtime = number * 1000
            info.uid = 2_000_000 if form == tarfile.USTAR_FORMAT else number * 100_000_000
            tar.addfile(info, io.BytesIO(b"c" * info.size))
    assert listed(written.getvalue()) == listed_by_tarfile(written.getvalue())


# --- anything at all ------------------------------------------------------------------------------------------------


def read_all(archive: bytes) -> None:
    """Only errors of arstore may be raised."""
    small = Limits(headers=1000)
    for seekable in (False, True):
        reader = TarReader(io.BytesIO(archive), "t", small, seekable=seekable)
        with contextlib.suppress(ArstoreError):
            for entry in reader:
                assert not entry.path.startswith(b"/")
                assert b".." not in entry.path.split(b"/")
                assert sum(map(len, reader.chunks())) <= len(archive)


@given(st.binary(max_size=3000))
def test_any_bytes(data: bytes) -> None:
    read_all(data)


@given(data=st.data())
def test_mutated_headers(data: st.DataObject) -> None:
    name = data.draw(st.binary(max_size=100))
    octal_or_any = st.one_of(st.integers(0, 0o777777).map(lambda n: b"%07o\0" % n), st.binary(min_size=8, max_size=8))
    long_field = st.one_of(st.integers(0, 3000).map(octal), st.binary(min_size=12, max_size=12))
    letters = st.sampled_from([bytes([c]) for c in b"\x0001234567DSVLKxgXMN"])
    block = header(
        name,
        data.draw(letters),
        data.draw(long_field),
        mode=data.draw(octal_or_any),
        uid=data.draw(octal_or_any),
        mtime=data.draw(long_field),
        link=data.draw(st.binary(max_size=100)),
        major=data.draw(octal_or_any),
        magic=data.draw(st.sampled_from([b"ustar\x0000", b"ustar  \0", bytes(8)])),
        prefix=data.draw(st.binary(max_size=167)),
    )
    read_all(block + data.draw(st.binary(max_size=2000)) + member(b"after") + END)


KEYWORDS = [
    b"path", b"linkpath", b"size", b"uid", b"gid", b"mtime", b"hdrcharset", b"SCHILY.xattr.user.a", b"SCHILY.xattr.",
    b"LIBARCHIVE.xattr.a%", b"GNU.sparse.major", b"GNU.sparse.minor", b"GNU.sparse.name", b"GNU.sparse.realsize",
    b"GNU.sparse.size", b"GNU.sparse.map", b"GNU.sparse.offset", b"GNU.sparse.numbytes", b"GNU.sparse.numblocks",
]  # fmt: skip
VALUES = st.one_of(
    st.sampled_from([b"", b"0", b"1", b"-1", b"2.5", b"0,1", b"99999999999999999999", b"9" * 5000, b"a/../..", b"\0"]),
    st.binary(max_size=30),
)


@given(
    st.lists(st.tuples(st.sampled_from(KEYWORDS), VALUES), max_size=8),
    st.sampled_from([b"x", b"g"]),
    st.sampled_from([b"0", b"S", b"1", b"2", b"5"]),
    st.one_of(st.binary(max_size=1500), st.just(padded(b"1\n0\n1\n") + b"a")),
)
def test_any_pax_records(records: list[tuple[bytes, bytes]], letter: bytes, kind: bytes, content: bytes) -> None:
    read_all(pax(*records, letter=letter) + member(b"m", content, kind, link=b"t") + member(b"after") + END)


def test_altered_archives() -> None:
    chance = random.Random(7)
    original = SAMPLE[:6000] + END
    for _ in range(1000):
        altered = bytearray(original)
        for _ in range(chance.randrange(1, 4)):
            altered[chance.randrange(len(altered))] = chance.choice([0, 0x30, 0x37, 0x80, 0xFF, chance.randrange(256)])
        read_all(bytes(altered[: chance.randrange(len(altered))]))


@pytest.mark.parametrize("seekable", [False, True])
@pytest.mark.parametrize(("size", "missing"), [(1, 511), (1, 7), (700, 324), (3 << 20, 0)])
def test_padding_missing_at_the_end_is_no_matter(size: int, missing: int, seekable: bool) -> None:
    """umoci 0.4 ends a layer right after the last member's content; Go's reader accepts that too."""
    whole = tarfile.TarInfo("a")
    whole.size = size
    data = whole.tobuf(tarfile.USTAR_FORMAT) + bytes(size + -size % 512)
    cut = data[: len(data) - missing]
    assert [entry.size for entry in TarReader(io.BytesIO(cut), "cut", seekable=seekable)] == [size]
    with pytest.raises(TruncatedError):
        list(TarReader(io.BytesIO(data[: 512 + size - 1]), "cut", seekable=seekable))
