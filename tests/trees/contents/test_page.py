"""Pages: rows come back as they were, and other bytes are refused."""

from __future__ import annotations

import hashlib
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arstore.trees.contents.file_digests import LENGTH, FileDigests
from arstore.trees.contents.page import (
    ROWS,
    PageError,
    PageHead,
    check_digests,
    key_of,
    keys_of,
    names_of,
    pages,
    split,
)
from arstore.trees.contents.row import (
    AGAIN,
    BLAKE3,
    DIRECTORY,
    FILE,
    IMPLIED,
    KIND,
    SHA256,
    SYMLINK,
    WHITEOUT,
    Row,
)

NAMES = st.binary(min_size=1, max_size=20).filter(lambda name: b"\0" not in name)


class Known(FileDigests):
    """Digests by inode number, as if they had been computed."""

    def of(self, inode: int, size: int) -> tuple[int, bytes]:
        flags = (0, SHA256, BLAKE3, SHA256 | BLAKE3)[inode % 4]
        return flags, hashlib.sha256(b"%d" % inode).digest()[: LENGTH * flags.bit_count()]


@given(st.lists(st.tuples(NAMES, st.sampled_from([FILE, DIRECTORY, SYMLINK, WHITEOUT]), st.integers(0, 2**60))))
def test_rows_come_back(found):
    rows = [Row(b"", DIRECTORY, 0, 0)]
    rows += [Row(path, kind, size if kind == FILE else 0, at + 1) for at, (path, kind, size) in enumerate(found)]
    (page,) = pages(rows, Known(), frozenset())
    names = names_of(page.head, page.names)
    assert names.paths() == [row.path for row in rows]
    assert [kind & KIND for kind in names.kinds] == [row.kind for row in rows]
    assert list(names.sizes) == [row.size for row in rows]
    assert list(keys_of(page.keys)) == [key_of(row.path, row.kind) for row in rows]
    wanted = [Known().of(row.inode, row.size) for row in rows if row.size]
    assert page.digests == b"".join(digests for _, digests in wanted)
    assert len(list(names.digest_rows())) * LENGTH == len(page.digests)
    assert page.head.files == sum(bool(row.size) for row in rows)
    assert page.head.bare == sum(not flags for flags, _ in wanted)
    check_digests(page.head, page.digests)
    assert list(split(memoryview(b"".join(page.parts())))) == [page]


def test_long_trees_have_several_pages():
    rows = [Row(b"%d" % number, FILE, 1, number) for number in range(2 * ROWS + 1)]
    found = list(pages(rows, None, frozenset()))
    assert [page.head.rows for page in found] == [ROWS, ROWS, 1]
    assert [path for page in found for path in names_of(page.head, page.names).paths()] == [row.path for row in rows]
    assert {page.head.bare for page in found} == {ROWS, 1}


def test_other_names_of_a_file_are_marked_and_implied_directories_too():
    rows = [
        Row(b"", DIRECTORY, 0, 0),
        Row(b"d", DIRECTORY, 0, 0),
        Row(b"one", FILE, 5, 7, 2),
        Row(b"two", FILE, 5, 7, 2),
        Row(b"three", FILE, 5, 8),
    ]
    (page,) = pages(rows, None, frozenset({b"d"}))
    kinds = names_of(page.head, page.names).kinds
    assert list(kinds) == [DIRECTORY, IMPLIED, FILE, FILE | AGAIN, FILE]


@pytest.fixture
def page():
    return next(pages([Row(b"a%d" % number, FILE, 9, 1) for number in range(10)], Known(), frozenset()))


def test_altered_names_are_refused(page):
    for place in range(len(page.names)):
        data = bytearray(page.names)
        data[place] ^= 1
        with pytest.raises(PageError):
            names_of(page.head, bytes(data))


@pytest.mark.parametrize("change", [{"length": 5}, {"length": 5000}, {"rows": 9}, {"rows": 11}])
def test_a_head_that_does_not_fit_is_refused(page, change):
    with pytest.raises(PageError):
        names_of(page.head._replace(**change), page.names)


@pytest.mark.parametrize("change", [{"rows": 0}, {"rows": ROWS + 1}, {"length": 1 << 31}, {"sha256": 1 << 20}])
def test_heads_with_impossible_numbers(page, change):
    with pytest.raises(PageError):
        PageHead.unpack(page.head._replace(**change).pack())


def test_a_file_of_pages_that_is_cut_short(page):
    whole = b"".join(page.parts())
    for length in range(1, len(whole)):
        with pytest.raises(PageError):
            list(split(memoryview(whole[:length])))


@given(st.binary(max_size=200))
def test_any_bytes_are_pages_or_refused(data):
    try:
        for page in split(memoryview(data)):
            names_of(page.head, page.names)
    except PageError:
        pass


def test_a_bomb_is_not_inflated(page):
    import zlib

    bomb = zlib.compress(bytes(100 << 20), 9)
    head = page.head._replace(stored=len(bomb), crc=zlib.crc32(bomb))
    with pytest.raises(PageError):
        names_of(head, bomb)


def test_other_digests_are_noticed(page):
    data = bytearray(page.digests)
    data[0] ^= 1
    with pytest.raises(PageError):
        check_digests(page.head, bytes(data))


def test_a_head_has_the_size_it_says(page):
    assert len(page.head.pack()) == struct.calcsize("<9I")
