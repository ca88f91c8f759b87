"""Many small layers: few processes for all of them, and the same store as usual."""

from __future__ import annotations

import os

import pytest
from support import confining, images, stores

from arstore.errors import DigestMismatchError
from arstore.store.ingest import layer_jobs as passes
from arstore.store.ingest.layer_pass import SMALL
from arstore.transport.copy import import_reference
from arstore.workers import confinement

pytestmark = pytest.mark.root


@pytest.fixture
def store(tmp_path):
    with stores.opened(tmp_path) as made:
        yield made


@pytest.fixture
def forks(monkeypatch):
    """The processes that are started."""
    seen = []
    real = os.fork

    def fork():
        pid = real()
        if pid:
            seen.append(pid)
        return pid

    monkeypatch.setattr(os, "fork", fork)
    return seen


def many(number, large=0, compression="none"):
    contents = [images.layer([images.file(f"f{n}", b"%d" % n)], compression) for n in range(number)]
    big = [images.layer([images.file(f"large{n}", os.urandom(SMALL))], "none") for n in range(large)]
    return images.image(*contents, *big, names=["many:1"])


def test_few_processes(store, forks):
    picture = many(200, large=2)
    stores.bring(store, picture)
    small = -(-200 // min(64, -(-200 // len(os.sched_getaffinity(0)))))
    assert len(forks) == 2 + small
    stores.verify_layout(store)
    stores.verify_clean(store)
    assert set(picture.diff_ids) <= stores.trees(store)


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
def test_every_blob_is_synced_before_the_publication(store, monkeypatch, tmp_path, compression):
    log = tmp_path / "log"
    real = os.fdatasync

    def noted(fd):
        with log.open("a") as file:
            file.write(os.path.basename(os.readlink(f"/proc/self/fd/{fd}")) + "\n")
        real(fd)

    monkeypatch.setattr(os, "fdatasync", noted)
    monkeypatch.setattr(confinement, "writing", confining.unconfined)
    picture = many(30, compression=compression)
    stores.bring(store, picture)
    synced = set(log.read_text().split())
    assert {f"blob-{digest.partition(':')[2]}" for digest in picture.blobs()} <= synced


@pytest.mark.parametrize("place", [0, 7, 29])
def test_one_bad_layer_of_many(store, place):
    """One clear error that names it; nothing of the others stays."""
    good = many(30)
    layers = list(good.layers)
    stores.bring(store, stores.simple("before", names=("before:1",)))
    before = stores.State(store)
    bad = images.image(*layers, names=["many:1"])
    altered = bytearray(layers[place].blob)
    altered[512] ^= 1
    path = stores.archive_for(store, bad)
    data = path.read_bytes()
    assert data.count(layers[place].blob) == 1
    path.write_bytes(data.replace(layers[place].blob, bytes(altered)))
    with pytest.raises(DigestMismatchError, match=layers[place].digest[7:19]):
        import_reference(store, str(path))
    before.verify()


def test_a_worker_that_dies_takes_the_import_with_it_and_nothing_else(store, monkeypatch):
    before = stores.State(store)
    real = passes.take_layer
    first = many(30).layers[11].digest

    def die(work, source, report):
        if work.digest == first:
            os._exit(7)
        return real(work, source, report)

    monkeypatch.setattr(passes, "take_layer", die)
    with pytest.raises(Exception, match="worker process ended unexpectedly"):
        stores.bring(store, many(30))
    before.verify()
