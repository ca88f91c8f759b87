"""Chains through real overlay mounts: implied directories, symlinks of lower layers, whiteouts, very many layers."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from support import images, stores, treelist

from arstore.errors import LimitError, MountError, StoreDamagedError, TarError
from arstore.maintenance.gc import collect
from arstore.mounts.overlay import MAX_LOWERS
from arstore.mounts.table import MountTable
from arstore.rootfs import mount as rootfs
from arstore.store.ingest.incoming import NoBlobs
from arstore.store.store import Store
from arstore.tar.limits import Limits
from arstore.tar.steps import ENTRY, EXTRACTED, HEADER, LAYER
from arstore.transport.copy import ImportOptions, import_reference

pytestmark = [pytest.mark.root, pytest.mark.mounts]


@pytest.fixture(params=["auto", "directory"])
def store(tmp_path, request, monkeypatch):
    """A store whose trees have the best format of this host, or that of extracted files."""
    choose = Store.tree_forms
    monkeypatch.setattr(Store, "tree_forms", lambda self, _name="auto": choose(self, request.param))
    with stores.opened(tmp_path) as made:
        yield made


class Mounted:
    """An image mounted below the runroot."""

    def __init__(self, store, name):
        self._table = MountTable(store.directories)
        self._record = rootfs.mount_image(store, store.find_image(name))
        self.path = Path(self._record.target)

    def __enter__(self):
        return self.path

    def __exit__(self, *_):
        self._table.umount(self._record.id)


def image(*layers, names=("x:1",)):
    return images.image(*(images.layer(members) for members in layers), names=names)


def bring(store, *layers, names=("x:1",)):
    one = image(*layers, names=names)
    stores.bring(store, one)
    return one


LOWER = [
    images.directory("./", 0o711, mtime_ns=1_600_000_000_000_000_001),
    images.directory("data", 0o1777, uid=7, gid=8, mtime_ns=1_500_000_000_000_000_005, xattrs={"user.note": b"kept"}),
    images.directory("data/private", 0o700, uid=9),
    images.symlink("link", "data/private"),
    images.file("data/file", b"lower", 0o640, uid=5),
]


def test_implied_directories_are_as_the_layers_below_have_them(store):
    one = bring(store, LOWER, [images.file("data/private/new", b"new")])
    record = store.find("x:1").record
    assert record.cap
    assert stores.trees(store) == {*one.diff_ids, record.cap}
    with Mounted(store, "x:1") as path:
        found = treelist.listing(path)
    assert found[b""].mode == 0o711
    assert found[b""].mtime == 1_600_000_000_000_000_001
    assert (found[b"data"].mode, found[b"data"].uid, found[b"data"].gid) == (0o1777, 7, 8)
    assert found[b"data"].mtime == 1_500_000_000_000_000_005
    assert found[b"data"].xattrs == (("user.note", b"kept"),)
    assert (found[b"data/private"].mode, found[b"data/private"].uid) == (0o700, 9)


def test_layers_that_say_all_need_no_cap(store):
    one = stores.simple("a", "b", "c", names=("x:1",))
    stores.bring(store, one)
    assert store.find("x:1").record.cap == ""
    assert stores.trees(store) == set(one.diff_ids)


def test_a_cap_is_made_once_and_shared_by_images_of_one_chain(store):
    one = image(LOWER, [images.file("data/x")])
    other = images.image(*one.layers, names=["y:1"], config={"Cmd": ["/x"]})
    stores.bring(store, one)
    cap = store.find("x:1").record.cap
    inode = os.stat(store.directories.tree(cap)).st_ino
    stores.bring(store, other)
    assert store.find("y:1").record.cap == cap
    assert os.stat(store.directories.tree(cap)).st_ino == inode
    store.untag("x:1")
    collect(store)
    assert cap in stores.trees(store)
    store.untag("y:1")
    collect(store)
    assert stores.trees(store) == set()


def test_two_images_of_one_archive_share_a_cap(store):
    one = image(LOWER, [images.file("data/x")])
    stores.bring(store, one, images.image(*one.layers, names=["y:1"], config={"Cmd": ["/x"]}))
    assert store.find("y:1").record.cap == store.find("x:1").record.cap != ""
    stores.verify_clean(store)


def test_members_go_where_a_symlink_of_a_lower_layer_leads(store):
    deeper = images.directory("link/deeper", 0o750)
    upper = [images.file("link/through", b"through"), deeper, images.file("link/deeper/x")]
    one = bring(store, LOWER, upper)
    chain_id = one.chain_ids[1]
    assert store.stack(store.find("x:1"))[-2:] == [chain_id, one.diff_ids[0]]
    assert one.diff_ids[1] not in stores.trees(store)
    with Mounted(store, "x:1") as path:
        assert os.readlink(path / "link") == "data/private"
        assert (path / "data/private/through").read_bytes() == b"through"
        assert stat.S_IMODE((path / "data/private/deeper").stat().st_mode) == 0o750
        assert stat.S_IMODE((path / "data/private").stat().st_mode) == 0o700
    stores.verify_clean(store)


def test_an_adapted_tree_is_reused_and_swept_with_its_image(store):
    one = bring(store, LOWER, [images.file("link/through", b"through")])
    inode = os.stat(store.directories.tree(one.chain_ids[1])).st_ino
    before = stores.State(store)
    (taken,) = stores.bring(store, one)
    assert all(layer.reused for layer in taken.layers)
    before.verify()
    assert os.stat(store.directories.tree(one.chain_ids[1])).st_ino == inode
    store.untag("x:1")
    collect(store)
    assert stores.trees(store) == set()
    stores.verify_clean(store)


def test_one_layer_over_two_parents(store):
    upper = [images.file("link/through", b"through")]
    straight = [images.directory("./"), images.directory("link", 0o711)]
    adapted = bring(store, LOWER, upper, names=("a:1",))
    plain = bring(store, straight, upper, names=("b:1",))
    assert adapted.diff_ids[1] == plain.diff_ids[1]
    with Mounted(store, "a:1") as path:
        assert (path / "data/private/through").exists()
    with Mounted(store, "b:1") as path:
        assert (path / "link/through").exists()
        assert not (path / "link").is_symlink()
        assert stat.S_IMODE((path / "link").stat().st_mode) == 0o711
    store.untag("b:1")
    collect(store)
    with Mounted(store, "a:1") as path:
        assert (path / "data/private/through").exists()
    stores.verify_clean(store)


def test_a_hard_link_to_a_lower_layers_file_is_a_copy(store):
    one = bring(store, LOWER, [images.directory("./"), images.hardlink("copy", "data/file")])
    with Mounted(store, "x:1") as path:
        assert (path / "copy").read_bytes() == b"lower"
        assert (path / "copy").stat().st_uid == 5
        assert stat.S_IMODE((path / "copy").stat().st_mode) == 0o640
    assert one.chain_ids[1] in stores.trees(store)


def test_a_hard_link_that_no_layer_has_the_target_of(store):
    before = stores.State(store)
    with pytest.raises(TarError, match="no layer has"):
        bring(store, LOWER, [images.hardlink("copy", "data/none")])
    before.verify()


def test_whiteouts_are_never_seen(store):
    """Overlayfs shows them in directories that no other layer has."""
    upper = [images.directory("./"), images.directory("alone"), images.whiteout("alone/x"), images.file("alone/y")]
    bring(store, LOWER, upper)
    with Mounted(store, "x:1") as path:
        assert sorted(os.listdir(path / "alone")) == ["y"]
    bring(store, upper, [images.directory("./"), images.file("z")], names=("y:1",))
    with Mounted(store, "y:1") as path:
        assert sorted(os.listdir(path / "alone")) == ["y"]


def test_an_opaque_root_hides_all_below(store):
    hiding = [images.directory("./", 0o700), images.opaque(""), images.file("only", b"x")]
    bring(store, LOWER, hiding, [images.file("top")])
    with Mounted(store, "x:1") as path:
        assert sorted(os.listdir(path)) == ["only", "top"]
        assert stat.S_IMODE(path.stat().st_mode) == 0o700
    container = rootfs.create_container(store, store.find("x:1"), "c")
    record = rootfs.mount_container(store, container)
    assert sorted(os.listdir(record.target)) == ["only", "top"]
    rootfs.umount_container(store, container)
    rootfs.remove_container(store, "c")


def test_damaged_needs_are_said(store):
    one = bring(store, LOWER, [images.file("data/x")])
    Path(store.directories.tree(one.diff_ids[1]), "needs.json").write_text("{}")
    stores.edit(store, "images", one.digest, cap=None)
    with pytest.raises(StoreDamagedError, match=r"needs\.json"):
        store.stack(store.find("x:1"))


# --- many layers ----------------------------------------------------------------------------------------------------


def many(count, *, implied=False, names=("many:1",)):
    """An image of that many layers with a file each; with *implied*, in a directory that only the lowest has."""
    bottom = [images.directory("./", 0o711), images.directory("d", 0o1777, uid=7), images.directory("lone")]
    layers = [images.layer(bottom, "none")]
    for number in range(1, count):
        member = images.file(f"d/{number}" if implied else f"{number}", b"%d" % number)
        rest = [] if implied else [images.directory("./", 0o711)]
        layers.append(images.layer([*rest, member], "none"))
    return images.image(*layers, names=names)


@pytest.mark.parametrize("count", [1, 2, 101])
def test_many_layers(store, count):
    stores.bring(store, many(count))
    with Mounted(store, "many:1") as path:
        assert set(os.listdir(path)) == {"d", "lone", *(str(number) for number in range(1, count))}
    stores.verify_layout(store)


@pytest.mark.parametrize("store", ["directory"], indirect=True)
def test_as_many_layers_as_overlayfs_takes(store):
    stores.bring(store, many(MAX_LOWERS))
    with Mounted(store, "many:1") as path:
        assert len(os.listdir(path)) == 2 + MAX_LOWERS - 1
    more = [*many(MAX_LOWERS).layers, images.layer([images.directory("./"), images.file("more")], "none")]
    stores.bring(store, images.image(*more, names=["more:1"]))
    with pytest.raises(MountError, match="501 layers, which cannot be merged"):
        rootfs.mount_image(store, store.find("more:1"))


@pytest.fixture(params=[12, pytest.param(MAX_LOWERS, marks=pytest.mark.long)])
def limit(request, monkeypatch):
    """A small limit on lower layers; nothing is merged."""
    monkeypatch.setattr("arstore.store.ingest.chain.MAX_LOWERS", request.param)
    monkeypatch.setattr("arstore.mounts.merge_plan.FEWEST", 1 << 20)
    return request.param


def test_a_full_stack_has_its_cap_in_its_top_tree(store, limit):
    one = many(limit - 1, implied=True)
    top = [images.file("d/top", b"top"), images.whiteout("d/1"), images.file("mine/x"), images.whiteout("mine/.none")]
    full = images.image(*one.layers, images.layer(top, "none"), names=["many:1"])
    stores.bring(store, full)
    record = store.find("many:1").record
    assert record.cap == ""
    keys = store.stack(store.find("many:1"))
    assert len(keys) == limit
    assert keys[0] not in {*full.diff_ids, *full.chain_ids}
    with Mounted(store, "many:1") as path:
        found = treelist.listing(path)
    assert (found[b"d"].mode, found[b"d"].uid, found[b""].mode) == (0o1777, 7, 0o711)
    below = {name for name in found if name.startswith(b"d/")}
    assert below == {b"d/%d" % n for n in range(2, limit - 1)} | {b"d/top"}
    assert {name for name in found if name.startswith(b"mine")} == {b"mine", b"mine/x"}
    stores.verify_layout(store)
    stores.verify_clean(store)
    before = stores.State(store)
    stores.bring(store, full)
    before.verify()
    assert store.stack(store.find("many:1")) == keys
    store.untag("many:1")
    collect(store)
    assert stores.trees(store) == set()


def test_one_layer_less_and_the_cap_has_a_place_of_its_own(store, limit):
    stores.bring(store, many(limit - 1, implied=True))
    record = store.find("many:1").record
    assert record.cap
    assert len(store.stack(store.find("many:1"))) == limit
    with Mounted(store, "many:1") as path:
        assert (path / "d").stat().st_uid == 7


def test_a_directory_that_becomes_a_symlink_between_two_layers_that_imply_it(store):
    made = [images.directory("./"), images.directory("real"), images.directory("d")]
    turned = [images.directory("./"), images.symlink("d", "real")]
    implied = [[images.file(f"d/{number}")] for number in range(5)]
    one = bring(store, made, implied[1], implied[2], turned, implied[3], implied[4])
    with Mounted(store, "x:1") as path:
        assert (path / "d").is_symlink()
        assert sorted(os.listdir(path / "real")) == ["3", "4"]
    assert {one.diff_ids[1], one.diff_ids[2], one.chain_ids[4], one.chain_ids[5]} <= stores.trees(store)


def test_what_is_looked_up_in_the_layers_below_has_a_limit(store, tmp_path):
    """The cost multiplies with layers that are within their limits; an accepted image is rebuilt at any cost."""
    marks = [images.whiteout(f"d{number}/f") for number in range(20)]
    layers = [images.layer([images.file(f"f{number}"), *marks], "none") for number in range(10)]
    path = images.write_oci_archive(tmp_path / "x.tar", images.image(*layers, names=["x:1"]))
    # The cost of the layers alone does not allow twenty directories in each layer below.
    before = stores.State(store)
    by_themselves = 10 * (LAYER + 21 * (HEADER + ENTRY + 2 * EXTRACTED) + 20 * 900)
    with pytest.raises(LimitError, match="--limit steps="):
        import_reference(store, str(path), ImportOptions(limits=Limits(steps=by_themselves, steps_per_byte=0)))
    before.verify()
    import_reference(store, str(path), ImportOptions(limits=Limits(steps=10 * by_themselves)))
    image = store.find("x:1")
    keys = store.stack(image)
    store.take([store.incoming(image)], [], NoBlobs(), store.tree_forms(), again=frozenset(keys))
    stores.verify_clean(store)


def test_looking_for_symlinks_below_has_its_price(store, tmp_path):
    """Members run through directories that get entries only at the end: nothing else searches the lower layers."""
    ways = [one for n in range(20) for one in (images.file(f"d{n}/f"), images.directory(f"d{n}"))]
    root = images.directory("./")
    layers = [images.layer([root, images.file(f"f{number}"), *ways], "none") for number in range(10)]
    path = images.write_oci_archive(tmp_path / "x.tar", images.image(*layers, names=["x:1"]))
    names = 41 * EXTRACTED if store.tree_forms()[0].properties.extracts else 0
    by_themselves = 10 * (LAYER + names + 42 * (HEADER + ENTRY) + 20 * (ENTRY + 16 + 16 + 1))
    looks = 9 * 20 * 2 * 300
    before = stores.State(store)
    for most in (by_themselves - 1, by_themselves + looks - 1):
        with pytest.raises(LimitError, match="--limit steps="):
            import_reference(store, str(path), ImportOptions(limits=Limits(steps=most, steps_per_byte=0)))
        before.verify()
    enough = Limits(steps=by_themselves + looks, steps_per_byte=0)
    import_reference(store, str(path), ImportOptions(limits=enough))
    stores.verify_clean(store)


def test_a_bottom_layer_of_marks_alone_shows_nothing(store):
    one = bring(store, [images.whiteout("none/x"), images.opaque("empty"), images.file("keep")], [images.file("top")])
    with store.graph.read() as snapshot:
        bottom = snapshot.layer(one.chain_ids[0])
    assert bottom.tree not in {one.diff_ids[0], one.chain_ids[0], ""}
    with Mounted(store, "x:1") as path:
        assert sorted(os.listdir(path)) == ["keep", "top"]
    inode = os.stat(store.directories.tree(bottom.tree)).st_ino
    assert all(layer.reused for layer in stores.bring(store, one)[0].layers)
    assert os.stat(store.directories.tree(bottom.tree)).st_ino == inode
    stores.verify_clean(store)
    store.untag("x:1")
    collect(store)
    assert stores.trees(store) == set()


def test_one_layer_of_marks_over_a_directory_and_over_none(store):
    marks = [images.whiteout("d/x"), images.file("top")]
    over = bring(store, [images.directory("d", 0o700), images.file("d/x"), images.file("d/y")], marks, names=("a:1",))
    alone = bring(store, [images.file("d", b"a file")], marks, names=("b:1",))
    with store.graph.read() as snapshot:
        assert snapshot.layer(over.chain_ids[1]).tree == over.diff_ids[1]
        assert snapshot.layer(alone.chain_ids[1]).tree == alone.chain_ids[1]
    with Mounted(store, "a:1") as path:
        assert sorted(os.listdir(path / "d")) == ["y"]
        assert stat.S_IMODE((path / "d").stat().st_mode) == 0o700
    with Mounted(store, "b:1") as path:
        assert (path / "d").read_bytes() == b"a file"
    stores.verify_clean(store)


def test_many_layers_of_marks_in_a_directory_of_the_first(store):
    names = [f"f{number}" for number in range(30)]
    first = [images.directory("d", 0o711), *(images.file(f"d/{name}") for name in names)]
    one = bring(store, first, *([images.whiteout(f"d/{name}")] for name in names[1:]))
    assert stores.trees(store) >= set(one.diff_ids)
    with Mounted(store, "x:1") as path:
        assert os.listdir(path / "d") == [names[0]]
        assert stat.S_IMODE((path / "d").stat().st_mode) == 0o711
    stores.verify_clean(store)
