"""Damage in the graph's file: single records, pages, all of it; it must be found without a crash, and repaired."""

from __future__ import annotations

import itertools
import os
import random
import shutil
import signal
import time
from pathlib import Path

import pytest
from support import budget, images, stores
from support.forking import guarded

from arstore import trace
from arstore.digest import Digest
from arstore.errors import InUseError
from arstore.graph.datafile import MAP_SIZE
from arstore.graph.lmdb_pages import walk
from arstore.maintenance.check import Damage, check, repair
from arstore.maintenance.check.rebuild_records import Reconstruction
from arstore.maintenance.gc import collect
from arstore.rootfs import mount as rootfs
from arstore.store.store import Store

EXAMPLE = images.example()
OTHER = stores.simple("one", "two", names=("other:1", "other:2"))

pytestmark = pytest.mark.root


@pytest.fixture
def store(tmp_path):
    with stores.opened(tmp_path) as made:
        stores.bring(made, EXAMPLE)
        stores.bring(made, OTHER)
        rootfs.create_container(made, made.find("example:1"), "box")
        made.sync_trees()
        assert check(made) == []
        yield made


def data(store):
    return Path(store.directories.graph, "data.mdb")


def flip(path, place, bit=0):
    with open(path, "r+b") as file:
        file.seek(place)
        byte = file.read(1)[0]
        file.seek(place)
        file.write(bytes([byte ^ 1 << bit]))


def kinds(findings):
    return {finding.damage for finding in findings}


def mended(store, records):
    """Repair, and check that all is as before except for what only the graph knew."""
    left = [finding for finding in repair(store, check(store)) if not finding.repaired]
    assert left == []
    store.sync_trees()
    stores.verify_clean(store)
    assert stores.records(store) == records


@pytest.mark.parametrize("text", [b'"created":"', b'"ephemeral"', b'"manifests"'])
def test_a_flipped_bit_in_a_record(store, text):
    records = stores.records(store)
    store.close()
    found = data(store).read_bytes()
    # Old pages have the text too: flip all of them.
    place = found.find(text)
    while place >= 0:
        flip(data(store), place + 3, 2)
        place = found.find(text, place + 1)
    findings = check(store)
    assert kinds(findings) >= {Damage.RECORD_DAMAGED}
    mended(store, records)


def test_a_quick_look_finds_a_damaged_record_too(store):
    with store.graph.write() as change:
        key = b"names/other:1"
        value = change.raw(key)
        change.put_raw(key, value[:-1] + bytes([value[-1] ^ 1]))
    assert [(f.damage, f.what) for f in check(store, quick=True)] == [(Damage.RECORD_DAMAGED, "names/other:1")]


@pytest.mark.parametrize("table", ["images", "layers", "blobs", "trees", "names", "containers"])
def test_a_record_of_which_nothing_is_left(store, table):
    with store.graph.read() as snapshot:
        key = next(iter(getattr(snapshot, table)()))[0]
    names = set(stores.names(store))
    with store.graph.write() as change:
        change.put_raw(f"{table}/{key}".encode(), b"\xff" * 70)
    assert Damage.RECORD_DAMAGED in kinds(check(store))
    repair(store, check(store))
    store.sync_trees()
    assert kinds(check(store)) == set()
    assert os.path.isdir(store.directories.container("box"))
    assert set(stores.names(store)) == names


@pytest.mark.parametrize(
    ("table", "change"),
    [("images", {"top": "sha256:" + "1" * 64}), ("images", {"created": "x"}), ("layers", {"size": 1})],
)
def test_records_that_contradict_the_documents(store, table, change):
    records = stores.records(store)
    key = EXAMPLE.digest if table == "images" else EXAMPLE.chain_ids[1]
    stores.edit(store, table, key, **change)
    assert Damage.RECORD_WRONG in kinds(check(store))
    mended(store, records)


def used_pages(path):
    """The pages in which flips are tried: pages of the trees, not free ones."""
    return [n for n in range(os.path.getsize(path) // 4096) if n < 2 or _is_used(path, n)]


def _is_used(path, number):
    copy = f"{path}.copy"
    shutil.copy(path, copy)
    flip(copy, number * 4096)
    faults = walk(copy, MAP_SIZE, lambda _key, _value: None).faults
    os.unlink(copy)
    return bool(faults)


def test_flipped_bits_in_pages(store):
    records = stores.records(store)
    store.close()
    chance = random.Random(3)
    original = data(store).read_bytes()
    pages = used_pages(data(store))
    for _ in range(12):
        store.close()
        data(store).write_bytes(original)
        flip(data(store), chance.choice(pages) * 4096 + chance.randrange(24), chance.randrange(8))
        if not check(store):
            continue
        mended(store, records)
        for aside in Path(store.directories.root).glob("graph.damaged-*"):
            shutil.rmtree(aside)


@pytest.mark.parametrize("harm", [Path.unlink, lambda path: os.truncate(path, 5000), lambda path: os.truncate(path, 0)])
def test_a_lost_graph_is_made_from_the_documents(store, harm):
    before = stores.records(store)
    store.close()
    harm(data(store))
    findings = check(store)
    is_left = data(store).exists() and data(store).stat().st_size > 0
    assert kinds(findings) == {Damage.GRAPH_PAGES if is_left else Damage.GRAPH_LOST}
    assert all(finding.repaired for finding in findings[:0] + repair(store, findings) if finding.what == "graph")
    store.sync_trees()
    after = stores.records(store)
    assert {key for key in before if not key.startswith("leases")} == set(after)
    for key in before:
        if key.startswith(("blobs/", "layers/", "names/")):
            assert after[key] == before[key]
    assert kinds(check(store)) == set()
    # Its layers are recorded next to it.
    assert after["containers/box"] == before["containers/box"]
    assert store.find("other:2").digest == OTHER.digest


def damage_pages(store):
    store.close()
    flip(data(store), 4096 * 2 + 1)
    flip(data(store), 4096 + 16)
    assert kinds(check(store)) >= {Damage.GRAPH_PAGES}


def test_what_can_be_read_of_an_older_graph_is_kept(store):
    """The older graph has no id and lacks entries of index.json: that is damage, not another store's graph."""
    with store.graph.write() as change:
        for number in range(300):
            change.put_name(f"many:{number}", OTHER.digest)
    stores.make_older(store)
    path, known = data(store), []
    for page in used_pages(path):
        original = path.read_bytes()
        flip(path, page * 4096 + 10, 1)
        found = walk(str(path), MAP_SIZE, lambda key, _value: known.append(key))
        if page > 1 and not found.is_whole and b"containers/box" in known:
            break
        path.write_bytes(original)
        known.clear()
    else:
        pytest.fail("no page is right")
    repair(store, check(store))
    assert Damage.CONTAINER_IMAGE not in kinds(check(store))
    assert EXAMPLE.digest in stores.names(store).values()


@pytest.mark.parametrize("point", ["repair.graph-made", "repair.graph-kept", "repair.graph-replaced"])
@pytest.mark.parametrize("links", [True, False])
def test_there_is_a_graph_at_every_moment(store, monkeypatch, point, links):
    """Killed at each step of making it again, also on a file system without hard links."""
    names = stores.names(store)
    damage_pages(store)
    inode = os.stat(store.directories.graph).st_ino
    if not links:
        monkeypatch.setattr(os, "link", no_links)

    def killed():
        trace.listen(lambda name: os.kill(os.getpid(), signal.SIGKILL) if name == point else None)
        repair(store, check(store))

    stores.forked(killed, -signal.SIGKILL)
    assert data(store).stat().st_size > 0
    assert os.stat(store.directories.graph).st_ino == inode
    if point == "repair.graph-replaced":
        assert stores.names(store) == names
    assert [finding for finding in repair(store, check(store)) if not finding.repaired] == []
    collect(store)
    stores.verify_clean(store)
    assert stores.names(store) == names


def no_links(*_arguments, **_named):
    raise OSError(1, "Operation not permitted")


def test_the_damaged_graph_is_kept(store):
    damage_pages(store)
    before = data(store).read_bytes()
    repair(store, check(store))
    (aside,) = Path(store.directories.root).glob("graph.damaged-*")
    assert [path.name for path in aside.iterdir()] == ["data.mdb"]
    assert (aside / "data.mdb").read_bytes() == before


def test_who_waited_to_open_it_locks_what_all_others_lock(store):
    damage_pages(store)
    said, saying = os.pipe()
    waiting = []

    def open_it():
        trace.listen(None)
        os.write(saying, b"?")
        with Store(store.directories.root, store.directories.runroot) as mine:
            assert len(mine.images()) == 2
            maps = Path("/proc/self/maps").read_text()
            (lock,) = {line.split(maxsplit=5)[5].strip() for line in maps.splitlines() if "lock.mdb" in line}
        os.write(saying, lock.encode())

    def reached(name):
        if name == "repair.graph-kept":
            waiting.append(os.fork())
            if waiting == [0]:
                guarded(open_it)
        elif name == "repair.graph-replaced":
            os.read(said, 1)
            # It is waiting for the lock by now.
            time.sleep(0.1)

    trace.listen(reached)
    try:
        repair(store, check(store))
    finally:
        trace.listen(None)
    os.close(saying)
    assert os.read(said, 4096).decode() == f"{store.directories.graph}/lock.mdb"
    assert os.waitpid(waiting[0], 0)[1] == 0
    os.close(said)


KEYS = (b"meta/format", b"names/other:1", f"blobs/{EXAMPLE.digest}".encode())


@pytest.mark.parametrize(("bit", "key"), budget.one_of(5, itertools.product(range(8), KEYS)))
def test_a_seal_that_does_not_look_like_one(store, key, bit):
    """A value without a seal is one of format 1: a value that a flipped bit makes look so must not be believed."""
    records = stores.records(store)
    with store.graph.write() as change:
        value = bytearray(change.raw(key))
        value[-9] ^= 1 << bit
        change.put_raw(key, bytes(value))
    store.close()
    found = check(store)
    assert kinds(found) & {Damage.RECORD_DAMAGED, Damage.GRAPH_PAGES}
    mended(store, records)


def test_what_is_no_record_of_ours_goes(store):
    records = stores.records(store)
    with store.graph.write() as change:
        key = f"images/{EXAMPLE.digest}".encode()
        value = change.raw(key)
        change.delete_raw(key)
        change.put_raw(b"images/sh\xb2" + key[10:-9], b"\xff" + value[1:])
    assert Damage.RECORD_DAMAGED in kinds(check(store))
    assert [finding for finding in repair(store, check(store)) if not finding.repaired] == []
    store.sync_trees()
    stores.verify_clean(store)
    assert stores.records(store).keys() == records.keys()


def test_it_is_not_made_anew_under_others(store):
    store.close()
    flip(data(store), 4096 * 2 + 1)
    flip(data(store), 4096 + 16)
    findings = check(store)
    assert kinds(findings) >= {Damage.GRAPH_PAGES}
    with stores.in_child(lambda: _hold(store)):
        deadline = Path(store.directories.root, "held")
        while not deadline.exists():
            pass
        with pytest.raises(InUseError, match="another process"):
            repair(store, findings)
        Path(store.directories.root, "done").touch()


def _hold(store):
    import fcntl

    with open(f"{store.directories.graph}/lock.mdb", "r+b") as file:
        fcntl.lockf(file, fcntl.LOCK_SH, 1)
        Path(store.directories.root, "held").touch()
        while not Path(store.directories.root, "done").exists():
            pass


def test_a_repair_that_is_killed_leaves_something_to_repair(store):
    """At random moments, with the graph, a blob and a tree damaged at once: the next repair ends well."""
    archive = stores.archive_for(store, EXAMPLE, OTHER)
    records = stores.records(store)
    store.close()
    for delay in (0.005, 0.02, 0.04, 0.06, 0.08, 0.1, 0.15):
        flip(data(store), 4096 + 18)
        flip(data(store), 18)
        blob = Path(store.directories.blob(EXAMPLE.layers[0].digest))
        blob.write_bytes(b"x" + blob.read_bytes()[1:])
        shutil.rmtree(store.directories.tree(OTHER.diff_ids[1]))
        with stores.in_child(lambda: repair(store, check(store), [str(archive)]), None) as pid:
            time.sleep(delay)
            os.kill(pid, signal.SIGKILL)
        left = [finding for finding in repair(store, check(store), [str(archive)]) if not finding.repaired]
        assert left == []
        repair(store, check(store))
        store.sync_trees()
        stores.verify_clean(store)
        assert stores.names(store) == {key[6:]: value for key, value in records.items() if key.startswith("names/")}
        store.close()
        for aside in Path(store.directories.root).glob("graph.damaged-*"):
            shutil.rmtree(aside)


def test_the_size_of_a_layer_is_that_of_its_own_record(store):
    """Without its record, the size is found by the blob, whatever other layers have."""
    picture = images.image(*[images.layer([images.file("f", b"x" * size)]) for size in (10, 50_000)], names=["two:1"])
    stores.bring(store, picture)
    with store.graph.read() as snapshot:
        known = {f"layers/{key}": record for key, record in snapshot.layers()}
    found = Reconstruction(store.directories, known)
    empty = Reconstruction(store.directories, {})
    for layer in picture.layers:
        for one in (found, empty):
            assert one._tar_size(Digest(layer.digest), Digest(layer.diff_id)) == len(layer.tar)
