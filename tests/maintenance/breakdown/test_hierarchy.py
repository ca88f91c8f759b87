"""The breakdown of disk usage: sums are right to the byte, and everything has a limit."""

from __future__ import annotations

import os
import random
import shutil

import pytest
from support import images, stores
from support.largestore import Shape, fill

from arstore.maintenance.breakdown.hierarchy import break_down
from arstore.maintenance.breakdown.part import Limits
from arstore.maintenance.breakdown.pieces import Pieces
from arstore.maintenance.breakdown.steps import shortened
from arstore.maintenance.disk_usage import measure
from arstore.maintenance.trim import Goal, trim
from arstore.rootfs.mount import create_container


@pytest.fixture
def store(tmp_path):
    with stores.opened(tmp_path) as made:
        yield made


def verify(usage, found):
    def sums(part):
        if part.parts:
            assert sum(one.size for one in part.parts) == part.size, part
        for one in part.parts:
            sums(one)

    sums(found.root)
    assert found.root.size == usage.total
    for image in found.images:
        if image.title != "list:1 (index)":
            assert (image.size, image.own.size) == (image.usage.size, image.usage.unique)


def filled(store, seed):
    chance = random.Random(seed)
    pool = [
        images.layer(
            [
                images.directory("./"),
                images.file(f"usr/lib/l{number}/f", chance.randbytes(chance.choice((10, 40_000)))),
                images.hardlink(f"usr/lib/again{number}", f"usr/lib/l{number}/f"),
                images.file(f"etc/f{number}", chance.randbytes(3000)),
            ],
            chance.choice(("none", "gzip", "zstd")),
        )
        for number in range(8)
    ]
    again = images.layer(pool[0].tar, "gzip" if pool[0].compression == "none" else "none")
    made = []
    for number in range(4):
        layers = chance.sample([*pool, again], chance.randint(1, 5))
        made.append(images.image(*layers, names=[f"n{number}:1"], config={"Env": [f"N={number}"]}))
    made.append(images.index(images.image(pool[1]), images.image(pool[2], architecture="arm64"), names=["list:1"]))
    for one in made:
        stores.bring(store, one, every=True)


@pytest.mark.parametrize("seed", range(5))
def test_every_byte_is_in_one_part(store, seed):
    filled(store, seed)
    image = next(one for one in store.images() if not one.record.is_index)
    if seed % 2:
        create_container(store, image, "box")
    else:
        store.untag(next(one.names[0] for one in store.images() if one.names))
        trim(store, Goal(freed=50_000))
    usage = measure(store)
    verify(usage, break_down(store, usage))
    verify(usage, break_down(store, usage, Limits(images=2, layers=1, shared=1, depth=1, names=10)))
    chosen = measure(store, [image])
    found = break_down(store, chosen)
    verify(chosen, found)
    assert [one.usage.digest for one in found.images] == [image.digest]


def test_pieces_are_what_a_removal_frees(store):
    filled(store, 11)
    usage = measure(store)
    with store.graph.read() as snapshot:
        pieces = Pieces(snapshot, usage.basis.shares)
    by_digest = {one.digest: one for one in usage.images}
    for place, digest in enumerate(usage.basis.shares.images):
        if store.find(digest).record.is_index:
            continue
        assert (
            sum(piece.size for piece in pieces.own(place).values()) == pieces.sizes[place] == by_digest[digest].unique
        )
        assert sum(piece.size for piece in pieces.shared_of(place).values()) == by_digest[digest].shared
    everything = sum(piece.size for piece, _ in pieces.by_layer().values())
    assert everything == usage.blobs + usage.trees


def directories_of(part):
    return {one.name: one for one in part.parts if one.kind == "directory"}


@pytest.mark.parametrize("form", ["erofs", "directory"])
def test_directories_of_both_forms(tmp_path, form):
    if form == "directory" and os.geteuid():
        pytest.skip("only root extracts files")
    data, sizes = random.Random(1), {"big": 400_000, "b": 90_000}
    members = [images.directory("./")]
    members += [images.file(f"opt/app/{name}/f", data.randbytes(size)) for name, size in sizes.items()]
    members += [images.file("opt/top", data.randbytes(60_000)), images.hardlink("etc/hard", "opt/top")]
    with stores.opened(tmp_path) as store:
        store.tree = form
        stores.bring(store, images.image(images.layer(members, "gzip"), names=["a:1"]))
        usage = measure(store)
        found = break_down(store, usage)
    verify(usage, found)
    (layer,) = (part for part in found.images[0].own.parts if part.kind == "layer")
    opt = directories_of(layer)["opt"]
    assert 550_000 < opt.size < 600_000
    assert set(directories_of(opt)) == {"app"}
    assert set(directories_of(directories_of(opt)["app"])) == {"big", "b"}
    assert {part.kind for part in layer.parts} >= {"blob", "directory"}


def test_damage_leaves_the_layer_whole(store):
    filled(store, 3)
    for name in os.listdir(store.directories.trees):
        path = f"{store.directories.trees}/{name}/layer.erofs"
        if os.path.exists(path):
            with open(path, "r+b") as file:
                file.seek(1024)
                file.write(os.urandom(os.path.getsize(path) - 1024))
    usage = measure(store)
    found = break_down(store, usage)
    verify(usage, found)
    assert found.unread > 0
    shutil.rmtree(store.directories.trees)
    os.mkdir(store.directories.trees)
    usage = measure(store)
    verify(usage, break_down(store, usage))


def test_limits_of_a_large_store(tmp_path):
    with stores.opened(tmp_path) as store:
        fill(store, Shape(60, common=3), tmp_path)
        usage = measure(store)
        found = break_down(store, usage, Limits(images=10, layers=3, shared=4, names=100))
        grouped = break_down(store, usage, Limits(images=12, ungrouped=20))
    verify(usage, found)
    verify(usage, grouped)
    groups = {part.name: part for part in grouped.root.parts if part.kind == "group"}
    assert set(groups) == {f"project-{number}/app" for number in range(6)}
    rest = sum(one.count for part in groups.values() for one in part.parts if one.kind == "rest")
    assert (
        sum(len(part.parts) for part in groups.values())
        - sum(one.kind == "rest" for part in groups.values() for one in part.parts)
        == len(grouped.images)
        == 60 - rest
    )
    assert (len(found.images), found.left_out) == (10, 50)
    assert len(found.shared) <= 5
    assert next(part for part in found.root.parts if part.kind == "rest").count == 50
    assert all(len(image.own.parts) <= 4 for image in found.images)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("/bin/sh -c #(nop) COPY file:1 in /", "COPY file:1 in /"),
        ("/bin/sh -c apt-get update", "RUN apt-get update"),
        ("RUN /bin/sh -c make  \n all # buildkit", "RUN /bin/sh -c make all"),
        ("/bin/sh", ""),
        ("", ""),
        ("x" * 500, "x" * 159 + "…"),
    ],
)
def test_steps_of_builds_are_shortened(text, shown):
    assert shortened(text) == shown
