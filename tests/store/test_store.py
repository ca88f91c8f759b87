"""The store as other packages see it: finding, naming, documents, stacks."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from support import images, stores

from arstore.errors import (
    AmbiguousError,
    InvalidReferenceError,
    MissingBlobError,
    NotFoundError,
    PermissionDeniedError,
    PlatformError,
    StoreDamagedError,
)
from arstore.maintenance.remove import remove_images
from arstore.store.store import Store, chain_of

EXAMPLE = images.example(names=["example:1", "quay.io/team/example:2"])


@pytest.fixture
def store(tmp_path):
    with stores.filled(tmp_path, EXAMPLE) as made:
        yield made


@pytest.mark.parametrize(
    "text",
    [*EXAMPLE.names, EXAMPLE.digest, EXAMPLE.digest[7:], EXAMPLE.digest[7:19], EXAMPLE.digest[:20]],
)
def test_what_finds_an_image(store, text):
    found = store.find(text)
    assert found.digest == EXAMPLE.digest
    assert found.names == EXAMPLE.names
    assert found.label == (text if text in EXAMPLE.names else "example:1")


@pytest.mark.parametrize("text", ["example", "other:1", "sha256:" + "0" * 64, "0" * 12, "0000", EXAMPLE.config_digest])
def test_what_finds_nothing(store, text):
    with pytest.raises(NotFoundError):
        store.find(text)


@pytest.mark.parametrize("text", ["", "UPPER:1", "a b", "../x", "sha256:zz", "x:" + "y" * 200])
def test_what_is_no_reference(store, text):
    with pytest.raises(InvalidReferenceError):
        store.find(text)


def test_a_name_that_looks_like_a_digest_wins(store):
    one = stores.simple("a")
    stores.bring(store, one)
    prefix = EXAMPLE.digest[7:19]
    store.tag(one.digest, f"{prefix}:latest")
    assert store.find(prefix).digest == one.digest
    assert store.find(f"sha256:{prefix}").digest == EXAMPLE.digest


def test_ambiguous_beginnings(store):
    twin = EXAMPLE.digest[:20] + "0" * (71 - 20)
    with store.graph.write() as change:
        change.put_image(twin, change.image(EXAMPLE.digest))
    with pytest.raises(AmbiguousError):
        store.find(EXAMPLE.digest[:20])


def test_names_move(store):
    one = stores.simple("a", names=("a:1",))
    stores.bring(store, one)
    assert store.tag("a:1", "example:1") == "example:1"
    assert store.find("example:1").digest == one.digest
    assert store.find(EXAMPLE.digest).names == ("quay.io/team/example:2",)
    assert store.untag("example:1").name == "example:1"
    with pytest.raises(NotFoundError):
        store.untag("example:1")
    with pytest.raises(NotFoundError):
        store.tag("none:1", "b:1")
    with pytest.raises(InvalidReferenceError):
        store.tag("a:1", "B A D")
    stores.verify_layout(store)


def test_an_image_of_an_index(store):
    arm = stores.simple("arm", architecture="arm64")
    mine = stores.simple("mine")
    stores.bring(store, images.index(arm, images.index(mine), names=["multi:1"]), every=True)
    assert store.find("multi:1").record.is_index
    found = store.find_image("multi:1")
    assert (found.digest, found.names) == (mine.digest, ("multi:1",))
    assert store.find_image(EXAMPLE.digest).digest == EXAMPLE.digest


def test_an_index_for_other_hosts(store):
    others = [stores.simple(name, architecture=name) for name in ("s390x", "ppc64le")]
    stores.bring(store, images.index(*others, names=["multi:1"]), every=True)
    with pytest.raises(PlatformError, match="s390x"):
        store.find_image("multi:1")
    stores.bring(store, images.index(others[0], names=["single:1"]), every=True)
    assert store.find_image("single:1").digest == others[0].digest


def test_documents(store):
    image = store.find("example:1")
    assert store.read_blob(image.digest) == EXAMPLE.manifest
    assert store.config(image).raw == EXAMPLE.config
    incoming = store.incoming(image)
    assert [layer.chain_id for layer in incoming.layers] == EXAMPLE.chain_ids
    assert (incoming.manifest, incoming.config) == (EXAMPLE.manifest, EXAMPLE.config)


def test_documents_that_are_damaged(store):
    path = Path(store.directories.blob(EXAMPLE.config_digest))
    path.write_bytes(EXAMPLE.config.replace(b"amd64", b"arm64").replace(b"linux", b"Linux"))
    with pytest.raises(StoreDamagedError, match="altered"):
        store.config(store.find("example:1"))
    path.unlink()
    with pytest.raises(MissingBlobError):
        store.config(store.find("example:1"))


@pytest.mark.root
def test_a_stack(store):
    image = store.find("example:1")
    assert store.stack(image) == list(reversed(EXAMPLE.diff_ids))
    os.unlink(store.directories.blob(EXAMPLE.layers[0].digest))
    assert store.stack(image) == list(reversed(EXAMPLE.diff_ids))


@pytest.mark.root
def test_a_stack_that_cannot_be_built_here(store, monkeypatch):
    stores.edit(store, "trees", EXAMPLE.diff_ids[0], boot="another", synced=False)
    monkeypatch.setattr("arstore.linux.isolation.capability.has", lambda _number: False)
    with pytest.raises(PermissionDeniedError, match="unpack"):
        store.stack(store.find("example:1"))


@pytest.mark.root
def test_a_stack_whose_blob_is_gone(store):
    stores.edit(store, "trees", EXAMPLE.diff_ids[0], boot="another", synced=False)
    os.unlink(store.directories.blob(EXAMPLE.layers[0].digest))
    before = stores.records(store)
    with pytest.raises(MissingBlobError, match="check --repair --from SOURCE"):
        store.stack(store.find("example:1"))
    assert stores.records(store) == before
    assert os.listdir(store.directories.ingest) == []


def test_opening_needs_no_more_than_the_directories(tmp_path):
    with Store(str(tmp_path / "a/b/root"), str(tmp_path / "c/run")) as fresh:
        assert fresh.images() == []
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="file"):
        Store(str(tmp_path / "file"), str(tmp_path / "run"))


@pytest.mark.root
def test_a_tree_that_came_while_others_were_synced_is_not_taken_for_one_of_them(store, monkeypatch):
    def syncs(_fd):
        # The directory there now has the same record, and was not synced.
        path = store.directories.tree(EXAMPLE.diff_ids[0])
        os.rename(path, f"{path}-old")
        os.mkdir(path)

    monkeypatch.setattr("arstore.store.durability.syncfs", syncs)
    store.sync_trees()
    with store.graph.read() as snapshot:
        found = {key: record.synced for key, record in snapshot.trees()}
    assert not found[EXAMPLE.diff_ids[0]]
    assert found[EXAMPLE.diff_ids[1]]


def test_an_image_that_was_removed_since_it_was_found(store):
    stores.bring(store, EXAMPLE)
    found = store.find(EXAMPLE.digest)
    remove_images(store, [EXAMPLE.digest])
    with pytest.raises(NotFoundError, match="was removed meanwhile"):
        store.stack(found)
    with store.graph.read() as snapshot, pytest.raises(NotFoundError, match="was removed meanwhile"):
        chain_of(snapshot, found)


def test_a_layer_that_is_lost_is_no_removal(store):
    stores.bring(store, EXAMPLE)
    found = store.find(EXAMPLE.digest)
    with store.graph.write() as change:
        change.delete("layers", found.record.top)
    with store.graph.read() as snapshot, pytest.raises(StoreDamagedError, match="its record is missing"):
        chain_of(snapshot, found)


def test_a_store_that_cannot_be_read_takes_nothing(tmp_path):
    """It fails before anything is made or removed."""
    with stores.opened(tmp_path) as store:
        stores.bring(store, stores.simple("a", names=("a:1",)))
        root = Path(store.directories.root)
    os.unlink(root / "graph/claims")
    with open(root / "graph/data.mdb", "r+b") as file:
        file.write(b"\xff" * 8192)
    with Store(str(root), str(tmp_path / "run")) as damaged, pytest.raises(StoreDamagedError):
        damaged.take([], [], None, ())
    assert not (root / "graph/claims").exists()
