"""A store keeps to its size: trees go before an image is refused, and only if that is enough."""

from __future__ import annotations

import os
import time
from functools import partial

import pytest
from support import images, stores

from arstore.errors import BudgetError, NoSpaceError
from arstore.linux.mounting import mount
from arstore.maintenance.budget import Budget, give_up, keep_within
from arstore.maintenance.disk_usage import measure
from arstore.maintenance.trim import Goal, trim
from arstore.rootfs.mount import mount_image
from arstore.store import last_use
from arstore.tar.limits import Limits
from arstore.transport.copy import ImportOptions, import_opened, import_reference
from arstore.transport.detect import open_source

SIZE = 400_000
SLACK = 100_000
"""More than the records of an image."""


@pytest.fixture
def store(tmp_path):
    with stores.opened(tmp_path) as made:
        yield made


def picture(name: str, compression: str = "gzip", *below):
    layer = images.layer([images.directory("./"), images.file(name, os.urandom(SIZE))], compression)
    return images.image(*below, layer, names=[f"{name}:1"])


def limited(store, most: int = 0, high: int = 0, low: int = 0) -> None:
    store.fit = partial(keep_within, store, Budget(most, high, low or high))


def own_tree(one) -> str:
    return one.layers[-1].diff_id


@pytest.fixture
def two(store):
    made = [picture("a"), picture("b")]
    stores.bring(store, *made)
    for number, one in enumerate(made):
        stores.edit(store, "images", one.digest, imported=time.time() - 86400 * (9 - number))
    return made


def test_trees_go_before_an_image_is_refused(store, two):
    total = measure(store).total
    limited(store, total + SIZE + SLACK)
    (taken,) = stores.bring(store, picture("c"))
    assert store.find("c:1").digest == taken.digest
    assert measure(store).total <= total + SIZE + SLACK
    assert own_tree(two[0]) not in stores.trees(store)
    assert own_tree(two[1]) in stores.trees(store), "the one that was used last went too"
    images_, freed = store.given_up
    assert images_ == 1
    assert freed >= SIZE - SLACK
    stores.verify_clean(store)


def test_what_does_not_fit_is_refused_and_nothing_goes(store, two):
    total = measure(store).total
    limited(store, total - 3 * SIZE)
    before = stores.State(store)
    with pytest.raises(BudgetError, match=r"bytes would be in use, .* of them new, and at most") as caught:
        stores.bring(store, picture("c"))
    assert caught.value.what == store.directories.root
    assert "\n" not in str(caught.value)
    before.verify()
    assert len(stores.trees(store)) == 2


def test_a_tree_that_turns_out_too_large_is_refused_before_publication(store):
    layer = images.layer([images.directory("./"), images.file("f", bytes(3_000_000))], "gzip")
    before = stores.State(store)
    limited(store, measure(store).total + 1_000_000)
    with pytest.raises(BudgetError):
        stores.bring(store, images.image(layer, names=["zeros:1"]))
    before.verify()


def test_what_is_there_already_needs_no_room(store, two):
    limited(store, 1)
    stores.bring(store, two[0])
    assert len(stores.trees(store)) == 2


def test_a_stream_counts_once(store, tmp_path):
    """The spool of a stream becomes the blob."""
    path = stores.archive_for(store, picture("c", "none"))
    limited(store, measure(store).total + SIZE + SLACK)
    with open(path, "rb") as file:
        import_opened(store, lambda spool: open_source("-", spool, file))
    assert store.find("c:1")


def test_the_base_of_an_import_is_not_given_up_for_it(store, two):
    base = two[0].layers[-1]
    limited(store, measure(store).total + SIZE + SLACK)
    stores.bring(store, picture("c", "gzip", base))
    assert base.diff_id in stores.trees(store)
    assert own_tree(two[1]) not in stores.trees(store)


def test_above_high_water_the_store_goes_down_to_low_water(store, two):
    total = measure(store).total
    limited(store, high=total + SIZE, low=total - SIZE)
    stores.bring(store, picture("c"))
    assert measure(store).total <= total - SIZE + SLACK + SIZE
    assert not {own_tree(one) for one in two} & stores.trees(store)


def test_below_high_water_nothing_goes(store, two):
    limited(store, high=measure(store).total + 4 * SIZE, low=1)
    stores.bring(store, picture("c"))
    assert len(stores.trees(store)) == 3


def test_a_mount_is_not_refused_and_others_make_room(store, two):
    trim(store, Goal())
    mount_image(store, store.find_image("a:1"))
    stores.umount_all(store)
    limited(store, measure(store).total)
    try:
        mount_image(store, store.find_image("b:1"))
        assert stores.trees(store) == {own_tree(two[1])}
        limited(store, 1)
        mount_image(store, store.find_image("a:1"))
        assert stores.trees(store) == {own_tree(one) for one in two}
    finally:
        stores.umount_all(store)


def test_own_work_in_flight_does_not_count_and_that_of_others_does(store, two):
    """Otherwise two imports together could exceed the size."""
    total = measure(store).total
    other = f"{store.directories.ingest}/{os.getppid()}-1-x-00000000"
    os.mkdir(other)
    with open(f"{other}/blob", "wb") as file:
        file.write(os.urandom(2_000_000))
    limited(store, total + 2 * SIZE + SLACK)
    with pytest.raises(BudgetError):
        keep_within(store, Budget(total + SLACK), last_need(SIZE))


def last_need(size: int):
    from arstore.store.ingest.need import Need

    return Need(size)


# --- a full disk ------------------------------------------------------------------------------------------------------


@pytest.fixture
def small(tmp_path):
    place = tmp_path / "small"
    place.mkdir()
    mount.mount("tmpfs", str(place), "tmpfs", data="size=64m")
    with stores.opened(place) as made:
        made.give_up = lambda lacking, least, sparing: give_up(made, Goal(freed=lacking, least=least, sparing=sparing))
        yield made
    mount.umount(str(place))


MIB = 1 << 20
KEPT = ImportOptions(limits=Limits(reserve=4 * MIB))


def large(name: str, size: int, compression: str = "none", content=os.urandom):
    layer = images.layer([images.directory("./"), images.file(name, content(size * MIB))], compression)
    return images.image(layer, names=[f"{name}:1"])


@pytest.fixture
def half_full(small, tmp_path):
    """The tree of an image of zeros takes 40 MiB, and its blob nearly nothing."""
    path = images.write_oci_archive(tmp_path / "old", large("old", 40, "gzip", bytes))
    import_reference(small, str(path), KEPT)
    assert measure(small).trees > 39 * MIB
    return small


@pytest.mark.root
@pytest.mark.mounts
@pytest.mark.parametrize("stream", [False, True])
def test_a_full_disk_gives_up_trees(half_full, tmp_path, stream):
    path = images.write_oci_archive(tmp_path / "new", large("new", 30))
    if stream:
        with open(path, "rb") as file:
            import_opened(half_full, lambda spool: open_source("-", spool, file, KEPT.limits), KEPT)
    else:
        import_reference(half_full, str(path), KEPT)
    assert half_full.find("new:1")
    assert half_full.given_up[0] == 1
    stores.verify_clean(half_full)


@pytest.mark.root
@pytest.mark.mounts
def test_so_does_one_that_is_full_in_the_middle(half_full, tmp_path):
    """The blob announces some KiB, and the tree has 30 MiB."""
    path = images.write_oci_archive(tmp_path / "new", large("new", 30, "gzip", bytes))
    import_reference(half_full, str(path), KEPT)
    assert half_full.find("new:1")
    assert half_full.given_up[0] == 1
    stores.verify_clean(half_full)


@pytest.mark.root
@pytest.mark.mounts
def test_what_does_not_fit_even_so_is_refused(half_full, tmp_path):
    path = images.write_oci_archive(tmp_path / "new", large("new", 62, "gzip", bytes))
    before = stores.names(half_full)
    with pytest.raises(NoSpaceError):
        import_reference(half_full, str(path), KEPT)
    assert stores.names(half_full) == before
    stores.verify_clean(half_full)


@pytest.mark.root
@pytest.mark.mounts
def test_a_reserve_that_was_asked_for_counts(half_full, tmp_path):
    path = images.write_oci_archive(tmp_path / "new", large("new", 2))
    import_reference(half_full, str(path), ImportOptions(limits=Limits(reserve=30 * MIB)))
    assert half_full.given_up[0] == 1


def test_the_last_use_of_a_budget_is_not_a_use(store, two):
    limited(store, measure(store).total + SIZE + SLACK)
    stores.bring(store, picture("c"))
    with store.graph.read() as snapshot:
        assert last_use.last_uses(snapshot) == {}
