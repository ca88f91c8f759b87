"""Files of the wrong kind in the store, a root that leads nowhere, and failing imports that must not make a store."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from support import images, stores
from support.copying import copy_store

from arstore.errors import CheckFailedError, NoStoreError, StoreDamagedError, UnknownFormatError

IMAGE = stores.simple("one", names=("one:1",))


@pytest.fixture
def filled(arstore, tmp_path_factory):
    copy_store(tmp_path_factory, IMAGE, arstore.root, arstore.runroot)
    return arstore


def gone(path):
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, Path.touch])
@pytest.mark.parametrize("name", ["index.json", "oci-layout", "store.json", "graph", "graph/data.mdb"])
def test_check_mends_what_is_of_the_wrong_kind(filled, name, make):
    path = filled.root / name
    gone(path)
    make(path)
    result = filled("check")
    assert result.status == CheckFailedError.exit_code, result.text + result.err
    filled.ok("check", "--repair")
    filled.ok("check")
    assert [image["names"] for image in filled.ok("images", "--json").json] == [["one:1"]]


@pytest.mark.parametrize("name", ["containers", "ingest", "trees", "blobs/sha256"])
def test_a_file_in_the_place_of_a_directory_is_damage(filled, name):
    (filled.root / name).rename(filled.root.with_name("aside"))
    (filled.root / name).touch()
    for words in (("images",), ("gc",), ("check",)):
        result = filled(*words)
        assert (result.status, name in result.err) == (StoreDamagedError.exit_code, True)
    (filled.root / name).unlink()
    (filled.root.with_name("aside")).rename(filled.root / name)
    filled.ok("check")


def test_an_import_that_fails_makes_no_store(storeless, tmp_path):
    (tmp_path / "text").write_text("no image\n" * 100)
    for words in (("import", tmp_path / "text"), ("load", "-i", tmp_path / "text")):
        assert storeless(*words).status == UnknownFormatError.exit_code
        for reading in (("images",), ("check",), ("backup", tmp_path / "backup")):
            assert storeless(*reading).status == NoStoreError.exit_code, reading
    storeless.ok("import", images.write_oci_archive(tmp_path / "one.tar", IMAGE))
    storeless.ok("check")
    assert storeless("import", tmp_path / "text").status == UnknownFormatError.exit_code
    storeless.ok("images")


@pytest.mark.parametrize(("target", "says"), [("missing/place", "which does not exist"), ("root", "in a circle")])
def test_a_root_that_leads_nowhere(storeless, tmp_path, target, says):
    storeless.root.parent.mkdir(parents=True, exist_ok=True)
    storeless.root.symlink_to(target)
    archive = images.write_oci_archive(tmp_path / "one.tar", IMAGE)
    for words in (("gc",), ("images",), ("check",), ("import", archive), ("load", "-i", archive)):
        result = storeless(*words)
        assert (result.status, says in result.err) == (NoStoreError.exit_code, True), result.err
