import io
import os
import subprocess
import tarfile

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import images

from arstore.disk.free_space import Room
from arstore.errors import ArstoreError, LimitError, TarError, TruncatedError, UnknownFormatError, UnsafePathError
from arstore.tar.limits import DEFAULT_LIMITS, Limits
from arstore.transport.media import archive
from arstore.transport.media.blob import OpenFile

MIB = 1 << 20


def in_place(path, spool, limits=DEFAULT_LIMITS):
    file = OpenFile(os.open(path, os.O_RDONLY))
    return archive.indexed(file, path.stat().st_size, path.name, spool, limits)


def one_pass(path, spool, limits=DEFAULT_LIMITS):
    with open(path, "rb") as stream:
        return archive.spooled(stream, path.name, spool, limits)


WAYS = pytest.mark.parametrize("way", [in_place, one_pass])


class MemorySpool:
    """A spool for property tests, which have no test directory."""

    def create(self):
        return os.memfd_create("spool", os.MFD_CLOEXEC)

    def relieve(self, _lacking):
        return 0


def from_bytes(data, way):
    fd = os.memfd_create("archive", os.MFD_CLOEXEC)
    os.write(fd, data)
    if way is in_place:
        return archive.indexed(OpenFile(fd), len(data), "x", MemorySpool())
    os.close(fd)
    return archive.spooled(io.BytesIO(data), "x", MemorySpool())


def write(path, *members):
    path.write_bytes(images.tar(members))
    return path


@WAYS
def test_every_member_is_found_with_its_bytes(tmp_path, spool, way):
    contents = {"a": b"", "b/c": b"x" * 511, "b/d": b"y" * 512, "e": b"z" * 5000, "流/水": b"line", "n" * 200: b"long"}
    path = write(tmp_path / "x.tar", *(images.file(name, data) for name, data in contents.items()))
    with_members = way(path, spool)
    assert {name: with_members.read(name) for name in contents} == contents
    assert [name.decode() for name in with_members.names()] == list(contents)
    assert with_members.complete
    with_members.close()


@WAYS
def test_links_devices_and_directories_are_only_recorded(tmp_path, spool, way):
    path = write(
        tmp_path / "x.tar",
        images.directory("d"),
        images.symlink("d/s", "../f"),
        images.hardlink("d/h", "f"),
        images.fifo("d/p"),
        images.device("d/c", "c", 1, 3),
        images.file("f", b"file"),
    )
    members = way(path, spool)
    assert members.resolve("d/s") == members.resolve("d/h") == b"f"
    for name in ("d", "d/s", "d/h", "d/p", "d/c"):
        with pytest.raises(UnsafePathError):
            members.open(name)
    members.close()


def test_nothing_is_copied_out_of_an_uncompressed_file(tmp_path, spool):
    members = in_place(write(tmp_path / "x.tar", images.file("a", b"a" * 2 * MIB), images.file("b", b"b")), spool)
    fd, offset, length = members.open("a").window()
    assert os.pread(fd, length, offset) == b"a" * 2 * MIB
    assert spool.created == 0
    members.close()


def test_large_members_of_a_stream_get_files_of_their_own(tmp_path, spool):
    sizes = {"a": MIB, "b": 10, "c": MIB + 1, "d": MIB - 1, "e": 0}
    path = write(tmp_path / "x.tar", *(images.file(name, name.encode() * size) for name, size in sizes.items()))
    members = one_pass(path, spool)
    for name, size in sizes.items():
        fd, offset, length = members.open(name).window()
        assert os.pread(fd, length + 1, offset)[:length] == name.encode() * size
        if size >= MIB:
            assert (offset, os.fstat(fd).st_size) == (0, size)
        assert length == size
    assert spool.created == 3
    members.close()


def test_the_number_of_spool_files_is_bounded(tmp_path, spool, monkeypatch):
    monkeypatch.setattr(archive, "OWN_FILE", 1)
    monkeypatch.setattr(archive, "MAX_FILES", 5)
    members = one_pass(write(tmp_path / "x.tar", *(images.file(str(n), b"%d" % n) for n in range(50))), spool)
    assert [members.read(str(n)) for n in range(50)] == [b"%d" % n for n in range(50)]
    assert spool.created == 6
    members.close()


@WAYS
@pytest.mark.tools("tar")
@pytest.mark.parametrize("form", ["0.0", "0.1", "1.0", "gnu"])
def test_sparse_members_are_whole_files(tmp_path, spool, way, form):
    with open(tmp_path / "hole", "wb") as file:
        file.seek(100_000)
        file.write(b"in the middle")
        file.seek(300_000)
        file.write(b"near the end")
        file.truncate(400_000)
    (tmp_path / "after").write_bytes(b"after")
    how = ["--format=gnu"] if form == "gnu" else ["--format=pax", f"--sparse-version={form}"]
    command = ["tar", "-C", tmp_path, "-S", *how, "-cf", tmp_path / "x.tar", "hole", "after"]
    subprocess.run(command, check=True)
    assert (tmp_path / "x.tar").stat().st_size < 100_000
    members = way(tmp_path / "x.tar", spool)
    assert members.read("hole") == (tmp_path / "hole").read_bytes()
    assert members.read("after") == b"after"
    members.close()


@WAYS
@pytest.mark.parametrize("size", [1 << 50, archive.MAX_SPARSE + 1])
def test_a_sparse_member_cannot_be_endless(tmp_path, spool, way, size):
    info = tarfile.TarInfo("hole")
    info.pax_headers = {
        "GNU.sparse.major": "0", "GNU.sparse.minor": "1", "GNU.sparse.name": "hole",
        "GNU.sparse.size": str(size), "GNU.sparse.map": "0,0", "GNU.sparse.numblocks": "1",
    }  # fmt: skip
    with tarfile.open(tmp_path / "x.tar", "w", format=tarfile.PAX_FORMAT) as tar:
        tar.addfile(info)
    with pytest.raises(LimitError, match=r"is a sparse file of|inflated="):
        way(tmp_path / "x.tar", spool)


@WAYS
def test_a_file_that_is_cut_within_content_is_truncated(tmp_path, spool, way):
    path = write(tmp_path / "x.tar", images.file("blobs/a", b"a" * 700), images.file("blobs/b", b"b" * 3000))
    with open(path, "r+b") as file:
        file.truncate(512 + 1024 + 512 + 1000)
    with pytest.raises(TruncatedError, match=r"3048|content"):
        way(path, spool)


def test_the_error_of_a_cut_file_names_the_place(tmp_path, spool):
    path = write(tmp_path / "x.tar", images.file("blobs/b", b"b" * 3000))
    with open(path, "r+b") as file:
        file.truncate(1000)
    with pytest.raises(TruncatedError, match="ends at byte 1000, within blobs/b, which extends to byte 3512"):
        in_place(path, spool)


@WAYS
def test_an_archive_without_its_end_mark_is_known_as_such(tmp_path, spool, way):
    path = write(tmp_path / "x.tar", images.file("a", b"a" * 700), images.file("b", b"b"))
    with open(path, "r+b") as file:
        file.truncate(512 + 1024 + 512 + 512)
    members = way(path, spool)
    assert not members.complete
    assert members.read("b") == b"b"
    members.close()


@WAYS
def test_what_follows_the_end_mark_is_ignored(tmp_path, spool, way):
    path = write(tmp_path / "x.tar", images.file("a", b"a"))
    path.write_bytes(path.read_bytes() + os.urandom(3000))
    members = way(path, spool)
    assert members.read("a") == b"a"
    assert members.complete
    members.close()


def test_a_stream_is_read_to_its_end(tmp_path, spool):
    path = write(tmp_path / "x.tar", images.file("a", b"a"))
    stream = io.BytesIO(path.read_bytes() + bytes(3 * MIB))
    archive.spooled(stream, "x", spool).close()
    assert stream.read(1) == b""


@WAYS
def test_later_members_of_one_name_count(tmp_path, spool, way):
    pairs = [images.file("a", b"one"), images.symlink("b", "a"), images.file("a", b"two"), images.file("b", b"a file")]
    members = way(write(tmp_path / "x.tar", *pairs), spool)
    assert (members.read("a"), members.read("b")) == (b"two", b"a file")
    members.close()


@WAYS
def test_members_are_counted_even_under_one_name(tmp_path, spool, way):
    with pytest.raises(LimitError, match="more than 20 members"):
        way(write(tmp_path / "x.tar", *(images.file("a", b"a") for _ in range(21))), spool, Limits(members=20))


@WAYS
@pytest.mark.parametrize("make", [images.file, lambda name: images.symlink("a", name)])
def test_names_and_links_are_counted_by_their_bytes(tmp_path, spool, way, make):
    path = write(tmp_path / "x.tar", *(make("a" * 100 + str(number)) for number in range(20)))
    way(path, spool).close()
    with pytest.raises(LimitError, match="--limit member-names="):
        way(path, spool, Limits(member_names=2000))


@WAYS
def test_an_archive_of_something_else_is_given_up_early(tmp_path, spool, way, monkeypatch):
    monkeypatch.setattr(archive, "LOOK", 10)
    path = write(tmp_path / "x.tar", *(images.file(f"usr/{n}", b"") for n in range(11)))
    with pytest.raises(UnknownFormatError, match="not those of an image"):
        way(path, spool)
    path = write(tmp_path / "y.tar", images.file("index.json"), *(images.file(f"usr/{n}", b"") for n in range(11)))
    way(path, spool).close()


@WAYS
@pytest.mark.parametrize("name", ["../a", "a/../../b"])
def test_names_that_leave_the_archive_are_refused(tmp_path, spool, way, name):
    with pytest.raises(UnsafePathError):
        way(write(tmp_path / "x.tar", images.file(name, b"")), spool)


@WAYS
def test_a_failing_spool_leaves_nothing_open(tmp_path, spool, way, monkeypatch):
    monkeypatch.setattr(spool, "create", lambda: os.open(tmp_path / "missing" / "x", os.O_RDONLY))
    path = write(tmp_path / "x.tar", images.file("a", b"a"))
    if way is one_pass:
        with pytest.raises(FileNotFoundError):
            way(path, spool)
    else:
        way(path, spool).close()


NAMES = st.text("abc/.", min_size=1, max_size=8).filter(lambda name: name.strip("/.") and ".." not in name)


@given(st.lists(st.tuples(NAMES, st.binary(max_size=1500)), max_size=8))
def test_both_ways_give_the_same_table(files):
    data = images.tar([images.file(name, content) for name, content in files])
    indexed, spooled = from_bytes(data, in_place), from_bytes(data, one_pass)
    try:
        assert list(indexed.names()) == list(spooled.names())
        for name in indexed.names():
            assert indexed.read(name) == spooled.read(name)
    finally:
        indexed.close()
        spooled.close()


WHOLE = images.tar([images.file("index.json", b"{}"), images.symlink("l", "f"), images.file("f", b"x" * 900)])


@given(st.data())
def test_damage_raises_no_error_of_another_kind(data):
    raw = bytearray(WHOLE[: data.draw(st.integers(0, len(WHOLE)))])
    for _ in range(data.draw(st.integers(0, 4))):
        if raw:
            raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    for way in (in_place, one_pass):
        try:
            members = from_bytes(bytes(raw), way)
        except ArstoreError:
            continue
        for name in list(members.names()):
            try:
                members.read(members.resolve("x") if name == b"x" else name)
            except (UnsafePathError, LimitError):
                continue
        members.close()


def test_no_archive_at_all(tmp_path, spool):
    (tmp_path / "x").write_bytes(b"no tar" * 1000)
    for way in (in_place, one_pass):
        with pytest.raises(TarError):
            way(tmp_path / "x", spool)


def test_more_content_than_runs_is_not_written(tmp_path):
    """A reader returns as much as its runs have; if it returns more, nothing is written."""
    with open(tmp_path / "spool", "w+b") as file:
        room = Room(str(tmp_path), DEFAULT_LIMITS, "it")
        archive._write_runs(file.fileno(), 2, [(0, 3), (5, 1)], [b"ab", b"cdefgh", b"more"], room)
        assert file.read() == b"\0\0abc\0\0d"
