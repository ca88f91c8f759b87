"""The store as an OCI layout: the content of `index.json`, which follows the graph."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest
from support import images, stores

from arstore.store.layout import index_document, published_change, write_layout


@pytest.fixture
def store(tmp_path):
    with stores.opened(tmp_path) as made:
        yield made


def index(store):
    return json.loads(Path(store.directories.root, "index.json").read_bytes())


def listed(store):
    return [
        (one["annotations"]["org.opencontainers.image.ref.name"], one["digest"], one["size"])
        for one in index(store)["manifests"]
    ]


def leftovers(store):
    return [name for name in os.listdir(store.directories.root) if name.startswith(("index.json.", "oci-layout."))]


def test_names_come_first_and_what_has_none_has_its_digest(store):
    named = stores.simple("a", names=("b:1", "a:1"))
    bare = stores.simple("b")
    stores.bring(store, named)
    stores.bring(store, bare)
    store.untag(next(name for name, digest in stores.names(store).items() if digest == bare.digest))
    assert listed(store) == [
        ("a:1", named.digest, len(named.manifest)),
        ("b:1", named.digest, len(named.manifest)),
        (bare.digest, bare.digest, len(bare.manifest)),
    ]
    assert {one["mediaType"] for one in index(store)["manifests"]} == {named.media_type}
    assert json.loads(Path(store.directories.root, "oci-layout").read_bytes()) == {"imageLayoutVersion": "1.0.0"}
    stores.verify_layout(store)


def test_it_follows_every_change(store):
    one = stores.simple("a", names=("a:1",))
    stores.bring(store, one)
    store.tag("a:1", "b:1")
    assert [name for name, _, _ in listed(store)] == ["a:1", "b:1"]
    store.untag("a:1")
    assert [name for name, _, _ in listed(store)] == ["b:1"]
    assert leftovers(store) == []


def test_an_index_that_is_right_is_not_written_again(store):
    stores.bring(store, stores.simple("a", names=("a:1",)))
    path = Path(store.directories.root, "index.json")
    before = path.stat().st_ino
    write_layout(store.directories, store.graph)
    assert path.stat().st_ino == before
    path.write_bytes(b"{}")
    write_layout(store.directories, store.graph)
    with store.graph.read() as snapshot:
        assert path.read_bytes() == index_document(snapshot)
    path.unlink()
    Path(store.directories.root, "oci-layout").unlink()
    write_layout(store.directories, store.graph)
    stores.verify_layout(store)
    assert Path(store.directories.root, "oci-layout").exists()


def test_a_failed_change_leaves_neither_record_nor_file(store):
    stores.bring(store, stores.simple("a", names=("a:1",)))
    before = stores.State(store)

    def work():
        with published_change(store.directories, store.graph) as change:
            change.delete("names", "a:1")
            raise OSError("no")

    with pytest.raises(OSError, match="no"):
        work()
    before.verify()
    assert leftovers(store) == []


def test_no_space_for_the_index_undoes_the_change(store, monkeypatch):
    stores.bring(store, stores.simple("a", names=("a:1",)))
    before = stores.State(store)

    def full(_fd):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("os.fdatasync", full)
        with pytest.raises(OSError, match="No space"):
            store.tag("a:1", "b:1")
        with pytest.raises(OSError, match="No space"):
            store.untag("a:1")
    before.verify()
    assert leftovers(store) == []


def test_the_later_of_two_changes_writes_the_index_of_both(store, monkeypatch):
    """Another process changes the graph between this one's commit and its rename."""
    stores.bring(store, stores.simple("a", names=("a:1",)))
    write = type(store.graph).write
    calls = []

    def interleaved(graph):
        calls.append(1)
        if len(calls) == 2:
            with write(graph) as change:
                change.put_name("other:1", change.name("a:1"))
        return write(graph)

    with monkeypatch.context() as patch:
        patch.setattr(type(store.graph), "write", interleaved)
        store.tag("a:1", "b:1")
    assert [name for name, _, _ in listed(store)] == ["a:1", "b:1", "other:1"]
    stores.verify_layout(store)


@pytest.mark.tools("skopeo")
def test_another_tool_reads_it(store):
    one = stores.simple("a", names=("a:1",))
    stores.bring(store, one)
    command = ["skopeo", "inspect", "--raw", f"oci:{store.directories.root}:a:1"]
    assert subprocess.run(command, capture_output=True, check=True).stdout == one.manifest


def test_a_multi_platform_image_is_listed_whole(store):
    parts = [stores.simple("a"), stores.simple("b", architecture="arm64")]
    whole = images.index(*parts, names=("multi:1",))
    stores.bring(store, whole, every=True)
    assert ("multi:1", whole.digest, len(whole.raw)) in listed(store)
    assert {digest for _, digest, _ in listed(store)} == {whole.digest, *(part.digest for part in parts)}
    stores.verify_layout(store)


def test_what_others_change_just_before_the_index_takes_its_place_is_in_it(store, monkeypatch):
    stores.bring(store, stores.simple("a", names=("a:1",)))
    digest = store.find("a:1").digest

    def meddle(point):
        if point == "layout.committed":
            with store.graph.write() as change:
                change.put_name("b:1", digest)

    monkeypatch.setattr("arstore.store.layout.reached", meddle)
    with published_change(store.directories, store.graph):
        pass
    assert [name for name, _, _ in listed(store)] == ["a:1", "b:1"]


def test_it_is_written_as_json_writes_it(store):
    stores.bring(store, stores.simple("a", names=("a:1", "b:1")), stores.simple("ü"))
    with store.graph.read() as snapshot:
        document = index_document(snapshot)
    assert document == json.dumps(json.loads(document), indent=1).encode() + b"\n"
    assert len(json.loads(document)["manifests"]) == 3


def test_an_empty_index_is_written_as_json_writes_it(store):
    with store.graph.read() as snapshot:
        document = index_document(snapshot)
    assert document == json.dumps(json.loads(document), indent=1).encode() + b"\n"
