"""An existing `dir:`, and a directory that is not one."""

from __future__ import annotations

import os

import pytest
from support import copies, images, peers, stores

from arstore.errors import ConflictError, InUseError
from arstore.transport.selection.selector import Wanted

ONE, TWO = stores.simple("one"), stores.simple("two", "three", compression="gzip")
VERSION = b"Directory Transport Version: 1.1\n"


@pytest.fixture
def source(tmp_path):
    return images.write_oci_archive(tmp_path / "two.tar", TWO)


@pytest.fixture
def target(tmp_path):
    return copies.target("dir", tmp_path)


def hexes(picture):
    return {digest.partition(":")[2] for digest in picture.blobs() if digest != picture.digest}


def test_the_files_of_an_image(target, source):
    copies.copy(source, target)
    assert set(os.listdir(target.path)) == {"version", "manifest.json", *hexes(TWO)}
    assert (target.path / "version").read_bytes() == VERSION


def test_what_the_earlier_image_had_is_removed(target, source):
    images.write_dir(target.path, ONE)
    for name in ("signature-1", f"{'0' * 64}.manifest.json", f"{'0' * 64}.tar", "0" * 128, "notes", "signature-x"):
        (target.path / name).write_bytes(b"x")
    copies.copy(source, target)
    assert set(os.listdir(target.path)) == {"version", "manifest.json", "notes", "signature-x", *hexes(TWO)}


def test_the_earlier_image_stays_until_the_end(target):
    images.write_dir(target.path, ONE)
    before = copies.everything(target.path)
    with pytest.raises(RuntimeError), target.opened():
        raise RuntimeError
    assert copies.everything(target.path) == before


def test_an_index(target, tmp_path):
    whole = images.index(ONE, stores.simple("arm", architecture="arm64"))
    copies.copy(images.write_oci_archive(tmp_path / "x.tar", whole), target, wanted=Wanted(every=True))
    assert (target.path / "manifest.json").read_bytes() == whole.raw
    for part in whole.parts:
        assert (target.path / f"{part.digest.partition(':')[2]}.manifest.json").read_bytes() == part.manifest


@pytest.mark.parametrize(
    "files",
    [
        {"version": b"1.0\n"},
        {"version": b"1.0\n", "manifest.json": b"{}"},
        {"README": b"x"},
        {"oci-layout": b"{}", "index.json": b"{}"},
        {"manifest.json": b"{}", "README": b"x"},
        {"manifest.json": b"{}"},
        {"0" * 64: b"a blob of somebody"},
    ],
    ids=lambda files: " ".join(files),
)
def test_something_else_is_refused_and_left(target, source, files):
    target.path.mkdir()
    for name, data in files.items():
        (target.path / name).write_bytes(data)
    with pytest.raises(ConflictError, match="something other"):
        copies.copy(source, target)
    assert copies.everything(target.path) == files


def test_the_blobs_of_a_layout_are_not_taken_for_ours(source, tmp_path):
    layout = images.write_layout(tmp_path / "layout", ONE)
    before = copies.everything(layout)
    with pytest.raises(ConflictError, match="something other"):
        copies.copy(source, copies.Target("dir", layout / "blobs/sha256"))
    assert copies.everything(layout) == before


def test_what_a_killed_copy_left_is_gone_on_with(target, source):
    with target.opened() as sink:
        del sink
        assert os.listdir(target.path) == ["version"]
    (target.path / ("0" * 64)).write_bytes(b"whole")
    copies.copy(source, target)
    assert set(os.listdir(target.path)) == {"version", "manifest.json", *hexes(TWO)}


def test_two_copies_at_once(target, source):
    with target.opened(), pytest.raises(InUseError, match="another copy"):
        copies.copy(source, target)


def test_source_is_destination(target):
    images.write_dir(target.path, ONE)
    before = copies.everything(target.path)
    copies.copy(f"dir:{target.path}", target)
    assert copies.everything(target.path) == before


@pytest.mark.tools("skopeo")
def test_skopeo_reads_it(target, source, tmp_path):
    copies.copy(source, target)
    peers.skopeo_copy(f"dir:{target.path}", f"oci:{tmp_path}/by-skopeo:x")
    assert copies.read(f"oci:{tmp_path}/by-skopeo").one.digest == TWO.digest
