"""Graphs that are only read: of other users, who write to them meanwhile, and the empty one without a store."""

from __future__ import annotations

import os
import signal

import lmdb
import pytest
from support import stores

from arstore.disk.access import Access
from arstore.errors import InUseError, NoStoreError, PermissionDeniedError, StoreDamagedError, StoreVersionError
from arstore.graph.graph import Graph
from arstore.graph.record_checksum import sealed
from arstore.graph.records import BlobRecord

A, B = (f"sha256:{letter * 64}" for letter in "ab")


@pytest.fixture
def theirs(tmp_path):
    (tmp_path / "graph").mkdir()
    made = Graph(str(tmp_path / "graph"))
    with made.write() as change:
        change.put_blob(A, BlobRecord(1))
        change.put_blob(B, BlobRecord(1))
    made.release()
    yield made
    made.release()


def only_read(graph):
    return Graph(graph.path, create=False, only_read=True)


def state(directory):
    return {name: os.stat(f"{directory}/{name}")[:10] for name in sorted(os.listdir(directory))}


def test_nothing_is_written_beside_it(theirs):
    os.unlink(f"{theirs.path}/lock.mdb")
    before = state(theirs.path)
    graph = only_read(theirs)
    with graph.read() as snapshot:
        assert dict(snapshot.blobs()) == {A: BlobRecord(1), B: BlobRecord(1)}
    assert graph.access is Access.FROZEN
    assert not graph.is_settled()
    with pytest.raises(PermissionDeniedError, match="is an additional store"), graph.write():
        pass
    with pytest.raises(PermissionDeniedError, match="is an additional store"), graph.spare_given_up():
        pass
    graph.release()
    after = state(theirs.path)
    assert after.keys() == before.keys()
    assert {name: one[1] for name, one in after.items()} == {name: one[1] for name, one in before.items()}
    assert {name: one[8] for name, one in after.items()} == {name: one[8] for name, one in before.items()}


def test_what_is_read_is_of_one_moment(theirs):
    """A writer changes two records together, as fast as it can; a reader must never see only one of the changes."""
    child = os.fork()
    if child == 0:
        try:
            for number in range(2, 100_000):
                with theirs.write() as change:
                    change.put_blob(A, BlobRecord(number))
                    change.put_blob(B, BlobRecord(number))
        finally:
            os._exit(0)
    try:
        seen = set()
        for _ in range(200):
            graph = only_read(theirs)
            try:
                with graph.read() as snapshot:
                    one, other = snapshot.blob(A), snapshot.blob(B)
            except InUseError:
                continue
            finally:
                graph.release()
            assert one == other
            seen.add(one)
        assert len(seen) > 2
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def test_a_newer_format_is_refused(theirs):
    with lmdb.open(theirs.path) as environment, environment.begin(write=True) as transaction:
        transaction.put(b"meta/format", sealed(b"meta/format", b"4"))
    with pytest.raises(StoreVersionError, match="has store format 4"), only_read(theirs).read():
        pass


@pytest.mark.parametrize("length", [0, 100, 4096, 9000])
def test_a_file_that_is_cut_short_is_damage(theirs, length):
    os.truncate(f"{theirs.path}/data.mdb", length)
    with pytest.raises((StoreDamagedError, NoStoreError)), only_read(theirs).read() as snapshot:
        list(snapshot.blobs())


def test_a_store_that_is_not_there_has_nothing(tmp_path):
    graph = Graph(str(tmp_path / "none/graph"), create=False, void=True)
    with graph.read() as snapshot:
        assert not list(snapshot.images())
        assert snapshot.name("app:1") is None
    with pytest.raises(NoStoreError), graph.write():
        pass
    graph.release()
    assert not (tmp_path / "none").exists()


def test_an_older_store_is_read_and_stays_what_it_is(tmp_path):
    store = stores.opened(tmp_path)
    with store.graph.read() as snapshot:
        keys = {b"meta/id": snapshot.raw(b"meta/id"), b"meta/lineage": snapshot.raw(b"meta/lineage")}
    store.close()
    path = store.graph.path
    with lmdb.open(path) as environment, environment.begin(write=True) as transaction:
        transaction.put(b"meta/format", sealed(b"meta/format", b"2"))
        for key in keys:
            transaction.delete(key)
    os.unlink(f"{store.directories.root}/store.json")
    with open(f"{path}/data.mdb", "rb") as file:
        before = file.read()
    graph = Graph(path, store.directories, create=False, only_read=True)
    with graph.read() as snapshot:
        assert not list(snapshot.images())
    graph.release()
    with open(f"{path}/data.mdb", "rb") as file:
        assert file.read() == before
