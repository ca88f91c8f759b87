"""Several processes that need one layer: only one builds it; claims, and imports of real processes."""

from __future__ import annotations

import os
import signal
import threading
import time

import pytest
from support import confining, images, stores
from support.waiting import PATIENCE

from arstore.digest import Digest
from arstore.disk.claims import Claims
from arstore.maintenance.gc import collect
from arstore.store.ingest import layer_jobs as passes
from arstore.store.store import Store
from arstore.transport.copy import import_reference
from arstore.workers import confinement

ONE, OTHER, THIRD = (Digest.of(text) for text in (b"one", b"other", b"third"))


def wait_for(condition):
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "it does not come"
        time.sleep(0.005)


# --- claims ---------------------------------------------------------------------------------------------------------


def test_what_nobody_has_is_claimed(tmp_path):
    path = str(tmp_path / "claims")
    with Claims(path) as mine, Claims(path) as yours:
        assert mine.take([ONE, OTHER])
        assert yours.take([THIRD])
    assert (tmp_path / "claims").stat().st_size == 0


def test_who_has_to_wait_holds_nothing_then(tmp_path):
    path = str(tmp_path / "claims")
    taken = []
    with Claims(path) as mine, Claims(path) as yours, Claims(path) as theirs:
        assert mine.take([OTHER])
        waiting = threading.Thread(target=lambda: taken.append(yours.take([ONE, OTHER, THIRD])))
        waiting.start()
        time.sleep(0.05)
        assert taken == []
        assert theirs.take([ONE, THIRD])
        theirs.release()
        mine.release()
        waiting.join(20)
        assert taken == [False]
        assert mine.take([ONE, OTHER, THIRD])


def test_claims_end_with_their_process(tmp_path):
    path = str(tmp_path / "claims")
    reading, writing = os.pipe()

    def hold():
        with Claims(path) as claims:
            assert claims.take([ONE])
            os.write(writing, b"x")
            time.sleep(60)

    with stores.in_child(hold, expected=-signal.SIGKILL) as pid:
        os.read(reading, 1)
        os.kill(pid, signal.SIGKILL)
        with Claims(path) as mine:
            while not mine.take([ONE]):
                pass
    os.close(reading)
    os.close(writing)


def test_a_child_that_shares_the_descriptor_does_not_keep_claims(tmp_path):
    path = str(tmp_path / "claims")
    reading, writing = os.pipe()
    with Claims(path) as mine:
        assert mine.take([ONE])
        pid = os.fork()
        if pid == 0:
            os.read(reading, 1)
            os._exit(0)
    try:
        with Claims(path) as yours:
            assert yours.take([ONE])
    finally:
        os.write(writing, b"x")
        os.waitpid(pid, 0)
        os.close(reading)
        os.close(writing)


# --- imports --------------------------------------------------------------------------------------------------------


@pytest.fixture
def store(tmp_path):
    with stores.opened(tmp_path) as made:
        yield made


def logged(store, path, log, before=None):
    """An import in this process, which logs every layer that it reads; *before* runs ahead of each."""
    own = Store(store.directories.root, store.directories.runroot)
    real = passes.take_layer

    def noted(work, source, report):
        with open(log, "a") as file:
            file.write(f"{work.diff_id}\n")
        if before is not None:
            before()
        return real(work, source, report)

    passes.take_layer = noted
    confinement.writing = confinement.making = confining.unconfined
    return import_reference(own, str(path))


@pytest.mark.root
def test_imports_of_one_image_at_once_read_each_layer_once(store, tmp_path):
    path = stores.archive_for(store, images.example())
    log = tmp_path / "log"
    store.close()

    def work():
        (taken,) = logged(store, path, log, lambda: time.sleep(0.05))
        assert taken.digest == images.example().digest

    with stores.in_child(work), stores.in_child(work), stores.in_child(work), stores.in_child(work):
        pass
    read = log.read_text().split()
    assert sorted(read) == sorted(set(images.example().diff_ids))
    stores.verify_layout(store)
    stores.verify_clean(store)


@pytest.mark.root
@pytest.mark.parametrize("count", [3, 6])
def test_images_that_share_some_layers_in_any_order(store, tmp_path, count):
    contents = [f"c{number}" for number in range(count)]
    pictures = [stores.simple(*contents[turn:], *contents[:turn], names=(f"turn{turn}:1",)) for turn in range(count)]
    paths = [stores.archive_for(store, picture) for picture in pictures]
    log = tmp_path / "log"
    store.close()
    children = []
    for path in paths:
        context = stores.in_child(lambda path=path: logged(store, path, log, lambda: time.sleep(0.01)))
        context.__enter__()
        children.append(context)
    for context in children:
        context.__exit__(None, None, None)
    read = log.read_text().split()
    assert sorted(read) == sorted(set(read)) == sorted({diff_id for one in pictures for diff_id in one.diff_ids})
    stores.verify_layout(store)
    stores.verify_clean(store)
    assert len(store.images()) == count


@pytest.mark.root
@pytest.mark.parametrize("how", ["killed", "failed"])
def test_when_the_first_comes_to_nothing_the_second_does_the_work(store, tmp_path, how):
    path = stores.archive_for(store, images.example())
    log = tmp_path / "log"
    store.close()

    def first():
        def end():
            if how == "killed":
                time.sleep(60)
            time.sleep(0.3)
            raise OSError(5, "Input/output error")

        logged(store, path, log, end)

    with stores.in_child(first, expected=-signal.SIGKILL if how == "killed" else 1) as pid:
        wait_for(log.exists)
        with stores.in_child(
            lambda: import_reference(Store(store.directories.root, store.directories.runroot), str(path))
        ):
            time.sleep(0.2)
            assert not store.images()
            store.close()
            if how == "killed":
                os.kill(pid, signal.SIGKILL)
    assert [image.digest for image in store.images()] == [images.example().digest]
    collect(store)
    stores.verify_layout(store)
    stores.verify_clean(store)
