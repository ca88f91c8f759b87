"""The file system of a path: of real ones, and of lines that kernels write for those that are not here."""

from __future__ import annotations

import os
import subprocess

import pytest
from support import disks

from arstore.linux.mounting import filesystem
from arstore.linux.mounting.mountinfo import mount_below, parse

NETWORKS = ("nfs", "nfs4", "cifs", "smb3", "9p", "ceph", "lustre", "fuse.sshfs", "fuse.glusterfs", "fuse.s3fs")
LOCAL = ("ext4", "xfs", "btrfs", "tmpfs", "overlay", "fuseblk", "fuse.ntfs-3g", "fuse.bindfs", "virtiofs", "zfs")


def line(fs_type, options="rw", super_options="rw"):
    text = f"36 35 0:98 / /mnt {options},relatime shared:1 - {fs_type} server:/export {super_options},vers=4.2"
    return parse(text.encode())


@pytest.fixture
def lying(monkeypatch):
    """Makes every path appear on a mount that this line of mountinfo describes."""

    def lie(found):
        monkeypatch.setattr(filesystem, "mount_below", lambda _path: found)
        monkeypatch.setattr(filesystem, "_unusual", lambda _path: found)

    return lie


def test_the_mount_that_a_path_lies_on(tmp_path):
    found = mount_below(str(tmp_path))
    fd = os.open(tmp_path, os.O_PATH)
    try:
        assert mount_below(fd) == found
    finally:
        os.close(fd)
    assert found is not None
    assert (found.major, found.minor) == (os.major(tmp_path.stat().st_dev), os.minor(tmp_path.stat().st_dev))
    with pytest.raises(FileNotFoundError):
        mount_below(str(tmp_path / "none"))


@pytest.mark.parametrize("fs_type", [*NETWORKS, *LOCAL])
def test_network_file_systems_are_told_by_their_type(lying, fs_type):
    lying(line(fs_type))
    assert filesystem.network_type("/") == (fs_type if fs_type in NETWORKS else "")


@pytest.mark.parametrize("fs_type", [*NETWORKS, *LOCAL])
def test_nothing_but_an_overlay_is_one(lying, fs_type):
    lying(line(fs_type))
    assert filesystem.is_overlay("/") == (fs_type == "overlay")


@pytest.mark.parametrize("fs_type", [*NETWORKS, "overlay", "fuse.bindfs", "virtiofs", "ecryptfs"])
def test_a_superblock_that_is_read_only_does_not_keep_others_from_writing_to_these(lying, fs_type):
    lying(line(fs_type, "ro", "ro"))
    assert not filesystem.nobody_can_write("/")


@pytest.mark.parametrize("fs_type", ["ext4", "squashfs", "erofs", "iso9660", "tmpfs", "btrfs"])
def test_a_mount_alone_keeps_nobody_from_writing(lying, monkeypatch, fs_type):
    monkeypatch.setattr(filesystem, "_says_read_only", lambda _path: False)
    lying(line(fs_type, "ro", "rw"))
    assert not filesystem.nobody_can_write("/")
    lying(line(fs_type, "rw", "ro"))
    assert filesystem.nobody_can_write("/")


@pytest.mark.root
@pytest.mark.mounts
def test_real_ones(tmp_path):
    with disks.mounted("overlay", tmp_path / "overlay") as place:
        assert filesystem.is_overlay(str(place))
        assert not filesystem.is_read_only(str(place))
    with disks.mounted("ext4", tmp_path / "ext4") as place:
        assert not filesystem.is_overlay(str(place))
        assert not filesystem.nobody_can_write(str(place))
        with disks.attached(tmp_path / "bound", "--bind", place) as bound:
            subprocess.run(["mount", "-o", "remount,bind,ro", bound], check=True)
            assert filesystem.is_read_only(str(bound))
            assert not filesystem.nobody_can_write(str(bound))
            assert not filesystem.is_read_only(str(place))
        subprocess.run(["mount", "-o", "remount,ro", place], check=True)
        assert filesystem.is_read_only(str(place))
        assert filesystem.nobody_can_write(str(place))


@pytest.mark.root
@pytest.mark.mounts
@pytest.mark.tools("btrfs")
def test_a_subvolume_can_be_read_only(tmp_path):
    with disks.mounted("btrfs", tmp_path / "disk") as place:
        subprocess.run(["btrfs", "-q", "subvolume", "create", place / "one"], check=True)
        (place / "one/deep/below").mkdir(parents=True)
        subprocess.run(["btrfs", "-q", "subvolume", "snapshot", "-r", place / "one", place / "frozen"], check=True)
        for name in ("frozen", "frozen/deep", "frozen/deep/below"):
            assert filesystem.is_read_only(str(place / name))
            assert filesystem.nobody_can_write(str(place / name))
        for name in ("", "one", "one/deep/below"):
            assert not filesystem.is_read_only(str(place / name))
            assert not filesystem.nobody_can_write(str(place / name))
