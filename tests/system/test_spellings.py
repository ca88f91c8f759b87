"""Mounts belong to the store, and are known by every path, runroot and namespace through which it is reached."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import time
from pathlib import Path

import pytest
from support import budget, images, runnable
from support.cli import Arstore

pytestmark = [pytest.mark.root, pytest.mark.mounts]

INSIDE = {
    "mount": ("unshare", "-m"),
    "pid": ("unshare", "-pf", "--mount-proc", "-m"),
    "user": ("unshare", "-Urpf", "--mount-proc", "-m"),
}
WAYS = ("runroot", "symlink", "bind", "chroot", *INSIDE)
FORMS = ("erofs", "directory")


@pytest.fixture(params=FORMS)
def store(store_root, runroot, tmp_path, request):
    """A store with the example image in one form of trees."""
    arstore = Arstore(store_root, runroot)
    archive = images.write_oci_archive(tmp_path / "example.tar", images.example())
    arstore.ok("import", archive, "--tree", request.param)
    yield arstore
    arstore.run("umount", "--all")


@pytest.fixture
def other(store, tmp_path, request):
    """The same store by another path, with the runroot that a user there would have."""
    runroot = tmp_path / "other-run"
    way = request.param
    if way in INSIDE:
        yield Arstore(store.root, runroot, INSIDE[way])
        return
    root = store.root
    if way == "symlink":
        root = tmp_path / "link"
        root.symlink_to(store.root)
    elif way == "bind":
        root = tmp_path / "bound"
        root.mkdir()
        subprocess.run(["mount", "--bind", store.root, root], check=True)
    elif way == "chroot":
        yield from in_a_chroot(store, tmp_path, runroot)
        return
    yield Arstore(root, runroot)
    if way == "bind":
        subprocess.run(["umount", root], check=True)


def in_a_chroot(store, tmp_path, runroot):
    """The store at /mnt of another root file system, in a new mount namespace, as in a container."""
    root = tmp_path / "host"
    root.mkdir()
    script = f"mount --rbind / {root} && mount --bind {store.root} {root}/mnt && exec chroot {root} "
    yield Arstore(Path("/mnt"), runroot, ("unshare", "-m", "sh", "-c", script + '"$@"', "sh"))


def is_of_a_user_namespace(arstore):
    """True if the process can read the store but not change all of it, because it cannot set owners and attributes."""
    return arstore.prefix == INSIDE["user"]


def refused(arstore, *words):
    outcome = arstore.run(*words)
    assert (outcome.status, "Traceback" in outcome.err) == (7, False), outcome
    return outcome.err.splitlines()[-1]


@pytest.mark.parametrize(("store", "other"), budget.one_of(2, itertools.product(FORMS, WAYS)), indirect=True)
def test_an_image_that_is_mounted_is_not_removed(store, other):
    path = Path(store.ok("mount", "example:1").text.strip())
    before = sorted(path.rglob("*"))
    assert path.name in refused(other, "rm", "example:1")
    store.ok("untag", "example:1")
    assert other.json("gc")["images"] == []
    assert sorted(path.rglob("*")) == before
    assert (path / "data/old").read_bytes() == b"new"
    [mount] = other.json("mounts")
    assert (mount["id"], mount["path"]) == (path.name, str(path))
    assert mount["state"] in {"mounted", "pending"}
    store.ok("umount", path)
    assert other.json("mounts") == []
    if not is_of_a_user_namespace(other):
        assert len(other.json("gc")["images"]) == 1


@pytest.mark.parametrize(("store", "other"), budget.one_of(2, itertools.product(FORMS, WAYS), 1), indirect=True)
def test_a_container_that_is_mounted_is_neither_removed_nor_mounted_again(store, other, tmp_path):
    made = store.json("mount", "example:1", "--rw", "--name", "box")
    upper = store.root / "containers/box/upper"
    (Path(made["path"]) / "written").write_text("kept")
    assert made["path"] in refused(other, "container", "rm", "box")
    again = other.run("mount", "box")
    assert again.status == 6 or is_of_a_user_namespace(other), again.err
    assert again.status
    refused(other, "rm", "example:1")
    other.ok("gc")
    other.run("check", "--repair")
    assert (upper / "written").read_text() == "kept"
    assert (Path(made["path"]) / "written").read_text() == "kept"
    store.ok("umount", "box")
    if not is_of_a_user_namespace(other):
        other.ok("container", "rm", "box")
        assert not upper.exists()


@pytest.mark.parametrize("other", ["runroot", "bind", "mount", "pid"], indirect=True)
def test_trees_that_are_mounted_are_not_replaced(store, other):
    path = Path(store.ok("mount", "example:1").text.strip())
    for form in ("directory", "erofs"):
        found = json.loads(other.run("convert", "--json", "--tree", form, "example:1").out)
        assert {one["outcome"] for one in found["trees"]} <= {"in-use", "unchanged"}, found
    assert (path / "data/old").read_bytes() == b"new"


@pytest.mark.parametrize("other", ["runroot", "mount", "pid"], indirect=True)
def test_without_its_record_the_kernel_still_says_that_a_container_is_in_use(store, other):
    made = store.json("mount", "example:1", "--rw", "--name", "box")
    (Path(made["path"]) / "written").write_text("kept")
    (store.root / "mounts" / f"{made['id']}.json").unlink()
    refused(other, "container", "rm", "box")
    refused(other, "mount", "box")
    assert (store.root / "containers/box/upper/written").read_text() == "kept"


def test_what_is_detached_and_still_used_is_held(store):
    made = store.json("mount", "example:1", "--rw", "--name", "box")
    view = Path(store.ok("mount", "example:1").text.strip())
    held = [os.open(Path(made["path"]) / "data", os.O_RDONLY), os.open(view, os.O_RDONLY)]
    outcome = store.ok("umount", "--force", "--all")
    assert outcome.err.count("still in use") == 2
    assert {one["state"] for one in store.json("mounts")} == {"detached"}
    assert "still in use" in refused(store, "container", "rm", "box")
    store.ok("umount", "--all")
    os.close(held[0])
    store.ok("container", "rm", "box")
    assert "still in use" in refused(store, "rm", "example:1")
    os.close(held[1])
    assert store.json("mounts") == []
    store.ok("rm", "example:1")


def test_a_copy_in_another_mount_namespace_is_held(store):
    view = Path(store.ok("mount", "example:1").text.strip())
    held = subprocess.Popen(["unshare", "-m", "sh", "-c", f"cd {view}; echo; read -r _"], stdin=-1, stdout=-1)
    held.stdout.readline()
    assert "still in use" in store.ok("umount", view).err
    refused(store, "rm", "example:1")
    held.communicate(b"\n")
    store.ok("rm", "example:1")


def test_a_copy_of_the_store_knows_nothing_of_the_mounts(store, tmp_path):
    view = Path(store.ok("mount", "example:1").text.strip())
    subprocess.run(["cp", "-a", store.root, tmp_path / "copy"], check=True)
    copy = Arstore(tmp_path / "copy", store.runroot)
    assert copy.json("mounts") == []
    copy.ok("umount", "--all")
    copy.ok("rm", "example:1")
    copy.ok("gc")
    assert (view / "data/old").read_bytes() == b"new"
    assert [one["state"] for one in store.json("mounts")] == ["mounted"]


def test_two_stores_with_one_runroot_leave_each_other_alone(store, tmp_path):
    other = Arstore(tmp_path / "second", store.runroot)
    other.ok("import", tmp_path / "example.tar")
    mine = Path(store.ok("mount", "example:1").text.strip())
    theirs = Path(other.ok("mount", "example:1").text.strip())
    assert [one["path"] for one in store.json("mounts")] == [str(mine)]
    other.ok("gc")
    other.ok("umount", "--all")
    assert (os.path.ismount(mine), os.path.ismount(theirs)) == (True, False)


def test_mounts_can_be_ended_when_the_disk_has_gone(store, tmp_path):
    target = tmp_path / "target"
    target.mkdir()
    view = Path(store.ok("mount", "example:1").text.strip())
    store.ok("mount", "example:1", target)
    store.root.rename(tmp_path / "away")
    store.ok("umount", target)
    assert os.path.ismount(view)
    assert store.json("umount", "--all")["unmounted"] == [str(view)]
    assert not os.path.ismount(view)
    assert not store.root.exists()
    (tmp_path / "away").rename(store.root)
    assert {one["state"] for one in store.json("mounts")} == {"stale"}
    store.ok("gc")
    assert store.json("mounts") == []


def test_records_of_an_older_arstore_count(store):
    """It kept them below the runroot, without the store's mark."""
    view = Path(store.ok("mount", "example:1").text.strip())
    record = store.root / "mounts" / f"{view.name}.json"
    fields = json.loads(record.read_text())
    for later in ("device", "detached"):
        del fields[later]
    (view.parent / record.name).write_text(json.dumps(fields))
    record.unlink()
    assert [one["id"] for one in store.json("mounts")] == [view.name]
    refused(store, "rm", "example:1")
    store.ok("umount", view.name)
    assert os.listdir(view.parent) == []


def test_du_counts_records_and_check_knows_them(store):
    before = store.json("du")
    store.ok("mount", "example:1")
    after = store.json("du")
    places = [store.root / "mounts", *(store.root / "mounts").iterdir()]
    size = sum(os.lstat(path).st_blocks * 512 for path in places)
    assert after["metadata"] - before["metadata"] == size
    assert store.json("check")["findings"] == []


@pytest.mark.runtime
@pytest.mark.parametrize("detached", [True, False], ids=["detached", "foreground"])
def test_a_container_that_runs_is_known_in_another_pid_namespace(store_root, runroot, tmp_path, busybox, detached):
    store = Arstore(store_root, runroot)
    store.ok("import", runnable.write_runnable(tmp_path)["box"])
    other = Arstore(store_root, tmp_path / "other-run", INSIDE["pid"])
    words = ("run", "--name", "box", "box:1", "/bin/busybox", "sleep", "600")
    if detached:
        store.ok("run", "-d", *words[1:])
        process = None
    else:
        process = store.start(*words)
    wait_for(lambda: [one["status"] for one in store.json("ps")] == ["running"])
    assert [one["status"] for one in other.json("ps")] == ["running"]
    refused(other, "container", "rm", "box")
    refused(other, "container", "rm", "--force", "box")
    refused(other, "rm", "box:1")
    other.ok("gc")
    assert other.run("mount", "box").status in {6, 7}
    assert "another pid namespace" in other.fails("NotFound", "kill", "box")
    outcome = other.run("exec", "box", "true")
    assert (outcome.status, "another pid namespace" in outcome.err) == (125, True)
    assert [one["status"] for one in store.json("ps")] == ["running"]
    store.ok("kill", "box")
    if process is None:
        wait_for(lambda: other.json("ps") == [])
        other.ok("container", "rm", "box")
    else:
        process.communicate(timeout=60)
    assert store.json("ps", "--all") == []


def wait_for(condition):
    for _ in range(300):
        if condition():
            return
        time.sleep(0.1)
    raise AssertionError("did not happen in 30 s")
