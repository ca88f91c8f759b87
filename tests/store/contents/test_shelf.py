"""The index of contents as files: the latest addition counts, damage is noticed, and little is left over."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arstore import trace
from arstore.store.contents import shelf as module
from arstore.store.contents.segment import DIGESTS, KEYS, NAMES, Segment, SegmentError, tree_id, write
from arstore.store.contents.shelf import Shelf
from arstore.trees.contents.page import pages
from arstore.trees.contents.row import DIRECTORY, FILE, Row


def key(number: int) -> str:
    return "sha256:" + hashlib.sha256(b"tree %d" % number).hexdigest()


def tree(number: int, count: int = 3, version: int = 0) -> tuple[bytes, list]:
    """A tree with *count* files."""
    rows = [Row(b"", DIRECTORY, 0, 0)]
    rows += [Row(b"%d/%d/%d" % (number, version, at), FILE, at + 1, at) for at in range(count)]
    return tree_id(key(number)), list(pages(rows, None, frozenset()))


def listed(shelf: Shelf) -> dict[bytes, list[bytes]]:
    """The paths of every tree in the index."""
    found: dict[bytes, list[bytes]] = {}
    with shelf.opened() as index:
        for number, segment in enumerate(index.segments):
            for page in map(segment.page, index.pages(number)):
                found.setdefault(page.tree, []).extend(filter(None, segment.names(page).paths()))
            # Whole sections are read and verified, too.
            for section in (KEYS, DIGESTS, NAMES):
                list(segment.section(section))
    return found


def paths(number: int, count: int = 3, version: int = 0) -> list[bytes]:
    return [b"%d/%d/%d" % (number, version, at) for at in range(count)]


@pytest.fixture
def shelf(tmp_path):
    return Shelf(str(tmp_path / "contents"))


def test_nothing(shelf):
    assert not shelf.exists()
    assert listed(shelf) == {}
    assert shelf.faults(deep=True) == []
    shelf.tidy([])
    shelf.clear(["1"])
    assert not shelf.exists()


@given(st.lists(st.tuples(st.integers(0, 5), st.sampled_from([0, 3, 5000])), max_size=12))
def test_the_latest_addition_counts(tmp_path_factory, additions):
    shelf = Shelf(str(tmp_path_factory.mktemp("shelf") / "contents"))
    wanted = {}
    for version, (number, count) in enumerate(additions):
        shelf.put([tree(number, count, version)])
        wanted[tree_id(key(number))] = paths(number, count, version)
    assert listed(shelf) == wanted
    assert shelf.faults(deep=True) == []


def test_segments_stay_few(shelf):
    for number in range(200):
        shelf.put([tree(number)])
    assert len(os.listdir(shelf.path)) <= 9
    assert listed(shelf) == {tree_id(key(number)): paths(number) for number in range(200)}


def test_an_import_does_not_merge_large_segments(shelf, monkeypatch):
    monkeypatch.setattr(module, "_MERGED", 100)
    for number in range(5):
        shelf.put([tree(number)])
    assert len(os.listdir(shelf.path)) == 5
    assert len(listed(shelf)) == 5


def test_tidy_removes_what_is_gone(shelf):
    for number in range(10):
        shelf.put([tree(number)])
    size = sum(path.stat().st_size for path in Path(shelf.path).iterdir())
    shelf.tidy([key(number) for number in range(9)])
    assert sum(path.stat().st_size for path in Path(shelf.path).iterdir()) == size, "a little is left"
    shelf.tidy([key(number) for number in range(3)])
    assert listed(shelf) == {tree_id(key(number)): paths(number) for number in range(3)}
    assert len(os.listdir(shelf.path)) == 1
    shelf.tidy([])
    assert os.listdir(shelf.path) == []


def test_tidy_merges_many(shelf, monkeypatch):
    monkeypatch.setattr(module, "_MERGED", 0)
    for number in range(20):
        shelf.put([tree(number)])
    shelf.tidy([key(number) for number in range(20)])
    assert len(os.listdir(shelf.path)) == 1
    assert len(listed(shelf)) == 20


def test_every_flipped_byte_is_noticed(shelf):
    shelf.put([tree(1), tree(2, 10)])
    (path,) = Path(shelf.path).iterdir()
    data = path.read_bytes()
    for place in range(0, len(data), 3):
        path.write_bytes(data[:place] + bytes([data[place] ^ 16]) + data[place + 1 :])
        assert [fault.name for fault in shelf.faults(deep=True)] == [path.name], place
    for length in (0, 1, 100, len(data) // 2, len(data) - 1):
        path.write_bytes(data[:length])
        assert [fault.name for fault in shelf.faults(deep=False)] == [path.name], length
        assert listed(shelf) == {}
    path.write_bytes(data)
    assert shelf.faults(deep=True) == []


def test_damage_is_not_copied_into_another_segment(shelf, tmp_path):
    shelf.put([tree(1), tree(2)])
    (path,) = Path(shelf.path).iterdir()
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    shelf.put([tree(3)])
    with shelf.opened() as index:
        assert tree_id(key(3)) in index.trees
    shelf.tidy([key(1), key(3)])
    assert [fault.name for fault in shelf.faults(deep=True)] == [path.name]
    with Segment.open(str(path)) as segment, open(tmp_path / "out", "w+b") as out, pytest.raises(SegmentError):
        write(out.fileno(), [(segment, [0])], [])


def test_a_damaged_segment_goes_with_tidy(shelf):
    shelf.put([tree(1)])
    (path,) = Path(shelf.path).iterdir()
    path.write_bytes(path.read_bytes()[:-1])
    shelf.tidy([key(1)])
    assert os.listdir(shelf.path) == []


def test_strange_files_are_reported_and_cleared(shelf):
    shelf.put([tree(1)])
    Path(shelf.path, "notes").touch()
    assert [fault.name for fault in shelf.faults(deep=False)] == ["notes"]
    shelf.clear(["notes"])
    assert shelf.faults(deep=True) == []
    assert len(listed(shelf)) == 1


@pytest.mark.parametrize("point", ["contents.written", "contents.placed", "contents.merged"])
def test_an_interruption_loses_nothing_that_was_there(shelf, point):
    shelf.put([tree(1)])

    def interrupt(name):
        if name == point:
            raise KeyboardInterrupt

    trace.listen(interrupt)
    try:
        with pytest.raises(KeyboardInterrupt):
            shelf.put([tree(2)])
    finally:
        trace.listen(None)
    assert listed(shelf)[tree_id(key(1))] == paths(1)
    assert shelf.faults(deep=True) == []
    shelf.put([tree(3)])
    assert {tree_id(key(1)), tree_id(key(3))} <= listed(shelf).keys()
    assert len(os.listdir(shelf.path)) == 1


def test_a_reader_lists_again_when_a_segment_was_merged_meanwhile(shelf, monkeypatch):
    shelf.put([tree(1)])
    real, calls = shelf._names, []

    def stale():
        calls.append(1)
        return ["999"] if len(calls) == 1 else real()

    monkeypatch.setattr(shelf, "_names", stale)
    assert len(listed(shelf)) == 1
    assert len(calls) == 2


def test_what_cannot_be_written_is_left_out(shelf, tmp_path):
    Path(shelf.path).touch()
    with pytest.raises(FileExistsError):
        shelf.put([tree(1)])
    good = tmp_path / "good"
    good.write_bytes(b"".join(part for page in tree(1)[1] for part in page.parts()))
    shelf.add({key(1): str(tmp_path / "missing"), key(2): str(good)})
    shelf.tidy([])


def test_a_file_of_pages_that_a_worker_made_up(shelf, tmp_path):
    good, bad = tmp_path / "good", tmp_path / "bad"
    good.write_bytes(b"".join(part for page in tree(1)[1] for part in page.parts()))
    bad.write_bytes(os.urandom(500))
    shelf.add({key(1): str(good), key(2): str(bad)})
    assert listed(shelf) == {tree_id(key(1)): paths(1)}
