"""Archives: headers of any size, members that are removed again, and outputs that are not regular files."""

from __future__ import annotations

import io
import os
import subprocess
import tarfile
import threading

import pytest
from support import copies, images, stores

from arstore.digest import Digest
from arstore.tar.writer import file_header
from arstore.transport.detect import open_source
from arstore.transport.export.spool import TemporarySpool
from arstore.transport.sinks.archive import ArchiveFile, descriptor_of

GIB = 1 << 30
SIZES = [0, 1, 511, 512, 513, 8 * GIB - 1, 8 * GIB, 8 * GIB + 1, 10 * GIB, 1 << 40, (1 << 62) + 12345]
DIGEST = Digest.of(b"x")


@pytest.mark.parametrize("size", SIZES)
def test_sizes_as_python_reads_them(size):
    header = file_header(b"blobs/sha256/" + b"0" * 64, size)
    assert len(header) == 512
    info = tarfile.TarInfo.frombuf(header, "ascii", "strict")
    assert (info.size, info.type, info.mode, info.mtime, info.uid) == (size, tarfile.REGTYPE, 0o644, 0, 0)


@pytest.mark.tools("tar")
@pytest.mark.parametrize("size", [8 * GIB - 1, 8 * GIB, 9 * GIB + 7])
def test_sizes_as_gnu_tar_reads_them(tmp_path, size):
    """The member is a hole: only the headers are written."""
    path = tmp_path / "x.tar"
    with path.open("wb") as file:
        file.write(file_header(b"big", size))
        file.seek(-(-size // 512) * 512, os.SEEK_CUR)
        file.write(file_header(b"after", 3) + b"abc".ljust(512, b"\0") + bytes(1024))
    said = subprocess.run(["tar", "-tvf", path], capture_output=True, text=True, check=True, env={"LC_ALL": "C"})
    listed = [line.split() for line in said.stdout.splitlines()]
    assert [(words[2], words[-1]) for words in listed] == [(str(size), "big"), ("3", "after")]
    with tarfile.open(path) as archive:
        assert [(one.name, one.size) for one in archive] == [("big", size), ("after", 3)]


def test_sizes_as_our_own_reader_reads_them(tmp_path):
    """In place: members behind a large one are found, and the large one has its size."""
    path, digest = tmp_path / "x.tar", "0" * 64
    picture = stores.simple("one", names=("one:1",))
    copies.copy(
        images.write_oci_archive(tmp_path / "source.tar", picture), copies.Target("oci-archive", tmp_path / "small")
    )
    with path.open("wb") as file:
        file.write(file_header(f"blobs/sha256/{digest}".encode(), 9 * GIB + 7))
        file.seek(-(-(9 * GIB + 7) // 512) * 512, os.SEEK_CUR)
        file.write((tmp_path / "small").read_bytes())
    assert copies.read(f"oci-archive:{path}").one.digest == picture.digest
    with open_source(f"oci-archive:{path}", TemporarySpool()) as source:
        blob = source.open_blob(Digest(f"sha256:{digest}"))
        assert blob.read(10) == bytes(10)
        blob.close()


def test_a_header_that_is_written_last(tmp_path):
    with ArchiveFile(str(tmp_path / "x.tar")) as archive:
        writer = archive.begin(lambda digest: digest.hex, None, None)
        writer.write(b"abc")
        writer.finish(DIGEST, 3)
        archive.finish()
    with tarfile.open(tmp_path / "x.tar") as read:
        (member,) = read
        assert (member.name, read.extractfile(member).read()) == (DIGEST.hex, b"abc")


def test_a_member_that_is_taken_back(tmp_path):
    with ArchiveFile(str(tmp_path / "x.tar")) as archive:
        archive.add("first", b"1")
        writer = archive.begin(lambda digest: digest.hex, DIGEST, 3000)
        writer.write(b"x" * 2000)
        writer.close()
        archive.add("second", b"2")
        archive.finish()
    with tarfile.open(tmp_path / "x.tar") as read:
        assert read.getnames() == ["first", "second"]


@pytest.mark.parametrize("size", [0, 1, 511, 512, 513, 1024])
def test_padding(tmp_path, size):
    with ArchiveFile(str(tmp_path / "x.tar")) as archive:
        archive.add("small", b"x" * size)
        for known in (True, False):
            writer = archive.begin(lambda digest: digest.hex, *((DIGEST, size) if known else (None, None)))
            writer.write(b"y" * size)
            writer.finish(DIGEST, size)
        archive.finish()
    assert (tmp_path / "x.tar").stat().st_size % 512 == 0
    with tarfile.open(tmp_path / "x.tar") as read:
        assert [member.size for member in read] == [size] * 3


@pytest.fixture
def source(tmp_path):
    return images.write_oci_archive(tmp_path / "source.tar", stores.simple("one", names=("one:1",)))


def reading(path, into):
    thread = threading.Thread(target=lambda: into.append(path.read_bytes()))
    thread.start()
    return thread


@pytest.mark.parametrize("kind", copies.FILES)
def test_a_named_pipe(tmp_path, source, kind):
    pipe, got = tmp_path / "pipe", []
    os.mkfifo(pipe)
    thread = reading(pipe, got)
    copies.copy(source, copies.Target(kind, pipe))
    thread.join()
    copies.copy(source, copies.Target(kind, tmp_path / "file"))
    assert got == [(tmp_path / "file").read_bytes()]
    assert pipe.is_fifo()


def test_a_device(source):
    before = os.stat("/dev/null")
    copies.copy(source, copies.Target("oci-archive", "/dev/null"))
    assert os.stat("/dev/null").st_ino == before.st_ino


def test_a_device_that_is_full(source):
    with pytest.raises(OSError, match="No space left on device: '/dev/full'"):
        copies.copy(source, copies.Target("oci-archive", "/dev/full"))


def test_an_open_file(tmp_path, source):
    """A file that a shell has opened is written to, and not replaced: other processes hold it too."""
    path = tmp_path / "opened"
    with path.open("wb") as file:
        inode = os.fstat(file.fileno()).st_ino
        copies.copy(source, copies.Target("oci-archive", f"/dev/fd/{file.fileno()}"))
    assert path.stat().st_ino == inode
    assert copies.read(f"oci-archive:{path}").one.names == ("one:1",)


def test_descriptors(tmp_path):
    assert [descriptor_of(path) for path in ("/dev/stdout", "/dev/stderr", "/dev/fd/7", "/proc/self/fd/9")] == [
        1,
        2,
        7,
        9,
    ]
    (tmp_path / "out").symlink_to("/dev/stdout")
    (tmp_path / "loop").symlink_to("loop")
    assert descriptor_of(str(tmp_path / "out")) == 1
    assert [descriptor_of(str(path)) for path in (tmp_path / "loop", tmp_path, tmp_path / "1", "1", "")] == [None] * 5


@pytest.mark.parametrize("kind", copies.FILES)
def test_source_is_destination(tmp_path, kind):
    target = copies.target(kind, tmp_path)
    copies.copy(images.write_oci_archive(tmp_path / "source.tar", images.example()), target)
    before = copies.read(target.reference)
    copies.copy(target.reference, target)
    after = copies.read(target.reference)
    assert [one.config for one in after.images.values()] == [one.config for one in before.images.values()]


def test_members_are_as_old_as_the_epoch_and_roots(tmp_path, source):
    for kind in copies.FILES:
        copies.copy(source, copies.Target(kind, tmp_path / kind))
        with tarfile.open(tmp_path / kind) as archive:
            for member in archive:
                modes = {tarfile.REGTYPE: 0o644, tarfile.DIRTYPE: 0o755, tarfile.SYMTYPE: 0o777}
                assert (member.mtime, member.uid, member.gid, member.mode) == (0, 0, 0, modes[member.type])
                assert not member.pax_headers


def test_a_reader_that_goes_away(tmp_path):
    """The operating system reports it to the writer."""
    picture = images.image(images.layer([images.file("a", os.urandom(300_000))], "none"))
    source = images.write_oci_archive(tmp_path / "source.tar", picture)
    reading, writing = os.pipe()
    os.close(reading)
    try:
        with pytest.raises(BrokenPipeError):
            copies.copy(source, copies.Target("oci-archive", f"/dev/fd/{writing}"))
    finally:
        os.close(writing)


def test_stream_of_bytes_is_a_tar(tmp_path, source):
    target = copies.target("oci-archive-pipe", tmp_path)
    copies.copy(source, target)
    with tarfile.open(fileobj=io.BytesIO(target.path.read_bytes()), mode="r|") as archive:
        assert next(iter(archive)).name == "oci-layout"
