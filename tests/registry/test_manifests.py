"""Manifests: verification, refusals, and pushing."""

import json

import pytest
from support import images

from arstore.digest import Digest
from arstore.errors import (
    DigestMismatchError,
    LimitError,
    ManifestError,
    RegistryAnswerError,
    RegistryNotFoundError,
    RegistryUnreachableError,
)
from arstore.oci.document import BOUNDS
from arstore.oci.media_type import DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST
from arstore.registry.manifests import delete_manifest, delete_tag, get_manifest, head_manifest, put_manifest

PICTURE = images.example()


@pytest.fixture
def repository(server, connect):
    server.put_image("a/b", "1", PICTURE)
    return connect(server)


def test_by_tag_and_by_digest(server, repository):
    for reference in ("1", PICTURE.digest):
        got = get_manifest(repository, reference)
        assert (got.digest, got.media_type, got.raw) == (PICTURE.digest, OCI_MANIFEST, PICTURE.manifest)
        head = head_manifest(repository, reference)
        assert head == (PICTURE.digest, OCI_MANIFEST, len(PICTURE.manifest))
    accept = server.asked("GET", "/manifests/")[0].headers["accept"]
    assert all(one in accept for one in (OCI_MANIFEST, OCI_INDEX, DOCKER_MANIFEST))


@pytest.mark.parametrize("status", [404, 400])
def test_what_is_not_there(server, repository, status):
    body = b'{"errors":[{"code":"MANIFEST_UNKNOWN","message":"no\\nsuch"}]}'
    server.fault("GET", "/manifests/", times=9, before=True, status=status, body=body)
    with pytest.raises(RegistryNotFoundError, match="no such") as caught:
        get_manifest(repository, "2")
    assert str(caught.value).isprintable()
    assert head_manifest(repository, "none") is None


def test_other_bytes_than_the_digest_says(server, repository):
    server.fault("GET", "/manifests/", body=PICTURE.manifest + b" ", times=9)
    with pytest.raises(DigestMismatchError):
        get_manifest(repository, PICTURE.digest)
    with pytest.raises(DigestMismatchError):
        get_manifest(repository, "1")


def test_a_digest_header_that_lies(server, repository):
    server.fault("GET", "/manifests/", header=("Docker-Content-Digest", str(Digest.of(b"x"))))
    with pytest.raises(DigestMismatchError):
        get_manifest(repository, "1")


@pytest.mark.parametrize("value", [None, "", "sha256:short", "md5:abc"])
def test_a_digest_header_that_says_nothing(server, repository, value):
    server.fault("GET", "/manifests/", header=("Docker-Content-Digest", value))
    assert get_manifest(repository, "1").digest == PICTURE.digest


@pytest.mark.parametrize("value", [None, "text/plain", "application/json; charset=utf-8", f"{OCI_MANIFEST}; charset=x"])
def test_types_that_say_little(server, repository, value):
    server.fault("GET", "/manifests/", header=("Content-Type", value))
    assert get_manifest(repository, "1").media_type == OCI_MANIFEST


@pytest.mark.parametrize("value", [OCI_INDEX, DOCKER_MANIFEST])
def test_types_that_contradict(server, repository, value):
    server.fault("GET", "/manifests/", header=("Content-Type", value))
    with pytest.raises(ManifestError, match="says that it is"):
        get_manifest(repository, "1")


@pytest.mark.parametrize("body", [b"<html>login</html>", b"[1]", b"", b"{" * 5000])
def test_what_is_no_manifest(server, repository, body):
    changes = {"header": ("Docker-Content-Digest", None), "body": body}
    server.fault("GET", "/manifests/", **changes)
    with pytest.raises(ManifestError):
        get_manifest(repository, "1")


@pytest.mark.parametrize("over", [0, 1])
@pytest.mark.parametrize("length", [None, -1])
def test_the_largest_document(server, repository, over, length):
    head = b'{"mediaType":"%s","x":"' % OCI_MANIFEST.encode()
    raw = head + b"x" * (BOUNDS.document - len(head) - 2 + over) + b'"}'
    server.fault("GET", "/manifests/", body=raw, header=("Docker-Content-Digest", None), length=length)
    if over:
        with pytest.raises(LimitError):
            get_manifest(repository, "1")
    else:
        assert get_manifest(repository, "1").raw == raw


@pytest.mark.parametrize("reset", [False, True])
@pytest.mark.parametrize("place", [0, 1, len(PICTURE.manifest) // 2, len(PICTURE.manifest) - 1])
def test_a_short_answer_is_asked_for_again(server, repository, place, reset):
    server.fault("GET", "/manifests/", cut=place, reset=reset, times=2)
    assert get_manifest(repository, "1").raw == PICTURE.manifest
    server.fault("GET", "/manifests/", cut=place, reset=reset, times=99)
    with pytest.raises(RegistryUnreachableError):
        get_manifest(repository, "1")


@pytest.mark.parametrize("status", [404, 405])
def test_a_registry_that_does_not_do_head(server, repository, status):
    server.fault("HEAD", "/manifests/", before=True, status=status)
    assert head_manifest(repository, "1").digest == PICTURE.digest


def test_a_head_without_what_it_has_to_say(server, repository):
    server.fault("HEAD", "/manifests/", header=("Docker-Content-Digest", None))
    assert head_manifest(repository, "1").digest == PICTURE.digest


def test_put_and_delete(server, repository):
    raw = json.dumps({**json.loads(PICTURE.manifest), "annotations": {"a": "b"}}).encode()
    put_manifest(repository, "2", OCI_MANIFEST, raw)
    assert server.tags["a/b"]["2"] == Digest.of(raw)
    assert server.asked("PUT")[0].headers["content-type"] == OCI_MANIFEST
    delete_tag(repository, "2")
    assert get_manifest(repository, Digest.of(raw)).raw == raw
    delete_manifest(repository, Digest(PICTURE.digest))
    assert server.tags["a/b"] == {}
    with pytest.raises(RegistryNotFoundError):
        delete_manifest(repository, Digest(PICTURE.digest))


@pytest.mark.parametrize(
    ("status", "error"), [(413, LimitError), (200, RegistryAnswerError), (400, RegistryAnswerError)]
)
def test_a_manifest_that_is_not_taken(server, repository, status, error):
    server.fault("PUT", "/manifests/", status=status, body=b"<html>")
    with pytest.raises(error):
        put_manifest(repository, "2", OCI_MANIFEST, PICTURE.manifest)


def test_a_busy_registry_gets_the_manifest_again(server, repository):
    server.fault("PUT", "/manifests/", before=True, status=429, times=2)
    put_manifest(repository, "2", OCI_MANIFEST, PICTURE.manifest)


def test_deleting_that_is_turned_off(server, repository):
    server.fault("DELETE", "/manifests/", before=True, status=405)
    with pytest.raises(RegistryAnswerError, match="turned off"):
        delete_manifest(repository, Digest(PICTURE.digest))
