"""Root file systems of images and containers as mounts, recorded, exclusive, and gone when they should be."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import pytest
from support import images, stores, treelist

from arstore.cli.containers import mounts
from arstore.cli.session import Session
from arstore.disk import rmtree
from arstore.errors import ArstoreError, ConflictError, InUseError, NotFoundError, StoreDamagedError
from arstore.maintenance.convert import convert, target_forms
from arstore.maintenance.remove import remove_images
from arstore.mounts.table import MountTable
from arstore.rootfs import mount as rootfs
from arstore.rootfs.commit import CommitOptions, commit
from arstore.rootfs.diff import opened_stacks
from arstore.store.store import Store

pytestmark = [pytest.mark.root, pytest.mark.mounts]

EXAMPLE = images.example()


@pytest.fixture
def store(tmp_path):
    with stores.opened(tmp_path) as made:
        yield made
        stores.umount_all(made)


def entries(store):
    return [entry.record for entry in MountTable(store.directories).list()]


@pytest.mark.parametrize("pictures", [[], ["a"], ["a", "b"]], ids=["none", "one", "two"])
def test_images_of_few_layers(store, pictures):
    stores.bring(store, stores.simple(*pictures, names=("x:1",)))
    record = rootfs.mount_image(store, store.find("x:1"))
    assert sorted(os.listdir(record.target)) == pictures
    with pytest.raises(OSError, match="Read-only"):
        Path(record.target, "new").touch()
    container = rootfs.create_container(store, store.find("x:1"))
    writable = rootfs.mount_container(store, container)
    Path(writable.target, "new").touch()
    assert sorted(os.listdir(writable.target)) == sorted([*pictures, "new"])
    assert sorted(os.listdir(record.target)) == pictures


def test_it_shows_what_the_layers_say(store, tmp_path):
    stores.bring(store, EXAMPLE)
    record = rootfs.mount_image(store, store.find("example:1"))
    found = treelist.listing(record.target)
    assert found[b"data/old"].sha256 == images.sha256(b"new")[7:]
    assert b"gone/a" not in found
    assert b"gone/c" in found
    assert b"bin/dangling" not in found
    assert found[b"bin/tool"].mode == 0o4755
    assert found[b"bin/tool"].linked == found[b"bin/tool-again"].linked is not None


def test_a_target_of_the_users(store, tmp_path):
    stores.bring(store, EXAMPLE)
    target = tmp_path / "target"
    target.mkdir()
    record = rootfs.mount_image(store, store.find("example:1"), str(target))
    assert record.target == str(target)
    assert (target / "etc/passwd").exists()
    with pytest.raises(ConflictError):
        rootfs.mount_image(store, store.find("example:1"), str(target))
    assert [one.id for one in entries(store)] == [record.id]
    assert stores.umount_all(store) == [record.id]
    assert list(target.iterdir()) == []


def test_a_container_is_mounted_once(store):
    stores.bring(store, EXAMPLE)
    container = rootfs.create_container(store, store.find("example:1"), "c")
    record = rootfs.mount_container(store, container)
    assert (record.container, record.image) == ("c", EXAMPLE.digest)
    with pytest.raises(ConflictError):
        rootfs.mount_container(store, container)
    Path(record.target, "kept").write_bytes(b"x")
    stores.umount_all(store)
    record = rootfs.mount_container(store, container)
    assert Path(record.target, "kept").read_bytes() == b"x"
    with pytest.raises(InUseError, match=f"is mounted at .*{record.id}; `arstore umount {record.id}` unmounts it"):
        rootfs.remove_container(store, "c")
    rootfs.umount_container(store, container)
    rootfs.remove_container(store, "c")
    assert entries(store) == []
    assert not os.path.exists(record.target)
    stores.verify_clean(store)


def test_a_container_in_use_is_not_removed(store):
    stores.bring(store, EXAMPLE)
    container = rootfs.create_container(store, store.find("example:1"), "c")
    record = rootfs.mount_container(store, container)
    fd = os.open(record.target, os.O_RDONLY)
    try:
        with pytest.raises(InUseError, match="is mounted"):
            rootfs.remove_container(store, "c")
        assert store.containers.get("c") == container
        with pytest.raises(InUseError, match="in use"):
            rootfs.umount_container(store, container)
    finally:
        os.close(fd)


def test_what_was_removed_meanwhile_is_not_mounted(store):
    stores.bring(store, EXAMPLE)
    image = store.find("example:1")
    container = rootfs.create_container(store, image, "c")
    rootfs.remove_container(store, "c")
    with pytest.raises(NotFoundError):
        rootfs.mount_container(store, container)
    with rootfs.lowers(store, image):
        pass
    remove_images(store, ["example:1"])
    with pytest.raises(ArstoreError):
        rootfs.mount_image(store, image)
    with pytest.raises(ArstoreError):
        rootfs.create_container(store, image, "d")
    assert entries(store) == []
    assert store.containers.list() == []
    assert os.listdir(store.directories.ingest) == []


def test_lowers_hold_no_descriptor_afterwards(store):
    stores.bring(store, EXAMPLE)
    before = len(os.listdir("/proc/self/fd"))
    with rootfs.lowers(store, store.find("example:1")) as lowers:
        assert len(lowers) == 3
    assert len(os.listdir("/proc/self/fd")) == before


# --- looking for trees, and building them -----------------------------------------------------------------------------


@pytest.fixture
def looks(store, monkeypatch):
    """Counts of the looks for trees, and of the work that builds them."""
    counts = Counter()
    for name in ("trusted_stack", "take"):
        real = getattr(Store, name)

        def counted(*given, _real=real, _name=name, **named):
            counts[_name] += 1
            return _real(*given, **named)

        monkeypatch.setattr(Store, name, counted)
    return counts


@pytest.mark.parametrize("writable", [False, True])
def test_a_mount_asks_for_the_trees_once(store, looks, writable):
    stores.bring(store, EXAMPLE)
    image = store.find("example:1")
    looks.clear()
    trees = store.stack_records(image)
    if writable:
        container = rootfs.create_container(store, image, trees=trees)
        rootfs.mount_container(store, container, trees=trees)
    else:
        rootfs.mount_image(store, image, trees=trees)
    assert looks == {"trusted_stack": 1}


@pytest.mark.parametrize("writable", [False, True])
def test_the_command_asks_for_the_trees_once(store, looks, writable):
    stores.bring(store, EXAMPLE)
    looks.clear()
    words = {"suid": False, "dev": False, "policy": None, "require_signatures": False}
    mounts._mount(Session(), store, "example:1", None, None, writable, "", words)
    assert looks == {"trusted_stack": 1}


def test_a_look_builds_nothing(store, looks):
    stores.bring(store, EXAMPLE)
    image = store.find("example:1")
    found = store.trusted_stack(image)
    assert [key for key, _ in found] == store.stack(image)
    key = found[0][0]
    rmtree.remove_tree(store.directories.tree(key))
    looks.clear()
    assert store.trusted_stack(image) is None
    assert looks == {"trusted_stack": 1}
    assert store.build_stack(image) == store.trusted_stack(image)
    assert looks["take"] == 1


@pytest.mark.parametrize("how", ["removed", "converted"])
def test_trees_that_are_not_there_any_more_are_looked_for_again(store, how):
    stores.bring(store, EXAMPLE)
    image = store.find("example:1")
    trees = store.stack_records(image)
    if how == "removed":
        for key, _ in trees:
            rmtree.remove_tree(store.directories.tree(key))
    else:
        form = "erofs" if trees[0][1].form == "directory" else "directory"
        list(convert(store, [image], target_forms(store, form)))
    record = rootfs.mount_image(store, image, trees=trees)
    assert treelist.listing(record.target)[b"data/old"].sha256 == images.sha256(b"new")[7:]


def test_a_container_that_was_copied_without_attributes_is_used_for_nothing(store):
    """Files that were deleted in it would reappear."""
    stores.bring(store, stores.simple("a", names=("x:1",)))
    made = rootfs.create_container(store, store.find("x:1"), "copied")
    os.removexattr(f"{made.path}/whole", "trusted.arstore")
    with pytest.raises(StoreDamagedError, match="extended attributes"):
        rootfs.mount_container(store, made)
    with pytest.raises(StoreDamagedError, match="extended attributes"):
        commit(store, made, CommitOptions("y:1", 0))
    with opened_stacks(store) as stacks, pytest.raises(StoreDamagedError, match="extended attributes"):
        stacks.container(made)
    assert {image.names for image in store.images()} == {("x:1",)}
