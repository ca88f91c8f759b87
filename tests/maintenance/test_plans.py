"""Every figure of a plan is what then happens: `rm`, `gc`, `trim` and `prune` on random stores, on several disks.

The stores share layers, plain and compressed, and have caps, merged indexes, lists, containers and mounts.
"""

from __future__ import annotations

import os
import random
import shutil
import time
from pathlib import Path

import pytest
from support import disks, images, stores

from arstore.errors import InUseError
from arstore.maintenance.disk_usage import measure
from arstore.maintenance.gc import collect, plan_collection
from arstore.maintenance.prune import plan_prune, prune
from arstore.maintenance.remove import plan_removal, remove_images
from arstore.maintenance.trim import Goal, plan_trim, trim
from arstore.rootfs.mount import create_container, mount_image
from arstore.store.protection import protect, unprotect

pytestmark = pytest.mark.root

KINDS = ["ext4", "xfs", "btrfs"]
SHORT, LONG = 8, 170


def layer(chance: random.Random, number: int) -> images.Layer:
    members = [images.directory("./"), images.directory(f"d{number % 3}")] if number % 4 else []
    members += [images.file(f"d{number % 3}/f{number}", chance.randbytes(chance.choice((0, 10, 5000, 70_000))))]
    if not number % 5:
        members.append(images.whiteout(f"d{number % 3}/f{number - 1}"))
    return images.layer(members, chance.choice(("none", "gzip", "zstd")))


def pictures(chance: random.Random) -> list[images.Picture | images.Collection]:
    """Images over common layers, the same layers in other compressions, and a list."""
    pool = [layer(chance, number) for number in range(12)]
    again = [images.layer(one.tar, "none" if one.compression != "none" else "gzip") for one in pool[:4]]
    made: list[images.Picture | images.Collection] = []
    for number in range(chance.randint(2, 4)):
        count = chance.choice((1, 3, 10))
        chosen = [
            chance.choice((pool[place], again[place % 4])) if place < 4 else pool[place] for place in range(count)
        ]
        names = [f"n{number}:{tag}" for tag in range(chance.randint(1, 2))]
        made.append(images.image(*chosen, names=names, config={"Env": [f"N={number}"]}))
    if chance.random() < 0.5:
        made.append(images.index(images.image(pool[5]), images.image(pool[6], architecture="arm64"), names=["list:1"]))
    return made


def content(store) -> int:
    """Bytes of blobs and trees, as du(1) counts them."""
    root = Path(store.directories.root)
    seen: dict[tuple[int, int], int] = {}
    for name in ("blobs/sha256", "trees"):
        for path in (root / name).rglob("*"):
            status = os.lstat(path)
            seen[status.st_dev, status.st_ino] = status.st_blocks * 512
    return sum(seen.values())


def aged(store, chance: random.Random) -> float:
    """Give images random ages, protect some of them, and return the moment before which an image is old."""
    now = time.time()
    for image in store.images():
        stores.edit(store, "images", image.digest, imported=now - chance.choice((1, 100_000)))
        if chance.random() < 0.2:
            (protect if chance.random() < 0.7 else unprotect)(store, [image.digest])
    return now - 50_000


def act(store, chance: random.Random) -> None:
    """One random plan, and its application."""
    before = content(store)
    kind = chance.choice(("rm", "gc", "trim", "trim", "prune"))
    if kind == "rm":
        names = [name for image in store.images() for name in image.names]
        chosen = chance.sample(names, min(len(names), chance.randint(1, 3)))
        try:
            plan = plan_removal(store, chosen)
        except InUseError:
            return
        alone = {item.digest: item.unique for item in measure(store).images}
        done = remove_images(store, chosen)
        promised, told = plan.freed, done.freed
        assert done.removed == plan.removed
        if len(plan.removed.images) == 1:
            assert alone[plan.removed.images[0]] == promised
    elif kind == "gc":
        for image in store.images():
            if image.names and chance.random() < 0.3:
                store.untag(image.names[0])
        plan = plan_collection(store)
        found = collect(store, plan)
        promised, told = plan.bytes, found.bytes
        assert found.by_kind() == plan.by_kind()
        assert plan.parts.total == promised
    elif kind == "prune":
        moment = aged(store, chance)
        plan = plan_prune(store, moment)
        done = prune(store, moment)
        promised, told = plan.freed, done.freed
        assert done.removed == plan.removed
        assert plan.parts.total == promised
    else:
        goal = chance.choice((Goal(), Goal(freed=chance.randint(1, 50_000)), Goal(total=chance.randint(1, 500_000))))
        plan = plan_trim(store, goal)
        done = trim(store, goal)
        promised, told = plan.freed, done.freed
        assert done.trees == plan.trees
    assert promised == told == before - content(store), kind
    assert measure(store).total == stores.du(store.directories.root)


def exercise(place: Path, seed: int) -> None:
    chance = random.Random(seed)
    with stores.made(place / "root", place / "run") as store:
        for one in pictures(chance):
            stores.bring(store, one, every=isinstance(one, images.Collection))
        usable = [image for image in store.images() if not image.record.is_index]
        if chance.random() < 0.4:
            create_container(store, chance.choice(usable), "box")
        if chance.random() < 0.4:
            mount_image(store, chance.choice(usable))
        try:
            for _ in range(4):
                act(store, chance)
            stores.verify_clean(store)
        finally:
            stores.umount_all(store)
    shutil.rmtree(place)


@pytest.mark.parametrize("kind", KINDS)
def test_random_plans(tmp_path, kind):
    with disks.mounted(kind, tmp_path) as place:
        for seed in range(SHORT):
            exercise(place / f"s{seed}", seed)


@pytest.mark.long
@pytest.mark.parametrize("kind", KINDS)
def test_many_random_plans(tmp_path, kind):
    """500 stores, with four plans each."""
    with disks.mounted(kind, tmp_path) as place:
        for seed in range(1000, 1000 + LONG):
            exercise(place / f"s{seed}", seed)
