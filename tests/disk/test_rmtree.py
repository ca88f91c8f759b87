"""Deleting trees of any depth and with any modes, with few descriptors, and without following symlinks."""

from __future__ import annotations

import os
import resource
from contextlib import suppress

import pytest
from support import stores

from arstore.disk.rmtree import remove_tree, remove_tree_at

NOBODY = 65534


def make_deep(top, depth):
    fd = os.open(top, os.O_RDONLY | os.O_DIRECTORY)
    for _ in range(depth):
        os.mkdir("d", dir_fd=fd)
        os.mkdir("e", dir_fd=fd)
        below = os.open("d", os.O_RDONLY | os.O_DIRECTORY, dir_fd=fd)
        os.close(fd)
        fd = below
    os.close(fd)


def test_a_tree_that_is_deeper_than_there_are_descriptors(tmp_path):
    (tmp_path / "tree").mkdir()
    make_deep(tmp_path / "tree", 400)

    def removed():
        resource.setrlimit(resource.RLIMIT_NOFILE, (128, 128))
        remove_tree(str(tmp_path / "tree"))

    stores.forked(removed)
    assert not (tmp_path / "tree").exists()


@pytest.mark.root
def test_directories_that_their_owner_may_not_open(tmp_path):
    tmp_path.chmod(0o755)
    place = tmp_path / "place"
    (place / "tree/closed/below").mkdir(parents=True)
    (place / "tree/closed/below/file").write_text("x")
    (place / "tree/read only").mkdir()
    (place / "tree/read only/file").write_text("x")
    for path in (place, *place.rglob("*")):
        os.chown(path, NOBODY, NOBODY)
    (place / "tree/closed/below").chmod(0)
    (place / "tree/closed").chmod(0)
    (place / "tree/read only").chmod(0o500)

    def gone(_status):
        # A directory is made accessible only to its owner while it is emptied.
        for path in ("tree/closed", "tree/closed/below"):
            with suppress(OSError):
                assert not os.stat(path).st_mode & 0o077, path

    def removed():
        os.chdir(place)
        os.setresgid(NOBODY, NOBODY, NOBODY)
        os.setresuid(NOBODY, NOBODY, NOBODY)
        fd = os.open(".", os.O_RDONLY)
        remove_tree_at(fd, b"tree", gone)
        os.close(fd)

    stores.forked(removed)
    assert not (place / "tree").exists()


def test_symlinks_are_removed_and_not_followed(tmp_path):
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept/file").write_text("x")
    (tmp_path / "tree/d").mkdir(parents=True)
    (tmp_path / "tree/link").symlink_to(tmp_path / "kept")
    (tmp_path / "tree/d/up").symlink_to("../../kept")
    remove_tree(str(tmp_path / "tree"))
    assert (tmp_path / "kept/file").exists()
