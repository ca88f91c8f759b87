"""Limits of memory and steps for one layer, in both formats, and the errors beyond them."""

from __future__ import annotations

import os

import pytest
from trees.tree_contract import Bytes

from arstore.errors import LimitError
from arstore.tar.entry import Entry, Kind
from arstore.tar.limits import ACCEPTED, Limits
from arstore.tar.steps import ENTRY, EXTRACTED, Steps
from arstore.trees.directory.form import DirectoryFormat
from arstore.trees.erofs.form import ErofsFormat
from arstore.trees.format import UnrepresentableError

SMALL = Limits(memory=20_000, index_memory=20_000, steps=300_000, inodes=0)
FORMS = [ErofsFormat(), pytest.param(DirectoryFormat(), marks=pytest.mark.root)]


def built(directory, form, entries, limits=SMALL):
    """Build a tree of *entries* in the new *directory*; return its needs."""
    directory.mkdir()
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        builder = form.builder(fd, limits)
        try:
            for entry in entries:
                builder.add(entry, Bytes())
            return builder.finish()[0]
        finally:
            builder.close()
    finally:
        os.close(fd)


def names_cost(form, count):
    """The steps for so many names that are made on disk."""
    return EXTRACTED * count if form.properties.extracts else 0


def directories(count):
    return [Entry(b"%d" % i, Kind.DIRECTORY) for i in range(count)]


def symlinks(count):
    return [Entry(b"%d" % i, Kind.SYMLINK, link=b"t" * 500) for i in range(count)]


def whiteouts(count):
    return [Entry(b".wh.%d" % i, Kind.FILE) for i in range(count)]


def absent_links(count):
    return [Entry(b"%d" % i, Kind.HARDLINK, link=b"gone/%d" % i) for i in range(count)]


def attributed(count):
    return [Entry(b"%d" % i, Kind.DIRECTORY, xattrs={b"user.a": b"v" * 1000}) for i in range(count)]


def attributed_files(count):
    return [Entry(b"%d" % i, Kind.FILE, xattrs={b"user.a": b"v" * 1000}) for i in range(count)]


def hard_links(count):
    return [Entry(b"f", Kind.FILE), *(Entry(b"%d" % i, Kind.HARDLINK, link=b"f") for i in range(count))]


def links_to_a_symlink(count):
    return [Entry(b"s", Kind.SYMLINK, link=b"t"), *(Entry(b"%d" % i, Kind.HARDLINK, link=b"s") for i in range(count))]


def links_to_what_is_missing(count):
    first = Entry(b"m", Kind.HARDLINK, link=b"gone")
    return [first, *(Entry(b"%d" % i, Kind.HARDLINK, link=b"m") for i in range(count))]


def opaque_marks(count):
    return [Entry(b"%d/.wh..wh..opq" % i, Kind.FILE) for i in range(count)]


def opaque_again(count):
    return [Entry(b"d", Kind.DIRECTORY), *[Entry(b"d/.wh..wh..opq", Kind.FILE)] * count]


def devices_that_hide(count):
    return [Entry(b"%d" % i, Kind.CHARACTER) for i in range(count)]


def passed(count):
    """Directories that members run through before they are replaced."""
    return [Entry(b"d/f", Kind.FILE), Entry(b"d", Kind.FILE)] * count


def passed_then_given(count):
    return [one for i in range(count) for one in (Entry(b"%d/f" % i, Kind.FILE), Entry(b"%d" % i, Kind.DIRECTORY))]


def crossed(count):
    """Paths that symlinks lead back from, and at which the layer has nothing."""
    links = [Entry(b"l%d" % i, Kind.SYMLINK, link=b"gone%d/.." % i) for i in range(count)]
    return links + [Entry(b"h%d" % i, Kind.HARDLINK, link=b"l%d/x" % i) for i in range(count)]


def implied(count):
    return [Entry(b"%d/f" % i, Kind.FILE) for i in range(count)]


@pytest.mark.parametrize("make", [directories, symlinks, whiteouts, absent_links, attributed, implied])
@pytest.mark.parametrize("form", FORMS)
def test_memory(tmp_path, form, make):
    built(tmp_path / "few", form, make(5))
    flag = "--limit memory=" if form.properties.extracts else "--limit index-memory="
    with pytest.raises(LimitError, match=flag):
        built(tmp_path / "many", form, make(60))
    if not form.properties.extracts:
        # An accepted layer must fit into some tree.
        with pytest.raises(UnrepresentableError, match="memory"):
            built(tmp_path / "stored", form, make(60), ACCEPTED._replace(index_memory=SMALL.index_memory))
    built(tmp_path / "raised", form, make(60), ACCEPTED._replace(index_memory=1 << 20))


def test_files_and_their_names_count_in_an_index(tmp_path):
    for length, most in ((4, 64), (200, 32)):
        files = [Entry(b"%0*d" % (length, i), Kind.FILE) for i in range(most)]
        with pytest.raises(LimitError, match="--limit index-memory="):
            built(tmp_path / f"{length}", ErofsFormat(), files)


# Bytes for one more of them, in an index and on disk. An extracted file takes no memory.
COSTS = {
    directories: (903, 903),
    symlinks: (2300, 1900),
    whiteouts: (402, 402),
    absent_links: (472, 472),
    attributed: (3315, 3315),
    attributed_files: (2812, 0),
    implied: (1327, 927),
    hard_links: (404, 0),
    links_to_a_symlink: (804, 400),
    links_to_what_is_missing: (400, 400),
    opaque_marks: (1329, 1329),
    opaque_again: (401, 401),
    devices_that_hide: (402, 402),
    passed: (2126, 1326),
    passed_then_given: (1743, 1343),
    crossed: (1739, 1339),
}


def least(directory, form, entries):
    """The smallest limit of memory within which *entries* fit."""
    directory.mkdir()
    low, high = 0, 1 << 20
    while low < high:
        middle = (low + high) // 2
        limits = SMALL._replace(memory=middle, index_memory=middle, steps=ACCEPTED.steps)
        try:
            built(directory / f"{middle}", form, entries, limits)
            high = middle
        except LimitError:
            low = middle + 1
    return low


@pytest.mark.parametrize(("make", "costs"), COSTS.items())
@pytest.mark.parametrize("form", FORMS)
def test_what_is_kept_of_each(tmp_path, form, make, costs):
    """A hold that is not counted shows in the difference."""
    few, many = (least(tmp_path / f"{count}", form, make(count)) for count in (10, 42))
    assert (many - few) / 32 == costs[form.properties.extracts]


def steps_of(directory, form, entries):
    """The memory and steps for building a tree of *entries*."""
    directory.mkdir()
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    steps = Steps(ACCEPTED.steps)
    builder = form.builder(fd, ACCEPTED, None, steps)
    try:
        for entry in entries:
            builder.add(entry, Bytes())
        builder.finish()
    finally:
        builder.close()
        os.close(fd)
    return steps.taken


DEEP = b"/".join([b"d"] * 50)
STEPS = [
    # Made on disk: files, directories, symlinks, FIFOs, whiteouts. An implied directory counts like an entry.
    (lambda i: [Entry(b"f%d" % i, Kind.FILE)], 0, 1),
    (lambda i: [Entry(b"d%d" % i, Kind.DIRECTORY)], 0, 1),
    (lambda i: [Entry(b"l%d" % i, Kind.SYMLINK, link=b"t")], 0, 1),
    (lambda i: [Entry(b"p%d" % i, Kind.FIFO)], 0, 1),
    (lambda i: [Entry(b".wh.w%d" % i, Kind.FILE)], 0, 1),
    (lambda i: [Entry(b"h%d" % i, Kind.HARDLINK, link=b"of-all")], 1, 0),
    (lambda i: [Entry(b"i%d/f" % i, Kind.FILE)], 1 + ENTRY + 16, 2),
    # A removed path, in a directory that is not cached; and for a mark.
    (lambda i: [Entry(DEEP + b"/i%d/f" % i, Kind.FILE)], 51 + ENTRY + 16 * 51, 2),
    (lambda i: [Entry(DEEP + b"/.wh.%d" % i, Kind.FILE)], 50, 1),
    (lambda i: [Entry(b"h%d" % i, Kind.HARDLINK, link=DEEP + b"/f")], 50, 0),
    (lambda i: [Entry(b"h%d" % i, Kind.HARDLINK, link=b"link/f")], 1 + 50, 0),
]


@pytest.mark.parametrize(("make", "steps", "names"), STEPS)
@pytest.mark.parametrize("form", FORMS)
def test_what_building_takes(tmp_path, form, make, steps, names):
    always = [
        Entry(b"of-all", Kind.FILE),
        Entry(DEEP + b"/f", Kind.FILE),
        Entry(b"link", Kind.SYMLINK, link=DEEP),
        *make(0),
    ]
    more = [one for i in range(1, 11) for one in make(i)]
    few, many = steps_of(tmp_path / "few", form, always), steps_of(tmp_path / "many", form, always + more)
    assert (many - few) / 10 == steps + names_cost(form, names)


@pytest.mark.root
def test_files_do_not_count_when_they_are_extracted(tmp_path):
    limits = SMALL._replace(steps=ACCEPTED.steps)
    built(tmp_path / "t", DirectoryFormat(), [Entry(b"%d" % i, Kind.FILE) for i in range(300)], limits)


def chain(steps):
    """Symlinks that lead one to the next, each by a path of *steps* components."""
    links = [Entry(b"l%d" % i, Kind.SYMLINK, link=b"./" * steps + b"l%d" % (i + 1)) for i in range(20)]
    return [*links, Entry(b"l20", Kind.SYMLINK, link=b".")]


@pytest.mark.parametrize("form", FORMS)
def test_steps_through_symlinks(tmp_path, form):
    limits = SMALL._replace(memory=1 << 20, index_memory=1 << 20, steps=5000 + names_cost(form, 22))
    hops = [Entry(b"h%d" % i, Kind.HARDLINK, link=b"l0/gone") for i in range(10)]
    built(tmp_path / "few", form, [*chain(50), hops[0]], limits)
    with pytest.raises(LimitError, match="--limit steps="):
        built(tmp_path / "many", form, [*chain(50), *hops], limits)
    built(tmp_path / "raised", form, [*chain(50), *hops], limits._replace(steps=1 << 20))


@pytest.mark.parametrize("form", FORMS)
def test_deep_directories_that_no_entry_is_for(tmp_path, form):
    limits = SMALL._replace(memory=1 << 20, index_memory=1 << 20, steps=5000 + names_cost(form, 11))
    built(tmp_path / "one", form, [Entry(b"a/" * 10 + b"f", Kind.FILE)], limits)
    with pytest.raises(LimitError, match="--limit steps="):
        built(tmp_path / "many", form, [Entry(b"%d/" % i + b"a/" * 10 + b"f", Kind.FILE) for i in range(9)], limits)


def test_what_was_accepted_is_bounded_in_the_index_form_alone():
    assert ACCEPTED.index_memory == Limits().index_memory
    assert ACCEPTED.memory > 1 << 60
    assert ACCEPTED.steps > 1 << 60
