"""Trees are given up, and nothing else: the order, the goals, what is in use, and the next use of an image."""

from __future__ import annotations

import os
import time

import pytest
from support import images, stores, treelist

from arstore import trace
from arstore.graph.hints import hint, put_hint
from arstore.maintenance.disk_usage import measure
from arstore.maintenance.gc import collect
from arstore.maintenance.trim import Goal, Trim, plan_trim, trim
from arstore.rootfs import mount as mounting
from arstore.rootfs.mount import create_container, mount_image
from arstore.store import last_use

EVERYTHING = Goal()


@pytest.fixture
def store(tmp_path):
    with stores.opened(tmp_path) as made:
        yield made


def big(name: str, compression: str = "gzip", size: int = 200_000):
    return images.layer([images.directory("./"), images.file(name, os.urandom(size))], compression)


@pytest.fixture
def three(store):
    """Images over one base, used in their order, the first one longest ago."""
    base = big("base")
    made = [images.image(base, big(f"own{number}"), names=[f"n{number}:1"]) for number in (1, 2, 3)]
    stores.bring(store, *made)
    for number, picture in enumerate(made):
        used(store, picture, time.time() - 86400 * (30 - 10 * number))
    return made


def used(store, picture, moment: float) -> None:
    stores.edit(store, "images", picture.digest, imported=moment)
    with store.graph.write() as change:
        put_hint(change, last_use.TABLE, picture.digest, str(int(moment)))


def own_tree(picture) -> str:
    return picture.layers[-1].diff_id


def shown(store, name: str):
    record = mount_image(store, store.find_image(name))
    try:
        return treelist.listing(record.target)
    finally:
        stores.umount_all(store)


def test_without_a_goal_all_go_and_come_back(store, three):
    before = {name: shown(store, name) for name in ("n1:1", "n2:1", "n3:1")}
    bill = measure(store)
    plan = plan_trim(store, EVERYTHING)
    done = trim(store, EVERYTHING)
    assert (done.trees, done.images, done.freed) == (plan.trees, plan.images, plan.freed)
    assert stores.trees(store) == set()
    assert sorted(done.images) == sorted(picture.digest for picture in three)
    after = measure(store)
    assert (after.trees, after.blobs) == (bill.trees - done.freed, bill.blobs)
    assert after.total == stores.du(store.directories.root)
    stores.verify_clean(store)
    assert {name: shown(store, name) for name in before} == before
    stores.verify_clean(store)


def test_the_least_recently_used_goes_first_and_what_others_use_stays(store, three):
    done = trim(store, Goal(freed=1))
    assert done.trees == (own_tree(three[0]),)
    assert done.images == (three[0].digest,)
    assert done.short == 0


def test_a_use_counts_for_all_trees_of_the_image(store, three):
    used(store, three[0], time.time())
    assert trim(store, Goal(freed=1)).trees == (own_tree(three[1]),)


def test_only_what_was_not_used_for_an_age(store, three):
    done = trim(store, Goal(unused_since=time.time() - 86400 * 15))
    assert set(done.trees) == {own_tree(three[0]), own_tree(three[1])}


def test_down_to_a_size(store, three):
    wanted = measure(store).total - 300_000
    done = trim(store, Goal(total=wanted))
    assert measure(store).total <= wanted + 64 * 1024
    assert own_tree(three[2]) in stores.trees(store)
    assert done.short == 0
    assert trim(store, Goal(total=2 * wanted)) == Trim()


def test_a_size_that_cannot_be_reached(store, three):
    total = measure(store).total
    done = trim(store, Goal(total=1000))
    assert stores.trees(store) == set()
    assert done.short == total - 1000 - done.freed


@pytest.mark.parametrize("how", ["mount", "container"])
def test_what_is_in_use_stays(store, three, how):
    image = store.find_image("n1:1")
    mount_image(store, image) if how == "mount" else create_container(store, image, "web")
    try:
        done = trim(store, EVERYTHING)
        layers = {layer.diff_id for layer in three[0].layers}
        assert stores.trees(store) == layers
        assert not layers & set(done.trees)
    finally:
        stores.umount_all(store)


def test_what_is_mounted_after_the_plan_stays(store, three):
    def then(name: str) -> None:
        if name == "trim.planned":
            trace.listen(None)
            stores.forked(lambda: mount_image(store, store.find_image("n1:1")))

    trace.listen(then)
    try:
        done = trim(store, EVERYTHING)
    finally:
        trace.listen(None)
    try:
        layers = {layer.diff_id for layer in three[0].layers}
        assert layers <= stores.trees(store)
        assert not layers & set(done.trees)
    finally:
        stores.umount_all(store)


@pytest.mark.parametrize("moment", ["before the first tree is opened", "when all are open"])
def test_a_tree_that_goes_while_it_is_being_mounted_is_built_again(store, three, monkeypatch, moment):
    before = shown(store, "n1:1")
    opened, left = mounting._opened_lowers, [1]

    def trimmed(*arguments):
        found = opened(*arguments)
        if left and moment.startswith("when"):
            found = iter(list(found))
        if left:
            left.clear()
            stores.forked(lambda: trim(store, EVERYTHING))
        return found

    monkeypatch.setattr(mounting, "_opened_lowers", trimmed)
    assert shown(store, "n1:1") == before
    assert not left
    stores.verify_clean(store)


@pytest.mark.parametrize("step", ["take.claimed", "take.layers-read", "take.prepared"])
def test_a_tree_that_an_import_reuses_and_that_goes_meanwhile_is_built_again(store, three, step):
    def then(name: str) -> None:
        if name == step:
            trace.listen(None)
            stores.forked(lambda: trim(store, EVERYTHING))

    new = images.image(three[0].layers[0], big("own4"), names=["n4:1"])
    trace.listen(then)
    try:
        stores.bring(store, new)
    finally:
        trace.listen(None)
    assert {layer.diff_id for layer in new.layers} <= stores.trees(store)
    stores.verify_clean(store)
    assert shown(store, "n4:1")


def test_a_tree_without_its_blob_stays(store, three):
    os.unlink(store.directories.blob(three[0].layers[-1].digest))
    assert own_tree(three[0]) not in trim(store, EVERYTHING).trees
    assert own_tree(three[0]) in stores.trees(store)


def test_of_one_file_only_the_index_goes(store):
    picture = images.image(big("plain", "none"), names=["a:1"])
    stores.bring(store, picture)
    if not os.path.exists(f"{store.directories.tree(own_tree(picture))}/layer.tar"):
        pytest.skip("trees keep no tar here")
    done = trim(store, EVERYTHING)
    assert done.trees == (own_tree(picture),)
    assert done.freed < 100_000
    assert os.path.getsize(store.directories.blob(own_tree(picture))) > 200_000
    stores.verify_clean(store)


def test_merged_indexes_go_with_their_trees(store):
    picture = images.image(*(big(f"f{number}", size=100) for number in range(12)), names=["many:1"])
    stores.bring(store, picture)
    with store.graph.read() as snapshot:
        if not snapshot.runs():
            pytest.skip("no merged indexes are made here")
    before = shown(store, "many:1")
    trim(store, EVERYTHING)
    assert stores.trees(store) == set()
    stores.verify_clean(store)
    assert shown(store, "many:1") == before
    stores.verify_clean(store)


def test_the_collector_finds_nothing_afterwards(store, three):
    trim(store, EVERYTHING)
    assert not collect(store)


@pytest.mark.parametrize("step", ["trim.planned", "trim.recorded", "remove.file-moved", "remove.files-moved"])
def test_a_kill_leaves_a_sound_store(store, three, step):
    def die(name: str) -> None:
        if name == step:
            os._exit(9)

    def work() -> None:
        trace.listen(die)
        trim(store, EVERYTHING)

    stores.forked(work, 9)
    collect(store)
    stores.verify_clean(store)
    for name in ("n1:1", "n2:1", "n3:1"):
        assert shown(store, name)


# --- last use -------------------------------------------------------------------------------------------------------


def noted(store, picture) -> float:
    with store.graph.read() as snapshot:
        return float(hint(snapshot, last_use.TABLE, picture.digest) or 0)


@pytest.mark.parametrize("use", ["mount", "container"])
def test_a_use_is_noted(store, three, use):
    picture = three[0]
    image = store.find_image("n1:1")
    mount_image(store, image) if use == "mount" else create_container(store, image, "web")
    try:
        assert abs(noted(store, picture) - time.time()) < 60
    finally:
        stores.umount_all(store)


def test_a_use_is_noted_once_an_hour(store, three):
    moment = int(time.time()) - 1800
    used(store, three[0], moment)
    last_use.note_use(store, store.find_image("n1:1"))
    assert noted(store, three[0]) == moment


def test_a_clock_that_was_ahead_does_not_stop_the_notes(store, three):
    used(store, three[0], time.time() + 10 * 86400)
    last_use.note_use(store, store.find_image("n1:1"))
    assert abs(noted(store, three[0]) - time.time()) < 60


def test_a_failing_note_does_not_fail_the_use(store, three, monkeypatch):
    def full(*_args, **_more):
        raise OSError(28, "full")

    monkeypatch.setattr("arstore.store.last_use.put_hint", full)
    last_use.note_use(store, store.find_image("n1:1"))


def test_damaged_notes_count_as_none(store, three):
    with store.graph.write() as change:
        put_hint(change, last_use.TABLE, three[0].digest, "yesterday")
    with store.graph.read() as snapshot:
        assert last_use.last_uses(snapshot)[three[0].digest] == 0.0
