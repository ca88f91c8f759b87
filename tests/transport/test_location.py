import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arstore.digest import Digest
from arstore.errors import ArstoreError, InvalidReferenceError, UsageError
from arstore.transport.location import STREAM, Location, parse_location
from arstore.transport.names import Choice

DIGEST = Digest.of(b"x")


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("layout", "with:colon", "with@sign", "archive.tar", "oci:file"):
        Path(name).write_bytes(b"")
    return tmp_path


@pytest.mark.parametrize(
    ("text", "location"),
    [
        ("-", Location(STREAM)),
        ("archive.tar", Location("archive.tar")),
        ("missing.tar", Location("missing.tar")),
        ("with:colon", Location("with:colon")),
        ("./oci:file", Location("./oci:file")),
        ("./what:ever", Location("./what:ever")),
        ("/tmp/what:ever", Location("/tmp/what:ever")),
        ("oci:layout", Location("layout", "oci")),
        ("oci:layout:1.0", Location("layout", "oci", Choice(name="1.0"))),
        ("oci:layout:localhost:5000/a:1", Location("layout", "oci", Choice(name="localhost:5000/a:1"))),
        ("oci:with:colon", Location("with:colon", "oci")),
        ("oci:with:colon:tag", Location("with:colon", "oci", Choice(name="tag"))),
        ("oci:with@sign:tag", Location("with@sign", "oci", Choice(name="tag"))),
        (f"oci:layout@{DIGEST}", Location("layout", "oci", Choice(digest=DIGEST))),
        ("oci:missing:tag", Location("missing", "oci", Choice(name="tag"))),
        ("oci-archive:archive.tar", Location("archive.tar", "oci-archive")),
        ("docker-archive:archive.tar:@1", Location("archive.tar", "docker-archive", Choice(position=1))),
        ("docker-archive:-", Location(STREAM, "docker-archive")),
        ("docker-archive:-:app:1", Location(STREAM, "docker-archive", Choice(name="app:1"))),
        ("dir:with:colon", Location("with:colon", "dir")),
    ],
)
def test_locations(here, text, location):
    assert parse_location(text) == location


@pytest.mark.parametrize("text", ["store:busybox"])
def test_transports_that_are_no_files_are_wrong_usage(text):
    with pytest.raises(UsageError, match=r"not supported as a source; sources are a path, a stream \(-\), or oci:PATH"):
        parse_location(text)


@pytest.mark.parametrize("text", ["containers-storage:x", "nonsense:x", "ftp://host/x", "docker-daemon:x", "oci:"])
def test_transports_that_are_none_are_refused(here, text):
    with pytest.raises(InvalidReferenceError) as caught:
        parse_location(text)
    assert text.startswith("oci:") or "docker-archive:" in caught.value.hint


@pytest.mark.parametrize("text", ["", "nul\0byte", "half \ud800 pair"])
def test_what_no_path_can_be_is_wrong_usage(text):
    with pytest.raises(UsageError):
        parse_location(text)


def test_a_known_file_is_no_unknown_transport(here):
    Path("nonsense:x").write_bytes(b"")
    assert parse_location("nonsense:x").path == "nonsense:x"


@pytest.mark.parametrize(
    ("path", "file_name"),
    [("a/b.tar", "b.tar"), ("a/b/", "b"), ("流水线.tar.gz", "流水线.tar.gz"), ("-", ""), (os.fsdecode(b"\xe9"), "�")],
)
def test_file_names(path, file_name):
    assert Location(path).file_name == file_name


def test_the_current_directory_has_a_name(here, tmp_path):
    assert Location(".").file_name == tmp_path.name


def test_what_is_shown_is_printable():
    assert Location(os.fsdecode(b"a\xe9\n.tar")).what == r"a\xe9\n.tar"
    assert Location("流水线.tar").what == "流水线.tar"
    assert Location(STREAM).what == "standard input"


@given(st.text())
def test_only_errors_of_arstore_come_out(text):
    for prefix in ("", "oci:", "docker-archive:", "dir:"):
        said = ""
        try:
            parse_location(prefix + text)
        except ArstoreError as error:
            said = str(error)
        assert said.isprintable()
