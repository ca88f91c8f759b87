"""Verification, and reading of damaged indexes: any content must give a finding and no other failure."""

from __future__ import annotations

import contextlib
import os
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import images
from trees.erofs.trees import FORM, built

from arstore.errors import StoreDamagedError
from arstore.trees.erofs import format as layout
from arstore.trees.erofs import verification
from arstore.trees.erofs.reader import IndexReader, walk
from arstore.trees.erofs.superblock import seal
from arstore.trees.erofs.verification import verify

MEMBERS = [
    images.directory("d", xattrs={"user.a": b"1"}),
    images.file("d/f", b"content" * 200, xattrs={"user.a": b"1", "trusted.b": b"own"}),
    images.hardlink("h", "d/f"),
    images.symlink("l", "d/f"),
    images.symlink("long", "t" * 1000),
    images.file("last", b"x" * 700),
    *[images.fifo(f"many/{n:060}") for n in range(40)],
]
PATHS = [b"d/f", b"h", b"l", b"long", b"last", b"many/" + b"0" * 60, b"none/x", b"d/none"]

Change = Callable[[IndexReader, bytearray], None]


class Damaged:
    """A tree whose index is changed and sealed again, so that only its structure shows the change."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
        self.index = directory / "layer.erofs"
        self.original = self.index.read_bytes()

    def change(self, change: Change, sealed: bool = True) -> None:
        data = bytearray(self.original)
        with IndexReader(self.fd) as index:
            change(index, data)
        self.index.write_bytes(data)
        if sealed:
            block = bytearray(data[layout.SUPER_OFFSET : layout.SUPER_OFFSET + layout.BLOCK])
            block[4:8] = bytes(4)
            block[48:64] = bytes(16)
            with open(self.index, "r+b") as file:
                seal(file.fileno(), bytes(block))

    def read_all(self) -> None:
        """Read everything, without verifying anything first."""
        for path in PATHS:
            FORM.lookup(self.fd, path)
            with contextlib.suppress(FileNotFoundError), FORM.open_file(self.fd, path) as file:
                file.read(100)


@pytest.fixture
def damaged(tmp_path: Path):
    with built(tmp_path / "t", MEMBERS):
        tree = Damaged(tmp_path / "t")
        yield tree
        os.close(tree.fd)


def inode_at(index: IndexReader, path: bytes) -> tuple[int, bool]:
    """The offset of the inode of *path*, and whether it is an extended one."""
    found, inode = list(walk(index, path))[-1]
    assert found == path
    place = index.super.inode_start * layout.BLOCK + inode.nid * layout.SLOT
    return place, inode.body - place == 64


def put(data: bytearray, place: int, form: str, *values: int) -> None:
    struct.pack_into("<" + form, data, place, *values)


def set_address(path: bytes, address: int) -> Change:
    return lambda index, data: put(data, inode_at(index, path)[0] + 16, "I", address)


def set_mode(path: bytes, mode: int) -> Change:
    return lambda index, data: put(data, inode_at(index, path)[0] + 4, "H", mode)


def set_words(path: bytes, count: int) -> Change:
    return lambda index, data: put(data, inode_at(index, path)[0] + 2, "H", count)


def set_links(path: bytes, count: int) -> Change:
    def change(index: IndexReader, data: bytearray) -> None:
        place, extended = inode_at(index, path)
        put(data, place + (44 if extended else 6), "I" if extended else "H", count)

    return change


def set_size(path: bytes, size: int) -> Change:
    return lambda index, data: put(data, inode_at(index, path)[0] + 8, "I", size)


def swap(old: bytes, new: bytes) -> Change:
    def change(_: IndexReader, data: bytearray) -> None:
        at = data.index(old)
        data[at : at + len(old)] = new

    return change


def set_entry(path: bytes, name: bytes, nid_of: bytes | None, kind: int | None = None) -> Change:
    """Make the entry *name* of the inline directory *path* lead elsewhere."""

    def change(index: IndexReader, data: bytearray) -> None:
        directory = list(walk(index, path))[-1][1]
        names = [entry for entry, _, _ in index.entries(directory, 0)]
        place = directory.tail + names.index(name) * layout.DIRENT.size
        if nid_of is not None:
            put(data, place, "Q", list(walk(index, nid_of))[-1][1].nid)
        if kind is not None:
            put(data, place + 10, "B", kind)

    return change


OUTSIDE = layout.TAR_START + 100_000
CHANGES: dict[str, tuple[Change, str]] = {
    "behind the tar": (set_address(b"last", OUTSIDE), "outside the tar"),
    "before the tar": (set_address(b"last", layout.TAR_START - 1), "outside the area of content"),
    "into the index": (set_address(b"last", 2), "outside the area of content"),
    "a far address": (set_address(b"last", (1 << 32) - 1), "outside the tar"),
    "a size past the tar": (set_size(b"last", 1 << 30), "outside the tar"),
    "a file type": (set_mode(b"last", 0o040644), "another type"),
    "no file type": (set_mode(b"last", 0o000644), "unknown type"),
    "attributes past the end": (set_words(b"last", 60_000), "past its end|beyond its end"),
    "too few names": (set_links(b"h", 3), "more names"),
    "too many names": (set_links(b"h", 1), "inodes instead"),
    "an empty link": (set_size(b"l", 0), "invalid target"),
    "a long link": (set_size(b"l", 5000), "invalid target"),
    "a link into nothing": (set_address(b"long", OUTSIDE), "beyond its end"),
    "a directory without blocks": (set_address(b"many", OUTSIDE), "beyond its end"),
    "a large directory": (set_size(b"many", (1 << 32) - 1), "beyond its end|broken"),
    "an empty directory": (set_size(b"d", 0), "without entries for itself"),
    "a directory in itself": (set_entry(b"", b"d", b""), "two parents"),
    "another parent": (set_entry(b"d", b"..", b"many"), "itself or its parent"),
    "another self": (set_entry(b"d", b".", b"many"), "itself or its parent"),
    "an entry's type": (set_entry(b"d", b"f", None, 2), "another type"),
    "an order": (swap(b"last", b"aast"), "out of order"),
    "a slash": (swap(b"last", b"l/st"), "out of order"),
    "a name that ends early": (swap(b"longmany", b"long\0any"), "out of order"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_damage_is_found_in_the_structure(damaged: Damaged, name: str) -> None:
    change, why = CHANGES[name]
    assert verify(damaged.fd) == 1 + 6 + 40
    damaged.change(change)
    with pytest.raises(StoreDamagedError, match=why) as caught:
        verify(damaged.fd)
    assert "layer.erofs" in caught.value.what
    assert "remove" in caught.value.hint


@pytest.mark.parametrize("name", CHANGES)
def test_reading_damage_is_no_other_failure(damaged: Damaged, name: str) -> None:
    damaged.change(CHANGES[name][0])
    with contextlib.suppress(StoreDamagedError):
        damaged.read_all()


@pytest.mark.parametrize("place", [0, 1, 8, 12, 44, 90, 130, 200, 300])
def test_the_super_block_is_not_believed(damaged: Damaged, place: int) -> None:
    def change(_: IndexReader, data: bytearray) -> None:
        data[layout.SUPER_OFFSET + place] ^= 0x55

    damaged.change(change, sealed=False)
    with pytest.raises(StoreDamagedError):
        verify(damaged.fd)
    with pytest.raises(StoreDamagedError):
        FORM.lookup(damaged.fd, b"d")


@pytest.mark.parametrize("place", [-1, 1600, 2000, 4000])
def test_an_altered_byte_is_found(damaged: Damaged, place: int) -> None:
    def change(_: IndexReader, data: bytearray) -> None:
        data[place] ^= 0x01

    damaged.change(change, sealed=False)
    with pytest.raises(StoreDamagedError, match="digest"):
        verify(damaged.fd)


@pytest.mark.parametrize("length", [0, 100, 1024, 1100, 1536, 2048, -1, -512])
def test_an_index_that_is_cut_off(damaged: Damaged, length: int) -> None:
    damaged.index.write_bytes(damaged.original[:length])
    with pytest.raises(StoreDamagedError):
        verify(damaged.fd)
    with contextlib.suppress(StoreDamagedError):
        damaged.read_all()


def test_an_index_that_goes_on(damaged: Damaged) -> None:
    damaged.index.write_bytes(damaged.original + bytes(512))
    with pytest.raises(StoreDamagedError, match="bytes instead of"):
        verify(damaged.fd)


def test_a_tar_that_is_cut_off(damaged: Damaged) -> None:
    tar = damaged.directory / "layer.tar"
    whole = tar.read_bytes()
    end = whole.index(b"x" * 700) + 1024
    tar.write_bytes(whole[:end])
    verify(damaged.fd)
    tar.write_bytes(whole[: end - 1])
    with pytest.raises(StoreDamagedError, match="its tar has"):
        verify(damaged.fd)


def test_a_tar_that_is_something_else(damaged: Damaged) -> None:
    tar = damaged.directory / "layer.tar"
    tar.unlink()
    with pytest.raises(FileNotFoundError):
        verify(damaged.fd)
    tar.symlink_to("/etc/passwd")
    with pytest.raises(StoreDamagedError, match="not a regular file"):
        verify(damaged.fd)
    with pytest.raises(OSError, match="symbolic"):
        FORM.open_file(damaged.fd, b"last")


def test_an_index_that_is_a_symlink(damaged: Damaged) -> None:
    damaged.index.rename(damaged.directory / "elsewhere")
    damaged.index.symlink_to("elsewhere")
    with pytest.raises(OSError, match="symbolic"):
        FORM.lookup(damaged.fd, b"d")


@pytest.fixture(scope="module")
def victim(tmp_path_factory: pytest.TempPathFactory):
    directory = tmp_path_factory.mktemp("fuzz") / "t"
    with built(directory, MEMBERS):
        tree = Damaged(directory)
        yield tree
        os.close(tree.fd)


@given(changes=st.lists(st.tuples(st.integers(0, 1 << 20), st.integers(0, 255)), min_size=1, max_size=6))
def test_no_change_is_any_other_failure(victim: Damaged, changes: list[tuple[int, int]]) -> None:
    """Bytes anywhere after the super block, sealed again: verification may find them or not, and so may reading."""

    def change(_: IndexReader, data: bytearray) -> None:
        first = layout.FIRST_BLOCK * layout.BLOCK
        for place, value in changes:
            data[first + place % (len(data) - first)] = value

    victim.index.write_bytes(victim.original)
    victim.change(change)
    before = len(os.listdir("/proc/self/fd"))
    for look in (lambda: verification.verify(victim.fd), victim.read_all):
        with contextlib.suppress(StoreDamagedError):
            look()
    assert len(os.listdir("/proc/self/fd")) == before
