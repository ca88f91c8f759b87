"""A pull that was cut short is repeated: only missing bytes are fetched, and wrong partial blobs do no harm."""

from __future__ import annotations

import os
import random
import re
import time

import pytest
from support import images
from support import registry as registries
from support.cli import kill

from arstore.digest import Digest
from arstore.disk.partial import PARTIAL

pytestmark = pytest.mark.root

_MIB = 1 << 20


def picture(seed, count=3, size=3 * _MIB):
    """An image of incompressible layers."""
    content = random.Random(seed)
    layers = [images.layer([images.file(f"file-{n}", content.randbytes(size))], "none") for n in range(count)]
    return images.image(*layers)


@pytest.fixture
def server():
    with registries.served() as found:
        yield found


@pytest.fixture
def image(server):
    found = picture(1)
    server.put_image("a/b", "1", found)
    return found


def pull(store, server, *more):
    return store.run("pull", "--tls-verify=false", f"{server.host}/a/b:1", *more)


def sent(server):
    """Bytes of blobs that the server has sent, and the first byte of each request for a layer."""
    asked = server.asked("GET", "/blobs/")
    firsts = [int(re.match("bytes=([0-9]+)-", one.headers.get("range", "bytes=0-"))[1]) for one in asked]
    return sum(one.size for one in asked), firsts


def beginnings(store):
    place = store.root / "ingest" / PARTIAL
    return {entry.name: entry.stat().st_size for entry in os.scandir(place)} if place.is_dir() else {}


def is_clean(store):
    assert store.run("check").status == 0
    assert beginnings(store) == {}


def wait_for(condition):
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.parametrize("at", [1, _MIB, 2 * _MIB + 12345])
def test_a_killed_pull_goes_on(store, server, image, at):
    for one in image.layers[:2]:
        server.fault("GET", re.escape(one.digest), cut=at, stall=60)
    process = store.start("pull", "--tls-verify=false", f"{server.host}/a/b:1")
    wait_for(lambda: len([one for one in server.asked("GET", "/blobs/") if one.size == at]) >= 1)
    time.sleep(0.3)
    kill(process)
    server.faults.clear()
    before = len(server.log)
    outcome = pull(store, server)
    assert outcome.status == 0, outcome.err
    missing = sum(len(one.blob) for one in image.layers) - at
    came = sum(one.size for one in server.log[before:] if "/blobs/" in one.path and one.method == "GET")
    assert came <= missing + len(image.config) + _MIB
    is_clean(store)
    assert store.json("inspect", f"{server.host}/a/b:1")["digest"] == image.digest


def test_a_pull_that_failed_goes_on(store, server, image):
    server.fault("GET", re.escape(image.layers[1].digest), cut=2 * _MIB)
    server.fault("GET", re.escape(image.layers[1].digest), times=100, status=403, before=True)
    outcome = pull(store, server)
    assert outcome.status != 0
    assert "Traceback" not in outcome.err
    assert beginnings(store)[f"sha256-{Digest(image.layers[1].digest).hex}"] == 2 * _MIB
    assert store.json("images") == []
    assert store.run("check").status == 0
    bill = store.bill()
    assert bill["ingest"] >= 2 * _MIB
    assert bill["reclaimable"] >= 2 * _MIB
    server.faults.clear()
    server.log.clear()
    assert pull(store, server).status == 0
    asked = server.asked("GET", re.escape(image.layers[1].digest))
    assert [one.headers.get("range", "").partition("-")[0] for one in asked] == [f"bytes={2 * _MIB}"]
    is_clean(store)


def test_whole_layers_of_a_failed_pull_are_not_asked_for(store, server, image):
    server.fault("GET", re.escape(image.layers[2].digest), times=100, status=403, before=True)
    assert pull(store, server).status != 0
    whole = [name for name, size in beginnings(store).items() if size > 3 * _MIB]
    server.faults.clear()
    server.log.clear()
    assert pull(store, server).status == 0
    asked = {one.path.rpartition(":")[2] for one in server.asked("GET", "/blobs/")}
    assert not asked & {name.rpartition("-")[2] for name in whole}
    is_clean(store)


@pytest.mark.parametrize("change", ["flip", "longer", "other", "whole"])
def test_a_wrong_beginning_is_found_and_dropped(store, server, image, change):
    layer = image.layers[0]
    place = store.root / "ingest" / PARTIAL
    store.ok("pull", "--tls-verify=false", f"{server.host}/a/b:1")
    store.ok("rm", f"{server.host}/a/b:1")
    place.mkdir(mode=0o700)
    content = {
        "flip": bytes([layer.blob[0] ^ 1]) + layer.blob[1:_MIB],
        "longer": layer.blob + b"more",
        "other": random.Random(9).randbytes(_MIB),
        "whole": layer.blob[:-1] + bytes([layer.blob[-1] ^ 1]),
    }[change]
    (place / f"sha256-{Digest(layer.digest).hex}").write_bytes(content)
    outcome = pull(store, server)
    assert outcome.status == 0, outcome.err
    assert store.json("inspect", f"{server.host}/a/b:1")["digest"] == image.digest
    assert store.run("check").status == 0


def test_a_registry_that_ignores_ranges(store, server, image):
    digest = re.escape(image.layers[1].digest)
    server.fault("GET", digest, cut=2 * _MIB)
    server.fault("GET", digest, times=100, status=403, before=True)
    assert pull(store, server).status != 0
    server.faults.clear()
    whole = image.layers[1].blob

    def ignoring(reply):
        reply.status, reply.body = 200, whole
        reply.headers = [one for one in reply.headers if one[0] != "Content-Range"]
        return reply

    server.fault("GET", digest, times=9, change=ignoring)
    outcome = pull(store, server)
    assert outcome.status == 0, outcome.err
    is_clean(store)


def test_wrong_bytes_are_not_kept(store, server, image):
    digest = re.escape(image.layers[0].digest)
    server.fault("GET", digest, times=9, body=b"\0" * len(image.layers[0].blob))
    outcome = pull(store, server)
    assert outcome.status != 0
    assert f"sha256-{Digest(image.layers[0].digest).hex}" not in beginnings(store)


def test_the_collector_takes_them(store, server, image):
    server.fault("GET", re.escape(image.layers[1].digest), cut=2 * _MIB)
    server.fault("GET", re.escape(image.layers[1].digest), times=100, status=403, before=True)
    pull(store, server)
    assert beginnings(store)
    plan = store.json("gc", "--dry-run")
    assert beginnings(store)
    assert plan["bytes"] >= 2 * _MIB
    assert store.json("gc")["bytes"] == plan["bytes"]
    is_clean(store)
