"""Scopes: which are allowed, the scopes of an image, and which list applies."""

import os

import pytest

from arstore.digest import Digest
from arstore.errors import InvalidReferenceError
from arstore.oci.docker_reference import DockerReference
from arstore.trust.policy import scope
from arstore.trust.policy.model import ACCEPT, REJECT, Policy
from arstore.trust.policy.subject import Subject

D = Digest.of(b"")
HEX = "a" * 64


def policy(transports):
    lists = {
        name: {one: (ACCEPT,) if one == "" else (REJECT,) * len(one) for one in found}
        for name, found in transports.items()
    }
    return Policy((ACCEPT, REJECT), lists, "POLICY", D)


def applies(subject, **transports):
    found = scope.find(policy(transports), subject)
    return found.section, found.scope


APP = scope.registry_subject(DockerReference.parse("r.sub.example:5000/a/b:1"))


def test_a_subject_of_a_registry():
    assert APP.transport == "docker"
    assert APP.scope == "r.sub.example:5000/a/b:1"
    assert APP.namespaces == (
        "r.sub.example:5000/a/b",
        "r.sub.example:5000/a",
        "r.sub.example:5000",
        "*.sub.example",
        "*.example",
    )
    assert str(APP) == "docker:r.sub.example:5000/a/b:1"
    assert scope.registry_subject(DockerReference.parse("busybox")).namespaces == (
        "docker.io/library/busybox",
        "docker.io/library",
        "docker.io",
        "*.io",
    )
    assert scope.registry_subject(DockerReference.parse("localhost/x")).namespaces == ("localhost/x", "localhost")


def test_a_digest_goes_before_the_tag():
    found = scope.registry_subject(DockerReference.parse(f"r.example/a:1@{D}"))
    assert found.scope == f"r.example/a@{D}"
    assert found.reference == DockerReference("r.example", "a", "", D)
    assert "r.example/a:1" not in found.namespaces


def test_subjects_of_a_store():
    named = scope.store_subject("app:1", D)
    assert (named.transport, named.scope) == ("store", "docker.io/library/app:1")
    assert named.namespaces[:2] == ("docker.io/library/app", "docker.io/library")
    assert named.reference == DockerReference("docker.io", "library/app", "1")
    nameless = scope.store_subject("", D)
    assert (nameless.scope, nameless.namespaces, nameless.reference) == (str(D), (), None)
    with pytest.raises(InvalidReferenceError):
        scope.store_subject("A b", D)


def test_subjects_of_paths(tmp_path):
    place = tmp_path / "a" / "b"
    place.mkdir(parents=True)
    (tmp_path / "link").symlink_to("a")
    found = scope.path_subject("oci", str(tmp_path / "link" / ".." / "link" / "b"))
    real = os.path.realpath(place)
    assert found.scope == real
    assert found.namespaces[0] == os.path.dirname(real)
    assert found.namespaces[-1] == "/" + real.split("/")[1]
    assert "/" not in found.namespaces
    assert found.reference is None
    with pytest.raises(FileNotFoundError):
        scope.path_subject("oci", str(tmp_path / "nothing"))
    assert scope.path_subject("dir", "/").namespaces == ()


def test_subjects_without_a_scope():
    assert scope.unnamed_subject("docker-archive") == Subject("docker-archive")
    assert str(scope.unnamed_subject("docker-archive")) == "docker-archive"


def test_the_most_specific_scope_applies():
    every = [APP.scope, *APP.namespaces, ""]
    for start in range(len(every)):
        section, found = applies(APP, docker=every[start:], dir=[APP.scope])
        assert found == every[start]
        assert section == f"transports.docker.{every[start]!r}"
    assert applies(APP, dir=[APP.scope]) == ("default", "")
    assert applies(APP, docker=["other.example"]) == ("default", "")
    assert applies(scope.unnamed_subject("tarball"), tarball=[""]) == ("transports.tarball.''", "")
    assert scope.find(policy({}), APP).requirements == (ACCEPT, REJECT)
    assert scope.find(policy({"docker": [""]}), APP).requirements == (ACCEPT,)


@pytest.mark.parametrize(
    ("transport", "text"),
    [
        ("docker", "anything at all"),
        ("docker", "*.example"),
        ("dir", "/a/b"),
        ("oci", "/a"),
        ("oci-archive", "/a.tar"),
        ("sif", "/a"),
        ("dir", ""),
        ("docker-archive", ""),
        ("atomic", "host:5000/ns/stream:tag"),
        ("docker-daemon", "docker.io/library/a:1"),
        ("containers-storage", "[/r]"),
        ("containers-storage", "[overlay@/r]"),
        ("containers-storage", "[overlay@/r@x]name"),
        ("containers-storage", f"[/r]name:tag@{D}"),
        ("containers-storage", f"[/r]name@{HEX}"),
        ("containers-storage", f"[/r]name@{D}@{HEX}"),
        ("ostree", "whatever"),
        ("store", "docker.io/library/a"),
        ("store", "docker.io/library/a:1"),
        ("store", f"docker.io/library/a@{D}"),
        ("store", "docker.io"),
        ("store", "r.example:5000"),
        ("store", "*.example"),
        ("store", str(D)),
        ("nobody-knows", "/../x//"),
    ],
)
def test_good_scopes(transport, text):
    assert scope.fault(transport, text) == ""


@pytest.mark.parametrize(
    ("transport", "text", "why"),
    [
        ("dir", "a/b", "not an absolute path"),
        ("oci", "/", 'write "" for all'),
        ("oci-archive", "/a/", "write '/a'"),
        ("sif", "//a", "write '/a'"),
        ("dir", "/a//b", "write '/a/b'"),
        ("dir", "/a/../b", "write '/b'"),
        ("docker-archive", "/a", 'docker-archive has only the scope ""'),
        ("tarball", "a", 'tarball has only the scope ""'),
        ("docker-daemon", str(D), "a digest"),
        ("docker-daemon", f"sha384:{'a' * 96}", "a digest"),
        ("atomic", "a/b/c/d", "not a name in a registry"),
        ("containers-storage", "name", "does not begin with [ROOT]"),
        ("containers-storage", "[]", "does not begin"),
        ("containers-storage", "[x@y]", "does not begin"),
        ("containers-storage", "[@/r]", "does not begin"),
        ("containers-storage", "[/r]name@abc", "@DIGEST or @ID"),
        ("containers-storage", f"[/r]name@{HEX}@{HEX}", "@DIGEST@ID"),
        ("containers-storage", f"[/r]name@{D}@abc", "@DIGEST@ID"),
        ("store", "library/a:1", "write 'docker.io/library/a:1'"),
        ("store", "docker.io/a", "write 'docker.io/library/a'"),
        ("store", "r.example/A", "not an image name"),
        ("store", "r.example/a/", "not an image name"),
    ],
)
def test_bad_scopes(transport, text, why):
    assert why in scope.fault(transport, text)


def test_known_transports():
    assert scope.is_known("store")
    assert scope.is_known("ostree")
    assert not scope.is_known("Docker")


def test_scopes_that_no_image_has():
    assert scope.doubt("docker", "busybox/x")
    assert scope.doubt("docker-daemon", "docker.io/x")
    assert not scope.doubt("docker", "docker.io/library/x")
    assert not scope.doubt("dir", "/a")
