"""`push`: the blobs sent and their order, and a registry that lost a blob although it reports it."""

import threading

import pytest
from support import images
from support import registry as registries
from support.cli import Arstore
from support.registry_user import become_unconfigured

PICTURE = images.example()
LAYERS = [layer.digest for layer in PICTURE.layers]
INSECURE = "--tls-verify=false"


@pytest.fixture
def server():
    with registries.served() as served:
        yield served


@pytest.fixture
def store(tmp_path, monkeypatch):
    become_unconfigured(monkeypatch, tmp_path)
    made = Arstore(tmp_path / "store", tmp_path / "run")
    made.ok("-q", "import", images.write_oci_archive(tmp_path / "x.tar", PICTURE))
    return made


def push(store, server, *words, path="a/b", run=None):
    return (run or store.ok)("-q", "push", INSECURE, *words, "example:1", f"{server.host}/{path}:1")


def whole(server, path="a/b"):
    """Whether the tag refers to the image, with all its blobs."""
    parts = {*LAYERS, PICTURE.config_digest}
    return server.tags[path]["1"] == PICTURE.digest and parts <= set(server.blobs[path])


def sent(server):
    """The digests of the sent blobs, in order."""
    return [one.query["digest"][0] for one in server.asked("PUT", "/blobs/uploads/")]


def test_blobs_come_first_and_the_tag_last(store, server):
    assert push(store, server).text == f"{PICTURE.digest} {server.host}/a/b:1\n"
    assert whole(server)
    assert sorted(sent(server)) == sorted({*LAYERS, PICTURE.config_digest})
    assert (server.log[-1].method, server.log[-1].path) == ("PUT", "/v2/a/b/manifests/1")
    before = len(server.log)
    push(store, server)
    assert [one.method for one in server.log[before:]] == ["GET", "HEAD"]  # a ping, the tag


def lies(server, digest, times=1):
    """Make the registry report the blob as present."""
    server.fault("HEAD", f"/blobs/{digest}", times=times, before=True, status=200, length=len(_blob(digest)))


def _blob(digest):
    return PICTURE.blobs()[digest]


def test_a_blob_that_was_there_and_is_gone_is_sent(store, server):
    lies(server, LAYERS[0])
    push(store, server)
    assert whole(server)
    # The others were sent once; so was this one.
    assert sorted(sent(server)) == sorted({*LAYERS, PICTURE.config_digest})
    assert [one.status for one in server.asked("PUT", "/manifests/")] == [400, 201]


def test_a_collector_that_takes_all_before_the_manifest_comes(store, server):
    parts = {*LAYERS, PICTURE.config_digest}

    def collect(reply):
        server.blobs["a/b"].clear()
        return reply

    server.fault("PUT", "/blobs/uploads/", skip=len(parts) - 1, change=collect)
    push(store, server)
    assert whole(server)
    assert len(sent(server)) == 2 * len(parts)


def test_a_mount_that_was_none(store, server, tmp_path):
    server.put_image("other/place", "1", PICTURE)
    store.ok("tag", "example:1", f"{server.host}/other/place:1")
    done = {"before": True, "status": 201, "header": ("Location", "/v2/x")}
    server.fault("POST", "mount=", times=99, **done)
    push(store, server)
    assert whole(server)
    parts = {*LAYERS, PICTURE.config_digest}
    assert len(server.asked("POST", "mount=")) == len(parts)
    # No blob is mounted in the second round.
    assert sorted(sent(server)) == sorted(parts)


def test_a_registry_that_says_of_a_lost_blob_that_it_is_there(store, server):
    """Its refusal names the blob, and overrides its reply to HEAD."""
    lies(server, LAYERS[0], times=99)
    push(store, server)
    assert whole(server)


def test_a_registry_that_never_keeps_a_blob_is_told_once_more_and_not_again(store, server):
    def lose(reply):
        server.blobs["a/b"].pop(LAYERS[0], None)
        return reply

    server.fault("PUT", "/blobs/uploads/", times=99, change=lose)
    files = store.files()
    line = push(store, server, run=lambda *words: store.fails("RegistryAnswer", *words))
    assert "MANIFEST_BLOB_UNKNOWN" in line
    assert line.endswith("the missing blobs were sent twice")
    assert len(server.asked("PUT", "/manifests/")) == 2
    assert server.tags.get("a/b", {}) == {}
    assert store.files() == files


@pytest.mark.parametrize("code", ["MANIFEST_BLOB_UNKNOWN", "BLOB_UNKNOWN", "MANIFEST_UNKNOWN"])
@pytest.mark.parametrize("status", [400, 404])
def test_every_word_for_it_without_saying_what(store, server, code, status):
    body = f'{{"errors":[{{"code":"{code}","message":"x"}}]}}'.encode()
    server.fault("PUT", "/manifests/", before=True, status=status, body=body)
    push(store, server)
    assert whole(server)
    # All blobs were present.
    assert len(sent(server)) == len({*LAYERS, PICTURE.config_digest})


def test_another_refusal_ends_it(store, server):
    server.fault("PUT", "/manifests/", times=9, before=True, status=400, body=b'{"errors":[{"code":"TAG_INVALID"}]}')
    push(store, server, run=lambda *words: store.fails("RegistryAnswer", *words))
    assert len(server.asked("PUT", "/manifests/")) == 1


def test_an_image_of_an_index_that_is_gone_is_put_again(store, server, tmp_path):
    parts = [images.image(images.layer([images.file("x", b"x")]), architecture=one) for one in ("amd64", "arm64")]
    index = images.index(*parts, names=("multi:1",))
    store.ok("-q", "import", "--all-platforms", images.write_oci_archive(tmp_path / "multi.tar", index))
    body = f'{{"errors":[{{"code":"MANIFEST_BLOB_UNKNOWN","detail":"{parts[0].digest}"}}]}}'.encode()
    server.fault("PUT", "/manifests/1", before=True, status=400, body=body)
    store.ok("-q", "push", INSECURE, "--all-platforms", "multi:1", f"{server.host}/a/b:1")
    assert server.tags["a/b"]["1"] == index.digest
    children = [one.path.rpartition("/")[2] for one in server.asked("PUT", "/manifests/sha256:")]
    assert sorted(children) == sorted([*(one.digest for one in parts)] * 2)


def test_converted_layers_are_made_and_sent_again(store, server):
    def collect(reply):
        server.blobs["a/b"].clear()
        return reply

    count = len({*LAYERS, PICTURE.config_digest})
    server.fault("PUT", "/blobs/uploads/", skip=count - 1, change=collect)
    done = push(store, server, "--compression", "zstd")
    digest = server.tags["a/b"]["1"]
    assert done.text.startswith(digest)
    store.ok("-q", "pull", INSECURE, "--name", "back:1", f"{server.host}/a/b:1")


def test_two_pushes_of_one_tag(store, server, tmp_path):
    other = images.image(images.layer([images.file("other", b"x" * 100_000)]), names=("other:1",))
    store.ok("-q", "import", images.write_oci_archive(tmp_path / "other.tar", other))
    target = f"{server.host}/a/b:1"
    outcomes = []
    threads = [
        threading.Thread(target=lambda name=name: outcomes.append(store.run("-q", "push", INSECURE, name, target)))
        for name in ("example:1", "other:1", "example:1", "other:1")
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [(one.status, one.err) for one in outcomes] == [(0, "")] * 4
    # The last one has the tag, which refers to one whole image; both are there.
    assert server.tags["a/b"]["1"] in {PICTURE.digest, other.digest}
    assert {*PICTURE.blobs(), *other.blobs()} - {PICTURE.digest, other.digest} <= set(server.blobs["a/b"])
    assert {PICTURE.digest, other.digest} <= set(server.manifests["a/b"])
    assert server.uploads == {}
