"""docker:// against `crane registry serve`: its differences from Debian's docker-registry, and everything else."""

import json
import os
import socket
import subprocess
import threading
from contextlib import contextmanager, suppress

import pytest
from support import craneregistry, images
from support.registry_client import Host
from support.registry_user import become_unconfigured

from arstore.digest import Digest
from arstore.errors import RegistryNotFoundError
from arstore.registry.blobs import RemoteBlob, delete_blob, head_blob
from arstore.registry.manifests import get_manifest, put_manifest
from arstore.registry.referrers import fallback_tag, list_referrers, put_referrer
from arstore.registry.tags import list_tags
from arstore.registry.uploads import BytesBlob, mount, upload

PICTURE = images.example()
DATA = os.urandom(1_000_000)
DIGEST = Digest.of(DATA)
INSECURE = "--tls-verify=false"
pytestmark = pytest.mark.tools("crane")


@pytest.fixture
def server(tmp_path):
    with craneregistry.served(tmp_path) as host:
        yield Host(host)


@pytest.fixture(autouse=True)
def unconfigured(monkeypatch, tmp_path):
    become_unconfigured(monkeypatch, tmp_path)


def push(repository, picture, tag):
    for data in (picture.config, *(layer.blob for layer in picture.layers)):
        upload(repository, Digest.of(data), len(data), BytesBlob(data))
    put_manifest(repository, tag, picture.media_type, picture.manifest)


@pytest.mark.parametrize("chunk", [0, 300_000, 333_333, 1_000_000, 2_000_000])
def test_uploads(server, connect, chunk):
    repository = connect(server)
    assert head_blob(repository, DIGEST) is None
    upload(repository, DIGEST, len(DATA), BytesBlob(DATA), chunk)
    assert head_blob(repository, DIGEST) == len(DATA)
    upload(repository, Digest.of(b""), 0, BytesBlob(b""), chunk)
    assert head_blob(repository, Digest.of(b"")) == 0
    with RemoteBlob(repository, DIGEST, len(DATA)) as blob:
        assert blob.read() == DATA
    delete_blob(repository, DIGEST)
    assert head_blob(repository, DIGEST) is None


def test_a_blob_from_some_byte_on(server, connect):
    """The registry understands `bytes=A-B` alone, and answers 416 to `bytes=A-`."""
    repository = connect(server)
    upload(repository, DIGEST, len(DATA), BytesBlob(DATA))
    for size in (len(DATA), None):
        with RemoteBlob(repository, DIGEST, size, 999_000) as blob:
            assert blob.read() == DATA[999_000:]


def test_a_mount_that_it_does_not_know_is_an_upload(server, connect):
    upload(connect(server), DIGEST, len(DATA), BytesBlob(DATA))
    assert not mount(connect(server, "c/d"), DIGEST, "a/b")


@contextmanager
def breaking(host, places):
    """A proxy in front of the server that breaks a connection after so many bytes each way, once for each place."""
    listening = socket.create_server(("127.0.0.1", 0))
    left = list(places)

    def pump(source, target, budget):
        try:
            while data := source.recv(1 << 16):
                target.sendall(data[: budget[0]])
                budget[0] -= len(data)
                if budget[0] <= 0:
                    break
        except OSError:
            pass
        for one in (source, target):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def serve():
        while True:
            try:
                near, _ = listening.accept()
            except OSError:
                return
            if near.recv(1, socket.MSG_PEEK) == b"\x16":  # TLS, which is tried first
                near.close()
                continue
            far = socket.create_connection(host.split(":"))
            budget = [left.pop(0) if left else 1 << 40]
            for one, other in ((near, far), (far, near)):
                threading.Thread(target=pump, args=(one, other, budget), daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield Host(f"127.0.0.1:{listening.getsockname()[1]}")
    finally:
        listening.close()


@pytest.mark.parametrize("chunk", [0, 200_000])
@pytest.mark.parametrize("place", [1000, 300_000, 999_999])
def test_an_upload_through_a_broken_connection(server, connect, chunk, place):
    """It does not report the progress of an upload (400), so the upload starts again."""
    with breaking(server.host, [place, place // 2]) as front:
        upload(connect(front), DIGEST, len(DATA), BytesBlob(DATA), chunk)
    assert head_blob(connect(server), DIGEST) == len(DATA)


@pytest.mark.parametrize("place", [1000, 300_000, 1_000_000])
def test_a_download_through_a_broken_connection(server, connect, place):
    upload(connect(server), DIGEST, len(DATA), BytesBlob(DATA))
    with breaking(server.host, [place, place // 2]) as front, RemoteBlob(connect(front), DIGEST, len(DATA)) as blob:
        assert blob.read() == DATA


def test_there_and_back(server, store, tmp_path):
    archive = images.write_oci_archive(tmp_path / "x.tar", PICTURE)
    store.ok("-q", "import", archive)
    name = f"{server.host}/a/b:1"
    assert store.ok("-q", "push", INSECURE, "example:1", name).text == f"{PICTURE.digest} {name}\n"
    raw = subprocess.run(["crane", "manifest", "--insecure", name], check=True, capture_output=True).stdout
    assert raw == PICTURE.manifest
    assert store.ok("-q", "pull", INSECURE, name).text == f"{PICTURE.digest} {name}\n"
    store.ok("check")


def test_what_crane_pushes(server, store, tmp_path):
    layout = images.write_layout(tmp_path / "layout", PICTURE)
    name = f"{server.host}/some/thing:1"
    subprocess.run(["crane", "push", "--insecure", layout, name], check=True, capture_output=True)
    assert store.ok("-q", "pull", INSECURE, name).text == f"{PICTURE.digest} {name}\n"


def test_an_index_is_pushed_whole_and_its_images_first(server, store, tmp_path, connect):
    parts = [images.image(images.layer([images.file("x", b"x")]), architecture=one) for one in ("amd64", "arm64")]
    index = images.index(*parts, names=("multi:1",))
    store.ok("-q", "import", "--all-platforms", images.write_oci_archive(tmp_path / "multi.tar", index))
    store.ok("-q", "push", INSECURE, "--all-platforms", "multi:1", f"{server.host}/a/b:1")
    assert get_manifest(connect(server), "1").raw == index.raw


def test_a_list_of_tags_that_is_cut_without_a_word(server, connect):
    repository = connect(server)
    for number in range(25):
        put_manifest(repository, f"{number:02}", PICTURE.media_type, PICTURE.manifest)
    tags = [f"{number:02}" for number in range(25)]
    for page in (1, 5, 10, 24, 25, 26, 1000):
        assert list_tags(repository, page) == tags
    with pytest.raises(RegistryNotFoundError):
        list_tags(connect(server, "nobody/knows"))


def test_delete(server, store, connect):
    """A tag outlives its manifest there; `delete` removes it, and the other tags that it prints."""
    repository = connect(server)
    for tag in ("1", "2"):
        push(repository, PICTURE, tag)
    put_manifest(repository, "3", PICTURE.media_type, PICTURE.manifest + b"\n")
    done = store.ok("delete", INSECURE, f"docker://{server.host}/a/b:1")
    assert done.text == f"{PICTURE.digest}\n"
    assert "gone too: 2" in done.err
    assert list_tags(repository) == ["3"]
    assert store.run("pull", INSECURE, f"{server.host}/a/b:2").status == 25


def test_referrers(server, store, connect):
    """`crane registry serve` has no list of them, so they are listed under a tag made of the digest."""
    repository = connect(server)
    push(repository, PICTURE, "1")
    subject = {"mediaType": PICTURE.media_type, "digest": PICTURE.digest, "size": len(PICTURE.manifest)}
    made = []
    for kind in ("x/y", "x/z"):
        artifact = images.image(
            *PICTURE.layers, edit_manifest=lambda one, kind=kind: one.update(subject=subject, artifactType=kind)
        )
        upload(repository, Digest(artifact.config_digest), len(artifact.config), BytesBlob(artifact.config))
        put_referrer(repository, artifact.digest, artifact.media_type, artifact.manifest)
        made.append(artifact.digest)
    found, by_api = list_referrers(repository, Digest(PICTURE.digest))
    assert {(one.digest, one.artifact_type) for one in found} == {(made[0], "x/y"), (made[1], "x/z")}
    assert not by_api
    (one,) = list_referrers(repository, Digest(PICTURE.digest), "x/z").entries
    assert one.digest == made[1]
    assert list_tags(repository) == ["1", fallback_tag(Digest(PICTURE.digest))]
    store.ok("delete", INSECURE, f"docker://{server.host}/a/b@{made[0]}")
    assert [one.digest for one in list_referrers(repository, Digest(PICTURE.digest)).entries] == [made[1]]
    listed = store.ok("referrers", INSECURE, "--json", f"docker://{server.host}/a/b:1").json
    assert [one["digest"] for one in listed["referrers"]] == [made[1]]


def test_sync(server, store, connect, tmp_path):
    for tag in ("1", "2"):
        push(connect(server, "team/app"), PICTURE, tag)
    store.ok("-q", "sync", INSECURE, f"docker://{server.host}/team/app", f"docker://{server.host}/mirror")
    assert list_tags(connect(server, "mirror/app")) == ["1", "2"]
    done = store.ok("-q", "sync", INSECURE, f"docker://{server.host}/team/", f"docker://{server.host}/mirror")
    assert {line.split()[0] for line in done.text.splitlines()} == {"current"}
    store.ok("delete", INSECURE, f"docker://{server.host}/team/app:1")
    push(connect(server, "team/app"), PICTURE, "2")
    words = (INSECURE, "--prune", f"docker://{server.host}/team/app", f"docker://{server.host}/mirror")
    store.ok("-q", "sync", *words)
    assert list_tags(connect(server, "mirror/app")) == ["2"]
    assert json.loads(store.ok("inspect", INSECURE, "--raw", f"docker://{server.host}/mirror/app:2").out)
