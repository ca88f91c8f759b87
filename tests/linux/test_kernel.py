"""Features of the kernel: answers with reasons, and without a change."""

from __future__ import annotations

import os

import pytest
from support import stores

from arstore.linux import kernel
from arstore.linux.isolation import capability

NOBODY = 65534


def test_file_systems(tmp_path):
    assert kernel.file_system("tmpfs") == (True, "")
    assert not kernel.file_system("no-such-fs")
    assert "this kernel has no no-such-fs" in kernel.file_system("no-such-fs").reason


def test_a_module_that_is_not_loaded_counts(tmp_path):
    place = tmp_path / "lib/modules" / os.uname().release
    place.mkdir(parents=True)
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/filesystems").write_text("nodev\ttmpfs\n\text4\n")
    (place / "modules.dep").write_text("kernel/fs/netfs/netfs.ko: kernel/fs/erofs/other.ko\n")
    assert not kernel.file_system("erofs", str(tmp_path))
    (place / "modules.dep").write_text("kernel/fs/erofs/erofs.ko.xz: kernel/lib/x.ko.xz\n")
    assert kernel.file_system("erofs", str(tmp_path)) == (True, "as a module that is not loaded yet")
    assert kernel.file_system("ext4", str(tmp_path)) == (True, "")
    assert not kernel.file_system("overlay", str(tmp_path))
    assert "cannot be read" in kernel.file_system("overlay", str(tmp_path / "none")).reason


def test_loop_devices(tmp_path):
    assert "does not exist" in kernel.loop_devices(str(tmp_path / "none")).reason
    (tmp_path / "control").touch()
    assert kernel.loop_devices(str(tmp_path / "control"))


def test_verity(tmp_path):
    assert not kernel.verity(str(tmp_path))
    (tmp_path / "ext4/features").mkdir(parents=True)
    (tmp_path / "ext4/features/verity").touch()
    assert kernel.verity(str(tmp_path)) == (True, "on ext4")


def test_control_groups(tmp_path):
    assert kernel.cgroups(str(tmp_path))[0] == ""
    (tmp_path / "memory").mkdir()
    assert kernel.cgroups(str(tmp_path)) == ("1", "")
    (tmp_path / "unified").mkdir()
    (tmp_path / "unified/cgroup.controllers").touch()
    assert kernel.cgroups(str(tmp_path)) == ("1 and 2", "")
    (tmp_path / "cgroup.controllers").touch()
    assert kernel.cgroups(str(tmp_path)) == ("2", "")


def test_user_namespaces_are_tried_in_a_child():
    before = os.readlink("/proc/self/ns/user")
    answer = kernel.user_namespaces()
    assert os.readlink("/proc/self/ns/user") == before
    assert answer or answer.reason


def test_the_setting_that_forbids_user_namespaces_is_named(tmp_path, monkeypatch):
    def refuse(_flags):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(kernel, "unshare", refuse)
    assert kernel.user_namespaces(str(tmp_path)) == (False, "operation not permitted")
    (tmp_path / "kernel").mkdir()
    (tmp_path / "kernel/unprivileged_userns_clone").write_text("0\n")
    assert kernel.user_namespaces(str(tmp_path)) == (False, "sysctl kernel.unprivileged_userns_clone is 0")


@pytest.mark.root
def test_what_an_ordinary_user_lacks():
    def work():
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)
        assert not kernel.mounting()
        assert kernel.mounting().reason == "needs CAP_SYS_ADMIN: this user is not root"
        assert kernel.lacking(capability.CAP_MKNOD, capability.CAP_CHOWN).startswith("needs CAP_CHOWN, CAP_MKNOD:")

    stores.forked(work)


@pytest.mark.root
def test_what_root_in_a_container_lacks():
    def work():
        capability.keep_only(capability.mask(capability.CAP_CHOWN))
        assert kernel.lacking(capability.CAP_CHOWN) == ""
        assert "CAP_SYS_ADMIN: this process is root without all rights" in kernel.mounting().reason

    stores.forked(work)
