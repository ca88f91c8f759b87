"""Mark and sweep over records alone: what is reachable; files are removed only if their record is."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import images, stores

from arstore.disk.staging import Ingest
from arstore.graph.records import BlobRecord, ImageRecord, LayerRecord, TreeRecord
from arstore.mounts.merge_plan import Run
from arstore.store.collect.reachability import Reach
from arstore.store.collect.sweep import Removed, mark, planned, sweep, take_files


class Records:
    """A snapshot and a change in memory."""

    def __init__(self):
        self.tables = {name: {} for name in ("attachments", "blobs", "layers", "lent", "trees", "images", "names")}

    def every(self, table, part):
        records = sorted(self.tables[table].items())
        return {key: part._make(getattr(record, name) for name in part._fields) for key, record in records}

    def columns(self, table, part):
        records = self.every(table, part)
        return list(records), part._make([getattr(one, name) for one in records.values()] for name in part._fields)

    def batches(self, table, part):
        yield self.columns(table, part)

    def read_ahead(self):
        pass

    def __getattr__(self, name):
        if name in self.tables:
            return lambda: iter(sorted(self.tables[name].items()))
        table = self.tables.get(f"{name}s")
        if table is None:
            raise AttributeError(name)
        return table.get

    def keys(self, table):
        return sorted(self.tables.get(table, ()))

    def names_by_digest(self):
        found = {}
        for name, digest in self.names():
            found.setdefault(digest, []).append(name)
        return found

    def runs(self):
        return [(key, tree) for key, tree in self.trees() if tree.members]

    def put_layer(self, key, record):
        self.tables["layers"][key] = record

    def delete(self, table, key):
        return self.tables[table].pop(key, None) is not None


TREE = TreeRecord("directory", "boot", False, 0, 0, False)


def graph_of(chains, caps=(), indexes=()):
    """Images over chains of letters: each is a layer; an upper-case one has a separate tree for its chain."""
    records = Records()
    for number, chain in enumerate(chains):
        top = ""
        for place, letter in enumerate(chain):
            parent, top = top, chain[: place + 1]
            tree = f"own {top}" if letter.isupper() else f"tree {letter}"
            records.tables["layers"][top] = LayerRecord(letter, parent, (f"blob {letter}",), 1, tree)
            records.tables["trees"][tree] = TREE
            records.tables["blobs"][f"blob {letter}"] = BlobRecord(1, letter, 1)
        digest = f"image {number} {chain}"
        cap = f"cap {chain}" if chain in caps else ""
        layers = tuple(f"blob {letter}" for letter in chain)
        records.tables["images"][digest] = ImageRecord("t", 1, "", "", 0.0, f"config {number}", layers, top, cap)
        records.tables["blobs"].update({digest: BlobRecord(1), f"config {number}": BlobRecord(1)})
        if cap:
            records.tables["trees"][cap] = TREE
    members = sorted(records.tables["images"])
    for number, chosen in enumerate(indexes):
        digest = f"index {number}"
        listed = tuple(members[n % len(members)] for n in chosen) if members else ()
        records.tables["images"][digest] = ImageRecord("i", 1, "", "", 0.0, manifests=listed)
        records.tables["blobs"][digest] = BlobRecord(1)
    for digest in records.tables["images"]:
        records.tables["names"][f"name of {digest}"] = digest
    return records


def trees_for(records, images):
    reach = Reach(records)
    return {reach.trees.keys[number] for number in mark(reach, images).trees}


CHAINS = st.lists(st.text("abcDE", max_size=4), max_size=5)


@given(CHAINS, st.lists(st.lists(st.integers(0, 9), max_size=3), max_size=2), st.data())
def test_what_is_kept_is_whole_and_the_rest_is_gone(chains, indexes, data):
    records = graph_of(chains, caps=set(chains[::2]), indexes=indexes)
    every = sorted(records.tables["images"])
    roots = data.draw(st.sets(st.sampled_from(every))) if every else set()
    before = {name: dict(table) for name, table in records.tables.items()}
    reachable = set(roots)
    for digest in roots:
        reachable |= set(before["images"][digest].manifests)
    gone = sweep(records, planned(records, Reach(records), roots))
    tables = records.tables
    assert set(tables["images"]) == reachable
    assert set(tables["names"].values()) == reachable
    needed_blobs, needed_trees, needed_layers = set(), set(), set()
    for digest in reachable:
        image = before["images"][digest]
        needed_blobs |= {digest, *image.layers} | ({image.config} if image.config else set())
        needed_trees |= {image.cap} if image.cap else set()
        needed_layers |= {image.top[: place + 1] for place in range(len(image.top))}
    needed_trees |= {before["layers"][chain].tree for chain in needed_layers}
    assert set(tables["blobs"]) == needed_blobs
    assert set(tables["layers"]) == needed_layers
    assert set(tables["trees"]) == needed_trees
    for name in ("blobs", "layers", "trees", "images"):
        assert set(getattr(gone, name)) == set(before[name]) - set(tables[name])
    assert not sweep(records, planned(records, Reach(records), roots))


def test_a_layer_forgets_blobs_that_went():
    records = graph_of(["a"])
    records.tables["layers"]["a"] = LayerRecord("a", "", ("other blob", "blob a"), 1, "tree a")
    records.tables["blobs"]["other blob"] = BlobRecord(1, "a", 1)
    gone = sweep(records, planned(records, Reach(records), ["image 0 a"]))
    assert gone.blobs == ("other blob",)
    assert records.tables["layers"]["a"].blobs == ("blob a",)


def test_gaps_are_passed_over():
    records = graph_of(["ab"])
    del records.tables["layers"]["a"]
    del records.tables["blobs"]["blob a"]
    reach = Reach(records)
    keep = mark(reach, ["image 0 ab", "image of nothing"])
    assert keep.images == {"image 0 ab"}
    assert {reach.layers.keys[number] for number in keep.layers} == {"ab"}
    # A needed blob without a record has a number, but does not count as existing.
    assert "blob a" in {reach.blobs.keys[number] for number in keep.blobs}
    assert "blob a" not in reach.blobs.recorded


def test_an_index_that_lists_itself_ends():
    records = graph_of([], indexes=[[]])
    records.tables["images"]["index 0"] = ImageRecord("i", 1, "", "", 0.0, manifests=("index 0",))
    assert mark(Reach(records), ["index 0"]).images == {"index 0"}


# --- files ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def store(tmp_path):
    with stores.opened(tmp_path) as made:
        yield made


@pytest.mark.root
def test_what_was_recorded_again_meanwhile_stays(store):
    one = images.example()
    stores.bring(store, one)
    with store.graph.write() as change:
        removed = sweep(change, planned(change, Reach(change), []))
    assert set(removed.blobs) == set(one.blobs())
    stores.bring(store, one)
    inodes = {digest: os.stat(store.directories.blob(digest)).st_ino for digest in one.blobs()}
    with Ingest(store.directories) as ingest:
        gone = take_files(store.directories, store.graph, ingest, removed)
    assert gone.images == removed.images
    assert (gone.blobs, gone.trees, ingest.freed) == ((), (), 0)
    assert {digest: os.stat(store.directories.blob(digest)).st_ino for digest in one.blobs()} == inodes
    stores.verify_clean(store)


def test_files_that_are_not_there_are_no_error(store):
    digest = "sha256:" + "0" * 64
    Path(store.directories.blob(digest)).write_bytes(b"x")
    with Ingest(store.directories) as ingest:
        removed = Removed(blobs=(digest, "sha256:" + "1" * 64), trees=(digest,))
        take_files(store.directories, store.graph, ingest, removed)
        assert len(os.listdir(ingest.path)) == 1
    assert not os.path.exists(store.directories.blob(digest))


# --- merged indexes -------------------------------------------------------------------------------------------------


def test_a_merged_index_is_held_by_the_images_that_are_mounted_with_it(monkeypatch):
    records = graph_of(["abcd", "abx"], caps=["abcd"])
    of_stacks = {"cap abcd tree d tree c tree b tree a": "run dcba", "tree x tree b tree a": "run xba", "": "run none"}
    for members, run in of_stacks.items():
        names = tuple(members.split()) or ("tree a", "tree b")
        records.tables["trees"][run] = TreeRecord("merged", "boot", False, 0, 0, False, names)

    def plan(stack):
        return [Run(of_stacks[" ".join(key for key, _ in stack)], ())]

    monkeypatch.setattr("arstore.store.collect.reachability.plan", plan)
    monkeypatch.setattr("arstore.store.collect.reachability.FEWEST", 3)
    every = trees_for(records, records.tables["images"])
    assert every >= {"run dcba", "run xba"}
    assert "run none" not in every
    assert {name for name in trees_for(records, ["image 1 abx"]) if "run" in name} == {"run xba"}
    assert {name for name in trees_for(records, []) if "run" in name} == set()
    gone = sweep(records, planned(records, Reach(records), ["image 1 abx"])).trees
    assert set(gone) == {"run dcba", "run none", "tree c", "tree d", "cap abcd"}


def test_a_stack_with_gaps_holds_no_merged_index():
    records = graph_of(["abcd"])
    records.tables["trees"]["run"] = TreeRecord("merged", "boot", False, 0, 0, False, ("tree a", "tree b"))
    del records.tables["trees"]["tree b"]
    assert "run" not in trees_for(records, records.tables["images"])
