"""Trees made by an older arstore with other rules: rebuilt at their next use, unless something is mounted over them."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from support import images, stores

from arstore.graph.records import RULES
from arstore.mounts.table import MountTable
from arstore.rootfs import mount as rootfs

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from arstore.store.store import Store

pytestmark = [pytest.mark.root, pytest.mark.mounts]


@pytest.fixture(params=["auto", "directory"])
def store(tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    """A store with an image whose trees are older than today's rules."""
    with stores.opened(tmp_path) as made:
        choose = type(made).tree_forms
        monkeypatch.setattr(type(made), "tree_forms", lambda self, _name="auto": choose(self, request.param))
        stores.bring(made, images.image(*images.implied_layers(), names=("x:1",)))
        assert made.find("x:1").record.cap
        with made.graph.write() as change:
            for key, record in list(change.trees()):
                assert (RULES in record.sums) is not bool(record.members)
                change.put_tree(key, record._replace(sums=tuple(one for one in record.sums if one != RULES)))
        yield made


def inodes(store: Store) -> dict[str, int]:
    """The trees of the image, by their directories' inode numbers."""
    return {key: os.stat(store.directories.tree(key)).st_ino for key in stores.trees(store)}


def outdated(store: Store) -> set[str]:
    with store.graph.read() as snapshot:
        return {key for key, record in snapshot.trees() if record.is_outdated}


def test_they_are_made_anew_at_their_next_use(store: Store) -> None:
    before = inodes(store)
    assert outdated(store) == before.keys()
    record = rootfs.mount_image(store, store.find_image("x:1"))
    MountTable(store.directories).umount(record.id)
    after = inodes(store)
    assert outdated(store) == set()
    assert after.keys() == before.keys()
    assert all(after[key] != before[key] for key in before)
    stores.verify_clean(store)
    store.stack(store.find_image("x:1"))
    assert inodes(store) == after


def test_those_under_a_container_stay_as_long_as_it_is_there(store: Store) -> None:
    with store.graph.write() as change:
        for key, record in list(change.trees()):
            change.put_tree(key, record._replace(sums=(*record.sums, RULES)))
    container = rootfs.create_container(store, store.find_image("x:1"))
    with store.graph.write() as change:
        for key, record in list(change.trees()):
            change.put_tree(key, record._replace(sums=tuple(one for one in record.sums if one != RULES)))
    before = inodes(store)
    record = rootfs.mount_image(store, store.find_image("x:1"))
    MountTable(store.directories).umount(record.id)
    assert inodes(store) == before
    rootfs.remove_container(store, container.id)
    store.stack(store.find_image("x:1"))
    assert outdated(store) == set()
    assert all(inodes(store)[key] != before[key] for key in before)


def test_leases_do_not_keep_them(store: Store) -> None:
    """A reader of an image takes a lease first, and must get new trees all the same."""
    from arstore.rootfs.diff import differences, opened_stacks

    with opened_stacks(store) as stacks:
        found = stacks.image(store.find_image("x:1"))
        assert differences(found, found) == []
    assert outdated(store) == set()
