"""The graph: snapshots and changes, one writer, processes, versions, damage."""

from __future__ import annotations

import errno
import os
import signal
import time
from typing import NamedTuple

import lmdb
import pytest
from support import stores

from arstore.disk.reserve import SPARE, SPARE_SIZE
from arstore.errors import NotFoundError, StoreDamagedError, StoreVersionError
from arstore.graph.graph import FORMAT, Graph
from arstore.graph.record_checksum import unsealed
from arstore.graph.records import BlobRecord, ContainerRecord, ImageRecord, LayerRecord, LeaseRecord, TreeRecord

A, B, C = (f"sha256:{letter * 64}" for letter in "abc")


@pytest.fixture
def graph(tmp_path):
    (tmp_path / "graph").mkdir()
    made = Graph(str(tmp_path / "graph"))
    yield made
    made.release()


def put(graph, digest, size=1):
    with graph.write() as change:
        change.put_blob(digest, BlobRecord(size))


def blobs(graph):
    with graph.read() as snapshot:
        return dict(snapshot.blobs())


def raw(graph, key, value):
    graph.release()
    with lmdb.open(graph.path) as environment, environment.begin(write=True) as transaction:
        transaction.put(key, value)


RECORDS = [
    ("blob", A, BlobRecord(1, B, 2)),
    ("layer", A, LayerRecord(B, C, (A, B), 3, A)),
    ("tree", A, TreeRecord("directory", "boot", True, 1, 2, False)),
    ("image", A, ImageRecord("type", 1, "linux/amd64", "", 1.5, B, (C,), A, None)),
    ("container", "one", ContainerRecord(A, 1.5, True, 1, 2, "boot")),
    ("lease", "one", LeaseRecord((A,), "run", 1, 2, "boot", 1.5)),
]


@pytest.mark.parametrize(("kind", "key", "record"), RECORDS, ids=[kind for kind, _, _ in RECORDS])
def test_every_kind_of_record(graph, kind, key, record):
    with graph.write() as change:
        getattr(change, f"put_{kind}")(key, record)
        assert dict(getattr(change, f"{kind}s")()) == {key: record}
    with graph.read() as snapshot:
        assert dict(getattr(snapshot, f"{kind}s")()) == {key: record}
        if kind != "lease":
            assert getattr(snapshot, kind)(key) == record
            assert getattr(snapshot, kind)(key + "0") is None
    with graph.write() as change:
        assert change.delete(f"{kind}s", key)
        assert not change.delete(f"{kind}s", key)
    with graph.read() as snapshot:
        assert dict(getattr(snapshot, f"{kind}s")()) == {}


class _Layers(NamedTuple):
    parent: list[str]
    blobs: list[tuple[str, ...]]
    size: list[int]
    tree: list[str]


def test_what_many_records_have_is_held_once(graph):
    """A store of 200,000 layers with one blob and one tree would otherwise have 200,000 strings of each."""
    number = [f"sha256:{digit:064x}" for digit in range(300)]
    with graph.write() as change:
        for one in number:
            change.put_layer(one, LayerRecord(B, one, (C,), 100_000, A))
        change.put_image(A, ImageRecord("type", 1, "linux/amd64", "", 1.5, B, (C, B) * 1000, A, None))
    with graph.read() as snapshot:
        keys, layers = snapshot.columns("layers", _Layers)
        layers_of_image = snapshot.every("images", NamedTuple("Part", [("layers", tuple)]))[A].layers
    # In each list that was decoded together; the first ones are short.
    assert len(set(map(id, layers.blobs))) == len(set(map(id, layers.tree))) == len(set(map(id, layers.size))) == 1
    assert (keys, layers.parent) == (number, number)
    assert (set(layers.blobs), set(layers.tree), set(layers.size)) == ({(C,)}, {A}, {100_000})
    assert layers_of_image == (C, B) * 1000
    assert len(set(map(id, layers_of_image))) == 2


def test_records_with_lists_in_lists_are_read_as_before(graph):
    odd = LayerRecord(B, "", ([C],), 1, A)
    with graph.write() as change:
        for digit in range(3):
            change.put_layer(f"sha256:{digit:064x}", odd)
    with graph.read() as snapshot:
        _, layers = snapshot.columns("layers", _Layers)
    assert layers.blobs == [([C],)] * 3


def test_large_records_are_decoded_a_few_at_a_time(graph):
    """All of 20 images with 10,000 layers each at once would take 100 MB."""
    layers = tuple(f"sha256:{number:064x}" for number in range(4000))
    with graph.write() as change:
        for digit in range(20):
            change.put_image(
                f"sha256:{digit:064x}", ImageRecord("type", 1, "", "", 1.5, B, (*layers, str(digit)), A, None)
            )
    with graph.read() as snapshot:
        found = [(keys, part.layers) for keys, part in snapshot.batches("images", NamedTuple("P", [("layers", list)]))]
    assert max(len(keys) for keys, _ in found) == 4
    assert [key for keys, _ in found for key in keys] == [f"sha256:{digit:064x}" for digit in range(20)]
    assert [one for _, column in found for one in column] == [(*layers, str(digit)) for digit in range(20)]


def test_tables_with_like_names_do_not_mix(graph):
    with graph.write() as change:
        change.put_image(A, ImageRecord("t", 1, "", "", 0.0))
        change.put_name("images/x:1", A)
        change.put_name("blobs:1", A)
    with graph.read() as snapshot:
        assert [key for key, _ in snapshot.images()] == [A]
        assert list(snapshot.blobs()) == []
        assert dict(snapshot.names()) == {"images/x:1": A, "blobs:1": A}
        assert snapshot.names_by_digest() == {A: ["blobs:1", "images/x:1"]}


def test_prefixes_of_digests(graph):
    with graph.write() as change:
        for digest in (A, B, "sha256:" + "ab" * 32):
            change.put_image(digest, ImageRecord("t", 1, "", "", 0.0))
    with graph.read() as snapshot:
        assert snapshot.images_with_prefix("sha256:aa") == [A]
        assert len(snapshot.images_with_prefix("sha256:a")) == 2
        assert len(snapshot.images_with_prefix("sha256:")) == 2
        assert snapshot.images_with_prefix("sha256:c") == []
        assert snapshot.images_with_prefix("sha512:") == []


def test_an_exception_undoes_the_change(graph):
    put(graph, A)

    def work():
        with graph.write() as change:
            change.put_blob(B, BlobRecord(2))
            raise NotFoundError("x", "y")

    with pytest.raises(NotFoundError):
        work()
    assert blobs(graph) == {A: BlobRecord(1)}


def test_a_snapshot_is_one_moment(graph):
    put(graph, A)
    with graph.read() as snapshot:
        put(graph, B)
        assert [key for key, _ in snapshot.blobs()] == [A]
    assert set(blobs(graph)) == {A, B}


def test_chains(graph):
    with graph.write() as change:
        change.put_layer(A, LayerRecord(A, "", (), 1, ""))
        change.put_layer(B, LayerRecord(B, A, (), 1, ""))
    with graph.read() as snapshot:
        assert [chain for chain, _ in snapshot.chain(B)] == [A, B]
        assert snapshot.chain("") == []
        with pytest.raises(StoreDamagedError, match="missing"):
            snapshot.chain(C)


def test_a_chain_without_an_end(graph):
    with graph.write() as change:
        change.put_layer(A, LayerRecord(A, B, (), 1, ""))
        change.put_layer(B, LayerRecord(B, A, (), 1, ""))
    with graph.read() as snapshot, pytest.raises(StoreDamagedError, match="ancestor"):
        snapshot.chain(A)


def test_it_opens_again_after_a_release_and_in_a_child(graph):
    put(graph, A)
    graph.release()
    graph.release()
    stores.forked(lambda: put(graph, B))
    assert set(blobs(graph)) == {A, B}


def test_writers_wait_for_each_other_and_lose_nothing(graph):
    put(graph, A, 0)
    graph.release()

    def count():
        own = Graph(graph.path)
        for _ in range(20):
            with own.write() as change:
                change.put_blob(A, BlobRecord(change.blob(A).size + 1))

    with stores.in_child(count), stores.in_child(count):
        count()
    assert blobs(graph)[A].size == 60


def test_readers_never_wait(graph):
    put(graph, A)
    graph.release()
    reading, writing = os.pipe()

    def hold():
        with Graph(graph.path).write() as change:
            change.put_blob(B, BlobRecord(1))
            os.write(writing, b"x")
            time.sleep(30)

    with stores.in_child(hold, -signal.SIGKILL) as pid:
        os.read(reading, 1)
        started = time.monotonic()
        assert set(blobs(graph)) == {A}
        assert time.monotonic() - started < 5
        os.kill(pid, signal.SIGKILL)
    os.close(reading)
    os.close(writing)
    put(graph, C)
    assert set(blobs(graph)) == {A, C}


def growth(graph):
    """The growth of the file in bytes when processes, one after the other, change the same record a hundred times."""
    path = f"{graph.path}/data.mdb"
    sizes = []
    for number in range(120):
        put(graph, A, number)
        graph.release()
        sizes.append(os.path.getsize(path))
    return sizes[-1] - sizes[19]


def test_what_a_killed_reader_saw_is_not_kept_for_it(graph):
    put(graph, A)
    graph.release()
    reading, writing = os.pipe()

    def read():
        with Graph(graph.path).read() as snapshot:
            assert snapshot.blob(A) == BlobRecord(1)
            os.write(writing, b"x")
            time.sleep(60)

    with stores.in_child(read, -signal.SIGKILL) as pid:
        os.read(reading, 1)
        # Each change takes new pages, because the reader may still read the old ones.
        assert growth(graph) >= 100 * 4096
        os.kill(pid, signal.SIGKILL)
    os.close(reading)
    os.close(writing)
    for _ in range(5):
        stores.forked(lambda: _die_reading(graph.path), -signal.SIGKILL)
    assert growth(graph) == 0


def _die_reading(path):
    with Graph(path).read():
        os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize("version", [b"4", b"999", b"0", b"x", b"\xff"])
def test_another_format_is_refused(graph, version):
    assert str(FORMAT).encode() != version
    put(graph, A)
    raw(graph, b"meta/format", version)
    before = (graph.path, os.stat(f"{graph.path}/data.mdb").st_mtime_ns)
    for access in (graph.read, graph.write):
        with pytest.raises(StoreVersionError, match="format"), access():
            pass
    assert (graph.path, os.stat(f"{graph.path}/data.mdb").st_mtime_ns) == before


@pytest.mark.parametrize("value", [b"", b"{", b"[]", b'{"other":1}', b"\xff\xff", b"1", b"[" * 100_000])
def test_a_damaged_record_is_an_error_of_the_store(graph, value):
    put(graph, A)
    raw(graph, f"blobs/{A}".encode(), value)
    with pytest.raises(StoreDamagedError, match="blobs"), graph.read() as snapshot:
        snapshot.blob(A)


def damage(path, kind):
    data = bytearray(path.read_bytes())
    if kind == "empty pages":
        data[:] = bytes(len(data))
    elif kind == "text":
        data[:] = b"not a database\n" * (len(data) // 15)
    elif kind == "short":
        del data[100:]
    path.write_bytes(data)


@pytest.mark.parametrize("kind", ["empty pages", "text", "short"])
def test_a_damaged_file_is_an_error_of_the_store(graph, tmp_path, kind):
    put(graph, A)
    graph.release()
    damage(tmp_path / "graph" / "data.mdb", kind)
    with pytest.raises(StoreDamagedError):
        blobs(graph)


def test_a_store_of_format_1_is_read_and_becomes_one_of_this_format(graph):
    put(graph, A)
    raw(graph, b"meta/format", b"1")
    raw(graph, f"blobs/{A}".encode(), b'{"size":7}')
    assert blobs(graph)[A].size == 7
    graph.release()
    put(graph, B)
    with graph.write() as change:
        assert unsealed(b"meta/format", change.raw(b"meta/format")) == b"3"
    assert blobs(graph)[A].size == 7


def test_a_flipped_bit_in_a_value_is_found_and_passed_over_by_the_lenient(graph):
    put(graph, A)
    with graph.write() as change:
        change.put_name("app:1", A)
        for key in (b"names/app:1", f"blobs/{A}".encode()):
            value = bytearray(change.raw(key))
            value[3] ^= 1
            change.put_raw(key, bytes(value))
    for look in (lambda one: one.name("app:1"), lambda one: list(one.names()), lambda one: list(one.blobs())):
        with pytest.raises(StoreDamagedError, match="cannot be read"), graph.read() as snapshot:
            look(snapshot)
    with graph.read(lenient=True) as snapshot:
        assert snapshot.name("app:1") is None
        assert (list(snapshot.names()), list(snapshot.blobs()), snapshot.blob(A)) == ([], [], None)


def test_space_that_is_given_up_is_not_taken_again_before_it_was_used(graph):
    spare = f"{graph.path}/{SPARE}"
    put(graph, A)
    assert os.stat(spare).st_size == SPARE_SIZE
    graph.release()
    with graph.spare_given_up():
        put(graph, B)
        assert not os.path.exists(spare)
    assert os.stat(spare).st_size == SPARE_SIZE


def test_the_spare_file_is_as_large_as_there_is_room_for(graph, monkeypatch):
    allocate = os.posix_fallocate

    def full(fd, offset, size):
        if size > SPARE_SIZE // 8 and os.readlink(f"/proc/self/fd/{fd}").endswith(SPARE):
            raise OSError(errno.ENOSPC, "no room")
        allocate(fd, offset, size)

    monkeypatch.setattr(os, "posix_fallocate", full)
    put(graph, A)
    assert os.stat(f"{graph.path}/{SPARE}").st_size == SPARE_SIZE // 8
    monkeypatch.undo()
    graph.release()
    put(graph, B)
    assert os.stat(f"{graph.path}/{SPARE}").st_size == SPARE_SIZE


def test_a_lock_file_that_a_power_cut_left_short_is_made_whole(graph):
    put(graph, A)
    graph.release()
    path = f"{graph.path}/lock.mdb"
    whole = os.stat(path).st_size
    os.truncate(path, 0)
    put(graph, B)
    assert blobs(graph).keys() == {A, B}
    status = os.stat(path)
    assert status.st_size >= whole
    assert status.st_blocks * 512 >= whole
