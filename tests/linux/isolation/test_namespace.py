import os
import threading

import pytest
from support.programs import is_root

from arstore.linux.isolation import namespace
from arstore.linux.mounting import mount
from arstore.linux.mounting.mountinfo import mount_at


def in_child(action):
    """Fork a child that runs *action*; return its exit status, 0 if *action* returned True."""
    pid = os.fork()
    if pid == 0:
        status = 2
        try:
            status = 0 if action() else 1
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_in_directory_moves_no_other_thread(tmp_path):
    before = os.getcwd()
    entered, leave = threading.Event(), threading.Event()
    seen = []

    def action():
        entered.set()
        leave.wait(5)
        return os.getcwd()

    other = threading.Thread(target=lambda: seen.append(namespace.in_directory(str(tmp_path), action)))
    other.start()
    assert entered.wait(5)
    assert os.getcwd() == before
    leave.set()
    other.join()
    assert seen == [str(tmp_path.resolve())]
    assert os.getcwd() == before


def test_in_directory_passes_on_what_is_raised(tmp_path):
    def action():
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        namespace.in_directory(str(tmp_path), action)
    with pytest.raises(FileNotFoundError):
        namespace.in_directory(str(tmp_path / "none"), os.getcwd)


def test_identity_is_the_same_for_the_same_namespace():
    assert namespace.identity("mnt") == namespace.identity("mnt", os.getpid())
    assert namespace.identity("mnt") != namespace.identity("user")
    with pytest.raises(OSError, match="No such"):
        namespace.identity("mnt", 2**22 + 1)


@pytest.mark.mounts
def test_a_private_mount_namespace_keeps_its_mounts(tmp_path):
    outside = namespace.identity("mnt")

    def action():
        namespace.unshare(namespace.CLONE_NEWNS)
        mount.mount("", "/", "", mount.MS_REC | mount.MS_PRIVATE)
        mount.mount("here", str(tmp_path), "tmpfs")
        return namespace.identity("mnt") != outside and mount_at(str(tmp_path)).source == "here"

    assert in_child(action) == 0
    assert mount_at(str(tmp_path)) is None


@pytest.mark.mounts
def test_setns_goes_back(tmp_path):
    def action():
        home = os.open("/proc/self/ns/mnt", os.O_RDONLY)
        was = namespace.identity("mnt")
        namespace.unshare(namespace.CLONE_NEWNS)
        namespace.setns(home, namespace.CLONE_NEWNS)
        return namespace.identity("mnt") == was

    assert in_child(action) == 0


def test_unshare_of_nonsense_raises():
    with pytest.raises(OSError, match="Invalid argument"):
        namespace.unshare(1)


@pytest.mark.skipif(is_root(), reason="is about ordinary users")
def test_an_ordinary_user_may_not_leave_the_mount_namespace():
    with pytest.raises(PermissionError):
        namespace.unshare(namespace.CLONE_NEWNS)
