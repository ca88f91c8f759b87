"""Extended attributes: accepted by an index, refused, or left to the other format; and their place in the index."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import images
from trees.erofs.trees import bare, built, listing, mountable, of_entries
from trees.tree_contract import CAPABILITY, entry

from arstore.tar.entry import Kind
from arstore.trees.directory.form import DirectoryFormat
from arstore.trees.erofs.attributes import OPAQUE, SharedAttributes, taken, words
from arstore.trees.format import UnrepresentableError

NO_ID = (1 << 32) - 1
OBJ = [(1, 6, NO_ID), (4, 4, NO_ID), (32, 0, NO_ID)]
NAMED = [(1, 6, NO_ID), (2, 7, 1000), (2, 4, 1001), (4, 4, NO_ID), (8, 1, 50), (16, 5, NO_ID), (32, 0, NO_ID)]


def acl(entries: list[tuple[int, int, int]], version: int = 2) -> bytes:
    return struct.pack("<I", version) + b"".join(struct.pack("<HHI", *one) for one in entries)


def test_names_are_split_and_sorted() -> None:
    one = entry("f", xattrs={b"user.b": b"2", b"security.x": b"", b"trusted.t": b"3", b"user.a.b": b"1"})
    assert taken(one) == ((1, b"a.b", b"1"), (1, b"b", b"2"), (4, b"t", b"3"), (6, b"x", b""))


@pytest.mark.parametrize(
    "xattrs",
    [
        {b"system.nfs4_acl": b"x"},
        {b"user.v": b"v" * 65_536},
        {b"security.capability": b"\x02\x00\x00\x03" + CAPABILITY[4:] + b"\0\0\0\0"},
        {b"security.capability": b"\x01\x00\x00\x03" + CAPABILITY[4:] + b"\xff\xff\xff\xff"},
        {b"user.%d" % n: b"v" * 60_000 for n in range(5)},
    ],
    ids=lambda xattrs: f"{next(iter(xattrs))[:30].decode()}-{len(xattrs)}",
)
def test_what_is_left_to_the_other_form(xattrs: dict[bytes, bytes]) -> None:
    with pytest.raises(UnrepresentableError) as caught:
        taken(entry("f", xattrs=xattrs))
    assert str(caught.value).startswith("f: ")


def test_capabilities_of_both_versions() -> None:
    for value in (CAPABILITY, b"\x01\x00\x00\x03" + CAPABILITY[4:] + b"\xe8\x03\x00\x00"):
        assert taken(entry("f", xattrs={b"security.capability": value})) == ((6, b"capability", value),)


@pytest.mark.parametrize(
    ("kind", "name", "mode", "value", "taken_as_it_is"),
    [
        (Kind.FILE, b"access", 0o650, acl(NAMED), True),
        (Kind.FILE, b"access", 0o640, acl(NAMED), False),
        (Kind.FILE, b"access", 0o4650, acl(NAMED), True),
        (Kind.DIRECTORY, b"default", 0o777, acl(NAMED), True),
        (Kind.DIRECTORY, b"default", 0o777, acl(OBJ), True),
        (Kind.DIRECTORY, b"access", 0o640, acl(OBJ), False),
        (Kind.FILE, b"access", 0o650, acl([(1, 6, 0), *NAMED[1:]]), False),
    ],
)
def test_access_control_lists(kind: Kind, name: bytes, mode: int, value: bytes, taken_as_it_is: bool) -> None:
    """Only what the kernel would store and show again byte for byte is put into an index."""
    one = entry("f", kind, mode=mode, link=b"x", xattrs={b"system.posix_acl_" + name: value})
    if taken_as_it_is:
        assert [attribute[2] for attribute in taken(one)] == [value]
    else:
        with pytest.raises(UnrepresentableError):
            taken(one)


@mountable
@pytest.mark.parametrize("order", [NAMED, [*NAMED[:1], NAMED[2], NAMED[1], *NAMED[3:]]])
def test_lists_are_shown_as_extracted_files_show_them(tmp_path: Path, order: list[tuple[int, int, int]]) -> None:
    names = {b"system.posix_acl_access": acl(order), b"system.posix_acl_default": acl(OBJ)}
    one = entry("d", Kind.DIRECTORY, mode=0o2650, xattrs=names)
    with of_entries(tmp_path / "t", bare([one])):
        found = listing(tmp_path / "t")[b"d"]
    assert found.mode == 0o2650
    (tmp_path / "u").mkdir()
    fd = os.open(tmp_path / "u", os.O_RDONLY)
    try:
        builder = DirectoryFormat().builder(fd)
        for given_entry, content in bare([one]):
            builder.add(given_entry, content)
        builder.finish()
        builder.close()
        node = DirectoryFormat().lookup(fd, b"d")
    finally:
        os.close(fd)
    assert node is not None
    assert node.entry.mode == 0o2650
    assert {name.encode(): value for name, value in found.xattrs} == node.entry.xattrs == names


ATTRIBUTES = st.tuples(st.sampled_from([1, 4, 6]), st.binary(min_size=1, max_size=9), st.binary(max_size=20))
INODES = st.lists(st.sets(ATTRIBUTES, max_size=5).map(lambda found: tuple(sorted(found))), max_size=6)


@given(INODES)
def test_layout_of_shared_and_own_attributes(inodes: list[tuple[tuple[int, bytes, bytes], ...]]) -> None:
    shared = SharedAttributes(inodes)
    assert len(shared.area) % 4 == 0
    for attributes in inodes:
        body = shared.body(attributes)
        assert len(body) % 4 == 0
        assert bool(body) is bool(attributes)
        if not attributes:
            assert words(0) == 0
            continue
        assert len(body) == 12 + 4 * (words(len(body)) - 1)
        count = body[4]
        several = [one for one in attributes if sum(one in other for other in inodes) > 1]
        assert count == len(several)
        places = struct.unpack_from(f"<{count}I", body, 12)
        read = {unpacked(shared.area, place * 4)[0] for place in places}
        at = 12 + 4 * count
        while at < len(body):
            one, at = unpacked(body, at)
            read.add(one)
        assert read == set(attributes)


def unpacked(data: bytes, at: int) -> tuple[tuple[int, bytes, bytes], int]:
    length, number, size = struct.unpack_from("<BBH", data, at)
    name = data[at + 4 : at + 4 + length]
    value = data[at + 4 + length : at + 4 + length + size]
    return (number, name, value), at + -(-(4 + length + size) // 4) * 4


def test_the_mark_of_an_opaque_directory_is_an_attribute(tmp_path: Path) -> None:
    assert OPAQUE == (4, b"overlay.opaque", b"y")
    members = [images.opaque(f"d{n}") for n in range(3)]
    with built(tmp_path / "t", members) as tree:
        assert all(tree.is_opaque(f"d{n}") for n in range(3))
        assert (tmp_path / "t" / "layer.erofs").read_bytes().count(b"overlay.opaquey") == 1
        assert tree["d0"].xattrs == {}


@mountable
def test_attributes_of_a_size_that_crosses_blocks(tmp_path: Path) -> None:
    sizes = [*range(0, 1200, 37), 65_535, 40_000]
    members = [images.file(f"{size}", xattrs={"user.v": b"v" * size, f"user.{size}": b""}) for size in sizes]
    with built(tmp_path / "t", members) as tree:
        found = listing(tmp_path / "t")
        assert all(tree[f"{size}"].xattrs[b"user.v"] == b"v" * size for size in sizes)
    assert all(dict(found[b"%d" % size].xattrs)["user.v"] == b"v" * size for size in sizes)
