"""The pages of the graph that are mapped: let go in good time, and read again as before."""

from __future__ import annotations

import ctypes
import mmap
import os
import tempfile
from pathlib import Path

import pytest
from support import stores, waiting

from arstore.graph import residency
from arstore.graph.records import BlobRecord
from arstore.graph.residency import Residency, let_go

COUNT = 20_000


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    with stores.opened(tmp_path_factory.mktemp("large")) as made:
        filled(made)
        yield made


def filled(store) -> None:
    with store.graph.write() as change:
        for number in range(COUNT):
            change.put_blob(f"sha256:{number:064x}", BlobRecord(number))


def mapped(store) -> int:
    """Bytes of the graph's file that are in the memory of this process."""
    wanted, found = os.path.join(store.directories.graph, "data.mdb"), 0
    with open("/proc/self/smaps", encoding="utf-8") as file:
        is_it = False
        for line in file:
            if "-" in line.split()[0]:
                is_it = line.rstrip().endswith(wanted)
            elif is_it and line.startswith("Rss:"):
                found += int(line.split()[1]) << 10
    return found


def size(store) -> int:
    return os.path.getsize(os.path.join(store.directories.graph, "data.mdb"))


def test_what_is_let_go_is_read_again(store):
    with store.graph.read() as snapshot:
        before = list(snapshot.blobs())
        assert mapped(store) > size(store) // 2
        assert let_go() >= size(store)
        assert mapped(store) == 0
        assert list(snapshot.blobs()) == before
        assert len(before) == COUNT


def test_a_large_table_is_never_mapped_completely(store, monkeypatch):
    monkeypatch.setattr(residency, "STEP", 256 << 10)
    most = 0
    with store.graph.read() as snapshot:
        let_go()
        for number, _ in enumerate(snapshot.blobs()):
            if number % 500 == 0:
                most = max(most, mapped(store))
    assert 0 < most < size(store) // 2


@pytest.mark.parametrize("way", ["get", "has", "keys", "raw"])
def test_every_way_of_reading_counts(store, monkeypatch, way):
    gone = []
    monkeypatch.setattr(residency, "let_go", lambda: gone.append(1))
    monkeypatch.setattr(residency, "STEP", 64 << 10)
    with store.graph.read() as snapshot:
        for number in range(20):
            digest = f"sha256:{number:064x}"
            match way:
                case "get":
                    assert snapshot.blob(digest) is not None
                case "has":
                    assert snapshot.has("blobs", digest)
                case "raw":
                    assert snapshot.raw(f"blobs/{digest}".encode())
        if way == "keys":
            assert len(snapshot.keys("blobs")) == COUNT
    assert gone


def test_nothing_that_was_written_is_lost(store):
    with store.graph.write() as change:
        for number in range(0, COUNT, 7):
            change.put_blob(f"sha256:{number:064x}", BlobRecord(number + 1))
            if number % 7000 == 0:
                let_go()
    with store.graph.read() as snapshot:
        assert snapshot.blob(f"sha256:{0:064x}") == BlobRecord(1)
        assert sum(blob.size for _, blob in snapshot.blobs()) == sum(range(COUNT)) + len(range(0, COUNT, 7))


def test_without_proc_nothing_happens(monkeypatch):
    def missing():
        raise FileNotFoundError

    monkeypatch.setattr(residency, "_maps", missing)
    assert let_go() == 0


def test_it_is_done_only_in_good_time(monkeypatch):
    gone = []
    monkeypatch.setattr(residency, "let_go", lambda: gone.append(1))
    counted = Residency()
    for _ in range(2 * residency.STEP // residency.SPREAD):
        counted.note()
    assert len(gone) == 2


def test_the_file_is_read_before_its_pages_are_needed():
    # Where other temporary files may be in memory, from which nothing can be evicted.
    with tempfile.TemporaryDirectory(dir="/var/tmp") as place, stores.opened(Path(place)) as store:
        filled(store)
        with store.graph.read() as snapshot, open(os.path.join(store.directories.graph, "data.mdb"), "rb") as file:
            let_go()
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            assert cached(file) < size(store) // 2
            snapshot.read_ahead()
            waiting.eventually(lambda: cached(file) == size(store))


def cached(file) -> int:
    """Bytes of an open file that are in the page cache (mincore(2))."""
    length = os.fstat(file.fileno()).st_size
    pages = (ctypes.c_ubyte * -(-length // mmap.PAGESIZE))()
    with mmap.mmap(file.fileno(), length, access=mmap.ACCESS_COPY) as mapped:
        address = ctypes.addressof(ctypes.c_char.from_buffer(mapped))
        assert ctypes.CDLL(None).mincore(ctypes.c_void_p(address), ctypes.c_size_t(length), pages) == 0
    return min(sum(page & 1 for page in pages) * mmap.PAGESIZE, length)
