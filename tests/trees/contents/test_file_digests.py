"""Digests of files, computed while a tree is built: those of the content, whatever happens to a name later."""

from __future__ import annotations

import hashlib
import io
import os

import pytest
from blake3 import blake3
from support import images
from trees.tree_contract import keep_tar

from arstore.tar.reader import TarReader
from arstore.trees.contents import ALL, AUTO, MODES, OFF
from arstore.trees.contents.file_digests import LENGTH, SMALL, FileDigests
from arstore.trees.contents.row import BLAKE3, FILE, SHA256
from arstore.trees.directory.form import DirectoryFormat
from arstore.trees.erofs.form import ErofsFormat

pytestmark = pytest.mark.root

FORMS = [DirectoryFormat(), ErofsFormat()]
TINY, BORDER, LARGE = b"tiny", os.urandom(SMALL), os.urandom(SMALL + 1)
HUGE = os.urandom(3 << 20)


def digests(form, place, members, mode=AUTO, tar=None):
    """Flags and digests of the files of a layer, by path."""
    place.mkdir()
    fd = os.open(place, os.O_RDONLY)
    data = tar or images.tar(members)
    found = FileDigests(mode)
    try:
        keep_tar(form, fd, data)
        # A stream without a position, as in an import.
        reader = TarReader(io.BufferedReader(io.BytesIO(data)), "layer")
        builder = form.builder(fd)
        found.feed(builder, ((entry, reader) for entry in reader), None if form.properties.extracts else reader)
        builder.finish()
        builder.close()
        return {
            row.path.decode(): found.of(row.inode, row.size) for row in form.rows(fd) if row.kind == FILE and row.size
        }
    finally:
        os.close(fd)


def sha256(data):
    return SHA256, hashlib.sha256(data).digest()[:LENGTH]


def of_blake3(data):
    return BLAKE3, blake3(data).digest()[:LENGTH]


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.name)
def test_the_size_decides(tmp_path, form):
    members = [images.file(name, data) for name, data in zip("abcde", (TINY, BORDER, LARGE, HUGE, b""), strict=True)]
    wanted = {"a": sha256(TINY), "b": sha256(BORDER), "c": of_blake3(LARGE), "d": of_blake3(HUGE)}
    assert digests(form, tmp_path / "t", members) == wanted


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.name)
def test_all_files_have_a_sha256_if_wanted(tmp_path, form):
    found = digests(form, tmp_path / "t", [images.file("a", TINY), images.file("c", LARGE)], ALL)
    both = SHA256 | BLAKE3, sha256(LARGE)[1] + of_blake3(LARGE)[1]
    assert found == {"a": sha256(TINY), "c": both}


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.name)
def test_the_last_file_at_a_path_counts(tmp_path, form):
    members = [
        images.file("a", b"first"),
        images.file("a", b"second"),
        images.file("b", b"gone"),
        images.symlink("b", "a"),
        images.file("c", b"linked"),
        images.hardlink("d", "c"),
        images.file("c", b"later"),
        images.file("e", b"was"),
        images.file("e", b""),
        *(images.file("again", b"%d" % number) for number in range(20)),
    ]
    found = digests(form, tmp_path / "t", members)
    content = {"a": b"second", "c": b"later", "d": b"linked", "again": b"19"}
    assert found == {path: sha256(data) for path, data in content.items()}


def test_sparse_files_have_none(tmp_path):
    from arstore.tar.entry import Entry, Kind

    entry = Entry(b"holes", Kind.FILE, mode=0o644, size=1 << 20, sparse=[(0, 4)])

    class Four:
        def chunks(self):
            yield b"data"

    fd = os.open(tmp_path, os.O_RDONLY)
    found = FileDigests()
    builder = DirectoryFormat().builder(fd)
    found.feed(builder, [(entry, Four())], None)
    builder.finish()
    builder.close()
    (row,) = [row for row in DirectoryFormat().rows(fd) if row.kind == FILE]
    os.close(fd)
    assert found.of(row.inode, row.size) == (0, b"")


def test_a_tar_without_its_last_padding(tmp_path):
    """The last file is copied into the index; it has its digest all the same."""
    data = images.tar([images.file("a", TINY), images.file("z", b"last")])
    cut = data[: data.index(b"last") + 4]
    assert digests(ErofsFormat(), tmp_path / "t", [], tar=cut) == {"a": sha256(TINY), "z": sha256(b"last")}


def test_unknown_inodes_have_none():
    assert FileDigests().of(5, 1) == (0, b"")


def test_modes():
    assert MODES == (AUTO, ALL, OFF)
