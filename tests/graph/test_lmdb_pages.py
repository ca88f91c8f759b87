"""The walk over LMDB's pages: it finds no fault in pages that LMDB wrote, and finds flipped bits."""

from __future__ import annotations

import os
import random
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path

import lmdb
import pytest

from arstore.graph import lmdb_pages as pages
from arstore.graph.lmdb_pages import Walk, moment, walk
from arstore.graph.record_checksum import is_sealed, sealed

SIZE = 1 << 30


@pytest.fixture
def data(tmp_path):
    """A data file with branches, large values, deleted records and free pages, written with a seed."""
    chance = random.Random(7)
    with lmdb.open(str(tmp_path), map_size=SIZE) as environment:
        for _ in range(12):
            with environment.begin(write=True) as transaction:
                for _ in range(60):
                    key = b"key/%d" % chance.randrange(600)
                    transaction.put(key, sealed(key, chance.randbytes(chance.choice([20, 300, 900, 3000, 9000]))))
                for _ in range(20):
                    transaction.delete(b"key/%d" % chance.randrange(600))
    return str(tmp_path / "data.mdb")


def look(path):
    """The findings of a walk, and the keys of the records whose seals are broken."""
    broken = []
    done = walk(path, SIZE, lambda key, value: None if is_sealed(key, value) else broken.append(key))
    return done, broken


def test_what_lmdb_wrote_is_well(data):
    records = {}
    done = walk(data, SIZE, records.__setitem__)
    assert done.faults == []
    with lmdb.open(os.path.dirname(data), map_size=SIZE) as environment, environment.begin() as transaction:
        assert records == dict(transaction.cursor())
        assert done.records == transaction.stat()["entries"]


def test_an_empty_environment_is_well(tmp_path):
    lmdb.open(str(tmp_path), map_size=SIZE).close()
    assert walk(str(tmp_path / "data.mdb"), SIZE, lambda _key, _value: None) == Walk(is_whole=True)


def test_nothing_in_a_page_that_is_read_can_flip_unseen(data):
    """Bits are flipped all over each used page; a flip that is not found must not change what LMDB reads."""
    original = Path(data).read_bytes()
    with lmdb.open(os.path.dirname(data), map_size=SIZE) as environment, environment.begin() as transaction:
        wanted = dict(transaction.cursor())
    chance = random.Random(1)
    copy = os.path.join(os.path.dirname(data), "copy")
    found = 0
    for _ in range(400):
        os.makedirs(copy)
        altered = bytearray(original)
        altered[chance.randrange(len(altered))] ^= 1 << chance.randrange(8)
        with open(f"{copy}/data.mdb", "wb") as file:
            file.write(altered)
        done, broken = look(f"{copy}/data.mdb")
        if done.faults or broken:
            found += 1
        else:
            with lmdb.open(copy, map_size=SIZE) as environment, environment.begin() as transaction:
                assert dict(transaction.cursor()) == wanted
        shutil.rmtree(copy)
    assert found > 40


@pytest.mark.parametrize("size", [0, 100, 4096, 8192, 20000])
def test_a_short_file_is_found(data, size):
    os.truncate(data, size)
    assert look(data)[0].faults


def test_the_moment_changes_with_a_write(data):
    before = moment(data)
    assert moment(data) == before
    with lmdb.open(os.path.dirname(data), map_size=SIZE) as environment, environment.begin(write=True) as transaction:
        transaction.put(b"key/x", b"")
    assert moment(data) != before


def test_pages_at_the_end_that_were_never_written_are_no_damage(tmp_path):
    """A transaction may take pages at the end of the file and return them: LMDB counts them, and does not write them.

    Here they are cut off once they are free, which has the same effect.
    """
    path = tmp_path / "data.mdb"
    small, large = ([b"%s/%d" % (kind, n) for n in range(40)] for kind in (b"a", b"z"))
    with lmdb.open(str(tmp_path), map_size=SIZE) as environment:
        for _ in range(20):
            for change in (small + large, large, small[:1], small[:1]):
                with environment.begin(write=True) as transaction:
                    for key in change:
                        transaction.delete(key) if change is large else transaction.put(key, sealed(key, bytes(2000)))
            size = path.stat().st_size
            os.truncate(path, size - 4096)
            if look(str(path)) == (Walk(records=len(small), is_whole=True), []):
                return
            os.truncate(path, size)
    pytest.fail("the last page was never a free one")


@pytest.mark.parametrize("start", range(0, 16, 2))
def test_a_branch_whose_header_is_lost_is_a_fault_and_no_crash(data, start):
    content = bytearray(Path(data).read_bytes())
    for page in range(2, len(content) // 4096):
        content[page * 4096 + start : page * 4096 + 16] = bytes(16 - start)
    Path(data).write_bytes(content)
    assert look(data)[0].faults


def test_a_page_number_beyond_all_files_is_found(data):
    """Multiplied by the size of a page, the number exceeds the largest offset of a file."""
    original = bytearray(Path(data).read_bytes())
    root = 16 + 24 + 48 + 40
    for number in (0, 1):
        original[number * 4096 + root : number * 4096 + root + 8] = (1 << 60).to_bytes(8, "little")
    Path(data).write_bytes(original)
    assert look(data)[0].faults


def test_each_node_of_a_damaged_branch_is_read_once(data, monkeypatch):
    """A damaged branch may list a node at every second byte, and nodes may lead from one to the next."""
    content = bytearray(Path(data).read_bytes())
    branches = [page for page in range(2, len(content) // 4096) if content[page * 4096 + 10] == 1]
    assert branches
    for page in branches:
        content[page * 4096 + 8] = 2
        content[page * 4096 + 12 : page * 4096 + 14] = (4096).to_bytes(2, "little")
    Path(data).write_bytes(content)
    read = Counter()
    form = pages._NODE

    class Counted:
        size = form.size

        @staticmethod
        def unpack_from(page, place):
            read[page[:8], place] += 1
            return form.unpack_from(page, place)

    monkeypatch.setattr(pages, "_NODE", Counted)
    assert look(data)[0].faults
    # Once as a page of its expected kind, and again in search of records to save.
    assert max(read.values()) <= 2


def test_damaged_branches_that_lead_to_one_another_are_gone_through_once(data):
    """Each branch leads to both, so there are more paths than can be counted."""
    content = bytearray(Path(data).read_bytes())
    main = 16 + 24 + 48
    for number in (0, 1):
        content[number * 4096 + main + 6 : number * 4096 + main + 8] = (30).to_bytes(2, "little")
    root = max(int.from_bytes(content[at + main + 40 : at + main + 48], "little") for at in (0, 4096))
    other = 2 if root != 2 else 3
    page = root * 4096
    nodes = range(page + 16, page + int.from_bytes(content[page + 12 : page + 14], "little"), 2)
    assert len(nodes) > 2
    for at in nodes:
        node = page + int.from_bytes(content[at : at + 2], "little")
        content[node : node + 4] = (other if at % 4 else root).to_bytes(4, "little")
    content[other * 4096 : other * 4096 + 4096] = content[page : page + 4096]
    content[other * 4096] = other
    Path(data).write_bytes(content)
    assert 0 < len(look(data)[0].faults) < 100


def walker(data, **changes):
    with open(data, "rb") as file:
        meta = replace(pages._current(file.fileno(), SIZE), **changes)
    return pages._Walker(-1, meta, Walk(), lambda _key, _value: None)


@pytest.mark.parametrize("key", [b"", b"\1", b"\1" + bytes(8), bytes(8), b"\xff" * 8])
def test_a_list_of_free_pages_by_an_impossible_key(data, key):
    """The key is not a transaction, or a transaction that has not happened yet."""
    with pytest.raises(pages.PageError, match="impossible key"):
        walker(data)._take_free(key, (1).to_bytes(8, "little") + (5).to_bytes(8, "little"))


@pytest.mark.parametrize("last", [1 << 22, 1 << 40, (1 << 64) - 1])
def test_a_meta_page_that_counts_too_many_pages_costs_nothing(data, last):
    with pytest.raises(pages.PageError, match="impossible size"):
        walker(data, last=last).run()
