"""Deletion reads the whole graph first: records that a damaged page hides must not count as garbage."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from support import images, stores

from arstore.errors import StoreDamagedError
from arstore.graph.datafile import MAP_SIZE
from arstore.graph.lmdb_pages import walk
from arstore.graph.soundness import require_sound
from arstore.maintenance.gc import collect, plan_collection
from arstore.maintenance.remove import remove_images

pytestmark = pytest.mark.root


@pytest.fixture
def store(tmp_path):
    with stores.opened(tmp_path) as made:
        for number in range(12):
            stores.bring(made, stores.simple(*(f"{number}-{n}" for n in range(4)), names=(f"image-{number}:1",)))
        stores.bring(made, images.example())
        made.sync_trees()
        made.close()
        yield made


def hide(store):
    """Make the root of the main database point to one of its leaves: LMDB no longer sees what the others hold."""
    data = Path(store.directories.graph, "data.mdb")
    original = data.read_bytes()
    for number in range(2, len(original) // 4096):
        page = original[number * 4096 : (number + 1) * 4096]
        if page[10:12] != b"\2\0" or b"images/" not in page:
            continue
        altered = bytearray(original)
        for meta in (0, 4096):
            # The depth of the main database, then its root.
            altered[meta + 16 + 24 + 48 + 6 : meta + 16 + 24 + 48 + 8] = b"\1\0"
            altered[meta + 16 + 24 + 48 + 40 : meta + 16 + 24 + 96] = number.to_bytes(8, "little")
        data.write_bytes(altered)
        return
    raise AssertionError("no page has an image")


def blobs(store):
    return sorted(os.listdir(f"{store.directories.root}/blobs/sha256"))


def test_a_sound_graph(store):
    require_sound(store.graph)
    assert not walk(f"{store.graph.path}/data.mdb", MAP_SIZE, lambda _key, _value: None).faults


@pytest.mark.parametrize("act", [plan_collection, collect])
def test_what_a_damaged_page_hides_is_not_collected(store, act):
    before = blobs(store)
    hide(store)
    with pytest.raises(StoreDamagedError, match="check"):
        act(store)
    assert blobs(store) == before


def test_nothing_is_removed_from_a_damaged_graph(store):
    before = blobs(store)
    with store.graph.read() as snapshot:
        key = f"layers/{snapshot.keys('layers')[0]}".encode()
        value = snapshot._txn.get(key)
    with store.graph.write() as change:
        change.put_raw(key, value[:-1] + bytes([value[-1] ^ 1]))
    with pytest.raises(StoreDamagedError):
        remove_images(store, ["example:1"])
    assert blobs(store) == before
    assert store.find("example:1")


def test_a_writer_beside_it_does_no_harm(store):
    with stores.in_child(lambda: busy(store)):
        for _ in range(40):
            require_sound(store.graph)
        store.close()


def busy(store):
    for number in range(60):
        store.tag("example:1", f"more-{number}:1")
    store.close()


def test_keys_between_those_of_a_table_are_damage(store):
    with store.graph.write() as change:
        # As if one byte of a key were altered in its page: the record is still there, among the others.
        change.put_raw(b"blobs/sha256:" + b"0" * 64, b"x")
    with store.graph.read() as snapshot:
        assert "sha256:" + "0" * 64 in snapshot.keys("blobs")
    data = Path(store.directories.graph, "data.mdb")
    store.close()
    content = data.read_bytes()
    data.write_bytes(content.replace(b"blobs/sha256:" + b"0" * 64, b"vlobs/sha256:" + b"0" * 64))
    with pytest.raises(StoreDamagedError), store.graph.read() as snapshot:
        snapshot.keys("blobs")
    with store.graph.read(lenient=True) as snapshot:
        assert all(key.startswith("sha256:") for key in snapshot.keys("blobs"))
        assert snapshot.passed_over
