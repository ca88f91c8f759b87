"""Pulls that are cut short: the next pull fetches the missing bytes, and believes nothing of the partial blobs."""

import os
import random
import signal
import subprocess
import time

import pytest
from support import images
from support import registry as registries
from support.cli import Arstore
from support.registry_user import become_unconfigured

INSECURE = "--tls-verify=false"
FILES = [images.file(f"file{number}", os.urandom(300_000)) for number in range(10)]
PICTURE = images.image(images.layer(FILES), images.layer([images.file("small", os.urandom(50_000))]))
BIG, SMALL = (layer.digest for layer in PICTURE.layers)
SIZES = {layer.digest: len(layer.blob) for layer in PICTURE.layers}
CHUNK = 1 << 20


@pytest.fixture
def server():
    with registries.served() as served:
        served.put_image("a/b", "1", PICTURE)
        yield served


@pytest.fixture
def store(tmp_path, monkeypatch):
    become_unconfigured(monkeypatch, tmp_path)
    return Arstore(tmp_path / "store", tmp_path / "run")


def pull(store, server):
    return store.run("pull", INSECURE, f"{server.host}/a/b:1")


def partial(store):
    place = store.root / "ingest/partial"
    return {path.name: path.stat().st_size for path in place.iterdir()} if place.is_dir() else {}


def sent(server, since=0):
    """Bytes of blobs that the server has sent."""
    return sum(one.size for one in server.log[since:] if "/blobs/" in one.path and one.method == "GET")


def killed(store, server, place, how=signal.SIGKILL):
    """Pull until the server has stopped at *place* of the large layer, and kill the process."""
    server.fault("GET", BIG, cut=place, stall=60)
    process = subprocess.Popen(
        store.words("pull", INSECURE, f"{server.host}/a/b:1"), env=store.environment(), stderr=subprocess.DEVNULL
    )
    try:
        end = time.monotonic() + 30
        while time.monotonic() < end and not has_come(store, server, place):
            time.sleep(0.02)
    finally:
        process.send_signal(how)
        process.wait()


def has_come(store, server, place):
    """Whether the server has sent *place* bytes of the large layer, and the store has all but the last chunk."""
    if not any(one.size >= place for one in server.asked("GET", BIG)):
        return False
    staged = store.root.glob(f"ingest/*/fetched-{BIG.replace(':', '-')}-*")
    return max((path.stat().st_size for path in staged), default=-1) >= place - CHUNK


@pytest.mark.parametrize(
    ("part", "how"), [(0.1, signal.SIGKILL), (0.5, signal.SIGKILL), (0.9, signal.SIGKILL), (0.5, signal.SIGINT)]
)
def test_what_is_there_is_not_fetched_again(store, server, part, how):
    place = int(SIZES[BIG] * part)
    killed(store, server, place, how)
    since = len(server.log)
    done = pull(store, server)
    assert done.status == 0, done.err
    again = sent(server, since) - len(PICTURE.config)
    assert again <= SIZES[BIG] - place + SIZES[SMALL] + CHUNK
    assert store.run("check").status == 0
    assert partial(store) == {}
    assert os.listdir(store.root / "ingest") in ([], ["partial"])


def kept(store, server, data, digest=BIG):
    """Store *data* as the partial blob of an earlier pull."""
    assert store.run("pull", INSECURE, "--name", "other:1", f"{server.host}/other:1").status == 0
    place = store.root / "ingest/partial"
    place.mkdir(mode=0o700)
    (place / digest.replace(":", "-")).write_bytes(data)


@pytest.fixture
def other(server):
    server.put_image("other", "1", images.example())


@pytest.mark.parametrize("size", [1, 1_000_000, -1, 0])
def test_what_is_wrong_is_not_believed(store, server, other, size):
    blob = PICTURE.layers[0].blob
    size = len(blob) + size if size <= 0 else size
    kept(store, server, bytes(size))
    since = len(server.log)
    done = pull(store, server)
    assert done.status == 0, done.err
    assert sent(server, since) >= len(blob)
    assert store.run("check").status == 0
    assert partial(store) == {}


def test_all_of_a_blob_is_not_asked_for(store, server, other):
    kept(store, server, PICTURE.layers[0].blob)
    assert pull(store, server).status == 0
    assert not server.asked("GET", BIG)
    assert store.run("check").status == 0


def test_more_than_the_blob_has_is_deleted(store, server, other):
    kept(store, server, PICTURE.layers[0].blob + b"x")
    assert pull(store, server).status == 0
    assert partial(store) == {}


def test_the_bill_and_the_collector_know_it(store, server, other):
    kept(store, server, random.randbytes(1_000_000))
    assert store.run("check").status == 0
    bill = store.run("du", "--json").json
    assert bill["ingest"] >= 1_000_000
    assert bill["reclaimable"] >= 1_000_000
    assert store.run("gc").status == 0
    assert not (store.root / "ingest/partial").exists()
    assert store.run("du", "--json").json["ingest"] < 100_000
