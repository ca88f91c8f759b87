"""Listings: an extracted tree matches its listing, and every later change is reported."""

from __future__ import annotations

import os
import stat
import struct
from pathlib import Path

import pytest
from support import images, stores

from arstore.errors import StoreDamagedError
from arstore.tar.entry import Entry, Kind
from arstore.transport.copy import ImportOptions, import_reference
from arstore.trees.directory import checksums
from arstore.trees.directory.checksums import played
from arstore.trees.directory.verification import differences, listing_of
from arstore.trees.skeleton import DirectoryNode

pytestmark = pytest.mark.root

MEMBERS = [
    images.directory("d", mode=0o750, mtime=1_700_000_000),
    images.file("d/plain", b"content", mtime=1_600_000_000),
    images.file("d/empty", b""),
    images.file("d/twice", b"first"),
    images.file("d/twice", b"second", mode=0o4755),
    images.hardlink("d/linked", "d/plain"),
    images.symlink("d/link", "plain"),
    images.directory("gone"),
    images.file("gone/inside", b"x"),
    images.file("gone", b"a file now"),
    images.file("d/.wh.hidden"),
    images.directory("o"),
    images.file("o/.wh..wh..opq"),
]


@pytest.fixture
def tree(tmp_path):
    """The directory of an extracted layer with one of everything, its listing's digest, and a way to compare."""
    with stores.opened(tmp_path) as store:
        picture = images.image(images.layer(MEMBERS), names=["a:1"])
        archive = stores.archive_for(store, picture)
        import_reference(store, str(archive), ImportOptions(tree="directory"))
        key = picture.diff_ids[0]
        with store.graph.read() as snapshot:
            sums = dict(part.split(":") for part in snapshot.tree(key).sums)
        yield Path(store.directories.tree(key)), sums["listing"]


def compared(tree, deep=True):
    place, digest = tree
    fd = os.open(place, os.O_RDONLY | os.O_DIRECTORY)
    try:
        return differences(fd, "fs", listing_of(fd, digest), lambda _count: None, deep=deep)
    finally:
        os.close(fd)


def test_what_was_extracted_is_as_listed(tree):
    assert compared(tree) == ""
    found = played((tree[0] / "listing").read_bytes())
    assert set(found) == {
        b"", b"d", b"d/plain", b"d/empty", b"d/twice", b"d/linked", b"d/link", b"gone", b"d/hidden", b"o",
    }  # fmt: skip
    assert found[b"d/linked"] is found[b"d/plain"]
    assert (found[b"d/hidden"].kind, found[b"gone"].kind, found[b"d/twice"].mode) == (b"w", b"f", 0o4755)


HARMS = [
    ("d/twice", lambda path: path.write_bytes(b"SECOND"), "has other content"),
    ("d/plain", lambda path: path.write_bytes(b"cut"), "has 3 bytes instead of 7"),
    ("d/twice", lambda path: path.unlink(), "is missing"),
    ("d/extra", lambda path: path.write_bytes(b""), "is not in the listing"),
    ("d/plain", lambda path: path.chmod(0o600), "has mode 0600 instead of"),
    ("d", lambda path: path.chmod(0o755), "has mode 0755 instead of 0750"),
    ("d/empty", lambda path: os.chown(path, 7, 8), "belongs to 7:8 instead of 0:0"),
    ("d/empty", lambda path: os.setxattr(path, "user.a", b"b"), "has other attributes"),
    ("o", lambda path: os.removexattr(path, "trusted.overlay.opaque"), "has other attributes"),
    ("d/hidden", lambda path: path.unlink(), "is missing"),
]


@pytest.mark.parametrize(("name", "harm", "why"), HARMS)
def test_what_is_changed_is_told(tree, name, harm, why):
    path = tree[0] / "fs" / name
    above = os.lstat(path.parent)
    status = os.lstat(path) if os.path.lexists(path) else None
    harm(path)
    os.utime(path.parent, ns=(above.st_mtime_ns, above.st_mtime_ns))
    if status is not None and os.path.lexists(path):
        os.utime(path, ns=(status.st_mtime_ns, status.st_mtime_ns))
    assert f"{name} {why}" in compared(tree)
    assert (compared(tree, deep=False) == "") == (why == "has other content")


def test_other_links_times_and_types_are_told(tree):
    place = tree[0] / "fs"
    os.utime(place / "d/empty", ns=(0, 1))
    assert "d/empty has another modification time" in compared(tree)
    os.unlink(place / "d/link")
    os.symlink("else", place / "d/link")
    assert "d/link" in compared(tree)
    os.unlink(place / "d/linked")
    (place / "d/linked").write_bytes(b"content")
    assert "more" in compared(tree)
    os.mknod(place / "d/fifo", stat.S_IFIFO | 0o600)
    assert "more" in compared(tree)


def test_a_listing_that_is_changed_is_not_believed(tree):
    data = bytearray((tree[0] / "listing").read_bytes())
    data[-1] ^= 1
    (tree[0] / "listing").write_bytes(data)
    with pytest.raises(StoreDamagedError, match="digest"):
        compared(tree)


def _one(lengths, rest=b""):
    return b"arstore listing 1\n" + struct.pack("<cHIIHIIqQ", b"f", *lengths, 0, 0, 0, 0, 0) + rest


@pytest.mark.parametrize(
    "data",
    [
        *(b"", b"arstore listing 2\n", b"arstore listing 1\n\0"),
        *(_one((3, 0, 0), b"ab"), _one((1, 0, 3), b"nabc"), _one((1, 0, 8), b"n" + struct.pack("<HI", 9, 9) + b"ab")),
    ],
)
def test_what_is_no_listing_is_refused(data):
    with pytest.raises(ValueError, match=r"not a listing|cut short"):
        played(data)


@pytest.mark.parametrize("what", ["add", "note", "add_directory"])
def test_a_listing_is_written_as_it_is_made(tmp_path, what):
    """However many names a layer has, only little of the listing is in memory."""
    fd = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    recorder = checksums.Recorder(fd)
    node = DirectoryNode(None, b"")
    path = b"n" * 4000
    for _ in range(100):
        if what == "add":
            recorder.add(node, path, b"f", Entry(path, Kind.FILE), 0, b"")
        elif what == "note":
            recorder.note(node, path, b"w")
        else:
            recorder.add_directory(path, Entry(path, Kind.DIRECTORY), os.stat(tmp_path), fd)
    assert os.stat(tmp_path / checksums.NAME).st_size > 200_000
    recorder.finish()
    recorder.close()
    os.close(fd)
    assert os.stat(tmp_path / checksums.NAME).st_size > 400_000
