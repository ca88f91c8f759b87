"""Faults of registries in commands: one line, a documented status, and an unchanged store."""

import os
import subprocess

import pytest
from support import images
from support import registry as registries
from support.cli import Arstore
from support.registry import Auth
from support.registry_user import become_unconfigured

PICTURE = images.example()
LAYER = PICTURE.layers[1].digest
OTHER = images.image(images.layer([images.file("other")]), names=["other:1"])
INSECURE = "--tls-verify=false"
MIB = 1 << 20
DOCUMENT = 4 * MIB


@pytest.fixture
def store(tmp_path, monkeypatch):
    become_unconfigured(monkeypatch, tmp_path)
    made = Arstore(tmp_path / "store", tmp_path / "run")
    made.ok("-q", "import", images.write_oci_archive(tmp_path / "other.tar", OTHER))
    return made


def files(store):
    """All files except partial blobs, which are kept for the next pull."""
    return {path for path in store.files() if not path.startswith("ingest/")}


def without_length(reply):
    reply.body, reply.length = b"x" * (DOCUMENT + 1), -1
    return reply


def flipped(reply):
    reply.body = bytes([reply.body[0] ^ 1]) + reply.body[1:]
    return reply


def zeros(reply):
    reply.body = bytes(len(reply.body))
    return reply


def longer(reply):
    reply.body, reply.length = reply.body + b"x", -1
    return reply


def twice(reply):
    reply.headers += [("Content-Length", "1"), ("Content-Length", "2")]
    return reply


DOCKER = "application/vnd.docker.distribution.manifest.v2+json"
CASES = {
    "a layer of the right size and wrong bytes": ("DigestMismatch", "GET", LAYER, {"change": zeros}),
    "a layer of the right size that is no archive": ("Tar", "GET", LAYER, {"change": flipped}),
    "a layer that is longer than announced": ("SizeMismatch", "GET", LAYER, {"change": longer}),
    "a layer whose length is announced otherwise": ("SizeMismatch", "GET", LAYER, {"body": b"x"}),
    "a layer with two lengths": ("RegistryAnswer", "GET", LAYER, {"change": twice}),
    "a layer in a coding": ("RegistryAnswer", "GET", LAYER, {"header": ("Content-Encoding", "gzip")}),
    "a layer that is not there": ("MissingBlob", "GET", LAYER, {"before": True, "status": 404}),
    "a layer that is refused": ("RegistryAccess", "GET", LAYER, {"before": True, "status": 403}),
    "a config of wrong bytes": ("DigestMismatch", "GET", PICTURE.config_digest, {"change": flipped}),
    "a redirect without a place": ("RegistryAnswer", "GET", LAYER, {"before": True, "status": 307}),
    "a redirect to itself": (
        "RegistryAnswer", "GET", LAYER, {"before": True, "status": 307, "header": ("Location", f"./{LAYER}")},
    ),
    "a redirect to a file": (
        "RegistryAnswer", "GET", LAYER, {"before": True, "status": 307, "header": ("Location", "file:///etc/passwd")},
    ),
    "a manifest of 4 MiB and one byte": ("Limit", "GET", "/manifests/", {"body": b"x" * (DOCUMENT + 1)}),
    "a manifest without end": ("Limit", "GET", "/manifests/", {"change": without_length}),
    "a manifest that is a page": (
        "Manifest", "GET", "/manifests/", {"body": b"<html>", "header": ("Docker-Content-Digest", None)},
    ),
    "a digest header that lies": (
        "DigestMismatch", "GET", "/manifests/", {"header": ("Docker-Content-Digest", "sha256:" + "0" * 64)},
    ),
    "types that contradict": ("Manifest", "GET", "/manifests/", {"header": ("Content-Type", DOCKER)}),
    "an error that is a page": (
        "RegistryAnswer", "GET", "/manifests/", {"before": True, "status": 418, "body": b"<html>" * 1000},
    ),
    "an error with control characters": (
        "RegistryAnswer", "GET", "/manifests/", {"before": True, "status": 418, "body": b"\x1b[2J\r\nx" * 1000},
    ),
    "no registry at all": ("RegistryAnswer", "GET", "^/v2/$", {"before": True, "status": 404, "body": b"<html>"}),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_a_pull_of_what_is_wrong(store, case):
    kind, method, pattern, fault = CASES[case]
    with registries.served() as server:
        server.put_image("a/b", "1", PICTURE)
        server.fault(method, pattern, times=99, **fault)
        before = files(store)
        line = store.fails(kind, "-q", "pull", INSECURE, f"{server.host}/a/b:1")
        assert line.isprintable()
        assert len(line) < 1500
        assert files(store) == before
        assert [one["names"] for one in store.json("images")] == [["other:1"]]
        server.faults.clear()
        store.ok("-q", "pull", INSECURE, f"{server.host}/a/b:1")
    store.ok("check")


def test_credentials_go_to_the_registry_alone(store):
    """The logs of all hosts that a registry leads to show no credentials, except its own and its realm."""
    auth = Auth(users={"me": "secret"}, tokens=True)
    with registries.served(auth) as server, registries.served() as storage, registries.served() as mirror:
        server.put_image("a/b", "1", PICTURE)
        storage.put_image("a/b", "1", PICTURE)
        place = f"{storage.url}/v2/a/b/blobs/{LAYER}?signature=1"
        server.fault("GET", LAYER, before=True, status=307, header=("Location", place))
        server.fault("GET", f"/manifests/{PICTURE.digest}", before=True, status=307, header=("Location", mirror.url))
        store.ok("-q", "pull", INSECURE, "--creds", "me:secret", f"{server.host}/a/b:1")
        assert storage.asked("GET", LAYER)
        assert {one.authorization for one in (*storage.log, *mirror.log)} <= {""}
        assert any(one.authorization.startswith("Bearer ") for one in server.log)


@pytest.mark.root
@pytest.mark.mounts
@pytest.mark.parametrize(
    "step", [pytest.param(6, id="every sixth MiB"), pytest.param(1, id="every MiB", marks=pytest.mark.long)]
)
def test_a_file_system_that_is_full_at_some_mib_of_a_pull(tmp_path, monkeypatch, step):
    become_unconfigured(monkeypatch, tmp_path)
    layers = [images.layer([images.file(f"f{n}", os.urandom(4 * MIB))], "none") for n in range(2)]
    picture = images.image(*layers)
    outcomes = []
    with registries.served() as server:
        server.put_image("a/b", "1", picture)
        for size in range(3, 40, step):
            place = tmp_path / f"disk-{size}"
            place.mkdir()
            subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}m", "none", place], check=True)
            try:
                store = Arstore(place / "root", tmp_path / "run")
                store.ok("-q", "import", tmp_path.joinpath("other.tar") if outcomes else _other(tmp_path))
                before = files(store)
                done = store.run("-q", "pull", INSECURE, f"{server.host}/a/b:1")
                outcomes.append(done.status)
                if done.status:
                    assert done.status == 41, done.err
                    assert done.err.count("\n") == 1
                    assert files(store) == before
                    subprocess.run(["mount", "-o", "remount,size=64m", place], check=True)
                    store.ok("-q", "pull", INSECURE, f"{server.host}/a/b:1")
                store.ok("check")
            finally:
                subprocess.run(["umount", place], check=True)
            if not done.status:
                break
    assert outcomes[0] == 41
    assert outcomes[-1] == 0


def _other(tmp_path):
    return images.write_oci_archive(tmp_path / "other.tar", OTHER)
