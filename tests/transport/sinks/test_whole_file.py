"""A file that replaces another at once: with O_TMPFILE and without, killed, and next to leftovers of others."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import stat

import pytest
from support import disks, stores

from arstore.transport.sinks import whole_file
from arstore.transport.sinks.whole_file import WholeFile


@pytest.fixture(params=["nameless", "named"])
def way(request, monkeypatch):
    """Both ways to write a file; the second is that of file systems without O_TMPFILE."""
    if request.param == "named":
        real = os.open

        def refusing(path, flags, *rest, **more):
            if flags & os.O_TMPFILE == os.O_TMPFILE:
                raise OSError(errno.EOPNOTSUPP, "Operation not supported")
            return real(path, flags, *rest, **more)

        monkeypatch.setattr(whole_file.os, "open", refusing)
    return request.param


def write(path, data=b"new"):
    file = WholeFile(str(path), "the file")
    try:
        os.write(file.fd, data)
        file.finish()
    finally:
        file.close()


def test_a_new_file(way, tmp_path):
    before = os.umask(0o027)
    try:
        write(tmp_path / "file")
    finally:
        os.umask(before)
    assert (tmp_path / "file").read_bytes() == b"new"
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o640
    assert os.listdir(tmp_path) == ["file"]


def test_a_file_that_is_replaced(way, tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"old")
    path.chmod(0o600)
    with path.open("rb") as old:
        write(path)
        assert old.read() == b"old"
    assert path.read_bytes() == b"new"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert os.listdir(tmp_path) == ["file"]


def test_what_is_not_finished_leaves_nothing(way, tmp_path):
    file = WholeFile(str(tmp_path / "file"), "the file")
    os.write(file.fd, b"x")
    assert len(os.listdir(tmp_path)) == (way == "named")
    file.close()
    assert os.listdir(tmp_path) == []


def test_killed(way, tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"old")

    def work():
        file = WholeFile(str(path), "the file")
        os.write(file.fd, b"half")
        os.kill(os.getpid(), signal.SIGKILL)

    stores.forked(work, -signal.SIGKILL)
    assert path.read_bytes() == b"old"
    if way == "nameless":
        assert os.listdir(tmp_path) == ["file"]
    write(path)
    assert os.listdir(tmp_path) == ["file"]
    assert path.read_bytes() == b"new"


def test_what_a_living_copy_writes_stays(tmp_path, way):
    path = tmp_path / "file"
    other = tmp_path / f".file.partial-{'0' * 16}"
    other.write_bytes(b"theirs")
    with other.open("rb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        write(path)
        assert other.exists()
    write(path)
    assert not other.exists()


@pytest.mark.parametrize("name", [".file.partial-mine", f".other.partial-{'0' * 16}", f"file.partial-{'0' * 16}"])
def test_other_files_stay(tmp_path, name):
    (tmp_path / name).write_bytes(b"mine")
    write(tmp_path / "file")
    assert (tmp_path / name).exists()


def test_what_is_no_file_stays(tmp_path):
    os.mkfifo(tmp_path / f".file.partial-{'0' * 16}")
    (tmp_path / f".file.partial-{'1' * 16}").mkdir()
    write(tmp_path / "file")
    assert len(os.listdir(tmp_path)) == 3


def test_names_of_255_bytes(way, tmp_path):
    write(tmp_path / ("ü" * 127 + "x"))
    write(tmp_path / os.fsdecode(b"\xff" * 255))
    write(tmp_path / os.fsdecode(b"\xff" * 255), b"newer")
    assert len(os.listdir(tmp_path)) == 2


def test_a_directory_that_cannot_be_read(way, tmp_path, monkeypatch):
    """Mode 0300. Root may read such a directory all the same, so the failing calls are simulated."""

    def denied(*_):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(whole_file, "sync_directory", denied)
    monkeypatch.setattr(whole_file.os, "listdir", denied)
    write(tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == b"new"


def test_the_user_learns_of_his_own_path(tmp_path):
    with pytest.raises(FileNotFoundError) as caught:
        WholeFile(str(tmp_path / "missing" / "file"), "what I wrote")
    assert caught.value.filename == "what I wrote"


@pytest.mark.mounts
@pytest.mark.parametrize("kind", ["ext4", "xfs", "btrfs", "tmpfs", "overlay"])
def test_file_systems(kind, tmp_path):
    with disks.mounted(kind, tmp_path / "disk") as disk:
        write(disk / "file", b"old")
        write(disk / "file")
        assert (disk / "file").read_bytes() == b"new"
        assert [name for name in os.listdir(disk) if name != "lost+found"] == ["file"]
