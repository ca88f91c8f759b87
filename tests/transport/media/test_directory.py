import errno
import os

import pytest

from arstore.errors import LimitError, PermissionDeniedError, UnsafePathError
from arstore.oci.document import Bounds
from arstore.transport.media.directory import Directory


@pytest.fixture
def tree(tmp_path):
    path = tmp_path / "tree"
    (path / "blobs/sha256").mkdir(parents=True)
    (path / "blobs/sha256/abc").write_bytes(b"content")
    return path


@pytest.fixture
def directory(tree, spool):
    directory = Directory(os.open(tree, os.O_RDONLY | os.O_DIRECTORY), "tree")
    yield directory
    directory.close()


def test_open_and_read(directory):
    blob = directory.open("blobs/sha256/abc")
    assert blob.read() == b"content"
    fd, offset, length = blob.window()
    assert os.pread(fd, length, offset) == b"content"
    blob.close()
    assert directory.read("blobs/sha256/abc", Bounds(document=7)) == b"content"
    with pytest.raises(LimitError, match="tree/blobs/sha256/abc"):
        directory.read("blobs/sha256/abc", Bounds(document=6))


@pytest.mark.parametrize("name", ["nothing", "blobs/nothing", "nothing/at/all", "blobs/sha256/ab"])
def test_what_is_not_there_is_none(directory, name):
    assert directory.open(name) is None
    assert directory.read(name, 10) is None


def test_an_open_file_outlives_its_directory(directory):
    blob = directory.open("blobs/sha256/abc")
    directory.close()
    assert blob.read() == b"content"
    blob.close()


def put_symlink(path, outside):
    path.symlink_to(outside)


def put_fifo(path, outside):
    os.mkfifo(path)


def put_directory(path, outside):
    path.mkdir()


def put_device(path, outside):
    if os.geteuid():
        pytest.skip("needs root")
    os.mknod(path, 0o20666, os.makedev(1, 5))


@pytest.mark.parametrize("put", [put_symlink, put_fifo, put_directory, put_device])
def test_only_regular_files_are_opened(tree, directory, tmp_path, put):
    (tmp_path / "secret").write_bytes(b"secret")
    put(tree / "blobs/sha256/bad", tmp_path / "secret")
    with pytest.raises(UnsafePathError, match="tree/blobs/sha256/bad"):
        directory.open("blobs/sha256/bad")


def test_no_directory_on_the_way_is_a_link(tree, directory, tmp_path):
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/abc").write_bytes(b"secret")
    (tree / "blobs/sha512").symlink_to(tmp_path / "outside")
    with pytest.raises(UnsafePathError, match="sha512 is not a directory"):
        directory.open("blobs/sha512/abc")
    (tree / "blobs/file").write_bytes(b"")
    with pytest.raises(UnsafePathError):
        directory.open("blobs/file/abc")


def test_a_file_that_becomes_a_link_after_the_first_look_is_refused(tree, directory, tmp_path, monkeypatch):
    (tmp_path / "secret").write_bytes(b"secret")
    look = os.stat

    def stat_then_swap(path, **more):
        status = look(path, **more)
        os.unlink(tree / "blobs/sha256/abc")
        os.symlink(tmp_path / "secret", tree / "blobs/sha256/abc")
        return status

    monkeypatch.setattr(os, "stat", stat_then_swap)
    with pytest.raises(UnsafePathError):
        directory.open("blobs/sha256/abc")


def test_a_file_that_becomes_a_fifo_after_the_first_look_is_refused(tree, directory, monkeypatch):
    look = os.stat

    def stat_then_swap(path, **more):
        status = look(path, **more)
        os.unlink(tree / "blobs/sha256/abc")
        os.mkfifo(tree / "blobs/sha256/abc")
        return status

    monkeypatch.setattr(os, "stat", stat_then_swap)
    with pytest.raises(UnsafePathError, match="FIFO"):
        directory.open("blobs/sha256/abc")


def test_what_may_not_be_read_names_the_file(directory, monkeypatch):
    def refused(path, *more, **others):
        raise PermissionError(errno.EACCES, "Permission denied", path)

    monkeypatch.setattr(os, "stat", refused)
    with pytest.raises(PermissionDeniedError, match="tree/blobs/sha256/abc: permission denied"):
        directory.open("blobs/sha256/abc")
