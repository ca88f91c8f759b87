"""Containers: ids, the content and owner of a new one, and removal without a trace."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from support import images, stores

from arstore.disk.owner import Owner
from arstore.errors import ConflictError, InvalidReferenceError, NotFoundError
from arstore.rootfs import mount as rootfs

ONE = stores.simple("a", names=("x:1",))


@pytest.fixture
def store(tmp_path):
    with stores.opened(tmp_path) as made:
        stores.bring(made, ONE)
        yield made


def test_a_new_one(store):
    made = store.containers.create(ONE.digest)
    assert store.containers.get(made.id) == made
    assert [one.id for one in store.containers.list()] == [made.id]
    assert sorted(os.listdir(made.path)) == ["record", "upper", "whole", "work"]
    assert made.path == store.directories.container(made.id)
    assert not made.abandoned
    assert made.record.image == ONE.digest


@pytest.mark.parametrize("name", ["a", "A-1_x.y", "x" * 63])
def test_ids(store, name):
    assert store.containers.create(ONE.digest, name).id == name
    with pytest.raises(ConflictError):
        store.containers.create(ONE.digest, name)
    stores.verify_clean(store)


@pytest.mark.parametrize("name", [".", "..", "-a", "a/b", "../a", "a b", "a\n", "é", "x" * 64, "\0", "_a"])
def test_what_is_no_id(store, name):
    before = stores.State(store)
    with pytest.raises(InvalidReferenceError):
        store.containers.create(ONE.digest, name)
    before.verify()


def test_an_image_that_is_gone(store):
    before = stores.State(store)
    with pytest.raises(NotFoundError):
        store.containers.create("sha256:" + "0" * 64, "c")
    before.verify()


def test_one_that_is_not_there(store):
    for work in (store.containers.get, store.containers.remove):
        with pytest.raises(NotFoundError):
            work("none")


def test_removal_leaves_nothing(store):
    before = stores.State(store)
    made = store.containers.create(ONE.digest, "c")
    Path(made.upper, "dir").mkdir()
    Path(made.upper, "dir/file").write_bytes(b"x")
    Path(made.upper, "link").symlink_to("/etc")
    os.chmod(f"{made.upper}/dir", 0)
    store.containers.remove("c")
    before.verify()


def test_what_a_crash_left_in_its_place_gives_way(store):
    left = Path(store.directories.container("c"))
    (left / "upper").mkdir(parents=True)
    (left / "upper/old").touch()
    made = store.containers.create(ONE.digest, "c")
    assert os.listdir(made.upper) == []


def test_an_ephemeral_one_belongs_to_its_process(store):
    mine = store.containers.create(ONE.digest, "mine", ephemeral=True)
    owner = Owner.current()
    assert (mine.record.pid, mine.record.start, mine.record.boot) == (owner.pid, owner.start, owner.boot)
    assert not mine.abandoned
    store.close()
    stores.forked(lambda: store.containers.create(ONE.digest, "other", ephemeral=True))
    assert store.containers.get("other").abandoned
    assert not store.containers.get("mine").abandoned


def test_of_two_that_want_one_id_one_gets_it(store):
    store.close()

    def work():
        try:
            store.containers.create(ONE.digest, "c")
        except ConflictError:
            os._exit(7)

    statuses = set()
    pids = []
    for _ in range(2):
        pid = os.fork()
        if pid == 0:
            work()
            os._exit(0)
        pids.append(pid)
    for pid in pids:
        statuses.add(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
    assert statuses == {0, 7}
    stores.verify_clean(store)


@pytest.mark.root
def test_its_root_is_as_the_images(store):
    attributes = {"user.note": b"kept"}
    root = images.directory("./", 0o1711, uid=7, gid=8, mtime_ns=1_500_000_000_000_000_003, xattrs=attributes)
    stores.bring(store, images.image(images.layer([root]), names=["rooted:1"]))
    made = rootfs.create_container(store, store.find("rooted:1"))
    status = os.stat(made.upper)
    assert (stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid) == (0o1711, 7, 8)
    assert status.st_mtime_ns == 1_500_000_000_000_000_003
    assert os.getxattr(made.upper, "user.note") == b"kept"


def test_a_container_is_synced_before_it_outlives_its_process(store, monkeypatch):
    synced = []
    sync = os.fsync
    monkeypatch.setattr(os, "fsync", lambda fd: (synced.append(os.readlink(f"/proc/self/fd/{fd}")), sync(fd))[1])
    rootfs.create_container(store, store.find("x:1"), "gone", ephemeral=True)
    assert [path for path in synced if "/containers" in path] == []
    made = rootfs.create_container(store, store.find("x:1"), "box")
    assert not made.record.ephemeral
    assert {made.upper, made.work, made.path, f"{made.path}/whole", store.directories.containers} <= set(synced)
