"""Leftovers of killed processes, and their removal by the next import."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path

import pytest
from support import images, stores

from arstore import trace
from arstore.disk.staging import PLACES, Ingest
from arstore.maintenance.gc import collect, plan_collection, reclaim
from arstore.maintenance.remove import remove_images
from arstore.store.leftovers import take_leftovers

OLD = stores.simple("old", names=("old:1",))
KILLED = stores.simple("killed one", "killed two", names=("killed:1",))
NEXT = stores.simple("next", names=("next:1",))
TAKING = [name for area in (trace.INGEST, trace.TAKE, trace.PUBLISH, trace.LAYOUT) for name in area]


@pytest.fixture
def store(tmp_path):
    with stores.opened(tmp_path) as opened:
        yield opened


def killed_at(store, point, work, hit=1):
    """Run *work* in a process that is killed when it reaches *point* for the *hit*-th time; return whether it was."""
    seen = 0
    chief = 0

    def listen(name):
        nonlocal seen
        seen += name == point
        # A worker may not even send a signal, and its death does not end the process that has the ingest.
        if name == point and seen == hit and os.getpid() == chief:
            os.kill(chief, signal.SIGKILL)

    def victim():
        nonlocal chief
        chief = os.getpid()
        trace.listen(listen)
        work()
        os._exit(33)

    store.close()
    pid = os.fork()
    if pid == 0:
        try:
            victim()
        finally:
            os._exit(34)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    assert status in {-signal.SIGKILL, 33}, f"{point}: {status}"
    return status == -signal.SIGKILL


def is_clean(store):
    """Whether nothing is left for `gc` except images without a name, which no kill makes."""
    plan = plan_collection(store)
    root = os.listdir(store.directories.root)
    return not (plan.orphans or plan.ingests or [name for name in root if name.startswith(("index.json.", "oci-lay"))
                and name != "oci-layout"])  # fmt: skip


@pytest.mark.parametrize("point", TAKING)
def test_an_import_takes_what_a_killed_one_left(store, point):
    stores.bring(store, OLD)
    if not killed_at(store, point, lambda: stores.bring(store, KILLED)):
        pytest.skip("this import does not reach that point")
    came_in = KILLED.digest in {image.digest for image in store.images()}
    stores.bring(store, NEXT)
    assert is_clean(store)
    expected = {OLD.digest, NEXT.digest, *([KILLED.digest] if came_in else [])}
    assert {image.digest for image in store.images()} == expected
    stores.verify_layout(store)
    stores.verify_clean(store)


@pytest.mark.parametrize("point", [*trace.REMOVE, "ingest.places-noted", "ingest.leaving"])
def test_an_import_takes_what_a_killed_removal_left(store, point):
    stores.bring(store, OLD, KILLED)
    if not killed_at(store, point, lambda: remove_images(store, ["killed:1"])):
        pytest.skip("this removal does not reach that point")
    stores.bring(store, NEXT)
    assert is_clean(store)
    stores.verify_clean(store)


@pytest.mark.parametrize("point", trace.LEFTOVERS)
def test_whoever_is_killed_while_taking_it_leaves_it_to_the_next(store, point):
    stores.bring(store, OLD)
    assert killed_at(store, "publish.recorded", lambda: stores.bring(store, KILLED))
    assert killed_at(store, point, lambda: stores.bring(store, NEXT))
    stores.bring(store, NEXT)
    assert is_clean(store)
    stores.verify_clean(store)


def test_nothing_of_a_living_process_is_taken(store):
    stores.bring(store, OLD)
    with Ingest(store.directories) as mine:
        Path(mine.file("x")).write_bytes(bytes(5000))
        stores.forked(lambda: stores.bring(store, NEXT))
        assert take_leftovers(store.directories, store.graph) == 0
        assert os.listdir(mine.path) == ["x"]


def test_a_list_of_places_takes_nothing_that_is_recorded_or_elsewhere(store, tmp_path):
    """A power cut can spoil a list, and the files that it names may be recorded by now; such lines are ignored."""
    stores.bring(store, OLD)
    (tmp_path / "precious").write_text("mine")
    held = stores.State(store)
    dead = f"{store.directories.ingest}/{stores.dead_owner().directory_name()}"
    os.mkdir(dead)
    recorded = [f"blobs/{digest.replace(':', '/')}" for digest in stores.blobs(store)]
    recorded += [f"trees/{key.partition(':')[2]}" for key in stores.trees(store)]
    strange = ["../precious", "graph/data.mdb", "blobs/../../precious", "blobs/sha256/..", "trees/..", "containers/..",
               "containers/../graph", "", "\0" * 100, "index.json", "/", "blobs", "trees/" + "g" * 64]  # fmt: skip
    Path(dead, PLACES).write_bytes("\n".join([*recorded, *strange, "\udcff"]).encode("utf-8", "surrogateescape"))
    take_leftovers(store.directories, store.graph)
    assert (tmp_path / "precious").read_text() == "mine"
    held.verify()


def test_what_cannot_be_taken_keeps_no_import_from_its_work(store):
    stores.bring(store, OLD)
    strange = Path(store.directories.ingest, stores.dead_owner().directory_name())
    strange.write_text("a file, where directories are")
    stores.bring(store, NEXT)
    assert {image.digest for image in store.images()} == {OLD.digest, NEXT.digest}


def test_several_take_it_at_once(store):
    stores.bring(store, OLD)
    for _ in range(5):
        assert killed_at(store, "publish.recorded", lambda: stores.bring(store, KILLED))
    freed = []
    lock = threading.Lock()

    def take():
        found = take_leftovers(store.directories, store.graph)
        with lock:
            freed.append(found)

    threads = [threading.Thread(target=take) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(freed) > 0
    assert is_clean(store)
    stores.verify_clean(store)


def test_gc_may_run_meanwhile(store):
    """The plan names a directory that an import removes before `gc` reaches it."""
    stores.bring(store, OLD)
    assert killed_at(store, "publish.recorded", lambda: stores.bring(store, KILLED))
    taken = []

    def listen(name):
        if name == "collect.planned":
            trace.listen(None)
            taken.append(take_leftovers(store.directories, store.graph))

    trace.listen(listen)
    try:
        done = collect(store)
    finally:
        trace.listen(None)
    assert taken[0] > 0
    assert (done.ingests, done.bytes) == ((), 0), "the import has removed it, and `gc` has not"
    stores.verify_clean(store)


def test_what_no_list_tells_of_is_reclaimed(store):
    """A power cut may have lost the list, or an older arstore made none."""
    stores.bring(store, OLD)
    orphan = images.sha256(b"x").partition(":")[2]
    Path(store.directories.root, "blobs/sha256", orphan).write_bytes(bytes(50_000))
    Path(store.directories.root, "blobs/sha256", "strange").write_text("not ours to take now")
    assert reclaim(store) >= 50_000
    assert not Path(store.directories.root, "blobs/sha256", orphan).exists()
    assert Path(store.directories.root, "blobs/sha256", "strange").exists()
    Path(store.directories.root, "blobs/sha256", "strange").unlink()
    stores.verify_clean(store)
