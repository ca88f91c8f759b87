"""Disk usage: its parts, its sum, and the bytes that removing each image would free."""

from __future__ import annotations

import pytest
from support import images, stores

from arstore.maintenance.disk_usage import measure
from arstore.maintenance.gc import collect
from arstore.maintenance.remove import remove_images

SLACK = 64 << 10


@pytest.fixture
def store(tmp_path):
    with stores.opened(tmp_path) as made:
        yield made


def big(name, size=200_000):
    return images.layer([images.directory("./"), images.file(name, name.encode() * (size // len(name)))], "none")


def items(store):
    return {one.digest: one for one in measure(store).images}


def test_an_empty_store(store):
    bill = measure(store)
    assert bill.total == stores.du(store.directories.root)
    assert (bill.blobs, bill.trees, bill.containers, bill.orphans, bill.reclaimable, bill.images) == (0, 0, 0, 0, 0, ())


def test_what_is_unique_is_what_removal_frees(store):
    shared, pictures = big("shared"), []
    for number in (1, 2, 3):
        pictures.append(images.image(shared, big(f"own{number}", 100_000 * number), names=[f"n{number}:1"]))
    stores.bring(store, *pictures)
    for picture in pictures:
        item = items(store)[picture.digest]
        assert item.size == item.unique + item.shared
        assert item.names == picture.names
        before = stores.du(store.directories.root)
        remove_images(store, [picture.digest])
        assert abs(before - stores.du(store.directories.root) - item.unique) <= SLACK
        assert measure(store).total == stores.du(store.directories.root)
    assert item.shared == 0
    assert item.unique >= 500_000


def test_an_index_frees_what_goes_with_it(store):
    common = big("common")
    amd, arm = images.image(common, big("amd")), images.image(common, big("arm"), architecture="arm64")
    other = images.image(big("other"), architecture="s390x")
    one = images.index(amd, images.index(arm), names=["one:1"])
    two = images.index(other, arm, names=["two:1"])
    stores.bring(store, one, two, every=True)
    found = items(store)
    assert found[two.digest].unique >= 200_000
    assert found[two.digest].shared >= 400_000
    for index in (one, two):
        item = items(store)[index.digest]
        before = stores.du(store.directories.root)
        remove_images(store, [index.digest])
        assert abs(before - stores.du(store.directories.root) - item.unique) <= SLACK
    collect(store)
    assert store.images() == []


def test_a_selection_of_images(store):
    one, other = stores.simple("a", names=("a:1",)), stores.simple("b", names=("b:1",))
    stores.bring(store, one, other)
    whole = measure(store)
    part = measure(store, [store.find("a:1")])
    assert [item.digest for item in part.images] == [one.digest]
    assert part.images[0] in whole.images
    assert part.total == whole.total
