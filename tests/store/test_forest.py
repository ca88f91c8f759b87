"""Layers by their chains, compared with the slow way: each image's chain, read record by record."""

from __future__ import annotations

import random
import tracemalloc

import pytest
from support import images, stores

from arstore.errors import StoreDamagedError
from arstore.graph.records import LayerRecord
from arstore.store.forest import Forest


@pytest.fixture
def store(tmp_path):
    with stores.opened(tmp_path) as one:
        yield one


def key(name):
    return images.sha256(str(name).encode())


def put(store, parents):
    with store.graph.write() as change:
        for name, parent in parents.items():
            record = LayerRecord(key(name), "" if parent is None else key(parent), (), 1, "")
            change.put_layer(key(name), record)


def slow(snapshot, tops):
    holders = {}
    for place, top in enumerate(tops):
        for chain_id, _ in snapshot.chain(top):
            holders.setdefault(chain_id, []).append(place)
    return {**holders, **{one: [] for one, _ in snapshot.layers() if one not in holders}}


@pytest.mark.parametrize("seed", range(5))
def test_what_images_share_is_what_their_chains_say(store, seed):
    chance = random.Random(seed)
    count = 200
    put(store, {n: chance.choice([None, *range(max(n - 9, 0), n)]) if n else None for n in range(count)})
    with store.graph.read() as snapshot:
        tops = [key(chance.randrange(count)) for _ in range(30)] + [""]
        forest = Forest(snapshot, tops)
        found = {forest.chain_ids[number]: forest.images(number) for number in forest.order}
        assert list(found.items()) == list(slow(snapshot, tops).items())
        for number in forest.order:
            assert forest.image_count(number) == len(forest.images(number))
            assert forest.parent(number) == snapshot.layer(forest.chain_ids[number]).parent


@pytest.mark.parametrize(
    ("parents", "why"), [({"a": "b", "b": "a"}, "its own ancestor"), ({"a": "absent"}, "its record is missing")]
)
def test_what_is_no_chain_is_damage(store, parents, why):
    put(store, parents)
    with store.graph.read() as snapshot:
        with pytest.raises(StoreDamagedError, match=why):
            Forest(snapshot, [key("a")])
        assert len(Forest(snapshot, []).order) == len(parents)


def test_a_top_without_a_record_is_damage(store):
    with store.graph.read() as snapshot, pytest.raises(StoreDamagedError, match=key("absent")):
        Forest(snapshot, [key("absent")])


def test_images_over_one_long_chain_take_no_memory_for_each_of_its_layers(store):
    put(store, {n: n - 1 if n else None for n in range(2000)})
    with store.graph.read() as snapshot:
        sizes = []
        for count in (1, 1000):
            tracemalloc.start()
            forest = Forest(snapshot, [key(1999)] * count)
            sizes.append(tracemalloc.get_traced_memory()[1])
            tracemalloc.stop()
            assert forest.image_count(forest.order[0]) == count
    assert sizes[1] < sizes[0] + 100_000
