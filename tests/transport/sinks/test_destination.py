"""Destinations as users write them."""

from __future__ import annotations

import os

import pytest
from support import images

from arstore.errors import InvalidReferenceError, UsageError
from arstore.transport.sinks.destination import Destination, destination_of, parse_destination


@pytest.fixture(autouse=True)
def _in_tmp_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "directory").mkdir()
    images.write_dir(tmp_path / "a-dir", images.example())
    (tmp_path / "file").touch()
    (tmp_path / "with:colon").mkdir()


PARSED = {
    "new": ("oci-archive", "new", "", ""),
    "file": ("oci-archive", "file", "", ""),
    "./x:y": ("oci-archive", "./x:y", "", ""),
    "new/": ("oci", "new/", "", ""),
    "directory": ("oci", "directory", "", ""),
    "a-dir": ("dir", "a-dir", "", ""),
    "-": ("oci-archive", "-", "", ""),
    "/dev/stdout": ("oci-archive", "-", "", ""),
    "/dev/stderr": ("oci-archive", "/dev/stderr", "", ""),
    "oci:new": ("oci", "new", "", ""),
    "oci:new:v1": ("oci", "new", "", "v1"),
    "oci:new:app:1": ("oci", "new", "app:1", "app:1"),
    "oci:new:localhost:5000/app:1": ("oci", "new", "localhost:5000/app:1", "localhost:5000/app:1"),
    "oci:with:colon": ("oci", "with:colon", "", ""),
    "oci:with:colon:v1": ("oci", "with:colon", "", "v1"),
    "oci-archive:-": ("oci-archive", "-", "", ""),
    "oci-archive:-:v1": ("oci-archive", "-", "", "v1"),
    "oci-archive:/dev/stdout:v1": ("oci-archive", "-", "", "v1"),
    "docker-archive:x.tar": ("docker-archive", "x.tar", "", ""),
    "docker-archive:x.tar:app": ("docker-archive", "x.tar", "app:latest", ""),
    "docker-archive:x.tar:app:1": ("docker-archive", "x.tar", "app:1", ""),
    "dir:x:y": ("dir", "x:y", "", ""),
    "oci:/dev/stdout": ("oci", "/dev/stdout", "", ""),
}


@pytest.mark.parametrize("text", PARSED)
def test_what_is_meant(text):
    kind, path, name, ref_name = PARSED[text]
    assert parse_destination(text) == Destination(kind, path, name, ref_name)


REFUSED = {
    "": UsageError,
    "oci:": (UsageError, InvalidReferenceError),
    "dir:": (UsageError, InvalidReferenceError),
    "oci-archive:": (UsageError, InvalidReferenceError),
    "oci:-": UsageError,
    "oci:-:v1": UsageError,
    "dir:-": UsageError,
    "oci:new:": InvalidReferenceError,
    "oci:new@sha256:" + "0" * 64: UsageError,
    "oci:new:@1": UsageError,
    "docker-archive:x.tar:UPPER": InvalidReferenceError,
    "docker-archive:x.tar:@0": UsageError,
}


@pytest.mark.parametrize("text", REFUSED)
def test_what_is_refused(text):
    before = os.listdir()
    with pytest.raises(REFUSED[text]):
        parse_destination(text)
    assert os.listdir() == before


@pytest.mark.parametrize("kind", ["oci", "dir"])
def test_a_directory_cannot_be_streamed(kind):
    with pytest.raises(UsageError, match="cannot be written to standard output"):
        destination_of("-", kind)


def test_what_it_is_called():
    assert destination_of("-", "oci-archive").what == "standard output"
    assert destination_of("a\nb", "oci-archive").what == "a\\nb"
