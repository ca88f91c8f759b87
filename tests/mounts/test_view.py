"""Whether a mounted file system still exists: where it cannot be seen, and where its device number was reused."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from support import stores

from arstore.errors import InUseError, MountError
from arstore.linux.mounting import mount, superblock
from arstore.maintenance.remove import remove_images
from arstore.mounts import view as mountview
from arstore.mounts.table import MountState, MountTable
from arstore.rootfs import mount as rootfs

pytestmark = [pytest.mark.root, pytest.mark.mounts]

REPOSITORY = Path(__file__).parents[2]
STATES = """
import sys
from arstore.disk.paths import Directories
from arstore.mounts.table import MountTable
print([entry.state.value for entry in MountTable(Directories(*sys.argv[1:])).list()])
"""
SILENT = "from arstore.mounts import view; view.look = lambda device: None"


@pytest.fixture
def store(tmp_path):
    with stores.filled(tmp_path, stores.simple("a", "b", names=("x:1",))) as made:
        yield made
        stores.umount_all(made)


@pytest.fixture
def silent(monkeypatch):
    """A kernel that does not report whether a file system exists."""
    monkeypatch.setattr(mountview, "look", lambda device: None)


def state(store):
    return [entry.state for entry in MountTable(store.directories).list()]


def mounted(store):
    return rootfs.mount_image(store, store.find("x:1"))


@contextmanager
def elsewhere(store, *options):
    """Mount x:1 in a new mount namespace, which exists as long as its process; return the process."""
    words = [sys.executable, "-m", "arstore", "--root", store.directories.root, "--runroot", store.directories.runroot]
    script = f"{' '.join(words)} mount x:1 && exec sleep 600"
    command = ["unshare", "-m", *options, "sh", "-c", script]
    with subprocess.Popen(command, cwd=REPOSITORY, stdout=-1) as process:
        process.stdout.readline()
        yield process
        process.kill()


def wait_for(condition):
    for _ in range(200):
        if condition():
            return
        time.sleep(0.05)
    raise AssertionError("did not happen in 10 s")


def test_it_is_known_until_the_namespace_has_gone(store):
    store.graph.release()
    with elsewhere(store):
        assert state(store) == [MountState.MOUNTED]
        with pytest.raises(InUseError, match="mounted at"):
            remove_images(store, ["x:1"])
        store.graph.release()
    wait_for(lambda: state(store) == [MountState.STALE])
    remove_images(store, ["x:1"])


def test_a_silent_kernel_is_made_up_for_by_the_first_pid_namespace(store, silent):
    store.graph.release()
    with elsewhere(store):
        assert state(store) == [MountState.MOUNTED]
    wait_for(lambda: state(store) == [MountState.STALE])


def test_a_namespace_without_processes_is_held_by_a_descriptor(store, silent):
    store.graph.release()
    with elsewhere(store) as process:
        fd = os.open(f"/proc/{process.pid}/ns/mnt", os.O_RDONLY)
    try:
        wait_for(lambda: state(store) == [MountState.PENDING])
        [entry] = MountTable(store.directories).list()
        with pytest.raises(MountError, match="another mount namespace"):
            MountTable(store.directories).umount(entry.record.id)
    finally:
        os.close(fd)
    wait_for(lambda: state(store) == [MountState.STALE])


def test_a_namespace_without_processes_is_held_by_a_bind_mount(store, silent, tmp_path):
    store.graph.release()
    (tmp_path / "private").mkdir()
    mount.mount("private", str(tmp_path / "private"), "tmpfs")
    with ExitStack() as stack:
        stack.callback(mount.umount, str(tmp_path / "private"))
        mount.mount("none", str(tmp_path / "private"), flags=mount.MS_PRIVATE)
        place = tmp_path / "private/ns"
        place.touch()
        with elsewhere(store) as process:
            mount.mount(f"/proc/{process.pid}/ns/mnt", str(place), flags=mount.MS_BIND)
        # The process may still be exiting.
        wait_for(lambda: state(store) == [MountState.PENDING])
        mount.umount(str(place))
    wait_for(lambda: state(store) == [MountState.STALE])


@pytest.mark.parametrize("silence", ["", SILENT], ids=["asked", "silent"])
def test_in_another_pid_namespace_what_cannot_be_seen_is_held(store, silence):
    store.graph.release()
    command = ["unshare", "-pf", "--mount-proc", "-m", sys.executable, "-c", f"{silence}\n{STATES}", *store.directories]

    def told():
        return subprocess.run(command, check=True, capture_output=True, text=True, cwd=REPOSITORY).stdout.strip()

    with elsewhere(store):
        assert told() == "['pending']"
    wait_for(lambda: state(store) == [MountState.STALE])
    # The asking namespace may have got the number of the one that has ended, and then knows that it ended.
    assert told() in ({"['pending']", "['stale']"} if silence else {"['stale']"})


def test_a_number_that_a_mounted_file_system_has_by_now(store, tmp_path):
    record = mounted(store)
    table = MountTable(store.directories)
    table.umount(record.id)
    (tmp_path / "other").mkdir()
    mount.mount("other", str(tmp_path / "other"), "tmpfs")
    try:
        for namespace in (record.namespace, 1):
            table.add(record._replace(device=os.stat(tmp_path / "other").st_dev, sign=0, namespace=namespace))
            assert state(store) == [MountState.STALE]
            table.remove(record.id)
    finally:
        mount.umount(str(tmp_path / "other"))


def test_a_number_that_an_invisible_index_has_by_now(store):
    """EROFS below a mounted overlay is visible nowhere as long as that is mounted."""
    with store.graph.read() as snapshot:
        key = next((key for key, record in snapshot.trees() if record.form == "erofs"), "")
    if not key:
        pytest.skip("this host cannot mount indexes")
    record = mounted(store)
    table = MountTable(store.directories)
    with store.forms["erofs"].lower(store.directories.tree(key)) as lower:
        device = os.fstat(lower.fd).st_dev
        live = superblock.look(device)
        if not isinstance(live, superblock.Live):
            pytest.skip("this kernel does not say which file systems live")
        assert live.sign
        table.add(record._replace(id="gone", source="arstore:gone", device=device, sign=0))
        assert [one.state for one in table.list() if one.record.id == "gone"] == [MountState.STALE]
        table.remove("gone")
