"""Publication: all of it or nothing, despite other publishers, failures and kills at any point."""

from __future__ import annotations

import os
import random
import signal
import time
from contextlib import suppress

import pytest
from support import images, stores

from arstore.disk.claims import Claims
from arstore.errors import ArstoreError, HostError, NoSpaceError
from arstore.graph.records import LayerRecord
from arstore.maintenance.check import Damage, check, repair
from arstore.maintenance.gc import collect
from arstore.store.ingest import publish as publication
from arstore.store.ingest.intake import Intake
from arstore.store.ingest.publish import VanishedError
from arstore.store.ingest.staged_files import StagedFiles
from arstore.store.store import Store
from arstore.transport.copy import import_reference

pytestmark = pytest.mark.root


@pytest.fixture
def store(tmp_path):
    with stores.opened(tmp_path) as made:
        yield made


def shared(number, common=3):
    """Images that share their lower layers."""
    return stores.simple(*(f"common{n}" for n in range(common)), f"own{number}", names=(f"image{number}:1",))


# --- several at once ------------------------------------------------------------------------------------------------


def test_processes_that_publish_the_same_image(store):
    path = stores.archive_for(store, images.example())
    store.close()

    def work():
        own = Store(store.directories.root, store.directories.runroot)
        assert [one.digest for one in import_reference(own, str(path))] == [images.example().digest]

    with stores.in_child(work), stores.in_child(work), stores.in_child(work):
        work()
    stores.verify_layout(store)
    stores.verify_clean(store)
    assert [image.digest for image in store.images()] == [images.example().digest]
    assert stores.trees(store) == set(images.example().diff_ids)


def test_processes_that_publish_overlapping_images(store):
    pictures = [shared(number) for number in range(8)]
    paths = [stores.archive_for(store, picture) for picture in pictures]
    store.close()

    def work(seed):
        order = random.Random(seed).sample(paths, len(paths))
        own = Store(store.directories.root, store.directories.runroot)
        for path in order:
            import_reference(own, str(path))

    with stores.in_child(lambda: work(1)), stores.in_child(lambda: work(2)):
        pass
    stores.verify_layout(store)
    stores.verify_clean(store)
    assert {image.digest for image in store.images()} == {picture.digest for picture in pictures}
    assert stores.names(store) == {picture.names[0]: picture.digest for picture in pictures}
    assert stores.trees(store) == {diff_id for picture in pictures for diff_id in picture.diff_ids}


def test_one_publishes_while_another_removes_and_collects(store):
    pictures = [shared(number) for number in range(4)]
    paths = [stores.archive_for(store, picture) for picture in pictures]
    store.close()

    def bring():
        own = Store(store.directories.root, store.directories.runroot)
        for _ in range(4):
            for path in paths:
                import_reference(own, str(path))

    def take():
        from arstore.maintenance.remove import remove_images

        own = Store(store.directories.root, store.directories.runroot)
        for round_ in range(12):
            for image in own.images()[round_ % 2 :: 2]:
                try:
                    remove_images(own, [image.digest])
                except ArstoreError:
                    continue
            collect(own)

    with stores.in_child(bring), stores.in_child(take):
        pass
    for path in paths:
        import_reference(store, str(path))
    stores.verify_layout(store)
    stores.verify_clean(store)
    assert {image.digest for image in store.images()} == {picture.digest for picture in pictures}


# --- what is reused goes away ---------------------------------------------------------------------------------------


def remove_everything(store):
    with store.graph.write() as change:
        for table in ("names", "images", "layers", "trees", "blobs"):
            for key, _ in list(getattr(change, table)()):
                change.delete(table, key)
    collect(store)


def removing(store, monkeypatch, times):
    """Remove everything and collect it before each of the first *times* publications."""
    publish = publication.publish
    left = [times]

    def first_remove(directories, graph, ingest, work):
        if left[0]:
            left[0] -= 1
            remove_everything(store)
        return publish(directories, graph, ingest, work)

    monkeypatch.setattr("arstore.store.ingest.taking.publish", first_remove)
    return left


def test_work_that_reused_what_was_removed_is_done_again(store, monkeypatch):
    stores.bring(store, shared(1))
    left = removing(store, monkeypatch, 1)
    (taken,) = stores.bring(store, shared(2))
    assert left == [0]
    assert not any(layer.reused for layer in taken.layers)
    stores.verify_layout(store)
    stores.verify_clean(store)
    assert stores.trees(store) == set(shared(2).diff_ids)


@pytest.mark.parametrize("table", ["trees", "blobs"])
def test_each_thing_that_is_reused_is_looked_for(store, monkeypatch, table):
    """Trees alone are removed when a damaged one is given up; blobs alone when a repair finds that they are lost."""
    stores.bring(store, shared(1))
    publish = publication.publish
    left = [1]

    def first_remove(*arguments):
        if left.pop() if left else False:
            with store.graph.write() as change:
                for key, _ in list(getattr(change, table)()):
                    change.delete(table, key)
            collect(store)
        return publish(*arguments)

    monkeypatch.setattr("arstore.store.ingest.taking.publish", first_remove)
    stores.bring(store, shared(2))
    assert left == []
    with store.graph.read() as snapshot:
        assert all(snapshot.tree(diff_id) for diff_id in shared(2).diff_ids)
        assert all(snapshot.blob(digest) for digest in shared(2).blobs())
    assert stores.trees(store) >= set(shared(2).diff_ids)
    assert stores.blobs(store) >= set(shared(2).blobs())


@pytest.mark.parametrize(
    ("place", "moment"),
    [(Intake, "_run"), (StagedFiles, "document"), (Intake, "_record_image"), (StagedFiles, "add")],
)
def test_work_that_fails_on_what_was_removed_is_done_again(store, monkeypatch, place, moment):
    """Everything may be removed at any moment of the work."""
    stores.bring(store, shared(1))
    method = getattr(place, moment)
    left = [1]

    def first_remove(self, *arguments):
        if left[0]:
            left[0] -= 1
            remove_everything(store)
        return method(self, *arguments)

    monkeypatch.setattr(place, moment, first_remove)
    stores.bring(store, shared(2))
    assert left == [0]
    stores.verify_layout(store)
    stores.verify_clean(store)
    assert stores.trees(store) == set(shared(2).diff_ids)


def test_what_was_seen_and_is_another_now_counts_as_lost(store):
    (taken,) = stores.bring(store, shared(1))
    look = store.inventory()
    assert look.intact_blob(taken.digest)
    assert look.is_trusted(taken.layers[0].diff_id)
    assert not look.has_lost()
    remove_everything(store)
    assert look.has_lost()
    stores.bring(store, shared(1))
    assert look.has_lost()


def test_spooled_blobs_survive_the_second_attempt(store, monkeypatch):
    stores.bring(store, shared(1))
    removing(store, monkeypatch, 1)
    stores.bring(store, shared(2), compression="gzip")
    stores.verify_layout(store)
    stores.verify_clean(store)


def test_it_gives_up_in_the_end(store, monkeypatch):
    def never(*_arguments):
        raise VanishedError("x")

    stores.bring(store, shared(1))
    before = stores.State(store)
    monkeypatch.setattr("arstore.store.ingest.taking.publish", never)
    with pytest.raises(HostError, match="keeps removing content"):
        stores.bring(store, shared(2))
    before.verify()


# --- records that are there already ---------------------------------------------------------------------------------


def test_a_tree_that_somebody_else_made_meanwhile_stays(store, monkeypatch):
    """It may be mounted by now. Claims, which prevent this on most hosts, are disabled."""
    monkeypatch.setattr(Claims, "take", lambda *_arguments: True)
    path = stores.archive_for(store, shared(1))
    store.close()
    publish = publication.publish

    def first_let_another(*arguments):
        store.close()
        stores.forked(lambda: import_reference(Store(store.directories.root, store.directories.runroot), str(path)))
        seen.update({key: os.stat(store.directories.tree(key)).st_ino for key in stores.trees(store)})
        return publish(*arguments)

    seen = {}
    with monkeypatch.context() as patch:
        patch.setattr("arstore.store.ingest.taking.publish", lambda *a: (patch.undo(), first_let_another(*a))[1])
        import_reference(store, str(path))
    assert set(seen) == set(shared(1).diff_ids)
    assert {key: os.stat(store.directories.tree(key)).st_ino for key in seen} == seen
    stores.verify_layout(store)
    stores.verify_clean(store)


def test_a_second_import_keeps_when_it_was_imported_and_its_cap(store, monkeypatch):
    one = images.image(*images.implied_layers(), names=["implied:1"])
    stores.bring(store, one)
    before = store.find("implied:1").record
    assert before.cap
    with monkeypatch.context() as patch:
        patch.setattr("arstore.linux.isolation.capability.has", lambda _number: False)
        stores.bring(store, one)
    assert store.find("implied:1").record == before
    collect(store)
    stores.verify_clean(store)
    assert before.cap in stores.trees(store)


def test_a_layer_gains_blobs(store):
    contents = [images.file("a", b"content" * 100)]
    pictures = [images.image(images.layer(contents, how), names=[f"{how}:1"]) for how in ("gzip", "zstd", "none")]
    for picture in pictures:
        stores.bring(store, picture)
    with store.graph.read() as snapshot:
        ((_, layer),) = snapshot.layers()
    assert list(layer.blobs) == [picture.layers[0].digest for picture in pictures]
    assert len(stores.trees(store)) == 1
    stores.verify_layout(store)


# --- failure in the middle ------------------------------------------------------------------------------------------


class Failing:
    """Counts calls of some functions of `os`, and makes one of them fail."""

    def __init__(self, monkeypatch, names, number):
        self.calls = 0
        self.number = number
        for name in names:
            monkeypatch.setattr(publication.os, name, self.wrapped(getattr(os, name)))

    def wrapped(self, function):
        def call(*arguments, **more):
            self.calls += 1
            if self.calls == self.number:
                raise OSError(5, "Input/output error")
            return function(*arguments, **more)

        return call


@pytest.fixture
def full(store):
    """A store with one image, and its state."""
    stores.bring(store, shared(1))
    return stores.State(store)


def calls_of(store, tmp_path, names):
    """The number of calls of these functions during one import, in this process."""
    with pytest.MonkeyPatch.context() as patch:
        counted = Failing(patch, names, 0)
        with stores.opened(tmp_path / "counted") as other:
            stores.bring(other, shared(1))
            counted.calls = 0
            stores.bring(other, shared(2))
    return counted.calls


@pytest.mark.parametrize("number", range(1, 6))
def test_an_error_at_any_rename_leaves_the_store_as_it_was(store, full, tmp_path, number):
    if number > calls_of(store, tmp_path, ["rename"]):
        pytest.skip("there are fewer renames")
    with pytest.MonkeyPatch.context() as patch:
        failing = Failing(patch, ["rename"], number)
        with pytest.raises(OSError, match="Input/output"):
            stores.bring(store, shared(2))
    assert failing.calls >= number
    full.verify()
    stores.bring(store, shared(2))
    stores.verify_layout(store)


def test_an_error_at_the_rename_of_the_index_leaves_the_old_one(store, full, tmp_path):
    assert calls_of(store, tmp_path, ["rename"]) == 7, "the test above misses some"
    with pytest.MonkeyPatch.context() as patch:
        Failing(patch, ["rename"], 6)
        with pytest.raises(OSError, match="Input/output"):
            stores.bring(store, shared(2))
    assert stores.names(store)["image2:1"] == shared(2).digest
    findings = check(store)
    assert [finding.damage for finding in findings] == [Damage.INDEX_STALE]
    assert [finding.repaired for finding in repair(store, findings)] == [True]
    stores.verify_layout(store)
    stores.verify_clean(store)


def test_an_error_at_the_last_rename_leaves_only_the_index_of_contents(store, full):
    with pytest.MonkeyPatch.context() as patch:
        Failing(patch, ["rename"], 7)
        stores.bring(store, shared(2))
    stores.verify_clean(store)
    stores.verify_layout(store)


@pytest.mark.parametrize("number", range(1, 8))
def test_an_error_at_any_sync_leaves_the_store_as_it_was(store, full, number):
    with pytest.MonkeyPatch.context() as patch:
        failing = Failing(patch, ["fdatasync", "fsync"], number)
        with suppress(OSError):
            stores.bring(store, shared(2))
            stores.verify_layout(store)
            assert failing.calls < number
            return
    full.verify()


def test_an_error_of_the_graph_leaves_the_store_as_it_was(store, full, monkeypatch):
    def refuse(*_arguments):
        raise NoSpaceError("graph", "no space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("arstore.graph.graph.Change.put_image", refuse)
        with pytest.raises(NoSpaceError):
            stores.bring(store, shared(2))
    full.verify()


def test_an_interrupt_leaves_the_store_as_it_was(store, full, monkeypatch):
    def interrupt(*_arguments):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("arstore.graph.graph.Change.put_name", interrupt)
        with pytest.raises(KeyboardInterrupt):
            stores.bring(store, shared(2))
    full.verify()


# --- killed between steps -------------------------------------------------------------------------------------------

STEPS = ["os.rename", "os.fsync", "os.fdatasync", "os.unlink", "os.mkdir", "os.rmdir"]


def killed_at(name, number):
    """Make this process kill itself at the *number*th call of `os.NAME` in all; return the function."""
    module, _, attribute = name.rpartition(".")
    assert module == "os"
    function = getattr(os, attribute)
    calls = [0]
    owner = os.getpid()

    def call(*arguments, **more):
        if os.getpid() == owner:
            calls[0] += 1
            if calls[0] == number:
                os.kill(owner, signal.SIGKILL)
        return function(*arguments, **more)

    setattr(os, attribute, call)


@pytest.mark.parametrize("step", STEPS)
def test_killed_anywhere_the_collector_leaves_nothing(store, step):
    """Kill at every call of a function that changes the disk, one after the other, until there are no more calls."""
    path = stores.archive_for(store, shared(2))
    stores.bring(store, shared(1))
    collect(store)
    full = stores.State(store)
    store.close()
    for number in range(1, 40):

        def work(number=number):
            killed_at(step, number)
            import_reference(Store(store.directories.root, store.directories.runroot), str(path))

        pid = os.fork()
        if pid == 0:
            try:
                work()
            finally:
                os._exit(0)
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        published = "image2:1" in stores.names(store)
        collect(store)
        stores.verify_clean(store)
        stores.verify_layout(store)
        assert stores.names(store).get("image1:1") == shared(1).digest
        if published:
            store.untag("image2:1")
            collect(store)
        full.verify()
        store.close()
        if status == 0:
            assert published
            return
    pytest.fail("it still dies after forty calls")


def test_a_layer_in_thousands_of_compressions_takes_linear_time():
    """Each blob was searched for among all others: 20,000 of one layer, twice, took seconds in the transaction."""
    half = [tuple(f"sha256:{number:064x}" for number in range(start, start + 20_000)) for start in (0, 10_000)]
    old, new = (LayerRecord("sha256:1", "", blobs, 1, "") for blobs in half)
    started = time.thread_time()
    both = publication._merged(old, new)
    assert both.blobs == half[0][:10_000] + half[1]
    assert time.thread_time() - started < 1
