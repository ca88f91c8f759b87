import errno
import os
from pathlib import Path

import pytest

from arstore.linux.mounting import mount
from arstore.linux.mounting.mountinfo import mount_at

pytestmark = pytest.mark.mounts


@pytest.fixture
def tmpfs():
    """A detached tmpfs; a test that attaches it must unmount it."""
    fs_fd = mount.fsopen("tmpfs")
    try:
        mount.fsconfig_string(fs_fd, "source", "somewhere")
        mount.fsconfig_string(fs_fd, "size", "1m")
        mount.fsconfig_create(fs_fd)
        mount_fd = mount.fsmount(fs_fd)
    finally:
        os.close(fs_fd)
    yield mount_fd
    os.close(mount_fd)


def opened(path):
    return os.open(path, os.O_PATH)


def test_a_detached_mount_is_usable_and_seen_by_nobody(tmpfs):
    os.mkdir("d", dir_fd=tmpfs)
    assert os.listdir(f"/proc/self/fd/{tmpfs}") == ["d"]
    assert "somewhere" not in Path("/proc/self/mountinfo").read_text()


def test_move_mount_attaches_and_umount_ends_it(tmpfs, tmp_path):
    target = opened(tmp_path)
    try:
        mount.move_mount(tmpfs, target, str(tmp_path))
        assert mount_at(str(tmp_path)).source == "somewhere"
    finally:
        mount.umount(str(tmp_path), mount.MNT_DETACH)
        os.close(target)
    assert mount_at(str(tmp_path)) is None


def test_umount_of_what_is_used_is_busy(tmpfs, tmp_path):
    target = opened(tmp_path)
    mount.move_mount(tmpfs, target)
    os.close(target)
    inside = os.open(tmp_path, os.O_RDONLY)
    try:
        with pytest.raises(OSError, match="busy") as caught:
            mount.umount(str(tmp_path))
        assert caught.value.errno == errno.EBUSY
        assert caught.value.filename == str(tmp_path)
    finally:
        os.close(inside)
        mount.umount(str(tmp_path), mount.MNT_DETACH)


def test_umount_does_not_follow_a_symlink(tmpfs, tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    target = opened(tmp_path / "real")
    mount.move_mount(tmpfs, target)
    os.close(target)
    try:
        with pytest.raises(OSError, match="Invalid argument"):
            mount.umount(str(tmp_path / "link"))
    finally:
        mount.umount(str(tmp_path / "real"), mount.MNT_DETACH)


def test_the_kernels_words_are_read_once():
    fs_fd = mount.fsopen("tmpfs")
    try:
        with pytest.raises(OSError, match="Invalid argument"):
            mount.fsconfig_string(fs_fd, "no-such-option", "1")
        said = mount.messages(fs_fd)
        assert len(said) == 1
        assert "no-such-option" in said[0]
        assert not said[0].startswith("e ")
        assert mount.messages(fs_fd) == []
    finally:
        os.close(fs_fd)


def test_an_unknown_file_system_is_enodev():
    with pytest.raises(OSError, match="nosuchfs") as caught:
        mount.fsopen("nosuchfs")
    assert caught.value.errno == errno.ENODEV


def test_a_string_is_at_most_255_bytes():
    fs_fd = mount.fsopen("tmpfs")
    try:
        mount.fsconfig_string(fs_fd, "source", "x" * mount.MAX_STRING)
        mount.fsconfig_create(fs_fd)
    finally:
        os.close(fs_fd)
    fs_fd = mount.fsopen("tmpfs")
    try:
        with pytest.raises(OSError, match="Invalid argument"):
            mount.fsconfig_string(fs_fd, "source", "x" * (mount.MAX_STRING + 1))
    finally:
        os.close(fs_fd)


def test_open_tree_clones_a_bind_mount_and_setattr_makes_it_read_only(tmp_path):
    (tmp_path / "d").mkdir()
    clone = mount.open_tree(str(tmp_path / "d"))
    try:
        mount.mount_setattr(clone, add=mount.MOUNT_ATTR_RDONLY | mount.MOUNT_ATTR_NODEV)
        with pytest.raises(OSError, match="Read-only"):
            os.mkdir("x", dir_fd=clone)
        mount.mount_setattr(clone, remove=mount.MOUNT_ATTR_RDONLY)
        os.mkdir("x", dir_fd=clone)
    finally:
        os.close(clone)
    assert (tmp_path / "d" / "x").is_dir()


def test_open_tree_does_not_follow_a_final_symlink(tmp_path):
    (tmp_path / "d").mkdir()
    (tmp_path / "link").symlink_to("d")
    fd = mount.open_tree(str(tmp_path / "link"), flags=mount.AT_SYMLINK_NOFOLLOW)
    try:
        assert os.readlink("", dir_fd=fd) == "d"
    finally:
        os.close(fd)


def test_mount_2_with_options_and_flags(tmp_path):
    target = str(tmp_path)
    mount.mount("tmp", target, "tmpfs", mount.MS_NODEV | mount.MS_RDONLY, "size=1m,mode=0711")
    try:
        found = mount_at(target)
        assert (found.source, found.fs_type, found.read_only) == ("tmp", "tmpfs", True)
        assert "nodev" in found.options.split(",")
        assert os.stat(target).st_mode & 0o7777 == 0o711
    finally:
        mount.umount(target)


def test_fsmount_takes_attributes(tmp_path):
    fs_fd = mount.fsopen("tmpfs")
    mount.fsconfig_create(fs_fd)
    mount_fd = mount.fsmount(fs_fd, mount.MOUNT_ATTR_RDONLY)
    os.close(fs_fd)
    try:
        with pytest.raises(OSError, match="Read-only"):
            os.mkdir("x", dir_fd=mount_fd)
    finally:
        os.close(mount_fd)


def test_descriptors_are_not_inherited(tmpfs):
    fs_fd = mount.fsopen("tmpfs")
    tree_fd = mount.open_tree("/")
    try:
        assert not any(os.get_inheritable(fd) for fd in (fs_fd, tree_fd, tmpfs))
    finally:
        os.close(fs_fd)
        os.close(tree_fd)
