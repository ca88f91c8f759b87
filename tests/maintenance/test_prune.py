"""Images are removed by their last use; protected and held ones stay, and indexes with their images."""

from __future__ import annotations

import time

import pytest
from support import images, stores

from arstore import trace
from arstore.graph.hints import put_hint
from arstore.maintenance.gc import collect
from arstore.maintenance.prune import plan_prune, prune
from arstore.maintenance.remove import remove_images
from arstore.rootfs.mount import create_container
from arstore.store import last_use
from arstore.store.collect.protected import protected
from arstore.store.protection import protect, unprotect

DAY = 86400.0


@pytest.fixture
def store(tmp_path):
    with stores.opened(tmp_path) as made:
        yield made


def aged(store, picture, days: float, used: float | None = None) -> None:
    stores.edit(store, "images", picture.digest, imported=time.time() - days * DAY)
    if used is not None:
        with store.graph.write() as change:
            put_hint(change, last_use.TABLE, picture.digest, str(int(time.time() - used * DAY)))


def before(days: float) -> float:
    return time.time() - days * DAY


@pytest.fixture
def two(store):
    old, new = stores.simple("a", names=("old:1", "old:2")), stores.simple("b", names=("new:1",))
    stores.bring(store, old, new)
    aged(store, old, 40)
    aged(store, new, 40, used=1)
    return old, new


def test_what_was_not_used_goes_with_all_names(store, two):
    plan = plan_prune(store, before(30))
    done = prune(store, before(30))
    assert done.removed == plan.removed
    assert (done.freed, done.removed.images) == (plan.freed, (two[0].digest,))
    assert stores.names(store) == {"new:1": two[1].digest}
    stores.verify_clean(store)


def test_nothing_is_old_enough(store, two):
    assert plan_prune(store, before(50)).removed.images == ()
    assert prune(store, before(50)).removed.images == ()


def test_protected_images_stay(store, two):
    assert protect(store, ["old:1"]) == [two[0].digest]
    assert prune(store, before(30)).removed.images == ()
    assert unprotect(store, ["old:1", "new:1"]) == [two[0].digest]
    assert prune(store, before(30)).removed.images == (two[0].digest,)


def test_the_collector_keeps_protected_images_without_a_name(store, two):
    protect(store, ["old:1"])
    for name in ("old:1", "old:2"):
        store.untag(name)
    assert not collect(store)
    unprotect(store, [two[0].digest])
    assert collect(store).images == (two[0].digest,)


def test_protection_ends_with_the_image(store, two):
    protect(store, ["old:1"])
    remove_images(store, [two[0].digest])
    collect(store)
    with store.graph.read() as snapshot:
        assert protected(snapshot) == frozenset()


def test_what_is_in_use_stays(store, two):
    create_container(store, store.find_image("old:1"), "box")
    aged(store, two[0], 40, used=40)
    assert prune(store, before(30)).removed.images == ()


def test_what_comes_into_use_after_the_choice_stays(store, two):
    def then(name: str) -> None:
        if name == "remove.planned":
            trace.listen(None)
            stores.forked(lambda: create_container(store, store.find_image("old:1"), "box") and None)

    trace.listen(then)
    try:
        assert prune(store, before(30)).removed.images == ()
    finally:
        trace.listen(None)


def listed(store):
    """A list of two images, for two platforms."""
    first, second = stores.simple("c"), images.image(*stores.simple("d").layers, architecture="arm64")
    both = images.index(first, second, names=["list:1"])
    stores.bring(store, both, every=True)
    for one in (first, second, both):
        aged(store, one, 40)
    return first, second, both


def test_an_index_goes_with_its_images(store):
    first, second, both = listed(store)
    assert set(prune(store, before(30)).removed.images) == {first.digest, second.digest, both.digest}
    stores.verify_clean(store)


def test_one_used_image_keeps_its_index_and_the_others(store):
    first, _, _ = listed(store)
    aged(store, first, 40, used=1)
    assert prune(store, before(30)).removed.images == ()
    stores.verify_clean(store)


def test_one_protected_image_keeps_its_index(store):
    first, _, _ = listed(store)
    protect(store, [first.digest])
    assert prune(store, before(30)).removed.images == ()


def test_an_image_of_an_index_that_stays_stays(store):
    _, second, both = listed(store)
    store.tag(second.digest, "second:1")
    aged(store, both, 40, used=1)
    assert plan_prune(store, before(30)).removed.images == ()
