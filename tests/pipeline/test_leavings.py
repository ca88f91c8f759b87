"""Files that a hostile container may leave: found without following, opened without trusting, deleted without harm."""

from __future__ import annotations

import os
import socket
import subprocess
from pathlib import Path

import pytest
from support import images

from arstore.errors import LimitError
from arstore.pipeline import leavings
from arstore.pipeline.leavings import MAX_DEPTH, Leaving, Seen, find_leavings, opened_directory, opened_leaving


@pytest.fixture
def place(tmp_path):
    made = tmp_path / "images"
    made.mkdir()
    (tmp_path / "victim").mkdir()
    (tmp_path / "victim/precious").write_bytes(b"precious")
    before = len(os.listdir("/proc/self/fd"))
    yield made
    assert len(os.listdir("/proc/self/fd")) == before
    assert (tmp_path / "victim/precious").read_bytes() == b"precious"


def found(place):
    fd = os.open(place, os.O_RDONLY | os.O_DIRECTORY)
    try:
        return {leaving.path: leaving for leaving in find_leavings(fd)}
    finally:
        os.close(fd)


def cleared(place, meanwhile=lambda: None):
    """Take stock, run *meanwhile*, and delete what was in stock."""
    fd = os.open(place, os.O_RDONLY | os.O_DIRECTORY)
    try:
        seen = Seen()
        for leaving in find_leavings(fd, seen):
            if not leaving.refusal:
                with opened_leaving(fd, leaving, seen):
                    pass
        meanwhile()
        seen.remove(fd)
    finally:
        os.close(fd)


def emptied(place):
    cleared(place)
    assert os.listdir(place) == []


def deep(place, depth, name="d"):
    """A chain of directories, made from within; return the descriptor of the last."""
    fd = os.open(place, os.O_RDONLY)
    for _ in range(depth):
        os.mkdir(name, dir_fd=fd)
        below = os.open(name, os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = below
    return fd


def test_nothing(place):
    assert found(place) == {}
    emptied(place)


def test_files_layouts_and_directories_wherever_they_are(place):
    (place / "b.tar").touch()
    (place / "group/more").mkdir(parents=True)
    (place / "group/more/a.tar").touch()
    (place / "group/empty").mkdir()
    images.write_layout(place / "group/layout", images.example())
    images.write_dir(place / "dir", images.example())
    (place / "half").mkdir()
    (place / "half/manifest.json").touch()
    assert found(place) == {
        b"b.tar": Leaving((b"b.tar",)),
        b"group/more/a.tar": Leaving((b"group", b"more", b"a.tar")),
        b"group/layout": Leaving((b"group", b"layout"), is_directory=True),
        b"dir": Leaving((b"dir",), is_directory=True),
        b"half/manifest.json": Leaving((b"half", b"manifest.json")),
    }
    emptied(place)


def test_the_directory_itself_is_no_image(place):
    images.write_layout(place, images.example())
    assert all(not leaving.is_directory for leaving in found(place).values())
    assert b"oci-layout" in found(place)


def test_names_of_any_kind(place):
    names = [b"two\nlines.tar", b"\xff\xfe.tar", "流水线.tar".encode(), b"-rf", b" ", b"a\\b", b"n" * 255]
    for name in names:
        Path(os.fsdecode(os.fsencode(place) + b"/" + name)).touch()
    assert sorted(found(place)) == sorted(names)
    emptied(place)


def symlink(path):
    path.symlink_to("../victim/precious")


def directory_link(path):
    path.symlink_to("../victim", target_is_directory=True)


def bind_socket(path):
    with socket.socket(socket.AF_UNIX) as one:
        directory = os.getcwd()
        os.chdir(path.parent)
        try:
            one.bind(path.name)
        finally:
            os.chdir(directory)


def character_device(path):
    os.mknod(path, 0o20600, os.makedev(1, 3))


def block_device(path):
    os.mknod(path, 0o60600, os.makedev(7, 99))


ODD = [
    (symlink, "a symlink"),
    (directory_link, "a symlink"),
    (os.mkfifo, "a FIFO"),
    (bind_socket, "a socket"),
    pytest.param(character_device, "a character device", marks=pytest.mark.root),
    pytest.param(block_device, "a block device", marks=pytest.mark.root),
]


@pytest.mark.parametrize(("make", "kind"), ODD)
def test_what_is_no_file_is_refused_unopened(place, make, kind):
    make(place / "odd")
    (place / "good.tar").touch()
    assert kind in found(place)[b"odd"].refusal
    assert found(place)[b"good.tar"].refusal == ""
    cleared(place)
    assert os.listdir(place) == ["odd"]


@pytest.mark.parametrize(("make", "_kind"), ODD)
def test_what_became_something_else_is_not_opened(place, make, _kind):
    fd = os.open(place, os.O_RDONLY)
    make(place / "x")
    with pytest.raises(OSError, match=r".") as caught, opened_leaving(fd, Leaving((b"x",))):
        pass
    assert caught.value.errno
    with pytest.raises(OSError, match=r"."), opened_leaving(fd, Leaving((b"x",), is_directory=True)):
        pass
    with pytest.raises(OSError, match=r"."), opened_directory(fd, (b"x", b"y")):
        pass
    os.close(fd)


def test_a_directory_that_became_a_symlink_is_not_entered(place):
    (place / "group").symlink_to("../victim")
    fd = os.open(place, os.O_RDONLY)
    with pytest.raises(NotADirectoryError), opened_leaving(fd, Leaving((b"group", b"precious"))):
        pass
    os.close(fd)


def test_what_was_found_can_be_read(place):
    (place / "group").mkdir()
    (place / "group/a.tar").write_bytes(b"content")
    fd = os.open(place, os.O_RDONLY)
    (leaving,) = find_leavings(fd)
    with opened_leaving(fd, leaving) as file:
        assert os.read(file, 100) == b"content"
        assert os.get_inheritable(file) is False
    os.close(fd)


def test_depth_has_a_limit_and_costs_nothing(place):
    fd = deep(place, MAX_DEPTH)
    os.close(os.open("last.tar", os.O_CREAT | os.O_WRONLY, dir_fd=fd))
    assert found(place)[b"d/" * MAX_DEPTH + b"last.tar"].refusal == ""
    os.mkdir("more", dir_fd=fd)
    os.close(fd)
    assert "deep" in found(place)[b"d/" * MAX_DEPTH + b"more"].refusal
    cleared(place)
    assert list(found(place)) == [b"d/" * MAX_DEPTH + b"more"]


def test_the_number_of_entries_has_a_limit(place, monkeypatch):
    monkeypatch.setattr(leavings, "MAX_ENTRIES", 50)
    (place / "group").mkdir()
    for number in range(49):
        (place / "group" / str(number)).touch()
    assert len(found(place)) == 49
    (place / "group/one more").touch()
    with pytest.raises(LimitError, match="50"):
        found(place)


@pytest.mark.root
@pytest.mark.mounts
def test_another_file_system_is_refused_and_not_deleted(place):
    (place / "mounted").mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", place / "mounted"], check=True)
    try:
        (place / "mounted/x.tar").touch()
        assert "file system" in found(place)[b"mounted"].refusal
        cleared(place)
        assert (place / "mounted/x.tar").exists()
    finally:
        subprocess.run(["umount", place / "mounted"], check=True)


def test_everything_in_an_image_directory_goes_with_it(place):
    layout = place / "group/layout"
    images.write_layout(layout, images.example())
    (layout / "loop").symlink_to(".")
    (layout / "up").symlink_to("../../../victim")
    (layout / "closed").mkdir()
    (layout / "closed/x").touch()
    (layout / "closed").chmod(0)
    os.mkfifo(layout / "pipe")
    os.link(place.parent / "victim/precious", place / "linked.tar")
    emptied(place)


def test_an_image_directory_that_is_too_deep_is_refused(place):
    (place / "layout").mkdir()
    (place / "layout/oci-layout").touch()
    os.close(deep(place / "layout", 3000))
    with pytest.raises(LimitError, match="layout: is more than 64 directories deep"):
        cleared(place)
    subprocess.run(["rm", "-rf", place / "layout"], check=True)


def test_only_what_was_looked_at_goes(place):
    """A process outside may have a descriptor of a file that the container left, and go on writing."""
    for name in ("same.tar", "grown.tar", "replaced.tar", "touched.tar"):
        (place / name).write_bytes(b"content")
    (place / "group").mkdir()
    (place / "group/same.tar").touch()
    for name in ("layout", "quiet"):
        images.write_layout(place / name, images.example())
    blob = next((place / "layout/blobs/sha256").iterdir())

    def meanwhile():
        with open(place / "grown.tar", "ab") as file:
            file.write(b"more")
        (place / "replaced.tar").unlink()
        (place / "replaced.tar").write_bytes(b"content")
        status = os.stat(place / "touched.tar")
        (place / "touched.tar").write_bytes(b"CONTENT")
        os.utime(place / "touched.tar", ns=(status.st_atime_ns, status.st_mtime_ns))
        (place / "new.tar").touch()
        (place / "group/new.tar").touch()
        (place / "newgroup").mkdir()
        blob.write_bytes(b"other")
        (place / "layout/new").touch()

    cleared(place, meanwhile)
    left = {os.path.relpath(path, place) for path in map(str, place.rglob("*")) if not os.path.isdir(path)}
    expected = {"grown.tar", "replaced.tar", "touched.tar", "new.tar", "group/new.tar", "layout/new"}
    assert left == {*expected, os.path.relpath(blob, place)}
    assert (place / "newgroup").is_dir()


def test_what_was_swapped_for_a_symlink_leads_nowhere(place):
    images.write_layout(place / "layout", images.example())

    def meanwhile():
        subprocess.run(["rm", "-rf", place / "layout/blobs"], check=True)
        (place.parent / "victim/sha256").mkdir()
        (place / "layout/blobs").symlink_to("../../victim")

    cleared(place, meanwhile)
    assert (place / "layout/blobs").is_symlink()
    (place.parent / "victim/sha256").rmdir()


@pytest.mark.root
@pytest.mark.tools("chattr")
def test_what_cannot_be_deleted_is_said(place):
    (place / "fixed").touch()
    if subprocess.run(["chattr", "+i", place / "fixed"], check=False, capture_output=True).returncode:
        pytest.skip("this file system has no immutable files")
    try:
        with pytest.raises(PermissionError):
            emptied(place)
    finally:
        subprocess.run(["chattr", "-i", place / "fixed"], check=True)
