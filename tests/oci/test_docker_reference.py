"""References by Docker's grammar."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arstore.digest import Digest
from arstore.errors import InvalidReferenceError
from arstore.oci.docker_reference import DockerReference

DIGEST = str(Digest.of(b""))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("busybox", "docker.io/library/busybox:latest"),
        ("a/b:1", "docker.io/a/b:1"),
        ("docker.io/busybox", "docker.io/library/busybox:latest"),
        ("index.docker.io/busybox", "docker.io/library/busybox:latest"),
        ("docker.io/library/busybox", "docker.io/library/busybox:latest"),
        ("localhost/x", "localhost/x:latest"),
        ("localhost:5000/x:T.1_-", "localhost:5000/x:T.1_-"),
        ("h.example/a/b/c", "h.example/a/b/c:latest"),
        ("[::1]:5000/a", "[::1]:5000/a:latest"),
        ("UPPER/a", "UPPER/a:latest"),
        (f"a@{DIGEST}", f"docker.io/library/a@{DIGEST}"),
        (f"h:1/a:2@{DIGEST}", f"h:1/a:2@{DIGEST}"),
        ("foo/foo_bar.com:8080", "docker.io/foo/foo_bar.com:8080"),
        ("a__b/c--d", "docker.io/a__b/c--d:latest"),
    ],
)
def test_references(text, expected):
    found = DockerReference.parse(text)
    assert str(found) == expected
    assert DockerReference.parse(str(found)) == found


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":",
        ":tag",
        "@" + DIGEST,
        "a@",
        "a@sha256:abc",
        "a@md5:" + "0" * 32,
        f"a@{DIGEST}@{DIGEST}",
        "A",
        "a/B",
        "a//b",
        "/a",
        "a/",
        "a_-b",
        "-a",
        "a:",
        "a:.x",
        "a:" + "x" * 129,
        "h.com/" + "x" * 250,
        "x" * 256,
        "0" * 64,
        "https://h/a",
        "h:99999999/a",
        "a b",
        "a\n",
        "ä",
        "[::1/a",
        "h.com:port/a",
        "a:b:c",
    ],
)
def test_what_is_none(text):
    with pytest.raises(InvalidReferenceError) as caught:
        DockerReference.parse(text)
    assert str(caught.value).isprintable()


def test_the_limits():
    assert DockerReference.parse("h.com/" + "x" * 249).path == "x" * 249
    assert DockerReference.parse("a:" + "x" * 128).tag == "x" * 128
    # The whole name counts, including the default prefix.
    with pytest.raises(InvalidReferenceError):
        DockerReference.parse("x" * 250)


def test_what_is_asked_for():
    assert DockerReference.parse("a:1").wanted == "1"
    assert DockerReference.parse(f"a:1@{DIGEST}").wanted == DIGEST
    assert DockerReference.parse("a", "").tag == ""


@given(st.text(max_size=300))
def test_anything_can_be_read(text):
    try:
        said = str(DockerReference.parse(text))
    except InvalidReferenceError as error:
        said = str(error)
    assert said.isprintable()
