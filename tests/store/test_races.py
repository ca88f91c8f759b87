"""Two processes, interleaved at trace points: one is stopped at a step, and the other does all of its work there.

Only steps outside the writer's lock are tested: inside it, the other process would simply wait.
"""

from __future__ import annotations

import os
import signal

import pytest
from support import stores
from support.cli import Arstore

from arstore import trace
from arstore.maintenance.check import check
from arstore.maintenance.gc import collect
from arstore.maintenance.remove import remove_images
from arstore.store.store import Store
from arstore.transport.copy import import_reference

pytestmark = pytest.mark.root

OLD = stores.simple("shared", "old", names=("old:1",))
NEW = stores.simple("shared", "new", names=("new:1",))
IMPORTING = [
    "ingest.made",
    "take.claimed",
    "take.layers-read",
    "take.document-synced",
    "take.prepared",
    "layout.committed",
]
REMOVING = [
    "ingest.made",
    "remove.planned",
    "remove.recorded",
    "remove.files-moved",
    "ingest.leaving",
    "ingest.removed",
]
COLLECTING = [
    "collect.planned",
    "collect.containers-removed",
    "collect.marked",
    "collect.recorded",
    "remove.files-moved",
]


@pytest.fixture
def store(tmp_path):
    with stores.filled(tmp_path, OLD) as made:
        made.graph.release()
        yield made


def meanwhile(store, point, work):
    """Run *work* in another process when this one first reaches *point*; return the list of reached points."""
    seen = []

    def listener(name):
        if name == point and name not in seen:
            seen.append(name)
            store.graph.release()
            stores.forked(lambda: other(store, work))

    trace.listen(listener)
    return seen


def other(store, work):
    trace.listen(None)
    with Store(store.directories.root, store.directories.runroot) as mine:
        work(mine)


def gone(store):
    remove_images(store, ["old:1"])
    collect(store)


@pytest.mark.parametrize("point", IMPORTING)
def test_what_an_import_reuses_is_removed(store, tmp_path, point):
    archive = stores.archive_for(store, NEW)
    seen = meanwhile(store, point, gone)
    try:
        import_reference(store, str(archive))
    finally:
        trace.listen(None)
    assert seen == [point]
    assert stores.names(store) == {"new:1": NEW.digest}
    assert stores.blobs(store) == {NEW.digest, *NEW.blobs()}
    stores.verify_clean(store)
    stores.verify_layout(store)


@pytest.mark.parametrize("point", REMOVING)
def test_what_is_removed_is_imported_again(store, point):
    archive = stores.archive_for(store, OLD, NEW)
    seen = meanwhile(store, point, lambda mine: import_reference(mine, str(archive)))
    try:
        remove_images(store, ["old:1"])
    finally:
        trace.listen(None)
    assert seen == [point]
    # A name given before the names are read is removed with them, a later one stays.
    kept = {"new:1": NEW.digest} | ({} if point in {"ingest.made", "remove.planned"} else {"old:1": OLD.digest})
    assert stores.names(store) == kept
    stores.verify_clean(store)
    stores.verify_layout(store)


@pytest.mark.parametrize("point", COLLECTING)
def test_what_is_collected_is_imported_again(store, point):
    archive = stores.archive_for(store, OLD)
    store.untag("old:1")
    store.graph.release()
    seen = meanwhile(store, point, lambda mine: import_reference(mine, str(archive)))
    try:
        collect(store)
    finally:
        trace.listen(None)
    assert seen == [point]
    assert stores.names(store) == {"old:1": OLD.digest}
    assert check(store) == []
    stores.verify_layout(store)


def test_readers_do_not_wait_for_a_writer_that_stands_still(store):
    def stand():
        with Store(store.directories.root, store.directories.runroot) as mine, mine.graph.write() as change:
            change.put_name("half:1", OLD.digest)
            os.write(writing, b"x")
            os.kill(os.getpid(), signal.SIGSTOP)

    reading, writing = os.pipe()
    with stores.in_child(stand, expected=-signal.SIGKILL) as pid:
        os.read(reading, 1)
        arstore = Arstore(store.directories.root, store.directories.runroot)
        assert [image["names"] for image in arstore.json("images")] == [["old:1"]]
        for words in (["inspect", "old:1"], ["layers"], ["du"], ["gc", "--dry-run"], ["check"], ["ps"], ["mounts"]):
            arstore.ok(*words)
        os.kill(pid, signal.SIGKILL)
    os.close(reading)
    os.close(writing)
    assert list(stores.names(store)) == ["old:1"]
