"""Blobs and trees that may be relied on: in the graph, in place, of the right size, not damaged by a power cut."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from support import images, stores

from arstore.errors import StoreDamagedError

EXAMPLE = images.example()
LAYER, TREE = EXAMPLE.layers[0].digest, EXAMPLE.diff_ids[0]
NOTHING = "sha256:" + "0" * 64


@pytest.fixture
def store(tmp_path):
    with stores.filled(tmp_path, EXAMPLE) as made:
        yield made


def test_a_blob_that_is_well(store):
    record = store.inventory().intact_blob(LAYER)
    assert (record.size, record.diff_id, record.tar_size) == (
        len(EXAMPLE.layers[0].blob),
        TREE,
        len(EXAMPLE.layers[0].tar),
    )
    assert store.inventory().intact_blob(EXAMPLE.config_digest).diff_id == ""
    assert store.inventory().intact_blob(NOTHING) is None


@pytest.mark.parametrize("harm", ["gone", "short", "link", "directory"])
def test_a_blob_that_is_not(store, harm):
    path = Path(store.directories.blob(LAYER))
    if harm == "short":
        os.truncate(path, 5)
    else:
        path.rename(path.with_name("f" * 64))
        if harm == "link":
            path.symlink_to("f" * 64)
        elif harm == "directory":
            path.mkdir()
    assert store.inventory().intact_blob(LAYER) is None
    assert store.inventory().is_recorded(LAYER)
    assert not store.inventory().is_recorded(NOTHING)


@pytest.mark.root
def test_trees(store):
    inventory = store.inventory()
    assert inventory.is_trusted(TREE)
    assert not inventory.is_trusted(NOTHING)
    form, path = inventory.tree_place(TREE)
    assert form is store.forms[inventory.tree_record(TREE).form]
    assert path == store.directories.tree(TREE)
    with pytest.raises(StoreDamagedError):
        inventory.tree_place(NOTHING)
    shutil.rmtree(path)
    assert not store.inventory().is_trusted(TREE)


@pytest.mark.root
@pytest.mark.parametrize(
    ("change", "trusted"),
    [
        ({"boot": "another"}, False),
        ({"boot": "another", "synced": True}, True),
        ({"synced": True}, True),
        ({"form": "unheard-of", "synced": True}, False),
    ],
)
def test_a_power_cut_hurts_what_was_not_synced(store, change, trusted):
    stores.edit(store, "trees", TREE, **change)
    assert store.inventory().is_trusted(TREE) is trusted
    if "form" in change:
        with pytest.raises(StoreDamagedError):
            store.inventory().tree_place(TREE)


@pytest.mark.root
def test_the_tree_of_a_chain_comes_before_the_shared_one(store):
    layer = store.incoming(store.find("example:1")).layers[1]
    inventory = store.inventory()
    assert inventory.adapted_tree(layer) is None
    assert inventory.trusted_tree(layer) == layer.diff_id
    own = layer.chain_id
    with store.graph.write() as change:
        change.put_tree(own, change.tree(layer.diff_id))
    stores.edit(store, "layers", layer.chain_id, tree=own)
    assert store.inventory().trusted_tree(layer) == layer.diff_id
    os.mkdir(store.directories.tree(own))
    assert store.inventory().adapted_tree(layer) == store.inventory().trusted_tree(layer) == own
    stores.edit(store, "trees", own, boot="another", synced=False)
    assert store.inventory().trusted_tree(layer) == layer.diff_id
