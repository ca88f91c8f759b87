"""The format `directory`: the contract of trees, and properties that only files on disk have."""

from __future__ import annotations

import os
import subprocess
import threading
from typing import TYPE_CHECKING

import pytest
from support import images
from trees.tree_contract import Bytes, TreeContract, build, entry, is_hole, new_tree

from arstore.disk.rmtree import remove_tree_at
from arstore.tar.entry import Kind
from arstore.trees.directory.form import DirectoryFormat, hides_below

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.root
FORM = DirectoryFormat()


class TestDirectory(TreeContract):
    form = FORM


def test_hard_links_are_one_inode_and_holes_are_holes(tmp_path: Path) -> None:
    with new_tree(FORM, tmp_path / "t") as fd:
        builder = FORM.builder(fd)
        builder.add(entry("f", size=3), Bytes(b"abc"))
        builder.add(entry("g", Kind.HARDLINK, link=b"f"), Bytes())
        builder.add(entry("s", size=1 << 24, sparse=[(1 << 20, 3)]), Bytes(b"abc"))
        builder.finish()
        builder.close()
    files = tmp_path / "t" / "fs"
    assert (files / "f").stat().st_ino == (files / "g").stat().st_ino
    assert is_hole(files / "s")


def test_content_that_is_not_as_long_as_announced(tmp_path: Path) -> None:
    with new_tree(FORM, tmp_path / "t") as fd:
        builder = FORM.builder(fd)
        with pytest.raises(Exception, match="announced"):
            builder.add(entry("f", size=5), Bytes(b"abc"))
        builder.close()


def test_access_times_are_those_of_the_archive(tmp_path: Path) -> None:
    with new_tree(FORM, tmp_path / "t") as fd:
        build(FORM, fd, [images.file("f", mtime_ns=5)])
    assert (tmp_path / "t/fs/f").stat().st_atime_ns == 5


def test_nothing_is_inherited_from_the_directory_around_the_tree(tmp_path: Path) -> None:
    os.chown(tmp_path, 0, 1234)
    os.chmod(tmp_path, 0o2755)
    with new_tree(FORM, tmp_path / "t") as fd:
        tree = build(FORM, fd, [images.file("f"), images.directory("d"), images.file("i/f")])
        assert {tree[path].gid for path in ("", "f", "d", "i", "i/f")} == {0}
        assert tree["d"].mode == 0o755


def test_the_umask_of_the_process_is_never_changed(tmp_path: Path) -> None:
    old = os.umask(0o027)
    seen = set()
    done = threading.Event()

    def watch() -> None:
        while not done.is_set():
            with open("/proc/self/status") as status:
                seen.update(line.split()[1] for line in status if line.startswith("Umask"))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        with new_tree(FORM, tmp_path / "t") as fd:
            build(FORM, fd, [images.file(f"f{n}", mode=0o666) for n in range(200)])
    finally:
        done.set()
        watcher.join()
        os.umask(old)
    assert seen == {"0027"}


def test_many_descriptors_are_not_needed(tmp_path: Path) -> None:
    with new_tree(FORM, tmp_path / "t") as fd:
        builder = FORM.builder(fd)
        before = len(os.listdir("/proc/self/fd"))
        for n in range(300):
            builder.add(entry(f"d{n}/f"), Bytes())
        assert len(os.listdir("/proc/self/fd")) <= before + 64
        builder.finish()
        builder.close()


def test_lower_is_the_directory_of_files(tmp_path: Path) -> None:
    with new_tree(FORM, tmp_path / "t") as fd:
        build(FORM, fd, [images.file("f", b"x")])
    with FORM.lower(str(tmp_path / "t")) as lower:
        assert os.listdir(lower.path) == ["f"]
        assert os.stat(lower.path).st_ino == os.stat(f"/proc/self/fd/{lower.fd}").st_ino
        assert not hides_below(lower)


def test_an_opaque_root_is_seen_from_outside(tmp_path: Path) -> None:
    with new_tree(FORM, tmp_path / "t") as fd:
        build(FORM, fd, [images.opaque("")])
    with FORM.lower(str(tmp_path / "t")) as lower:
        assert hides_below(lower)


@pytest.mark.mounts
def test_removal_stops_at_a_mount(tmp_path: Path) -> None:
    mounted = tmp_path / "t" / "a" / "mounted"
    mounted.mkdir(parents=True)
    (tmp_path / "victim").mkdir()
    (tmp_path / "victim" / "file").write_text("x")
    subprocess.run(["mount", "--bind", tmp_path / "victim", mounted], check=True)
    parent = os.open(tmp_path, os.O_RDONLY)
    try:
        with pytest.raises(OSError, match="mounted"):
            remove_tree_at(parent, b"t")
        assert (tmp_path / "victim" / "file").exists()
        subprocess.run(["umount", mounted], check=True)
        remove_tree_at(parent, b"t")
    finally:
        os.close(parent)
    assert not (tmp_path / "t").exists()


def test_removal_of_a_wide_and_deep_tree(tmp_path: Path) -> None:
    deep = os.open(tmp_path, os.O_RDONLY)
    top = deep
    os.mkdir("t", dir_fd=top)
    here = os.open("t", os.O_RDONLY, dir_fd=top)
    for _ in range(500):
        for name in ("x", "y"):
            os.mkdir(name, dir_fd=here)
        below = os.open("x", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)
    remove_tree_at(top, b"t")
    os.close(top)
    assert os.listdir(tmp_path) == []


def test_a_tree_that_is_a_symlink_is_not_glanced_at(tmp_path: Path) -> None:
    with new_tree(FORM, tmp_path / "t") as fd:
        build(FORM, fd, [images.file("f")])
    (tmp_path / "link").symlink_to("t")
    parent = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        assert FORM.glance(parent, "t", {}) == ("", 0)
        with pytest.raises(NotADirectoryError):
            FORM.glance(parent, "link", {})
    finally:
        os.close(parent)
