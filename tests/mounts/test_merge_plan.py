"""Runs: which trees are merged; mounts use the merged index and show the same; it is a cache like any tree."""

from __future__ import annotations

import os
import shutil
import signal
from contextlib import ExitStack
from pathlib import Path

import pytest
from support import images, stores, treelist
from trees.erofs.trees import mountable

from arstore.errors import InUseError, MountError
from arstore.graph.records import TreeRecord
from arstore.linux.process import boot_id
from arstore.maintenance.check import Damage, check, repair
from arstore.maintenance.disk_usage import measure
from arstore.maintenance.gc import collect, plan_collection
from arstore.maintenance.remove import remove_images
from arstore.mounts import merge_plan as runs
from arstore.mounts.merge_plan import FEWEST, LARGE, MOST, SMALL, Run, plan
from arstore.mounts.overlay import MAX_LOWERS
from arstore.mounts.table import MountTable
from arstore.rootfs import mount as rootfs
from arstore.store.ingest import publish as publication
from arstore.store.store import Store
from arstore.trees.erofs.devices import device_files
from arstore.trees.forms import MERGED_INDEX

pytestmark = [pytest.mark.root, pytest.mark.mounts]


# --- the plan -------------------------------------------------------------------------------------------------------


def key(number: int, algorithm: str = "sha256") -> str:
    return f"{algorithm}:{number:064x}" + "0" * (64 if algorithm == "sha512" else 0)


def stack(*entries: int, form: str = "erofs", algorithm: str = "sha256") -> list[tuple[str, TreeRecord]]:
    """A stack with so many entries in each tree, from the bottom; the keys show the height."""
    found = [
        (key(place, algorithm), TreeRecord(form, "boot", True, count, 0, False)) for place, count in enumerate(entries)
    ]
    return found[::-1]


def shape(parts: list[str | Run]) -> list[int]:
    """The number of trees of each part, from the bottom."""
    return [len(part.members) if isinstance(part, Run) else 1 for part in reversed(parts)]


def test_few_trees_and_large_ones_stay_as_they_are():
    assert shape(plan(stack(*[1] * (FEWEST - 1)), MAX_LOWERS)) == [1] * (FEWEST - 1)
    assert shape(plan(stack(*[SMALL + 1] * 100), MAX_LOWERS)) == [1] * 100
    assert plan([], MAX_LOWERS) == []


def test_many_small_trees_are_one():
    trees = stack(*[SMALL // 32] * FEWEST)
    (run,) = plan(trees, MAX_LOWERS)
    assert isinstance(run, Run)
    assert run.members == tuple(key for key, _ in trees)


def test_large_trees_and_other_forms_stand_between_runs():
    large = SMALL + 1
    assert shape(plan(stack(large, *[1] * 20, large, large, 1, 1, large, *[1] * 9), MAX_LOWERS)) == [
        *(1, 20, 1, 1, 1, 1, 1, 9)
    ]
    parts = [*stack(*[1] * 10), *stack(*[1] * 10, form="directory"), *stack(*[1] * 10)]
    assert shape(plan(parts, MAX_LOWERS)) == [10, *[1] * 10, 10]
    assert shape(plan(stack(*[1] * 20, algorithm="sha512"), MAX_LOWERS)) == [1] * 20


def test_stacks_that_stand_on_one_another_share_all_but_their_last_run():
    one, two = (plan(stack(*[1] * count), MAX_LOWERS) for count in (2 * MOST + 20, 2 * MOST + 21))
    assert shape(one) == [MOST, MOST, 20]
    assert one[1:] == two[1:]
    assert one[0] != two[0]


def test_a_run_has_no_more_entries_than_may_be_merged_at_once():
    count = LARGE // SMALL
    assert shape(plan(stack(*[SMALL] * (2 * count + FEWEST)), MAX_LOWERS)) == [count, count, FEWEST]


@pytest.mark.parametrize("entries", [[SMALL * 100], [SMALL * 3, 1], [SMALL * 50, 1, 1, SMALL * 2]])
def test_what_overlayfs_would_not_take_is_merged_whatever_it_costs(entries):
    trees = stack(*(entries * 3000)[:3000])
    parts = plan(trees, MAX_LOWERS)
    assert len(parts) <= MAX_LOWERS
    assert sum(shape(parts)) == 3000
    assert plan(trees, MAX_LOWERS) == parts


def test_what_cannot_be_merged_stays_too_much():
    assert shape(plan(stack(*[1] * 600, form="directory"), MAX_LOWERS)) == [1] * 600


def test_the_key_tells_members_and_their_order():
    keys = [run.key for run in (Run(runs.run_key(names), names) for names in (("a", "b"), ("b", "a"), ("a", "b", "c")))]
    assert len(set(keys)) == 3
    assert runs.run_key(("a", "b")) == keys[0]


# --- images ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def store(tmp_path):
    with stores.opened(tmp_path) as made:
        yield made
        stores.umount_all(made)


def layers(count, start=0):
    """Layers that change, hide and add files, and imply a directory."""
    made = []
    for number in range(start, start + count):
        members = [
            *([images.directory("./", 0o711), images.directory("d", 0o1777, uid=7)] if number == 0 else []),
            images.file(f"d/{number}", b"%d" % number, 0o640, uid=number),
            images.file("changed", b"by %d" % number),
            *([images.whiteout(f"d/{number - 3}")] if number % 10 == 5 else []),
            *([images.directory("o"), images.opaque("o"), images.file(f"o/{number}")] if number % 7 == 3 else []),
        ]
        made.append(images.layer(members, "none"))
    return made


def picture(count, name="many:1"):
    return images.image(*layers(count), names=[name])


def lowers(store, name="many:1"):
    """The number of layers that an overlay of the image has."""
    with rootfs.lowers(store, store.find(name), writable=True) as found:
        return len(found)


def shown(store, name="many:1"):
    record = rootfs.mount_image(store, store.find(name))
    try:
        return treelist.listing(record.target)
    finally:
        MountTable(store.directories).umount(record.id)


def merged(store):
    """The merged indexes that are recorded."""
    with store.graph.read() as snapshot:
        return dict(snapshot.runs())


@mountable
@pytest.mark.parametrize("count", [1, 5, 101, 500])
def test_it_shows_what_the_trees_show(store, monkeypatch, count):
    stores.bring(store, picture(count))
    with_runs = shown(store)
    few = lowers(store)
    monkeypatch.setattr(runs, "FEWEST", 1 << 20)
    if count < MAX_LOWERS:  # the cap makes it one too many
        assert treelist.differences(shown(store), with_runs) == []
        assert lowers(store) == count + (1 if count > 1 else 0)
    assert few == (count + (1 if count > 1 else 0) if count < FEWEST else 1 + -(-count // MOST))
    assert (with_runs[b"d"].uid, with_runs[b"d"].mode) == (7, 0o1777)
    assert with_runs[b"changed"].sha256 == images.sha256(b"by %d" % (count - 1))[7:]
    stores.verify_clean(store)


@mountable
def test_more_layers_than_overlayfs_takes(store):
    stores.bring(store, picture(600))
    found = shown(store)
    hidden = {number - 3 for number in range(600) if number % 10 == 5}
    assert {name for name in found if name.startswith(b"d/")} == {b"d/%d" % n for n in range(600) if n not in hidden}
    assert [name for name in found if name.startswith(b"o/")] == [b"o/598"]
    assert found[b"d/599"].sha256 == images.sha256(b"599")[7:]
    stores.verify_clean(store)
    container = rootfs.create_container(store, store.find("many:1"))
    record = rootfs.mount_container(store, container)
    Path(record.target, "d/0").write_bytes(b"changed")
    os.unlink(f"{record.target}/d/1")
    assert not os.path.exists(f"{record.target}/d/1")
    assert os.stat(f"{record.target}/d").st_uid == 7
    with pytest.raises(InUseError):
        remove_images(store, ["many:1"])


@mountable
def test_without_a_merged_index_too_many_layers_are_said(store, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("arstore.trees.erofs.merged_index.build", full)
    stores.bring(store, picture(600))
    assert merged(store) == {}
    with pytest.raises(MountError, match="600 layers, which cannot be merged into the 500"):
        shown(store)
    monkeypatch.undo()
    assert len(shown(store)) > 500
    assert len(merged(store)) == -(-600 // MOST)


# --- a cache --------------------------------------------------------------------------------------------------------


@pytest.fixture
def one(store):
    """The store with one image of 20 layers, and the key of its merged index."""
    stores.bring(store, picture(20))
    (found,) = merged(store)
    return found


@mountable
def test_it_is_published_with_the_image(store, one):
    record = merged(store)[one]
    assert record.members == tuple(store.stack(store.find("many:1"))[1:])
    assert os.listdir(store.directories.tree(one)) == [MERGED_INDEX]
    assert record.size == os.stat(f"{store.directories.tree(one)}/{MERGED_INDEX}").st_size
    assert (record.form, record.boot, record.synced) == ("merged", boot_id(), False)
    assert measure(store).total == stores.du(store.directories.root)
    assert measure(store).orphans == 0
    assert not plan_collection(store)
    assert store.sync_trees() == 22
    assert merged(store)[one].synced
    before = stores.State(store)
    stores.bring(store, picture(20))
    assert lowers(store) == 2
    before.verify()


def lose(store, one):
    shutil.rmtree(store.directories.tree(one))


def forget(store, one):
    lose(store, one)
    with store.graph.write() as change:
        change.delete("trees", one)


def distrust(store, one):
    stores.edit(store, "trees", one, boot="another", synced=False)


@mountable
@pytest.mark.parametrize("harm", [lose, forget, distrust])
def test_what_is_missing_or_not_to_be_trusted_is_made_by_the_next_mount(store, one, harm):
    expected = shown(store)
    before = Path(store.directories.tree(one), MERGED_INDEX).read_bytes()
    harm(store, one)
    if harm is not forget:
        assert [finding.damage for finding in check(store)] == [Damage.TREE_UNTRUSTED]
    assert lowers(store) == 2
    assert Path(store.directories.tree(one), MERGED_INDEX).read_bytes() == before
    assert treelist.differences(expected, shown(store)) == []
    stores.verify_clean(store)


@mountable
@pytest.mark.parametrize("harm", [lose, forget, distrust])
def test_where_it_cannot_be_made_the_trees_serve(store, one, harm, monkeypatch):
    expected = shown(store)
    harm(store, one)

    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("arstore.trees.erofs.merged_index.build", refuse)
    assert lowers(store) == 21
    assert treelist.differences(expected, shown(store)) == []


@mountable
def test_one_that_cannot_be_mounted_is_passed_over(store, one):
    expected = shown(store)
    Path(store.directories.tree(one), MERGED_INDEX).write_bytes(b"nonsense" * 1000)
    assert lowers(store) == 21
    assert treelist.differences(expected, shown(store)) == []


@mountable
@pytest.mark.parametrize("place", [900, 1100, 1700, -1])
def test_check_finds_what_was_altered_and_repair_makes_it_again(store, one, place):
    path = Path(store.directories.tree(one), MERGED_INDEX)
    whole = path.read_bytes()
    data = bytearray(whole)
    data[place] ^= 1
    path.write_bytes(data)
    assert check(store, quick=True) == []
    found = check(store)
    assert [(finding.damage, finding.what) for finding in found] == [(Damage.TREE_ALTERED, one)]
    assert all(finding.repaired for finding in repair(store, found))
    assert path.read_bytes() == whole
    stores.verify_clean(store)


@mountable
def test_the_quick_check_looks_at_its_size(store, one):
    path = Path(store.directories.tree(one), MERGED_INDEX)
    os.truncate(path, 2000)
    found = check(store, quick=True)
    assert [(finding.damage, finding.what) for finding in found] == [(Damage.TREE_ALTERED, one)]
    path.unlink()
    assert [finding.damage for finding in check(store, quick=True)] == [Damage.TREE_ALTERED]
    assert all(finding.repaired for finding in repair(store, check(store)))
    stores.verify_clean(store)


@mountable
def test_with_a_member_that_is_built_again_it_is_made_again(store, one):
    member = merged(store)[one].members[4]
    inode = os.stat(f"{store.directories.tree(one)}/{MERGED_INDEX}").st_ino
    expected = shown(store)
    distrust(store, member)
    assert treelist.differences(expected, shown(store)) == []
    assert os.stat(f"{store.directories.tree(one)}/{MERGED_INDEX}").st_ino != inode
    stores.verify_clean(store)


@mountable
def test_with_a_member_that_takes_another_form_it_goes(store, one, monkeypatch):
    members = merged(store)[one].members
    distrust(store, members[4])
    monkeypatch.setattr(Store, "tree_forms", lambda self, _name="auto": (self.forms["directory"],))
    store.stack(store.find("many:1"))
    found = merged(store)
    assert one not in found
    assert {run.members for run in found.values()} == {members[5:]}
    assert not os.path.exists(store.directories.tree(one))
    assert shown(store)[b"d/19"].sha256 == images.sha256(b"19")[7:]
    stores.verify_clean(store)


@mountable
def test_it_goes_with_the_images_that_hold_it(store, one):
    stores.bring(store, images.image(*layers(21), names=["longer:1"]))
    (other,) = merged(store).keys() - {one}
    assert len(merged(store)) == 2
    names = []
    for run in (one, other):
        with open(f"{store.directories.tree(run)}/{MERGED_INDEX}", "rb") as file:
            names.append(
                {os.path.realpath(f"{store.directories.tree(run)}/{n}") for n in device_files(file.fileno(), "")}
            )
    # Both are over the same tars.
    assert len(names[0] & names[1]) >= 14
    remove_images(store, ["many:1"])
    assert set(merged(store)) == {other}
    assert lowers(store, "longer:1") == 2
    stores.verify_clean(store)
    store.untag("longer:1")
    collect(store)
    assert stores.trees(store) == set()
    assert merged(store) == {}


@mountable
def test_of_one_that_no_image_holds_the_collector_knows(store, one):
    with store.graph.write() as change:
        record = change.tree(one)
        stray = runs.run_key(record.members[3:9])
        change.put_tree(stray, TreeRecord("merged", record.boot, True, 1, 1, False, record.members[3:9]))
    os.mkdir(store.directories.tree(stray))
    assert plan_collection(store).trees == (stray,)
    collect(store)
    assert set(merged(store)) == {one}
    stores.verify_clean(store)


@mountable
@pytest.mark.parametrize("after", [0, 1, 19, 20, 21, 22])
def test_killed_while_it_is_published(store, monkeypatch, after):
    place_trees = publication._place_trees

    def work():
        count = 0
        rename = os.rename

        def stopped(source, target):
            nonlocal count
            if count == after:
                os.kill(os.getpid(), signal.SIGKILL)
            count += target.startswith(store.directories.trees)
            rename(source, target)

        def placing(*arguments):
            monkeypatch.setattr(os, "rename", stopped)
            place_trees(*arguments)

        monkeypatch.setattr(publication, "_place_trees", placing)
        stores.bring(store, picture(20))

    store.close()
    stores.forked(work, -signal.SIGKILL)
    collect(store)
    for path in Path(store.directories.root).parent.glob("archive-*"):
        path.unlink()
    assert stores.trees(store) == set()
    stores.bring(store, picture(20))
    assert lowers(store) == 2
    stores.verify_clean(store)


@mountable
def test_several_who_find_it_missing_at_once(store, one):
    forget(store, one)
    store.close()
    runroot = store.directories.runroot

    def mount(number):
        with Store(store.directories.root, f"{runroot}-{number}") as own:
            assert lowers(own) in (2, 21)
            assert shown(own)[b"d/19"].sha256 == images.sha256(b"19")[7:]

    with ExitStack() as children:
        for number in range(4):
            children.enter_context(stores.in_child(lambda number=number: mount(number)))
    assert set(merged(store)) == {one}
    assert lowers(store) == 2
    stores.verify_clean(store)


@mountable
def test_a_directory_of_nothing_but_whiteouts_is_empty_to_a_container(store):
    first = [images.directory("./"), images.directory("e"), images.file("e/x"), images.directory("f")]
    hide = [images.directory("./"), images.directory("e"), images.whiteout("e/x"), images.whiteout("f/none")]
    rest = [[images.directory("./"), images.file(f"{number}")] for number in range(FEWEST)]
    stores.bring(store, images.image(*(images.layer(one) for one in (first, hide, *rest)), names=["many:1"]))
    record = rootfs.mount_container(store, rootfs.create_container(store, store.find("many:1")))
    for name in ("e", "f"):
        place = Path(record.target, name)
        assert os.listdir(place) == []
        (place / "new").touch()
        assert os.listdir(place) == ["new"]
        (place / "new").unlink()
        place.rmdir()
        assert name not in os.listdir(record.target)
        place.mkdir()
        assert os.listdir(place) == []
