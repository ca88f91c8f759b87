"""The collector against a model of all holders: each collection must leave exactly what the model expects.

Images are held by names, indexes, containers, mounts, and leases; ingests, leases and containers belong to this process
or to another one, which may be killed at any time. Imports share layers, commits build on them, and a collection may
run in the middle of an import. The model knows images by their bytes alone.
"""

from __future__ import annotations

import json
import os
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from support import images, programs, stores
from support.colleague import Colleague
from support.naming import NAMES, Naming, named
from support.waiting import PATIENCE

from arstore import trace
from arstore.disk.staging import Ingest
from arstore.errors import InUseError
from arstore.linux.mounting.mount import umount
from arstore.maintenance.check import check
from arstore.maintenance.gc import collect, plan_collection
from arstore.maintenance.remove import remove_images
from arstore.mounts.merge_plan import FEWEST, run_key
from arstore.mounts.table import MountState, MountTable
from arstore.rootfs import mount as rootfs
from arstore.rootfs.commit import CommitOptions, commit
from arstore.store.collect.lease import leased
from arstore.store.store import Store

pytestmark = pytest.mark.root

FRAME = {"blobs", "containers", "graph", "index.json", "ingest", "oci-layout", "store.json", "trees"}
IN_THE_MIDDLE = ["take.claimed", "take.layers-read", "take.prepared", "layout.committed"]


@dataclass(frozen=True)
class Shape:
    """The parts of an image: blobs, layers by chain ID, diff IDs bottom first; or the images of an index."""

    blobs: frozenset[str]
    chains: tuple[str, ...] = ()
    diff_ids: tuple[str, ...] = ()
    members: frozenset[str] = frozenset()
    marker: str = ""


def layer(name):
    return images.layer([images.directory("./"), images.file(name, name.encode() * 3000)], "none")


def shape(part):
    if isinstance(part, images.Collection):
        return Shape(frozenset({part.digest}), members=frozenset(one.digest for one in part.parts))
    marker = part.layers[-1].tar[512:].partition(b"\0")[0].decode() if part.layers else ""
    return Shape(frozenset(part.blobs()), tuple(part.chain_ids), tuple(part.diff_ids), marker=marker)


def shapes(*parts):
    found = {part.digest: shape(part) for part in parts}
    for part in parts:
        if isinstance(part, images.Collection):
            found |= shapes(*part.parts)
    return found


_A, _B, _C = (layer(name) for name in ("aa", "bb", "cc"))
_ARM = images.image(layer("arm"), architecture="arm64")
POOL = {
    "a": images.image(_A),
    "ab": images.image(_A, _B),
    "cb": images.image(_C, _B),
    "many": images.image(_A, *(layer(f"small{n}") for n in range(FEWEST))),
    "index": images.index(images.image(_A, _B), _ARM),
}
SHAPES = shapes(*POOL.values())


def read_shape(root, digest):
    """Read the shape of an image that was made here from its documents."""

    def blob(one):
        return json.loads(Path(root, "blobs", *one.split(":")).read_bytes())

    manifest = blob(digest)
    diff_ids = blob(manifest["config"]["digest"])["rootfs"]["diff_ids"]
    chains = []
    for diff_id in diff_ids:
        chains.append(images.sha256(f"{chains[-1]} {diff_id}".encode()) if chains else diff_id)
    blobs = {digest, manifest["config"]["digest"], *(one["digest"] for one in manifest["layers"])}
    return Shape(frozenset(blobs), tuple(chains), tuple(diff_ids))


class Held(Naming):
    """A store, and the holders of everything in it. Owners are "me", "other" or "dead"; "" is the store itself."""

    def __init__(self):
        super().__init__()
        self.own = ExitStack()
        self.other = None
        self.shapes = dict(SHAPES)
        self.containers = {}
        self.leases = {}
        self.ingests = {}
        self.mounts = {}

    def teardown(self):
        trace.listen(None)
        if self.other is not None:
            self.other.kill()
        self.own.close()
        stores.umount_all(self.store)
        super().teardown()

    # --- images -----------------------------------------------------------------------------------------------------

    @rule(which=st.sampled_from(sorted(POOL)), name=st.sampled_from(NAMES))
    def bring(self, which, name):
        part = named(POOL[which], [name])
        stores.bring(self.store, part, every=True)
        self.images |= shapes(part).keys()
        self.names[name] = part.digest

    @rule(which=st.sampled_from(sorted(POOL)), name=st.sampled_from(NAMES), point=st.sampled_from(IN_THE_MIDDLE))
    def bring_while_others_collect(self, which, name, point):
        seen = []

        def listener(reached):
            if reached == point and not seen:
                seen.append(point)
                self.store.graph.release()
                stores.forked(self._collect_elsewhere)

        # The name keeps its meaning until the image is there.
        old = {self.names[name]} if name in self.names and point != "layout.committed" else set()
        trace.listen(listener)
        try:
            self.bring(which, name)
        finally:
            trace.listen(None)
        if seen:
            self._forget_garbage({*old, *shapes(POOL[which])})

    def _collect_elsewhere(self):
        trace.listen(None)
        with Store(self.store.directories.root, self.store.directories.runroot) as mine:
            collect(mine)

    @precondition(lambda self: self.names)
    @rule()
    def untag_all_and_collect(self):
        """Only images with other holders than names remain."""
        for name in self.names:
            self.store.untag(name)
        self.names = {}
        self.collect()

    @precondition(lambda self: self.images)
    @rule(data=st.data())
    def remove(self, data):
        digest = data.draw(st.sampled_from(sorted(self.images)))
        gone = self._gone_with(digest)
        parents = {d for d in self.images - gone if self.shapes[d].members & gone}
        if parents or gone & self._in_use():
            before = stores.records(self.store)
            with pytest.raises(InUseError):
                remove_images(self.store, [digest])
            assert stores.records(self.store) == before
            return
        remove_images(self.store, [digest])
        self.images -= gone
        self.names = {name: d for name, d in self.names.items() if d not in gone}

    def _gone_with(self, digest):
        gone = {digest}
        while True:
            more = {m for d in gone for m in self.shapes[d].members} & self.images - gone - set(self.names.values())
            more -= {m for d in self.images - gone for m in self.shapes[d].members}
            if not more:
                return gone
            gone |= more

    # --- holders ----------------------------------------------------------------------------------------------------

    def _picture(self, data):
        """An image to hold, which perhaps nothing else holds any more."""
        digest = self._chosen(data)
        if data.draw(st.booleans()):
            for name in [name for name, one in self.names.items() if one == digest]:
                self.store.untag(name)
                del self.names[name]
        return digest

    def _chosen(self, data):
        return data.draw(st.sampled_from(sorted(d for d in self.images if not self.shapes[d].members)))

    def _colleague(self):
        if self.other is None:
            self.other = Colleague(self.store)
        return self.other

    @precondition(lambda self: self.images)
    @rule(data=st.data(), name=st.sampled_from(["c1", "c2", "c3"]), owner=st.sampled_from(["", "me", "other"]))
    def create_container(self, data, name, owner):
        if name in self.containers and self.containers[name][1] != "dead":
            return
        digest = self._picture(data)
        if self.containers.get(name, ("", ""))[1] == "dead":
            # Its name is free; with it goes everything else that is abandoned.
            self.containers = {c: held for c, held in self.containers.items() if held[1] != "dead"}
            rootfs.remove_abandoned(self.store)
        if owner == "other":
            self._colleague().container(digest, name)
        else:
            rootfs.create_container(self.store, self.store.find(digest), name, ephemeral=owner == "me")
        self.containers[name] = (digest, owner)

    @precondition(lambda self: any(owner in {"", "me"} for _, owner in self.containers.values()))
    @rule(data=st.data())
    def remove_container(self, data):
        name = data.draw(st.sampled_from(sorted(n for n, (_, owner) in self.containers.items() if owner in {"", "me"})))
        rootfs.remove_container(self.store, name)
        del self.containers[name]

    @precondition(lambda self: programs.is_root() and any(owner == "" for _, owner in self.containers.values()))
    @rule(data=st.data(), name=st.sampled_from(NAMES), content=st.sampled_from(["one", "two"]))
    def commit(self, data, name, content):
        chosen = data.draw(st.sampled_from(sorted(n for n, (_, owner) in self.containers.items() if owner == "")))
        container = self.store.containers.get(chosen)
        path = Path(container.upper, "written")
        path.write_text(content)
        os.utime(path, (1, 1))
        made = commit(self.store, container, CommitOptions(name, 1)).image.digest
        self.shapes[made] = read_shape(self.store.directories.root, made)
        self.images.add(made)
        self.names[name] = made

    @precondition(lambda self: self.images and not programs.why_no_mounts())
    @rule(data=st.data(), stays=st.booleans())
    def mount(self, data, stays):
        digest = self._picture(data)
        record = rootfs.mount_image(self.store, self.store.find(digest))
        if stays:
            self.mounts[record.id] = digest
        else:
            # Without the store: the record stays until a command finds it stale.
            umount(record.target)
            self._await_release(record.id)

    @precondition(lambda self: self.mounts)
    @rule(data=st.data(), properly=st.booleans())
    def umount(self, data, properly):
        chosen = data.draw(st.sampled_from(sorted(self.mounts)))
        table = MountTable(self.store.directories)
        if properly:
            table.umount(chosen)
        else:
            umount(f"{table.targets}/{chosen}")
        self._await_release(chosen)
        del self.mounts[chosen]

    def _await_release(self, mount_id):
        """A parallel test may have copied the mount namespace, and uses the mount until it ends its copy."""
        deadline = time.monotonic() + PATIENCE
        states = {}
        while time.monotonic() < deadline:
            states = {entry.record.id: entry.state for entry in MountTable(self.store.directories).list()}
            if states.get(mount_id, MountState.STALE) is MountState.STALE:
                return
            time.sleep(0.01)
        raise AssertionError(f"{mount_id} is {states[mount_id]}")

    @precondition(lambda self: self.images)
    @rule(data=st.data(), owner=st.sampled_from(["me", "other"]))
    def lease(self, data, owner):
        digest = self._picture(data)
        if owner == "other":
            made = self._colleague().lease(digest)
        else:
            before = self._leases()
            self.own.enter_context(leased(self.store.graph, digest, "a test"))
            (made,) = self._leases() - before
        self.leases[made] = (digest, owner)

    def _leases(self):
        with self.store.graph.read() as snapshot:
            return {key for key, _ in snapshot.leases()}

    @rule(owner=st.sampled_from(["me", "other"]))
    def ingest(self, owner):
        if owner == "other":
            self.ingests[self._colleague().ingest()] = owner
        else:
            made = self.own.enter_context(Ingest(self.store.directories))
            self.ingests[os.path.basename(made.path)] = owner

    @rule()
    def end_own_work(self):
        self.own.close()
        self.leases = {key: held for key, held in self.leases.items() if held[1] != "me"}
        self.ingests = {name: owner for name, owner in self.ingests.items() if owner != "me"}

    @precondition(lambda self: self.other is not None)
    @rule(collecting=st.booleans())
    def kill_the_other(self, collecting):
        self.other.kill()
        self.other = None
        for held in (self.containers, self.leases):
            held.update({key: (digest, "dead") for key, (digest, owner) in held.items() if owner == "other"})
        self.ingests.update({name: "dead" for name, owner in self.ingests.items() if owner == "other"})
        if collecting:
            self.collect()

    # --- the collection ---------------------------------------------------------------------------------------------

    def _in_use(self):
        living = [digest for digest, owner in (*self.containers.values(), *self.leases.values()) if owner != "dead"]
        return {*living, *self.mounts.values()}

    def _forget_garbage(self, more_held=frozenset()):
        held = self._in_use() | set(self.names.values()) | more_held
        while more := {m for d in held for m in self.shapes[d].members} - held:
            held |= more
        self.containers = {c: one for c, one in self.containers.items() if one[1] != "dead"}
        self.leases = {key: one for key, one in self.leases.items() if one[1] != "dead"}
        self.ingests = {one: owner for one, owner in self.ingests.items() if owner != "dead"}
        self.images &= held

    @rule()
    def collect(self):
        runs = self._runs()
        collect(self.store)
        self._forget_garbage()
        assert self._runs() == runs & self._wanted_runs()
        assert not plan_collection(self.store)
        self._verify()
        # Mounts of the remaining trees still show them.
        for mount_id, digest in self.mounts.items():
            path = Path(self.store.directories.targets, mount_id)
            marker = self.shapes[digest].marker
            assert not marker or (path / marker).read_bytes().startswith(marker.encode())

    def _runs(self):
        with self.store.graph.read() as snapshot:
            return {key for key, _ in snapshot.runs()}

    def _wanted_runs(self):
        stacks = [tuple(dict.fromkeys(reversed(self.shapes[d].diff_ids))) for d in self.images]
        return {str(run_key(stack)) for stack in stacks if len(stack) >= FEWEST}

    def _verify(self):
        """Records and files must be exactly those of the model."""
        store = self.store
        known = [self.shapes[digest] for digest in self.images]
        blobs = {blob for one in known for blob in one.blobs}
        trees = {diff_id for one in known for diff_id in one.diff_ids} | self._runs()
        tables = {
            "blobs": blobs,
            "layers": {chain for one in known for chain in one.chains},
            "trees": trees,
            "images": self.images,
            "names": self.names,
            "containers": self.containers,
            "leases": self.leases,
        }
        assert stores.records(store).keys() == {f"{table}/{key}" for table, keys in tables.items() for key in keys}
        assert stores.names(store) == self.names
        assert stores.blobs(store) == blobs
        assert stores.trees(store) == trees
        root, run = Path(store.directories.root), Path(store.directories.runroot)
        assert set(os.listdir(root)) - {"mounts"} == FRAME
        assert set(os.listdir(root / "containers")) == set(self.containers)
        assert set(os.listdir(root / "ingest")) == set(self.ingests)
        for parent, suffix in ((run, ""), (root, ".json")):
            mounts = parent / "mounts"
            assert set(os.listdir(mounts) if mounts.exists() else ()) == {f"{m}{suffix}" for m in self.mounts}
        assert all((root / "ingest" / name).is_dir() for name in self.ingests)
        stores.verify_layout(store)
        assert check(store) == []

    @invariant()
    def nothing_that_is_held_goes(self):
        assert {image.digest for image in self.store.images()} == self.images
        assert stores.names(self.store) == self.names


TestHeld = pytest.mark.root(Held.TestCase)
TestHeld.settings = settings(max_examples=7, stateful_step_count=20, deadline=None)


@pytest.mark.long
def test_longer_histories():
    run_state_machine_as_test(Held, settings=settings(max_examples=60, stateful_step_count=40, deadline=None))
