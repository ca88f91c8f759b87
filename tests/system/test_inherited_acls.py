"""A default ACL of the directory in which a store or a copy is made must not affect anything that shows an image."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import pytest
from support import images
from support.cli import Arstore

pytestmark = [pytest.mark.root, pytest.mark.mounts]

DEFAULT, OWN = "system.posix_acl_default", "system.posix_acl_access"
USER, GROUP, MASK, OTHER = 0x01, 0x04, 0x10, 0x20
SOMEBODY = 0x02


def acl(*entries):
    """An ACL in the kernel's format (linux/posix_acl_xattr.h)."""
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)


ANY = 0xFFFFFFFF
GENEROUS = acl((USER, 7, ANY), (SOMEBODY, 7, 12345), (GROUP, 5, ANY), (MASK, 7, ANY), (OTHER, 5, ANY))
"""As `setfacl -d -m u:12345:rwx` makes it."""


@pytest.fixture
def parent(tmp_path):
    place = tmp_path / "parent"
    place.mkdir()
    try:
        os.setxattr(place, DEFAULT, GENEROUS)
    except OSError as error:
        pytest.skip(f"no ACLs here: {error.strerror}")
    return place


def with_acls(place):
    """The paths at and below *place* that have an ACL beyond their mode."""
    paths = [place, *(Path(at, name) for at, names, files in os.walk(place) for name in [*names, *files])]
    return [str(path) for path in paths if {DEFAULT, OWN} & set(os.listxattr(path, follow_symlinks=False))]


@pytest.mark.parametrize("made", ["new", "empty", "empty-and-private"])
@pytest.mark.parametrize("form", ["auto", "directory"])
def test_nothing_in_a_store_gets_one(parent, form, made):
    store = Arstore(parent / "root", parent / "run")
    if made != "new":
        store.root.mkdir(mode=0o755 if made == "empty" else 0o700)
    picture = images.image(images.layer([images.directory("d"), images.file("d/f", b"f")]), names=["x:1"])
    store.ok("import", "--tree", form, images.write_oci_archive(parent.parent / "x.tar", picture))
    box = Path(store.ok("mount", "--rw", "--name", "box", "x:1").text.strip())
    (box / "new").mkdir()
    (box / "new/file").write_bytes(b"x")
    found = with_acls(box)
    modes = [os.stat(box / name).st_mode & 0o777 for name in ("", "d", "new")]
    store.ok("umount", "--all")
    assert found == []
    assert modes == [0o755, 0o755, 0o755]
    view = Path(store.ok("mount", "x:1").text.strip())
    found = with_acls(view)
    store.ok("umount", "--all")
    assert found == with_acls(store.root) == []
    assert store.json("check")["findings"] == []


@pytest.mark.parametrize("made", ["new", "empty"])
def test_what_is_unpacked_has_none(parent, made):
    store = Arstore(parent.parent / "root", parent.parent / "run")
    archive = images.write_oci_archive(parent.parent / "example.tar", images.example())
    store.ok("import", archive)
    if made == "empty":
        (parent / "copy").mkdir()
    store.ok("unpack", "example:1", parent / "copy")
    assert with_acls(parent / "copy") == []


def test_one_that_an_older_store_has_is_found_and_taken_away(parent):
    store = Arstore(parent.parent / "root", parent.parent / "run")
    store.ok("import", images.write_oci_archive(parent.parent / "example.tar", images.example()))
    for name in ("", "trees", "containers"):
        os.setxattr(store.root / name, DEFAULT, GENEROUS)
    store.fails("CheckFailed", "check")
    store.ok("check", "--repair")
    assert with_acls(store.root) == []
    store.ok("check")
