"""Containers: ids, the content and owner of a new one, and removal without a trace."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from support import images, stores

from arstore.disk.owner import Owner
from arstore.errors import ConflictError, InvalidReferenceError, NotFoundError
from arstore.maintenance.check import check, repair
from arstore.rootfs import mount as rootfs
from arstore.store.containers import read_record, write_record

ONE = stores.simple("a", names=("x:1",))


@pytest.fixture
def store(tmp_path):
    with stores.filled(tmp_path, ONE) as made:
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


def test_names(store):
    first = store.containers.create(ONE.digest, "web")
    store.containers.rename("web", "old")
    assert store.containers.find("old").id == "web"
    assert store.containers.find("web").id == "web"
    second = store.containers.create(ONE.digest, "web")
    assert second.id != "web"
    assert second.name == "web"
    # A name comes before an id, and an id before the beginning of one.
    assert store.containers.find("web").id == second.id
    assert store.containers.find(second.id[:5]).id == second.id
    assert store.containers.get("web").name == "old"
    for taken in ("old", "web"):
        with pytest.raises(ConflictError):
            store.containers.create(ONE.digest, taken)
        with pytest.raises(ConflictError):
            store.containers.rename(second.id if taken == "old" else "web", taken)
    with pytest.raises(InvalidReferenceError):
        store.containers.rename("web", "a/b")
    with pytest.raises(NotFoundError):
        store.containers.rename("nothing", "other")
    store.containers.remove(second.id)
    store.containers.rename("web", "web")
    assert store.containers.get("web").record == first.record
    stores.verify_clean(store)


def test_a_record_without_a_name_is_as_earlier_versions_write_it(store):
    made = store.containers.create(ONE.digest, "web")
    path = Path(made.path, "record")
    assert b"name" not in path.read_bytes()
    store.containers.rename("web", "old")
    assert b'"name":"old"' in path.read_bytes()
    assert read_record(made.path, "web") == store.containers.get("web").record


def test_a_name_survives_a_rebuild_and_two_do_not_share_one(store):
    for name in ("one", "two", "three"):
        store.containers.create(ONE.digest, name)
        store.containers.keep(name)
    store.containers.rename("one", "first")
    # As a kill between the two writes of `rename` leaves it, when the name was given to another one since.
    write_record(store.directories.container("two"), "two", store.containers.get("two").record._replace(name="first"))
    Path(store.directories.graph, "data.mdb").unlink()
    store.close()
    repair(store, check(store))
    names = sorted(one.name for one in store.containers.list())
    assert names in (["first", "three", "two"], ["first", "one", "three"])


def test_one_that_belongs_to_another_process(store):
    store.containers.create(ONE.digest, "web")
    store.containers.keep("web")
    store.containers.belong("web", Owner.current())
    assert not store.containers.get("web").abandoned
    store.containers.belong("web", stores.dead_owner())
    assert store.containers.get("web").abandoned
    assert list(rootfs.remove_abandoned(store)) == ["web"]
    with pytest.raises(NotFoundError):
        store.containers.belong("web", Owner.current())


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
