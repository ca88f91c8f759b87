"""Differences of root file systems, compared with listings made through the kernel."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from support import images, stores, treelist
from support.scrambling import scramble, socket_at

from arstore.mounts.table import MountTable
from arstore.rootfs import diff as module
from arstore.rootfs import mount as rootfs
from arstore.rootfs.diff import DiffKind, differences, opened_stacks

pytestmark = [pytest.mark.root, pytest.mark.mounts]

WORDS = {
    "kind": "type",
    "mode": "mode",
    "uid": "owner",
    "gid": "owner",
    "size": "size",
    "mtime": "mtime",
    "target": "target",
    "device": "device",
    "xattrs": "xattrs",
    "sha256": "content",
}


@pytest.fixture
def store(tmp_path):
    with stores.opened(tmp_path) as made:
        yield made
        stores.umount_all(made)


def listed(store, record):
    try:
        return treelist.listing(record.target)
    finally:
        MountTable(store.directories).umount(record.id)


def expected(before, after):
    """The differences of two listings, in the words of Difference."""
    found = {}
    for path in before.keys() | after.keys():
        old, new = before.get(path), after.get(path)
        parent = after.get(path.rpartition(b"/")[0])
        if old is None:
            found[path] = (DiffKind.ADDED, set())
        elif new is None:
            if parent is not None and parent.kind == "d":
                found[path] = (DiffKind.DELETED, set())
        else:
            what = {word for field, word in WORDS.items() if getattr(old, field) != getattr(new, field)}
            if old.kind != "f" or new.kind != "f":
                what -= {"size", "content"}
            if what:
                found[path] = (DiffKind.CHANGED, what)
    return dict(sorted(found.items()))


def told(found):
    assert [difference.path for difference in found] == sorted(difference.path for difference in found)
    return {difference.path: (difference.change, set(difference.what)) for difference in found}


def compared(store, a, b):
    with opened_stacks(store) as stacks:
        return told(differences(stacks.image(store.find(a)), stacks.image(store.find(b))))


def shown(store, name):
    return listed(store, rootfs.mount_image(store, store.find(name)))


# --- images ---------------------------------------------------------------------------------------------------------

LAYERS = images.example_layers()
PICTURES = {
    "bottom:1": LAYERS[:1],
    "two:1": LAYERS[:2],
    "three:1": LAYERS,
    "implied:1": images.implied_layers(),
    "lower:1": images.implied_layers()[:1],
    "none:1": [],
    "again:1": [*LAYERS[:2], LAYERS[0]],
    "opaque:1": [LAYERS[0], images.layer([images.opaque(""), images.file("alone")])],
}


@pytest.mark.parametrize("b", PICTURES)
@pytest.mark.parametrize("a", ["three:1", "implied:1", "none:1", "again:1", "opaque:1"])
def test_images(store, a, b):
    stores.bring(store, *(images.image(*PICTURES[name], names=[name]) for name in {a, b}))
    want = expected(shown(store, a), shown(store, b))
    if "none:1" in {a, b}:
        # The root of an image without layers is an arbitrary directory.
        want.pop(b"", None)
    found = compared(store, a, b)
    if "none:1" in {a, b}:
        found.pop(b"", None)
    assert found == want
    assert (a == b) == (not found)


def test_equal_content_in_other_layers(store):
    members = [images.directory("./"), images.directory("d"), images.file("d/f", b"same"), images.symlink("l", "d/f")]
    one = images.image(images.layer(members), names=["one:1"])
    other = images.image(images.layer(members[:2]), images.layer(members[::-1]), names=["other:1"])
    stores.bring(store, one, other)
    assert compared(store, "one:1", "other:1") == {}


def test_content_counts_where_size_and_time_are_equal(store):
    one, other = (
        images.image(images.layer([images.directory("./"), images.file("f", data)]), names=[f"{data.decode()}:1"])
        for data in (b"aaaa", b"bbbb")
    )
    stores.bring(store, one, other)
    assert compared(store, "aaaa:1", "bbbb:1") == {b"f": (DiffKind.CHANGED, {"content"})}


def test_long_files_are_compared_to_their_end(store):
    data = bytes(3 << 20)
    one, other = (
        images.image(images.layer([images.directory("./"), images.file("f", content)]), names=[name])
        for name, content in (("a:1", data), ("b:1", data[:-1] + b"1"))
    )
    stores.bring(store, one, other)
    assert compared(store, "a:1", "b:1") == {b"f": (DiffKind.CHANGED, {"content"})}


def test_shared_layers_are_not_walked(store, monkeypatch):
    many = images.layer([images.directory("./"), images.directory("d"), *(images.file(f"d/{n}") for n in range(50))])
    top = images.layer([images.directory("./"), images.file("new")])
    stores.bring(store, images.image(many, names=["a:1"]), images.image(many, top, names=["b:1"]))
    looked = []
    real = module.read_node
    monkeypatch.setattr(module, "read_node", lambda fd, path: looked.append(path) or real(fd, path))
    assert set(compared(store, "a:1", "b:1")) == {b"new"}
    assert set(looked) == {b"", b"new"}


def test_a_top_layer_against_those_below(store):
    stores.bring(store, images.example(), images.image(*LAYERS[:2], names=["parent:1"]))
    with opened_stacks(store) as stacks:
        stack = stacks.image(store.find("example:1"))
        found = told(differences(stack[1:], stack))
    assert found == expected(shown(store, "parent:1"), shown(store, "example:1"))


def test_a_layer_that_came_before(store):
    """The top layer is also below; the layer under that one must reappear."""
    pictures = [images.image(*PICTURES[name], names=[name]) for name in ("again:1", "two:1")]
    stores.bring(store, *pictures)
    with opened_stacks(store) as stacks:
        stack = stacks.image(store.find("again:1"))
        found = told(differences(stack[1:], stack))
    assert found == expected(shown(store, "two:1"), shown(store, "again:1"))
    assert found


# --- containers -----------------------------------------------------------------------------------------------------


def changes_of(store, container, **more):
    with opened_stacks(store) as stacks:
        stack = stacks.container(container, **more)
        return told(differences(stack[1:], stack))


@pytest.fixture
def box(store):
    stores.bring(store, images.example())
    return rootfs.create_container(store, store.find("example:1"), "box")


def test_a_container_that_changed_nothing(store, box):
    assert changes_of(store, box) == {}


def test_everything_that_a_container_can_change(store, box):
    before = shown(store, "example:1")
    record = rootfs.mount_container(store, box)
    scramble(Path(record.target))
    while_mounted = changes_of(store, box)
    after = listed(store, record)
    assert while_mounted == expected(before, after)
    assert changes_of(store, box) == while_mounted
    assert len(while_mounted) > 25


def test_what_was_changed_and_changed_back(store, box):
    record = rootfs.mount_container(store, box)
    root = Path(record.target)
    mode = os.stat(root / "data/old").st_mode
    os.chmod(root / "data/old", 0o600)
    os.chmod(root / "data/old", mode & 0o7777)
    assert Path(box.upper, "data/old").exists()
    assert changes_of(store, box) == {}


def test_two_containers(store, box):
    other = rootfs.create_container(store, store.find("example:1"), "other")
    listings = []
    for container, name in ((box, "a"), (other, "b")):
        record = rootfs.mount_container(store, container)
        root = Path(record.target)
        (root / name).write_text(name)
        shutil.rmtree(root / ("opt" if name == "a" else "gone"))
        listings.append(listed(store, record))
    with opened_stacks(store) as stacks:
        found = told(differences(stacks.container(box), stacks.container(other)))
    assert found == expected(*listings)
    assert found[b"a"][0] is DiffKind.DELETED
    assert found[b"opt"][0] is DiffKind.ADDED


def test_mount_points_do_not_count(store, box):
    record = rootfs.mount_container(store, box)
    (Path(record.target) / "proc").mkdir()
    assert changes_of(store, box, mount_points=frozenset({b"proc"})) == {}
    assert changes_of(store, box) == {b"": (DiffKind.CHANGED, {"mtime"}), b"proc": (DiffKind.ADDED, set())}


def test_a_socket_is_nothing(store, box):
    record = rootfs.mount_container(store, box)
    socket_at(Path(record.target, "data/socket"))
    (Path(record.target) / "etc/issue").unlink()
    socket_at(Path(record.target, "etc/issue"))
    found = changes_of(store, box)
    assert b"data/socket" not in found
    assert found[b"etc/issue"] == (DiffKind.DELETED, set())


def test_what_goes_away_meanwhile_is_not_there(store, box, monkeypatch):
    Path(box.upper, "d/e").mkdir(parents=True)
    Path(box.upper, "d/e/f").touch()
    real = module.read_node

    def remove(fd, path):
        if path == b"d":
            shutil.rmtree(f"{box.upper}/d/e", ignore_errors=True)
        return real(fd, path)

    monkeypatch.setattr(module, "read_node", remove)
    assert set(changes_of(store, box)) - {b""} == {b"d"}


def test_descriptors_are_closed(store, box):
    before = len(os.listdir("/proc/self/fd"))
    changes_of(store, box)
    assert len(os.listdir("/proc/self/fd")) == before
