"""Staged work: its owner, and its removal when its process or its context ends."""

from __future__ import annotations

import linecache
import os
import signal
import sys

import pytest
from support import stores

from arstore.disk import staging
from arstore.disk.owner import Owner
from arstore.disk.paths import Directories
from arstore.disk.rmtree import remove_tree
from arstore.disk.staging import Ingest
from arstore.linux.process import boot_id


@pytest.fixture
def directories(tmp_path):
    made = Directories(str(tmp_path / "root"), str(tmp_path / "run"))
    made.create()
    return made


def test_a_directory_tells_its_process(directories):
    with Ingest(directories) as ingest:
        (name,) = os.listdir(directories.ingest)
        assert ingest.path == f"{directories.ingest}/{name}"
        owner = Owner.of_directory(name)
        assert owner == Owner.current()
        assert owner.is_alive()
        assert owner.pid == os.getpid()


def test_two_of_one_process_do_not_meet(directories):
    with Ingest(directories) as one, Ingest(directories) as other:
        assert one.path != other.path


@pytest.mark.parametrize(
    "name",
    ["", "x", "1", "1-2", "1-2-", "a-2-b-c", "1-b-c-d", "-1-2-b-c", "²-1-b-c", "1-²-b-c", "1--b-c", "lost+found"],
)
def test_any_other_name_has_no_owner(name):
    assert Owner.of_directory(name) is None


def test_owners_are_told_apart():
    here = Owner.current()
    assert Owner.of_directory(here.directory_name()) == here
    assert not Owner(here.pid, here.start + 1, here.boot).is_alive()
    assert not Owner(here.pid, here.start, "00000000-0000-0000-0000-000000000000").is_alive()
    assert not Owner(0, 0, boot_id()).is_alive()
    assert not Owner(1 << 40, 1, boot_id()).is_alive()


def test_all_of_it_goes_with_the_context(directories):
    def work():
        with Ingest(directories) as ingest:
            deep = ingest.directory("tree")
            os.mkdir(f"{deep}/closed", 0o000)
            os.symlink("/", f"{deep}/link")
            os.mkfifo(f"{deep}/pipe")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        work()
    assert os.listdir(directories.ingest) == []
    assert os.path.isdir("/etc")


def test_what_was_renamed_out_of_it_stays(directories):
    with Ingest(directories) as ingest:
        path = ingest.file("blob")
        with open(path, "w") as file:
            file.write("x")
        os.rename(path, f"{directories.root}/kept")
    assert os.path.exists(f"{directories.root}/kept")


def test_depth_is_no_way_to_stay(directories):
    with Ingest(directories) as ingest:
        fd = os.open(ingest.directory("deep"), os.O_RDONLY)
        for _ in range(3000):
            os.mkdir("d", dir_fd=fd)
            below = os.open("d", os.O_RDONLY, dir_fd=fd)
            os.close(fd)
            fd = below
        os.close(fd)
    assert os.listdir(directories.ingest) == []


def test_spooled_files_are_known_again(directories):
    with Ingest(directories) as ingest:
        first, second = ingest.create(), ingest.create()
        copy = os.dup(first)
        assert ingest.spooled(first) == ingest.spooled(copy) != ingest.spooled(second)
        os.pwrite(first, b"content", 0)
        with open(ingest.spooled(copy), "rb") as file:
            assert file.read() == b"content"
        with open(f"{directories.root}/other", "wb") as other:
            assert ingest.spooled(other.fileno()) is None
        for fd in (first, second, copy):
            os.close(fd)


def test_a_killed_process_leaves_a_directory_that_tells_so(directories):
    def work():
        Ingest(directories).__enter__().create()
        os.kill(os.getpid(), signal.SIGKILL)

    stores.forked(work, -signal.SIGKILL)
    (name,) = os.listdir(directories.ingest)
    owner = Owner.of_directory(name)
    assert owner is not None
    assert not owner.is_alive()


@pytest.mark.parametrize("kind", ["missing", "missing/below", "file", "link"])
def test_removing_what_is_no_directory(tmp_path, kind):
    target = tmp_path / "target"
    target.mkdir()
    (target / "kept").touch()
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to(target)
    if kind.startswith("missing"):
        remove_tree(str(tmp_path / kind))
    else:
        with pytest.raises(OSError, match=kind):
            remove_tree(str(tmp_path / kind))
    assert (target / "kept").exists()


@pytest.mark.root
@pytest.mark.mounts
def test_a_mount_inside_stops_the_removal_before_it_is_touched(tmp_path):
    import subprocess

    inside = tmp_path / "a" / "b"
    inside.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", inside], check=True)
    try:
        (inside / "precious").touch()
        with pytest.raises(OSError, match="mounted"):
            remove_tree(str(tmp_path / "a"))
        assert (inside / "precious").exists()
    finally:
        subprocess.run(["umount", inside], check=True)
    remove_tree(str(tmp_path / "a"))
    assert not (tmp_path / "a").exists()


def test_many_things_go_at_once(directories):
    with Ingest(directories) as ingest:
        for number in range(50):
            with open(ingest.file(f"file-{number}"), "wb") as file:
                file.write(bytes(number))
            os.mkdir(ingest.directory(f"tree-{number}") + "/inside")
        os.symlink("/", ingest.file("link"))
        path = ingest.path
    assert not os.path.lexists(path)
    assert os.path.isdir("/")


def interrupted_at(number, directories):
    """Use an ingest, and interrupt it at the line of this number in its module; return whether there was one."""

    def at(frame, event, _):
        nonlocal number
        if frame.f_code.co_filename != staging.__file__:
            return None
        # Python looks for signals at calls, at the start of functions and in loops, never at "try:".
        if event == "line" and linecache.getline(staging.__file__, frame.f_lineno).strip() != "try:":
            number -= 1
            if number == 0:
                sys.settrace(None)
                raise KeyboardInterrupt
        return at

    sys.settrace(at)
    try:
        with Ingest(directories) as ingest, open(ingest.file("one"), "w") as file:
            file.write("content")
    except KeyboardInterrupt:
        return True
    finally:
        sys.settrace(None)
    return False


def test_an_interrupt_at_any_line_leaves_nothing(directories):
    number = 1
    while interrupted_at(number, directories):
        assert os.listdir(directories.ingest) == []
        number += 1
    assert number > 20
