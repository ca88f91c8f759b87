"""Searches, exports and differences of the library."""

from __future__ import annotations

import tarfile

import pytest
from support import images

from arstore import errors


@pytest.fixture
def two(store, tmp_path):
    """Two images with a layer in common; the second one deletes a file of it."""
    base = images.layer([images.directory("etc"), images.file("etc/os-release", b"NAME=small\n" * 999)])
    top = images.layer([images.directory("etc"), images.file("etc/.wh.os-release", b""), images.file("new", b"x" * 9)])
    images.write_oci_archive(tmp_path / "base.tar", images.image(base, names=["base:1"]))
    images.write_oci_archive(tmp_path / "top.tar", images.image(base, top, names=["top:1"]))
    return store.import_image(tmp_path / "base.tar"), store.import_image(tmp_path / "top.tar")


def test_find(store, two):
    base, top = two
    (file,) = [one for one in store.find("os-release").files if one.kind == "file"]
    assert (file.path, file.size) == ("/etc/os-release", 10989)
    assert {one.digest: one.how for one in file.images} == {base.digest: "", top.digest: "whiteout"}
    assert file.images[-1].hidden_by
    (seen,) = [one for one in store.find("os-release", visible=True).files if one.kind == "file"]
    assert [one.digest for one in seen.images] == [base.digest]
    assert store.find("os-release", images=[top], visible=True).files == ()
    assert store.find(base.digest).objects[0].kind == "image"
    with pytest.raises(errors.UsageError):
        store.find()


def test_duplicates(store, two):
    assert store.duplicates().copies == store.duplicates(*two).copies
    assert store.update_contents() == 0


def test_diff_and_export(store, two, tmp_path):
    _, top = two
    assert [(one.kind, one.path) for one in store.diff("base:1", top)] == [("D", "/etc/os-release"), ("A", "/new")]
    assert [one.before for one in store.diff("base:1", top, sizes=True)] == [10989, 0]
    done = store.export(top, tmp_path / "root.tar")
    with tarfile.open(tmp_path / "root.tar") as archive:
        assert len(archive.getnames()) == done.members
    assert (done.container, done.image) == ("", top.digest)


def test_history_protection_and_upkeep(store, two, tmp_path):
    base, top = two
    steps = store.history(top, sizes=True)
    assert [step.diff_id for step in steps] == [layer.diff_id for layer in store.inspect(top).layers][::-1]
    assert all(step.sizes.on_disk > 0 for step in steps)
    assert store.protect(base) == (base.digest,)
    assert store.protected() == {base.digest}
    assert store.prune(0, dry_run=True).images == (top.digest,)
    assert store.unprotect(base) == (base.digest,)
    plan = store.trim(dry_run=True)
    assert store.trim().trees == plan.trees
    with pytest.raises(errors.UsageError):
        store.trim(total=1, freed=1)
    assert store.backup(tmp_path / "backup").images == 2
    assert {*store.prune(0).images} == {base.digest, top.digest}
