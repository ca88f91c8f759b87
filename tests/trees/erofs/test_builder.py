"""The builder: what it puts into the index itself, refuses, and counts."""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from support import images
from trees.erofs.trees import FORM, bare, built, listing, mountable, of_entries
from trees.tree_contract import Bytes, build, entry, new_tree

from arstore.errors import LimitError, TarError, UnsafePathError
from arstore.tar.entry import Entry, Kind
from arstore.tar.reader import TarReader
from arstore.trees.erofs import format as layout
from arstore.trees.erofs.inline_content import MOST_CONTENT
from arstore.trees.erofs.verification import verify
from arstore.trees.format import TreeStat, UnrepresentableError


@mountable
def test_content_that_is_in_no_tar_is_in_the_index(tmp_path: Path) -> None:
    pairs = [
        (entry("a", size=5), Bytes(b"he", b"llo")),
        (entry("holes", size=1 << 20, sparse=[(5000, 3), ((1 << 20) - 1, 1)]), Bytes(b"abcd")),
        (entry("nothing-but-holes", size=70_000, sparse=[]), Bytes()),
        (entry("whole", size=600, sparse=[(0, 600)]), Bytes(b"w" * 600)),
        (entry("link", Kind.HARDLINK, link=b"a"), Bytes()),
    ]
    with of_entries(tmp_path / "t", pairs) as tree:
        assert verify(tree.fd) == 5
        assert tree.read("a") == tree.read("link") == b"hello"
        assert tree.read("holes") == bytes(5000) + b"abc" + bytes((1 << 20) - 5004) + b"d"
        found = listing(tmp_path / "t")
        assert (tmp_path / "t/layer.erofs").stat().st_blocks * 512 < 1 << 17
        assert tree.stat == TreeStat(5, 5 + (1 << 20) + 70_000 + 600)
        with FORM.open_file(tree.fd, b"holes") as opened:
            assert opened.read(4, 4999) == b"\0abc"
    for name in ("a", "holes", "nothing-but-holes", "whole"):
        assert found[name.encode()].sha256 == images.sha256(tree_content(pairs, name)).removeprefix("sha256:")


def tree_content(pairs: list[tuple[Entry, Bytes]], name: str) -> bytes:
    """The content of an entry, holes filled."""
    one, content = next((one, content) for one, content in pairs if one.path == name.encode())
    data = bytearray(one.size)
    stored = b"".join(content.pieces)
    for start, length in one.sparse if one.sparse is not None else [(0, one.size)]:
        data[start : start + length], stored = stored[:length], stored[length:]
    return bytes(data)


@pytest.mark.parametrize(
    ("hostile", "why"),
    [
        (entry("f", size=3, offset=512, sparse=[(0, 3)]), "is sparse"),
        (entry("f", size=3, offset=513), "block of the tar"),
        (entry("f", size=3, offset=1 << 41), "too far"),
        (entry("f", size=513, offset=(layout.TAR_BLOCKS - 1) * 512), "too long"),
        (entry("f", size=MOST_CONTENT + 1, sparse=[]), "too large"),
        (entry("f", xattrs={b"user.large": b"v" * 65_536}), "user.large"),
    ],
)
def test_what_an_index_cannot_say(tmp_path: Path, hostile: Entry, why: str) -> None:
    entries = bare([entry("fits", size=1, offset=(layout.TAR_BLOCKS - 2) * 512), hostile])
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(UnrepresentableError, match=why), of_entries(tmp_path / "t", entries, length=1 << 42):
        pass
    assert len(os.listdir("/proc/self/fd")) == before


def test_the_last_block_of_a_tar_that_has_a_number(tmp_path: Path) -> None:
    one = entry("f", size=512, offset=(layout.TAR_BLOCKS - 1) * 512)
    with of_entries(tmp_path / "t", bare([one]), length=1 << 42) as tree:
        assert verify(tree.fd) == 2
        with FORM.open_file(tree.fd, b"f") as file:
            assert file.start == one.offset


def test_a_gnu_sparse_layer_is_for_the_other_form(tmp_path: Path) -> None:
    info = tarfile.TarInfo("sparse")
    info.pax_headers = {
        "GNU.sparse.major": "0",
        "GNU.sparse.minor": "1",
        "GNU.sparse.name": "sparse",
        "GNU.sparse.size": "8192",
        "GNU.sparse.numblocks": "1",
        "GNU.sparse.map": "4096,4",
    }
    info.size = 4
    data = images.tar([images.Member(info, b"data")])
    assert next(iter(TarReader(io.BytesIO(data)))).sparse == [(4096, 4)]
    with pytest.raises(UnrepresentableError, match=r"^sparse: is sparse"), built(tmp_path / "t", data):
        pass


@pytest.mark.parametrize(
    "make",
    [
        lambda name: entry(name),
        lambda name: entry(name, Kind.SYMLINK, link=b"x"),
        lambda name: entry(name, Kind.FIFO),
        lambda name: entry(name, Kind.DIRECTORY),
        lambda name: entry(name, Kind.HARDLINK, link=b"there"),
        lambda name: entry(f".wh.{name}"),
        lambda name: entry(f"{name}/below"),
    ],
)
def test_names_longer_than_the_kernel_takes(tmp_path: Path, make: Callable[[str], Entry]) -> None:
    with of_entries(tmp_path / "fits", bare([entry("there"), make("n" * 255)])) as tree:
        assert verify(tree.fd) > 1
    entries = bare([entry("there"), make("n" * 500)])
    with pytest.raises(LimitError, match="than the kernel permits"), of_entries(tmp_path / "t", entries):
        pass


@pytest.mark.parametrize(
    "hostile",
    [
        entry("d", Kind.DIRECTORY, uid=1 << 32),
        entry("d", Kind.DIRECTORY, gid=(1 << 32) - 1),
        entry("d", Kind.DIRECTORY, mtime=10**30),
        entry("", Kind.DIRECTORY, uid=-1),
        entry("l", Kind.SYMLINK, link=b"x", uid=-5),
        entry("f", mtime=-(10**30)),
    ],
)
def test_numbers_that_no_inode_has(tmp_path: Path, hostile: Entry) -> None:
    with pytest.raises(TarError), of_entries(tmp_path / "t", bare([hostile])):
        pass


def test_content_that_is_not_as_long_as_announced(tmp_path: Path) -> None:
    for content in (Bytes(b"abc"), Bytes(b"abcdefg")):
        with new_tree(FORM, tmp_path / f"{len(content.pieces[0])}") as fd:
            builder = FORM.builder(fd)
            with pytest.raises(TarError, match="announced"):
                builder.add(entry("f", size=5), content)
            builder.close()


def test_what_is_replaced_leaves_no_trace(tmp_path: Path) -> None:
    plain = [images.file("a/f", b"1"), images.directory("a"), images.symlink("l", "a")]
    replaced = [
        images.file("a/x", b"gone" * 1000),
        images.hardlink("y", "a/x"),
        images.hardlink("a/z", "a/x"),
        images.symlink("a/s", "x" * 600),
        images.file("l/below", b"2", xattrs={"user.a": b"1"}),
        images.file("a", b"now a file"),
        images.file("y", b"", mtime_ns=0),
        images.whiteout("never"),
    ]
    with built(tmp_path / "t", [*replaced, *plain]) as tree:
        assert tree.stat == TreeStat(4, 1)
        assert verify(tree.fd) == 6
        assert tree["y"].size == 0
        assert "a/x" not in tree


def test_files_and_bytes_are_counted_once(tmp_path: Path) -> None:
    members = [
        images.file("f", b"12345"),
        images.hardlink("g", "f"),
        images.hardlink("h", "g"),
        images.file("f", b"new"),
        images.hardlink("h", "f"),
        images.fifo("p"),
        images.hardlink("p2", "p"),
    ]
    with built(tmp_path / "t", members) as tree:
        assert tree.stat == TreeStat(5, 8)
        assert (tree.read("f"), tree.read("g"), tree.read("h")) == (b"new", b"12345", b"new")
        assert verify(tree.fd) == 4


def test_an_index_is_never_written_over(tmp_path: Path) -> None:
    with built(tmp_path / "t", [images.file("f")]) as tree, pytest.raises(FileExistsError):
        FORM.builder(tree.fd)


def test_a_build_that_fails_has_no_super_block(tmp_path: Path) -> None:
    with new_tree(FORM, tmp_path / "t") as fd:
        with pytest.raises(UnsafePathError):
            build(FORM, fd, [images.file("f"), images.symlink("a", "a"), images.file("a/g")])
        assert (tmp_path / "t/layer.erofs").read_bytes() == b""


def test_closing_twice(tmp_path: Path) -> None:
    with new_tree(FORM, tmp_path / "t") as fd:
        builder = FORM.builder(fd)
        builder.close()
        before = len(os.listdir("/proc/self/fd"))
        builder.close()
        assert len(os.listdir("/proc/self/fd")) == before
