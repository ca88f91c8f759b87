"""Directories that are not listed again: only while their content is unchanged, and with the same sums."""

from __future__ import annotations

import os
import shutil
from array import array
from pathlib import Path

import pytest
from support import images, stores

from arstore.maintenance.disk_usage import measure
from arstore.maintenance.gc import collect
from arstore.maintenance.scan import cache as module
from arstore.maintenance.scan.cache import NAME, Listings
from arstore.maintenance.scan.walk import Parts
from arstore.trees.forms import INDEX, MERGED_INDEX, TAR

LONG_AGO = 5_000_000_000


@pytest.fixture
def eager(monkeypatch):
    """Makes the cache take small directories, and directories changed a moment ago."""
    monkeypatch.setattr(module, "_FEWEST", 1)
    monkeypatch.setattr(module, "_STILL", 0)


@pytest.fixture
def place(tmp_path):
    made = tmp_path / "tree"
    made.mkdir()
    for name in (TAR, INDEX):
        (made / name).write_bytes(b"x" * 5000)
    return made


def known_after(place):
    """Listings after *place* was marked."""
    status = os.lstat(place)
    later = Listings()
    later._latest = status.st_ctime_ns + LONG_AGO
    mark = later.mark(status, os.listdir(place))
    return Listings({status.st_ino: mark} if mark is not None else {})


def test_what_is_unchanged_is_known(place):
    assert set(known_after(place).names(os.lstat(place))) == {TAR, INDEX}
    with open(place / TAR, "ab") as file:
        file.write(b"more")
    assert known_after(place).names(os.lstat(place))


@pytest.mark.parametrize(
    "change",
    [
        lambda place: (place / "stranger").touch(),
        lambda place: (place / "below").mkdir(),
        lambda place: (place / TAR).unlink(),
        lambda place: (place / TAR).rename(place / "other"),
        lambda place: os.link(place / TAR, place / "again"),
        lambda place: place.chmod(0o755),
    ],
    ids=["new file", "new directory", "removed", "renamed", "linked", "mode"],
)
def test_what_has_changed_is_not(place, change):
    known = known_after(place)
    change(place)
    assert known.names(os.lstat(place)) == ()


def test_times_that_are_set_back_change_nothing(place):
    known, before = known_after(place), os.lstat(place)
    (place / "stranger").touch()
    os.utime(place, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert known.names(os.lstat(place)) == ()


def test_another_directory_of_this_name_is_not_known(place):
    known = known_after(place)
    place.rename(place.parent / "aside")
    shutil.copytree(place.parent / "aside", place, copy_function=shutil.copy2)
    assert known.names(os.lstat(place)) == ()


def test_what_changed_a_moment_ago_is_not_remembered(place):
    assert Listings().mark(os.lstat(place), os.listdir(place)) is None


@pytest.mark.parametrize(
    ("names", "is_known"),
    [
        ([TAR, INDEX], True),
        ([INDEX, TAR], True),
        ([MERGED_INDEX], True),
        ([TAR], False),
        ([], False),
        ([TAR, INDEX, "needs.json"], False),
        (["fs"], False),
    ],
)
def test_only_directories_as_their_form_makes_them_are_remembered(place, names, is_known):
    found = Listings()
    found._latest = os.lstat(place).st_ctime_ns + LONG_AGO
    mark = found.mark(os.lstat(place), names)
    assert (mark is not None) == is_known
    if mark is not None:
        assert sorted(Listings({os.lstat(place).st_ino: mark}).names(os.lstat(place))) == sorted(names)


def test_they_are_kept_in_a_file(tmp_path, eager):
    marks = {5: 77, (1 << 64) - 1: (1 << 63) + 1}
    Listings().remember(str(tmp_path), 9, marks, 2)
    assert Listings.of(str(tmp_path), 9)._marks == marks
    assert os.listdir(tmp_path) == [NAME]
    Listings(marks).remember(str(tmp_path), 9, {6: 1}, 3)
    assert Listings.of(str(tmp_path), 9)._marks == {**marks, 6: 1}
    assert not Listings.of(str(tmp_path), 8)


def test_those_of_directories_that_went_are_forgotten(tmp_path, eager):
    old = dict.fromkeys(range(10), 5)
    Listings(old).remember(str(tmp_path), 9, {11: 1}, 4)
    assert Listings.of(str(tmp_path), 9)._marks == {11: 1}


def test_few_are_not_worth_a_file(tmp_path):
    Listings().remember(str(tmp_path), 9, dict.fromkeys(range(9_999), 1), 9_999)
    assert os.listdir(tmp_path) == []


def test_a_runroot_that_cannot_be_written_is_no_failure(tmp_path, eager):
    Listings().remember(str(tmp_path / "nowhere"), 9, {1: 1}, 1)


WHOLE = b"arstore listings 1 9 2\n" + array("Q", [1, 2, 3, 4]).tobytes()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\n",
        WHOLE[:-1],
        WHOLE[:-8],
        WHOLE + bytes(8),
        WHOLE.replace(b" 2\n", b" 3\n"),
        WHOLE.replace(b" 2\n", b" -2\n"),
        WHOLE.replace(b" 2\n", b" 2"),
        WHOLE.replace(b"listings 1", b"listings 2"),
        b"arstore listings 1 9 " + b"9" * 5000 + b"\n",
        b"\xff" * 200,
    ],
)
def test_a_file_that_is_not_whole_is_none(tmp_path, content):
    (tmp_path / NAME).write_bytes(WHOLE)
    assert Listings.of(str(tmp_path), 9)
    (tmp_path / NAME).write_bytes(content)
    assert not Listings.of(str(tmp_path), 9)


# --- a store --------------------------------------------------------------------------------------------------------


@pytest.fixture
def store(tmp_path, eager):
    with stores.filled(tmp_path, *(stores.simple(name, names=(f"{name}:1",)) for name in "abc")) as made:
        yield made


def in_parts(store):
    parts = Parts(store.directories)
    found, *others = map(parts.survey, range(parts.COUNT))
    for other in others:
        found.add(other)
    return found


def trees(store):
    return [Path(store.directories.trees, name) for name in sorted(os.listdir(store.directories.trees))]


CHANGES = {
    "nothing": lambda _tree: None,
    "a stranger": lambda tree: (tree / "stranger").write_bytes(b"x" * 70_000),
    "a directory": lambda tree: (tree / "below/it").mkdir(parents=True),
    "a longer file": lambda tree: (next(tree.iterdir())).write_bytes(b"x" * 70_000),
    "a file less": lambda tree: next(tree.iterdir()).unlink(),
    "a link more": lambda tree: os.link(next(tree.iterdir()), f"{tree}.linked"),
    "a link in place of a file": lambda tree: (next(tree.iterdir()).unlink(), (tree / TAR).symlink_to("/etc/passwd")),
    "gone": shutil.rmtree,
    "another name": lambda tree: tree.rename(tree.parent / "strange"),
    "a file in its place": lambda tree: (shutil.rmtree(tree), tree.write_bytes(b"x" * 9000)),
}


@pytest.mark.root
@pytest.mark.parametrize("name", CHANGES)
def test_the_bill_is_what_du_says_whatever_has_happened(store, name):
    measure(store)
    assert os.path.exists(f"{store.directories.runroot}/{NAME}") == (store.tree_forms()[0].name == "erofs")
    CHANGES[name](trees(store)[1])
    assert in_parts(store) == stores.survey(store.directories)
    assert measure(store).total == stores.du(store.directories.root)
    assert measure(store).total == stores.du(store.directories.root)


@pytest.mark.root
def test_known_directories_are_not_listed(store, monkeypatch):
    if store.tree_forms()[0].name != "erofs":
        pytest.skip("this host has trees of extracted files only")
    measure(store)
    listed = []
    real = os.listdir

    def watched(what="."):
        listed.append(os.readlink(f"/proc/self/fd/{what}") if isinstance(what, int) else what)
        return real(what)

    monkeypatch.setattr("arstore.maintenance.scan.walk.os.listdir", watched)
    found = in_parts(store)
    assert not {str(tree) for tree in trees(store)} & set(listed)
    assert set(found.trees) == stores.trees(store)
    assert not found.marks


@pytest.mark.root
def test_it_is_a_file_of_the_runroot_that_gc_leaves(store):
    measure(store)
    stores.bring(store, images.example())
    collect(store)
    measure(store)
    assert collect(store).leftovers == ()
