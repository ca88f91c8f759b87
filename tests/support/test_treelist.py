"""The comparing tool: each field is made to differ once, since a comparison that cannot fail proves nothing."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from support import treelist

TREELIST = Path(__file__).with_name("treelist.py")


@pytest.fixture
def pair(tmp_path):
    """Two equal trees with a file, a link, a group of hard links, a FIFO and a directory in each."""
    for name in ("a", "b"):
        top = tmp_path / name
        (top / "dir" / "below").mkdir(parents=True)
        (top / "dir" / "file").write_bytes(b"content")
        (top / "link").symlink_to("dir/file")
        (top / "one").write_bytes(b"linked")
        os.link(top / "one", top / "dir" / "two")
        os.mkfifo(top / "fifo")
        for path in [*top.rglob("*"), top]:
            os.utime(path, ns=(5, 1_600_000_000_123_456_789), follow_symlinks=False)
    return tmp_path / "a", tmp_path / "b"


def settle(path):
    """Give a changed path and its parent the same time as the rest of the tree."""
    for one in (path, path.parent):
        if one.is_symlink() or one.exists():
            os.utime(one, ns=(5, 1_600_000_000_123_456_789), follow_symlinks=False)


def test_equal_trees_do_not_differ(pair):
    assert treelist.compare(*pair) == []


def test_inode_numbers_and_atimes_do_not_count(pair):
    a, b = pair
    (b / "copy").write_bytes(b"content")
    os.replace(b / "copy", b / "dir" / "file")
    settle(b / "dir" / "file")
    settle(b / "x")
    os.utime(b / "one", ns=(99, 1_600_000_000_123_456_789))
    assert treelist.compare(a, b) == []


def replace_link(b):
    (b / "link").unlink()
    (b / "link").symlink_to("dir/fil_")
    settle(b / "link")


def break_group(b):
    (b / "dir" / "two").unlink()
    (b / "dir" / "two").write_bytes(b"linked")
    settle(b / "dir" / "two")


def other_content(b):
    (b / "dir" / "file").write_bytes(b"CONTENT")
    settle(b / "dir" / "file")


def longer(b):
    (b / "dir" / "file").write_bytes(b"content and more")
    settle(b / "dir" / "file")


def other_kind(b):
    (b / "fifo").unlink()
    server = socket.socket(socket.AF_UNIX)
    here = os.getcwd()
    os.chdir(b)
    try:
        server.bind("fifo")
    finally:
        os.chdir(here)
        server.close()
    os.chmod(b / "fifo", 0o644)
    settle(b / "fifo")


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda b: os.chmod(b / "dir" / "file", 0o4600), "/dir/file: mode 0644 != 4600"),
        (lambda b: os.chmod(b / "dir", 0o1700), "/dir: mode 0755 != 1700"),
        (lambda b: os.chmod(b, 0o711), "/: mode 0755 != 0711"),
        (
            lambda b: os.utime(b / "dir", ns=(5, 1_600_000_000_123_456_788)),
            "/dir: mtime 1600000000.123456789 != 1600000000.123456788",
        ),
        (
            lambda b: os.utime(b / "link", ns=(5, -1), follow_symlinks=False),
            "/link: mtime 1600000000.123456789 != -0.000000001",
        ),
        (replace_link, "/link: target 'dir/file' != 'dir/fil_'"),
        (break_group, "/dir/two: linked /dir/two != alone|/one: linked /dir/two != alone"),
        (other_kind, "/fifo: kind p != s"),
        (lambda b: (b / "dir" / "below").rmdir() or settle(b / "dir" / "below"), "/dir/below: only in A (d)"),
        (lambda b: (b / "new").mkdir() or settle(b / "new"), "/new: only in B (d)"),
        (longer, "/dir/file: size 7 != 16; sha256 "),
        (other_content, "/dir/file: sha256 "),
    ],
)
def test_every_difference_is_seen(pair, change, expected):
    a, b = pair
    os.umask(0o022)
    for top in pair:
        os.chmod(top, 0o755)
    change(b)
    found = "|".join(treelist.compare(a, b))
    assert found.startswith(expected)
    assert len(found.split("|")) == len(expected.split("|"))


@pytest.mark.root
def test_owner_and_device_differ(pair):
    a, b = pair
    for top, minor in ((a, 3), (b, 5)):
        os.mknod(top / "null", 0o20600, os.makedev(1, minor))
        settle(top / "null")
    os.chown(b / "link", 7, 0, follow_symlinks=False)
    os.chown(b / "dir", 0, 8)
    assert treelist.compare(a, b) == ["/dir: gid 0 != 8", "/link: uid 0 != 7", "/null: device 1:3 != 1:5"]


@pytest.mark.root
def test_xattrs_differ_and_overlays_own_are_left_out(pair):
    a, b = pair
    os.setxattr(b / "dir", "trusted.overlay.opaque", b"y")
    assert treelist.compare(a, b) == []
    os.setxattr(a / "dir", "trusted.note", b"1")
    os.setxattr(b / "dir", "trusted.note", b"\xff")
    os.setxattr(b, "trusted.root", b"r")
    os.setxattr(b / "link", "trusted.on-link", b"l", follow_symlinks=False)
    assert treelist.compare(a, b) == [
        "/: xattrs {} != {trusted.root=b'r'}",
        "/dir: xattrs {trusted.note=b'1'} != {trusted.note=b'\\xff'}",
        "/link: xattrs {} != {trusted.on-link=b'l'}",
    ]


def test_fields_and_the_root_may_be_left_out(pair):
    a, b = pair
    os.chmod(b, 0o500)
    other_content(b)
    assert treelist.compare(a, b, ignore={"sha256"}, root=False) == []
    with pytest.raises(ValueError, match="no such field: inode"):
        treelist.compare(a, b, ignore={"inode"})


def test_names_of_any_bytes_and_paths_of_any_length(tmp_path):
    top = tmp_path / "top"
    top.mkdir()
    Path(os.fsdecode(bytes(top) + b"/\xff\n")).write_bytes(b"x")
    here = os.getcwd()
    try:
        os.chdir(top)
        for _ in range(25):
            os.mkdir("n" * 250)
            os.chdir("n" * 250)
        Path("end").write_bytes(b"deep")
    finally:
        os.chdir(here)
    tree = treelist.listing(top)
    shutil.rmtree(top)
    assert tree[b"\xff\n"].size == 1
    assert tree[b"/".join([b"n" * 250] * 25) + b"/end"].size == 4
    assert treelist.shown(b"\xff\n") == "/\\xff\\n"


def test_links_out_of_the_tree_are_not_followed(tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_bytes(b"")
    top = tmp_path / "top"
    top.mkdir()
    (top / "link").symlink_to(outside)
    assert set(treelist.listing(top)) == {b"", b"link"}


def run(*args):
    done = subprocess.run([sys.executable, TREELIST, *args], capture_output=True, text=True, check=False)
    return done.returncode, done.stdout.splitlines(), done.stderr.strip()


def test_command_line(pair, tmp_path):
    a, b = pair
    assert run(a, b) == (0, [], "treelist: 8 entries, equal")
    other_content(b)
    status, out, said = run(a, b)
    assert (status, len(out), said) == (1, 1, "treelist: 1 of 8 entries differ")
    assert run(a, b, "--ignore", "sha256")[0] == 0
    status, out, said = run(tmp_path / "missing", b)
    assert (status, out) == (2, [])
    assert "missing" in said
    assert len(run(a)[1]) == 8
