"""The collector against random histories: nothing reachable is lost, no garbage stays, and the sums are exact."""

from __future__ import annotations

import os
import signal
from dataclasses import FrozenInstanceError
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, precondition, rule
from support import budget, images, stores
from support.naming import NAMES, Naming, named

from arstore import trace
from arstore.disk.owner import Owner
from arstore.disk.staging import Ingest
from arstore.errors import ConflictError, InUseError, NotFoundError
from arstore.graph.records import LeaseRecord
from arstore.linux.isolation.namespace import CLONE_NEWNS, unshare
from arstore.linux.mounting.mount import MS_PRIVATE, MS_REC, mount
from arstore.maintenance import gc
from arstore.maintenance.check import check
from arstore.maintenance.disk_usage import measure
from arstore.maintenance.gc import collect, plan_clutter, plan_collection
from arstore.maintenance.remove import plan_removal, remove_images
from arstore.mounts.leftovers import passing_name
from arstore.mounts.table import MountState, MountTable
from arstore.rootfs import mount as rootfs
from arstore.store.collect.reachability import Reach
from arstore.store.collect.sweep import planned, sweep

pytestmark = pytest.mark.root

SLACK = 256 << 10
"""Bytes that the graph's file may grow by, or that directories may keep."""


@pytest.fixture
def store(tmp_path):
    with stores.opened(tmp_path) as made:
        yield made


# --- the pool of images ---------------------------------------------------------------------------------------------


def layer(name, size=9000, compression="none"):
    return images.layer([images.directory("./"), images.file(name, name.encode() * (size // len(name)))], compression)


LAYERS = {name: layer(name) for name in ("aa", "bb", "cc", "dd")}
INSIDE = images.layer([images.file("dir/x")])
IMPLIED = [images.layer([images.directory("./", 0o711), images.directory("dir", 0o700)]), INSIDE]
LINKED = [images.layer([images.directory("./"), images.directory("real"), images.symlink("dir", "real")]), INSIDE]

SINGLES = {
    "a": images.image(LAYERS["aa"]),
    "ab": images.image(LAYERS["aa"], LAYERS["bb"]),
    "abc": images.image(LAYERS["aa"], LAYERS["bb"], LAYERS["cc"]),
    "ba": images.image(LAYERS["bb"], LAYERS["aa"]),
    "aba": images.image(LAYERS["aa"], LAYERS["bb"], LAYERS["aa"]),
    "none": images.image(),
    "gz": images.image(layer("aa", compression="gzip")),
    "implied": images.image(*IMPLIED),
    "linked": images.image(*LINKED),
    "arm": images.image(LAYERS["dd"], architecture="arm64"),
}
GROUPS = {
    "ab+arm": images.index(SINGLES["ab"], SINGLES["arm"]),
    "a+arm": images.index(SINGLES["a"], SINGLES["arm"]),
    "nested": images.index(images.index(SINGLES["abc"]), SINGLES["arm"]),
}
POOL = {**SINGLES, **GROUPS}


def leaves(part):
    if isinstance(part, images.Picture):
        return {part.digest: part}
    return {digest: leaf for one in part.parts for digest, leaf in leaves(one).items()}


def inner(part):
    """The indexes within an index, by digest."""
    if isinstance(part, images.Picture):
        return {}
    return {part.digest: part, **{d: one for p in part.parts for d, one in inner(p).items()}}


BY_DIGEST = {part.digest: part for part in POOL.values()} | {
    digest: one for part in GROUPS.values() for digest, one in inner(part).items()
}


class History(Naming):
    """A store, and its expected content."""

    def __init__(self):
        super().__init__()
        self.containers = {}
        self.members = {}

    @initialize()
    def start(self):
        stores.bring(self.store, named(SINGLES["ab"], [NAMES[0]]))
        self.images.add(SINGLES["ab"].digest)
        self.names[NAMES[0]] = SINGLES["ab"].digest

    @rule(which=st.sampled_from(sorted(POOL)), names=st.sets(st.sampled_from(NAMES), min_size=1, max_size=2))
    def bring(self, which, names):
        part = POOL[which]
        stores.bring(self.store, named(part, names), every=True)
        self.images |= {part.digest, *leaves(part), *inner(part)}
        for one in inner(part).values():
            self.members[one.digest] = {child.digest for child in one.parts}
        self.names.update(dict.fromkeys(names, part.digest))

    @precondition(lambda self: self.names)
    @rule(data=st.data())
    def remove_by_name(self, data):
        name = data.draw(st.sampled_from(sorted(self.names)))
        digest = self.names[name]
        if [digest] * 2 == [d for d in self.names.values() if d == digest][:2]:
            remove_images(self.store, [name])
            del self.names[name]
        else:
            self._remove(name, digest)

    @precondition(lambda self: self.images)
    @rule(data=st.data(), short=st.booleans())
    def remove_by_digest(self, data, short):
        digest = data.draw(st.sampled_from(sorted(self.images)))
        self._remove(digest[:40] if short else digest, digest)

    def _remove(self, text, digest):
        gone = self._gone_with(digest)
        holders = {d for d, members in self.members.items() if d in self.images and d not in gone and members & gone}
        if holders or gone & set(self.containers.values()):
            before = stores.records(self.store)
            with pytest.raises(InUseError):
                remove_images(self.store, [text])
            assert stores.records(self.store) == before
            return
        remove_images(self.store, [text])
        self.images -= gone
        self.names = {name: d for name, d in self.names.items() if d not in gone}

    def _gone_with(self, digest):
        """The images that are removed with an index: those that only it, or an index within it, holds."""
        gone = {digest}
        while True:
            more = {m for d in gone for m in self.members.get(d, ())} & self.images - gone - set(self.names.values())
            more -= {m for d, members in self.members.items() if d in self.images - gone for m in members}
            if not more:
                return gone
            gone |= more

    @precondition(lambda self: self.images)
    @rule(data=st.data(), name=st.sampled_from(["c1", "c2"]))
    def create_container(self, data, name):
        digest = data.draw(st.sampled_from(sorted(self.images)))
        if name in self.containers or digest in self.members:
            return
        rootfs.create_container(self.store, self.store.find(digest), name)
        self.containers[name] = digest

    @precondition(lambda self: self.containers)
    @rule(data=st.data())
    def remove_container(self, data):
        name = data.draw(st.sampled_from(sorted(self.containers)))
        rootfs.remove_container(self.store, name)
        del self.containers[name]

    @rule()
    def collect(self):
        root = self.store.directories.root
        promised = measure(self.store).reclaimable
        plan = plan_collection(self.store)
        before = stores.du(root)
        done = collect(self.store)
        freed = before - stores.du(root)
        assert abs(freed - promised) <= SLACK
        assert done.by_kind() == plan.by_kind()
        assert done.bytes == plan.bytes == promised
        held = set(self.names.values()) | set(self.containers.values())
        while more := {m for d in held for m in self.members.get(d, ())} - held:
            held |= more
        self.images &= held
        assert measure(self.store).reclaimable == 0
        assert not plan_collection(self.store)

    @invariant()
    def nothing_is_lost_and_nothing_stays(self):
        store = self.store
        assert {image.digest for image in store.images()} == self.images
        assert stores.names(store) == self.names
        needed = set()
        chains = set()
        for digest in self.images:
            part = BY_DIGEST[digest]
            needed.add(digest)
            if isinstance(part, images.Picture):
                needed |= set(part.blobs())
                chains |= set(part.chain_ids)
        assert stores.blobs(store) == needed
        with store.graph.read() as snapshot:
            assert {chain for chain, _ in snapshot.layers()} == chains
            shown = {record.tree for _, record in snapshot.layers()} | {i.cap for _, i in snapshot.images() if i.cap}
        assert stores.trees(store) == shown
        assert check(store) == []
        bill = measure(store)
        assert bill.total == stores.du(store.directories.root)
        assert bill.orphans == bill.ingest == 0


TestHistory = pytest.mark.root(History.TestCase)
TestHistory.settings = settings(max_examples=30 if budget.long else 3, stateful_step_count=14, deadline=None)


# --- single cases ---------------------------------------------------------------------------------------------------


def test_a_name_that_moves_leaves_an_image_for_the_collector(store):
    old, new = stores.simple("a", names=("x:1",)), stores.simple("b", names=("x:1",))
    stores.bring(store, old)
    stores.bring(store, new)
    assert {image.digest: image.names for image in store.images()} == {old.digest: (), new.digest: ("x:1",)}
    found = collect(store)
    assert found.images == (old.digest,)
    assert [image.digest for image in store.images()] == [new.digest]
    stores.verify_layout(store)


def orphans(store):
    root = Path(store.directories.root)
    (root / "blobs/sha256" / ("0" * 64)).write_bytes(b"x" * 50_000)
    (root / "blobs/sha256/short").write_bytes(b"x")
    (root / "blobs/md5").mkdir()
    (root / "blobs/sha512" / ("1" * 64)).write_bytes(b"x")
    (root / "trees" / ("2" * 64) / "fs").mkdir(parents=True)
    (root / "trees/strange").mkdir()
    (root / "trees/link").symlink_to("/etc")
    (root / "containers/lost/upper").mkdir(parents=True)
    (root / "ingest/file").write_bytes(b"x")
    (root / "ingest/unknown").mkdir()
    (root / f"ingest/{stores.dead_owner().directory_name()}").mkdir()
    for name in ("index.json", "oci-layout"):
        (root / f"{name}.{stores.dead_owner().directory_name()}").write_bytes(b"x")


def test_what_the_graph_does_not_know_goes(store):
    stores.bring(store, stores.simple("a", names=("x:1",)))
    collect(store)
    before = stores.State(store)
    orphans(store)
    promised = measure(store)
    assert promised.total == stores.du(store.directories.root)
    assert promised.orphans >= 50_000
    size = stores.du(store.directories.root)
    collect(store)
    assert abs(size - stores.du(store.directories.root) - promised.reclaimable) <= SLACK
    before.verify()
    assert os.path.exists("/etc/passwd")


@pytest.mark.root
def test_an_orphan_that_is_recorded_after_the_plan_stays(store):
    """A dead import has left files; while a plan waits, the next import of the same image records them."""
    picture = stores.simple("a", "b", names=("x:1",))
    root = Path(store.directories.root)
    for digest, data in picture.blobs().items():
        (root / "blobs" / digest.replace(":", "/")).write_bytes(data)
    for diff_id in picture.diff_ids:
        Path(store.directories.tree(diff_id)).mkdir()
    plan = plan_collection(store)
    assert len(plan.orphans) == len(picture.blobs()) + len(picture.diff_ids)
    stores.bring(store, picture)
    assert collect(store, plan).orphans == ()
    stores.verify_layout(store)
    stores.verify_clean(store)
    assert stores.trees(store) == set(picture.diff_ids)


def test_what_lives_stays(store):
    one, other = stores.simple("a", names=("x:1",)), stores.simple("b", names=("y:1",))
    stores.bring(store, one, other)
    owner, dead = Owner.current(), stores.dead_owner()
    with store.graph.write() as change:
        change.put_lease("alive", LeaseRecord((one.digest,), "t", owner.pid, owner.start, owner.boot, 0.0))
        change.put_lease("dead", LeaseRecord((other.digest,), "t", dead.pid, dead.start, dead.boot, 0.0))
    store.untag("x:1")
    store.untag("y:1")
    index = Path(store.directories.root, f"index.json.{owner.directory_name()}")
    index.write_bytes(b"x")
    with Ingest(store.directories) as ingest:
        found = collect(store)
        assert os.path.isdir(ingest.path)
    assert index.exists()
    index.unlink()
    assert (found.images, found.leases) == ((other.digest,), ("dead",))
    assert [image.digest for image in store.images()] == [one.digest]


def test_an_abandoned_container_goes_and_a_living_one_stays(store):
    stores.bring(store, stores.simple("a", names=("x:1",)))
    image = store.find("x:1")
    rootfs.create_container(store, image, "mine", ephemeral=True)
    rootfs.create_container(store, image, "kept")
    rootfs.create_container(store, image, "lost", ephemeral=True)
    dead = stores.dead_owner()
    stores.edit(store, "containers", "lost", start=dead.start)
    assert plan_collection(store).containers == ("lost",)
    store.untag("x:1")
    assert collect(store).containers == ("lost",)
    assert [container.id for container in store.containers.list()] == ["kept", "mine"]
    assert sorted(os.listdir(store.directories.containers)) == ["kept", "mine"]
    assert store.find(image.digest).names == ()


@pytest.mark.mounts
def test_an_abandoned_container_goes_with_what_is_mounted_of_it(store):
    stores.bring(store, stores.simple("a", names=("x:1",)))
    image = store.find("x:1")
    container = rootfs.create_container(store, image, "lost", ephemeral=True)
    record = rootfs.mount_container(store, container)
    assert not store.containers.get("lost").record.ephemeral
    assert not collect(store).containers
    stores.edit(store, "containers", "lost", ephemeral=True, start=stores.dead_owner().start)
    assert collect(store).containers == ("lost",)
    assert not os.path.exists(record.target)
    assert os.listdir(store.directories.containers) == []


@pytest.mark.mounts
def test_the_id_of_an_abandoned_container_is_free(store):
    stores.bring(store, stores.simple("a", names=("x:1",)))
    image = store.find("x:1")
    rootfs.create_container(store, image, "box", ephemeral=True)
    with pytest.raises(ConflictError):
        rootfs.create_container(store, image, "box")
    stores.edit(store, "containers", "box", start=stores.dead_owner().start)
    assert not rootfs.create_container(store, image, "box").record.ephemeral


def test_what_dead_processes_left_in_the_runroot_goes(store):
    dead, mine = stores.dead_owner().directory_name(), passing_name("trial")
    run = Path(store.directories.runroot)
    (run / f"trial.{dead}/bundle").mkdir(parents=True)
    (run / f"mounts/.{dead}").parent.mkdir()
    for name in (f"forms.json.{dead}", f"mounts/.{dead}", "other.json", mine):
        (run / name).write_bytes(b"x")
    assert collect(store).leftovers == (f"forms.json.{dead}", f"mounts/.{dead}", f"trial.{dead}")
    assert {path.name for path in run.iterdir()} - {"forms.json"} == {"mounts", "other.json", mine}
    assert os.listdir(run / "mounts") == []


@pytest.mark.mounts
def test_what_is_mounted_stays(store):
    stores.bring(store, stores.simple("a", names=("x:1",)))
    rootfs.mount_image(store, store.find("x:1"))
    store.untag("x:1")
    with pytest.raises(InUseError, match="mounted"):
        remove_images(store, [store.images()[0].digest])
    assert not collect(store)
    (entry,) = stores.umount_all(store)
    assert entry
    assert len(collect(store).images) == 1


@pytest.mark.mounts
@pytest.mark.parametrize("how", ["ended", "killed"])
def test_what_is_mounted_in_another_mount_namespace_stays_as_long_as_that_lives(store, how):
    stores.bring(store, stores.simple("a", names=("x:1",)))
    reading, writing = os.pipe()
    asking, told = os.pipe()
    store.graph.release()

    def elsewhere():
        os.close(told)
        unshare(CLONE_NEWNS)
        mount("", "/", flags=MS_REC | MS_PRIVATE)
        with stores.opened(Path(store.directories.root).parent) as mine:
            target = rootfs.mount_image(mine, mine.find("x:1")).target
        os.write(writing, target.encode())
        os.read(asking, 1)
        # Whatever was collected meanwhile, everything is there.
        assert Path(target, "a").read_bytes() == b"a"
        os.write(writing, b"!")

    with stores.in_child(elsewhere, None if how == "killed" else 0) as pid:
        target = os.read(reading, 4096).decode()
        store.untag("x:1")
        assert not collect(store)
        assert [entry.state for entry in MountTable(store.directories).list()] == [MountState.MOUNTED]
        with pytest.raises(InUseError, match="mounted"):
            remove_images(store, [store.images()[0].digest])
        if how == "killed":
            os.kill(pid, signal.SIGKILL)
        else:
            os.write(told, b"x")
            assert os.read(reading, 1) == b"!"
    for fd in (reading, writing, asking, told):
        os.close(fd)
    found = collect(store)
    assert (len(found.images), found.mounts) == (1, (os.path.basename(target),))
    assert os.listdir(os.path.dirname(target)) == []
    stores.verify_clean(store)


def other_process_at(point, store, work):
    """A listener that lets another process do *work* with the store when *point* is first reached."""
    seen = []

    def listener(name):
        if name == point and not seen:
            seen.append(name)
            store.graph.release()
            stores.forked(lambda: doing())

    def doing():
        trace.listen(None)
        with stores.opened(Path(store.directories.root).parent) as mine:
            work(mine)

    trace.listen(listener)
    return seen


@pytest.mark.mounts
@pytest.mark.parametrize("how", ["gc", "rm"])
def test_what_is_mounted_after_it_was_marked_stays(store, how):
    """A mount changes nothing in the graph that could reveal it."""
    one = stores.simple("a", names=("x:1",))
    stores.bring(store, one)
    if how == "gc":
        store.untag("x:1")
    seen = other_process_at(
        "collect.marked" if how == "gc" else "remove.planned",
        store,
        lambda mine: rootfs.mount_image(mine, mine.find(one.digest)),
    )
    try:
        if how == "gc":
            assert not collect(store).images
        else:
            with pytest.raises(InUseError, match="mounted"):
                remove_images(store, ["x:1"])
    finally:
        trace.listen(None)
    assert len(seen) == 1
    assert [image.digest for image in store.images()] == [one.digest]
    assert stores.umount_all(store)
    stores.verify_clean(store)


@pytest.mark.parametrize("how", ["gc", "rm"])
def test_what_is_tagged_after_it_was_marked_stays(store, how):
    one, other = stores.simple("a", names=("x:1",)), stores.simple("a", "b", names=("y:1",))
    stores.bring(store, one, other)
    store.untag("y:1")
    point = "collect.marked" if how == "gc" else "remove.planned"
    seen = other_process_at(point, store, lambda mine: mine.tag(other.digest, "z:1"))
    try:
        if how == "gc":
            assert not collect(store).images
        else:
            remove_images(store, ["x:1"])
    finally:
        trace.listen(None)
    assert len(seen) == 1
    assert stores.names(store) == ({"x:1": one.digest} if how == "gc" else {}) | {"z:1": other.digest}
    stores.verify_clean(store)


def test_clutter_alone(store):
    stores.bring(store, stores.simple("a", names=("x:1",)))
    store.untag("x:1")
    before = stores.records(store)
    orphans(store)
    found = collect(store, plan_clutter(store))
    assert (found.images, found.layers, found.blobs, found.trees) == ((), (), (), ())
    assert found.orphans
    assert found.bytes >= 50_000
    after = stores.records(store)
    assert after.keys() == before.keys()
    assert all(after[key] == before[key] for key in after if not key.startswith("trees/"))
    stores.verify_clean(store)


def test_a_plan_changes_nothing(store):
    stores.bring(store, stores.simple("a", names=("x:1",)))
    store.untag("x:1")
    orphans(store)
    before = stores.files(store.directories.root), stores.records(store)
    assert plan_collection(store)
    assert (stores.files(store.directories.root), stores.records(store)) == before


@pytest.mark.parametrize("plan", [plan_collection, plan_clutter])
def test_a_plan_is_a_value(store, plan):
    stores.bring(store, stores.simple("a", names=("x:1",)))
    made = plan(store)
    assert made == plan(store)
    with pytest.raises(FrozenInstanceError):
        made.images = ("x",)
    assert all(isinstance(keys, tuple) for keys in made.by_kind().values())


def marks_counted(monkeypatch):
    seen = []
    monkeypatch.setattr(gc, "planned", lambda *given: seen.append(given) or planned(*given))
    return seen


def test_what_nothing_holds_is_marked_once(store, monkeypatch):
    stores.bring(store, stores.simple("a", names=("x:1",)), stores.simple("b", names=("y:1",)))
    store.untag("x:1")
    seen = marks_counted(monkeypatch)
    assert collect(store).images
    assert len(seen) == 1


def test_what_nothing_holds_is_marked_again_after_a_change(store, monkeypatch):
    one, other = stores.simple("a", names=("x:1",)), stores.simple("b", names=("y:1",))
    stores.bring(store, one, other)
    store.untag("x:1")
    plan = plan_collection(store)
    store.tag(one.digest, "z:1")
    store.untag("y:1")
    seen = marks_counted(monkeypatch)
    assert plan.images == (one.digest,)
    assert collect(store, plan).images == (other.digest,)
    assert len(seen) == 1
    assert stores.names(store) == {"z:1": one.digest}
    stores.verify_clean(store)


@pytest.mark.parametrize("how", ["gc", "rm"])
def test_the_bytes_are_those_that_were_freed(store, how, tmp_path):
    """Of one blob a backup has a hard link, which the plan knows, and another one is imported again meanwhile."""
    one, other = named(images.image(layer("ee", 90_000)), ["x:1"]), stores.simple("b", names=("y:1",))
    stores.bring(store, one, other)
    linked = max(one.blobs(), key=lambda digest: os.stat(store.directories.blob(digest)).st_size)
    os.link(store.directories.blob(linked), tmp_path / "link")
    size = os.stat(tmp_path / "link").st_blocks * 512
    if how == "gc":
        store.untag("x:1")
        store.untag("y:1")
        plan = plan_collection(store)
        other_process_at("collect.recorded", store, lambda mine: stores.bring(mine, other))
    else:
        plan = plan_removal(store, ["x:1", "y:1"])
        other_process_at("remove.recorded", store, lambda mine: stores.bring(mine, other))
    before = content(store)
    try:
        done = collect(store) if how == "gc" else remove_images(store, ["x:1", "y:1"])
    finally:
        trace.listen(None)
    freed, promised = (done.bytes, plan.bytes) if how == "gc" else (done.freed, plan.freed)
    removed = done if how == "gc" else done.removed
    assert freed == before - content(store) - size
    assert freed <= promised <= before - size
    assert sorted(removed.images) == sorted([one.digest, other.digest])
    assert not set(removed.blobs) & set(other.blobs())
    assert set(removed.blobs) == set(one.blobs()) - set(other.blobs())
    stores.verify_clean(store)


def content(store):
    """The bytes of blobs, trees and containers on disk."""
    found = stores.survey(store.directories)
    return found.blobs.total + found.trees.total + found.containers.total


def test_the_bytes_of_containers_ingests_and_orphans_count(store):
    stores.bring(store, stores.simple("a", names=("x:1",)))
    rootfs.create_container(store, store.find("x:1"), "killed", ephemeral=True)
    Path(store.directories.containers, "killed/upper/file").write_bytes(bytes(70_000))
    stores.edit(store, "containers", "killed", start=stores.dead_owner().start)
    orphans(store)
    left = Path(store.directories.ingest, stores.dead_owner().directory_name())
    left.mkdir()
    (left / "file").write_bytes(bytes(90_000))
    plan = plan_collection(store)
    assert plan.bytes >= 210_000
    done = collect(store)
    assert (done.bytes, done.by_kind()) == (plan.bytes, plan.by_kind())


def test_the_plan_keeps_what_the_sweep_keeps(store):
    """A remaining layer would be built from the blob, although no image lists it."""
    one = named(images.image(layer("aa")), ["x:1"])
    stores.bring(store, one, named(images.image(layer("aa", compression="gzip")), ["y:1"]))
    store.untag("y:1")
    (gzipped,) = [record.layers[0] for digest, record in image_records(store) if digest != one.digest]
    with store.graph.write() as change:
        record = change.layer(one.chain_ids[0])
        change.put_layer(one.chain_ids[0], record._replace(blobs=(gzipped,)))
    plan = plan_collection(store)
    assert gzipped not in plan.blobs
    assert measure(store).reclaimable == plan.bytes
    assert collect(store).by_kind() == plan.by_kind()
    assert os.path.exists(store.directories.blob(gzipped))


def image_records(store):
    with store.graph.read() as snapshot:
        return list(snapshot.images())


def test_trees_are_durable_afterwards(store):
    stores.bring(store, images.example())
    assert not any(record.synced for _, record in tree_records(store))
    collect(store)
    assert all(record.synced for _, record in tree_records(store))


def tree_records(store):
    with store.graph.read() as snapshot:
        return list(snapshot.trees())


def test_removing_what_is_not_there(store):
    with pytest.raises(NotFoundError):
        remove_images(store, ["nothing:1"])
    assert not collect(store)


def test_an_rm_that_was_killed_before_the_index_is_no_lost_graph(store):
    stores.bring(store, stores.simple("a", names=("x:1",)))
    path = Path(store.directories.root, "index.json")
    index = path.read_bytes()
    # As in a store that was copied with its times.
    os.utime(path, (1, 1))
    with store.graph.write() as change:
        sweep(change, planned(change, Reach(change), []))
    assert path.read_bytes() == index
    assert {finding.damage.value for finding in check(store) if not finding.harmless} <= {"index-stale"}
    collect(store)
    assert check(store) == []
