"""Living processes and records that hold images, and through them trees."""

from __future__ import annotations

import pytest
from support import images, stores

from arstore.errors import InUseError
from arstore.graph.records import LeaseRecord
from arstore.maintenance.remove import remove_images
from arstore.rootfs import mount as rootfs
from arstore.store.collect.holders import image_holders, tree_holders
from arstore.store.collect.lease import leased

EXAMPLE = images.example(names=["example:1"])

pytestmark = pytest.mark.root


@pytest.fixture
def store(tmp_path):
    with stores.filled(tmp_path, EXAMPLE, stores.simple("other", names=("other:1",))) as made:
        yield made


def holders(store):
    with store.graph.read() as snapshot:
        return image_holders(store.directories, snapshot), tree_holders(store.directories, snapshot)


def test_names_hold_no_trees(store):
    assert holders(store) == ({}, {})


def test_a_container(store):
    container = rootfs.create_container(store, store.find("example:1"))
    by_image, by_tree = holders(store)
    assert set(by_image) == {EXAMPLE.digest}
    assert set(by_tree) == set(EXAMPLE.diff_ids)
    assert container.id in by_image[EXAMPLE.digest].why
    assert f"container rm {container.id}" in by_image[EXAMPLE.digest].hint


def test_an_ephemeral_container_holds_as_long_as_its_process(store):
    container = rootfs.create_container(store, store.find("example:1"), ephemeral=True)
    assert set(holders(store)[0]) == {EXAMPLE.digest}
    dead = stores.dead_owner()
    stores.edit(store, "containers", container.id, pid=dead.pid, start=dead.start, boot=dead.boot)
    assert holders(store) == ({}, {})


@pytest.mark.mounts
def test_a_mount(store):
    record = rootfs.mount_image(store, store.find("example:1"))
    by_image, by_tree = holders(store)
    assert record.target in by_image[EXAMPLE.digest].why
    assert set(by_tree) == set(EXAMPLE.diff_ids)
    stores.umount_all(store)
    assert holders(store) == ({}, {})


def test_a_lease(store):
    with leased(store.graph, EXAMPLE.digest, "reading"):
        assert "reading" in holders(store)[0][EXAMPLE.digest].why
        with pytest.raises(InUseError, match="reading"):
            remove_images(store, ["example:1"])
        remove_images(store, ["other:1"])
    remove_images(store, ["example:1"])


def test_a_lease_of_a_dead_process_holds_nothing(store):
    dead = stores.dead_owner()
    with store.graph.write() as change:
        change.put_lease("x", LeaseRecord((EXAMPLE.digest,), "reading", dead.pid, dead.start, dead.boot, 0.0))
    assert holders(store) == ({}, {})


def test_a_damaged_chain_is_passed_over(store):
    rootfs.create_container(store, store.find("example:1"))
    with store.graph.write() as change:
        change.delete("layers", EXAMPLE.chain_ids[0])
    by_image, by_tree = holders(store)
    assert set(by_image) == {EXAMPLE.digest}
    assert EXAMPLE.diff_ids[0] not in by_tree
