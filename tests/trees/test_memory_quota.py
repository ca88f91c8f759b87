"""What one layer may take of memory and steps, in both forms, and what happens past that."""

from __future__ import annotations

import os

import pytest
from trees.tree_contract import Bytes

from arstore.errors import LimitError
from arstore.tar.entry import Entry, Kind
from arstore.tar.limits import ACCEPTED, Limits
from arstore.tar.steps import EXTRACTED
from arstore.trees.directory.form import DirectoryFormat
from arstore.trees.erofs.form import ErofsFormat
from arstore.trees.format import UnrepresentableError

SMALL = Limits(memory=20_000, index_memory=20_000, steps=300_000, inodes=0)
FORMS = [ErofsFormat(), pytest.param(DirectoryFormat(), marks=pytest.mark.root)]


def built(directory, form, entries, limits=SMALL):
    """Build a tree of *entries* in the new *directory*; its needs."""
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
        # What was accepted once has to go into some tree.
        with pytest.raises(UnrepresentableError, match="memory"):
            built(tmp_path / "stored", form, make(60), ACCEPTED._replace(index_memory=SMALL.index_memory))
    built(tmp_path / "raised", form, make(60), ACCEPTED._replace(index_memory=1 << 20))


def test_files_and_their_names_count_in_an_index(tmp_path):
    for length, most in ((4, 64), (200, 32)):
        files = [Entry(b"%0*d" % (length, i), Kind.FILE) for i in range(most)]
        with pytest.raises(LimitError, match="--limit index-memory="):
            built(tmp_path / f"{length}", ErofsFormat(), files)


@pytest.mark.root
def test_files_do_not_count_when_they_are_extracted(tmp_path):
    limits = SMALL._replace(steps=ACCEPTED.steps)
    built(tmp_path / "t", DirectoryFormat(), [Entry(b"%d" % i, Kind.FILE) for i in range(300)], limits)


def names_cost(form, count):
    """The steps that so many names cost where they are made on disk."""
    return EXTRACTED * count if form.properties.extracts else 0


def chain(steps):
    """Symlinks that lead one to the next, each by a way of *steps* components."""
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
