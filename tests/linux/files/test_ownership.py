"""Giving trees to a user: everything in them, and nothing else."""

import os
import stat

import pytest

from arstore.linux.files.ownership import give_tree
from arstore.linux.mounting.mount import MNT_DETACH, MS_BIND, mount, umount

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


def owners(top):
    found = {}
    for place, directories, files in os.walk(top):
        for name in [".", *directories, *files]:
            status = os.lstat(os.path.join(place, name))
            found[os.path.normpath(os.path.join(place, name))] = (status.st_uid, status.st_gid)
    return set(found.values())


def test_everything_below_is_given(tmp_path):
    place = tmp_path / "top"
    for _ in range(300):
        place = place / "d"
    os.makedirs(place)
    (place / "file").touch()
    os.mkfifo(place / "fifo")
    os.mkdir(tmp_path / "top/closed", 0)
    give_tree(str(tmp_path / "top"), 5, 6)
    assert owners(tmp_path / "top") == {(5, 6)}


def test_symlinks_are_given_and_not_followed(tmp_path):
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/file").touch()
    (tmp_path / "top").mkdir()
    (tmp_path / "top/link").symlink_to("../outside")
    (tmp_path / "top/absolute").symlink_to(tmp_path / "outside/file")
    give_tree(str(tmp_path / "top"), 5, 6)
    assert owners(tmp_path / "outside") == {(0, 0)}
    assert os.lstat(tmp_path / "top/link").st_uid == os.lstat(tmp_path / "top/absolute").st_uid == 5
    with pytest.raises(OSError, match="symbolic links"):
        give_tree(str(tmp_path / "top/link"), 5, 6)


def test_a_file_alone(tmp_path):
    (tmp_path / "file").touch()
    give_tree(str(tmp_path / "file"), 5, 6)
    assert os.stat(tmp_path / "file").st_gid == 6


def test_entries_of_the_right_owner_are_not_touched(tmp_path):
    (tmp_path / "top").mkdir()
    (tmp_path / "top/file").touch()
    os.chown(tmp_path / "top/file", 5, 6)
    before = os.stat(tmp_path / "top/file").st_ctime_ns
    give_tree(str(tmp_path / "top"), 5, 6)
    assert os.stat(tmp_path / "top/file").st_ctime_ns == before


def test_other_mounts_are_left_alone(tmp_path):
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/file").touch()
    (tmp_path / "top/here").mkdir(parents=True)
    (tmp_path / "top/file").touch()
    try:
        mount(str(tmp_path / "outside"), str(tmp_path / "top/here"), flags=MS_BIND)
    except OSError as error:
        pytest.skip(f"mounts are not possible: {error}")
    try:
        mount(str(tmp_path / "outside/file"), str(tmp_path / "top/file"), flags=MS_BIND)
        give_tree(str(tmp_path / "top"), 5, 6)
        assert owners(tmp_path / "outside") == {(0, 0)}
    finally:
        for name in ("file", "here"):
            umount(str(tmp_path / "top" / name), MNT_DETACH)
    assert stat.S_ISREG(os.stat(tmp_path / "top/file").st_mode)
