"""Mounts without an owner are found by the collector; those in use are left."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from support import stores

from arstore.disk.owner import Owner
from arstore.maintenance.gc import collect, plan_collection
from arstore.mounts.table import MountTable
from arstore.mounts.unrecorded import stray_mounts
from arstore.rootfs import mount as rootfs
from arstore.trees.erofs.mounting import ATTACHED_PREFIX, lower_directory

pytestmark = [pytest.mark.root, pytest.mark.mounts]


@pytest.fixture
def store(tmp_path):
    with stores.filled(tmp_path, stores.simple("a", "b", names=("x:1",))) as made:
        yield made


def unrecorded(store):
    record = rootfs.mount_image(store, store.find("x:1"))
    Path(store.directories.mounts, f"{record.id}.json").unlink()
    return record.target


def test_a_mount_without_a_record_is_found_and_ended(store):
    kept = rootfs.mount_image(store, store.find("x:1"))
    target = unrecorded(store)
    assert plan_collection(store).mounts == (target,)
    assert collect(store).mounts == (target,)
    assert not os.path.exists(target)
    assert os.path.ismount(kept.target)
    MountTable(store.directories).umount(kept.id)
    assert not plan_collection(store)


def test_one_that_is_used_stays_until_it_is_not(store):
    target = unrecorded(store)
    fd = os.open(target, os.O_RDONLY)
    assert collect(store).mounts == ()
    assert os.path.ismount(target)
    os.close(fd)
    assert collect(store).mounts == (target,)


def test_a_tree_that_a_killed_process_attached(store):
    with store.graph.read() as snapshot:
        key = next(key for key, record in snapshot.trees() if record.form == "erofs")
    tree = store.directories.tree(key)

    def attach():
        with lower_directory(tree, detached=False):
            os._exit(7)

    with lower_directory(tree, detached=False) as mine:
        stores.forked(attach, expected=7)
        (stray,) = stray_mounts(store.directories)
        assert Owner.of_directory(os.path.basename(stray).removeprefix(ATTACHED_PREFIX)) is not None
        assert collect(store).mounts == (stray,)
        assert os.path.ismount(mine.path)
    assert [name for name in os.listdir(tree) if name.startswith(ATTACHED_PREFIX)] == []
