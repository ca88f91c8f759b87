"""The bound for the store's own records holds for removals from random stores."""

from __future__ import annotations

import random

import pytest
from support import images, stores
from support.largestore import Shape, fill

from arstore.maintenance.disk_usage import measure
from arstore.maintenance.gc import collect, plan_collection
from arstore.maintenance.records_bound import changed_by_gc, changed_by_trim, records_bound, removal_bound
from arstore.maintenance.remove import plan_removal, remove_images
from arstore.maintenance.trim import Goal, plan_trim, trim


def act(store, chance: random.Random) -> None:
    kind = chance.choice(("rm", "gc", "trim"))
    names = [name for image in store.images() for name in image.names]
    if kind == "gc":
        for name in chance.sample(names, len(names) // 4):
            store.untag(name)
    before = measure(store, []).metadata
    if kind == "rm" and names:
        chosen = chance.sample(names, chance.randint(1, max(1, len(names) // 3)))
        bound = removal_bound(store, plan_removal(store, chosen))
        remove_images(store, chosen)
    elif kind == "gc":
        plan = plan_collection(store)
        bound = records_bound(store.directories, changed_by_gc(plan))
        collect(store, plan)
    else:
        goal = chance.choice((Goal(), Goal(freed=100_000)))
        bound = records_bound(store.directories, changed_by_trim(store, plan_trim(store, goal).trees))
        trim(store, goal)
    assert abs(measure(store, []).metadata - before) <= bound, kind


@pytest.mark.parametrize("seed", range(4))
def test_small_stores(tmp_path, seed):
    chance = random.Random(seed)
    shared = images.layer([images.file("s", b"s" * 5000)], "gzip")
    with stores.opened(tmp_path) as store:
        made = [
            images.image(shared, images.layer([images.file(f"f{number}", b"f" * 9000)]), names=[f"n{number}:1"])
            for number in range(6)
        ]
        stores.bring(store, *made)
        for _ in range(5):
            act(store, chance)


def test_a_store_of_hundreds_of_layers(tmp_path):
    chance = random.Random(7)
    with stores.opened(tmp_path) as store:
        fill(store, Shape(40, common=3), tmp_path)
        for _ in range(6):
            act(store, chance)


def test_nothing_to_remove_changes_nothing(tmp_path):
    with stores.opened(tmp_path) as store:
        assert records_bound(store.directories, 0) == 0
