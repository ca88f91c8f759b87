"""Roots, runroots, archives and targets with paths of any bytes: every command works, or fails with a clear line."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from support import images, stores
from support.cli import Arstore

pytestmark = [pytest.mark.root, pytest.mark.mounts]

NAMES = {
    "latin1": b"caf\xe9",
    "newline": b"a\nb",
    "punctuation": b" :,;=\\040'\"%s{}$*?#",
    "long": b"/".join([b"x" * 200] * 17),
}


@pytest.fixture(params=NAMES)
def place(request, tmp_path):
    """A directory with an unusual name."""
    found = Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + NAMES[request.param]))
    found.mkdir(parents=True)
    return found


@pytest.fixture
def store(place):
    return Arstore(place / "root", place / "run")


def document(store, *words):
    """The only JSON document that a command prints; every string in it is text."""
    found = store.ok(words[0], "--json", *words[1:]).out.decode("ascii")
    json.dumps(json.loads(found), ensure_ascii=False).encode()
    return json.loads(found)


def test_every_command_works(place, store):
    archive = images.write_oci_archive(place / "an archive.tar", images.example())
    document(store, "import", archive)
    for words in (("images",), ("layers",), ("inspect", "example:1"), ("history", "example:1"), ("ps", "--all")):
        document(store, *words)
    view = store.ok("mount", "example:1").out.removesuffix(b"\n")
    assert os.listdir(view)
    document(store, "mounts")
    store.ok("umount", view)
    (place / "target").mkdir()
    document(store, "mount", "example:1", place / "target")
    assert os.listdir(place / "target")
    store.ok("umount", place / "target")
    document(store, "mount", "--rw", "--name", "box", "example:1")
    store.ok("umount", "--all")
    document(store, "unpack", "example:1", place / "unpacked")
    document(store, "backup", place / "backup")
    store.ok("import", f"oci:{place / 'backup'}")
    store.ok("commit", "box", "other:1")
    store.ok("diff", "box")
    store.ok("container", "rm", "box")
    store.ok("convert", "--all", "--tree", "directory")
    assert document(store, "check")["findings"] == []
    store.ok("rm", "example:1", "other:1")
    document(store, "gc")
    document(store, "du")


def test_errors_name_them_in_one_line(place, store):
    stores.made(store.root, store.runroot).close()
    for words in (("import", place / "nothing"), ("unpack", "none:1", place / "up"), ("umount", place / "none")):
        outcome = store.run(*words)
        assert outcome.status
        assert len(outcome.err.splitlines()) == 1
        outcome = store.run(words[0], "--json", *words[1:])
        json.dumps(json.loads(outcome.err), ensure_ascii=False).encode()


@pytest.mark.runtime
def test_runtimes_take_no_path_that_is_not_text(tmp_path):
    place = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff"))
    place.mkdir()
    archive = images.write_oci_archive(place / "x.tar", images.example())
    for store in (Arstore(place / "root", tmp_path / "run"), Arstore(tmp_path / "root", place / "run")):
        store.ok("import", archive)
        outcome = store.run("run", "--rm", "example:1", "true")
        assert outcome.status == 125
        assert "is not valid UTF-8" in outcome.err
        assert len(outcome.err.splitlines()) == 1
        assert store.json("ps", "--all") == []


def test_files_with_such_names_are_collected(tmp_path):
    store = Arstore(tmp_path / "root", tmp_path / "run")
    stores.made(store.root, store.runroot).close()
    names = [b"blobs/sha256/\xff\n", b"trees/\xff", b"containers/\xfe", b"ingest/\xfd", b"blobs/\xfc"]
    for name in names:
        os.mkdir(os.fsencode(store.root) + b"/" + name)
    found = document(store, "check")["findings"]
    assert {one["what"] for one in found} >= {"blobs/sha256/\\xff\n", "trees/\\xff", "containers/\\xfe"}
    document(store, "gc")
    assert not any(os.path.lexists(os.fsencode(store.root) + b"/" + name) for name in names)
    store.ok("check")
