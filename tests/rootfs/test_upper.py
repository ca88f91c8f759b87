"""Upper directories, made by hand as overlayfs makes them, and the layer members that they become."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support import images
from support.scrambling import socket_at
from trees.stacks import Stack

from arstore.errors import InUseError, LimitError, StoreDamagedError, TarError
from arstore.rootfs import upper as changes
from arstore.rootfs.upper import UpperChanges, opened_below, unused_mount_points
from arstore.tar.entry import Kind
from arstore.tar.limits import DEFAULT_LIMITS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from arstore.tar.entry import Entry
    from arstore.trees.merged_view import MergedView

pytestmark = pytest.mark.root

LOWER = [
    images.directory("./"),
    images.directory("d"),
    images.file("d/low", b"low"),
    images.directory("empty"),
    images.file("file", b"file"),
    images.file("n" * 253),
]


@pytest.fixture
def lower(tmp_path: Path) -> Iterator[MergedView]:
    (tmp_path / "trees").mkdir()
    with Stack(tmp_path / "trees") as stack:
        stack.add(LOWER)
        yield stack.view()


@pytest.fixture
def upper(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "upper"
    path.mkdir()
    yield path
    # Some are deeper than shutil.rmtree can go.
    subprocess.run(["rm", "-rf", path], check=True)


@pytest.fixture
def fd(upper: Path) -> Iterator[int]:
    number = os.open(upper, os.O_RDONLY | os.O_DIRECTORY)
    yield number
    os.close(number)


def whiteout(path: Path) -> None:
    os.mknod(path, stat.S_IFCHR, 0)


def members(fd: int, lower: MergedView, left_out: frozenset[bytes] = frozenset()) -> dict[bytes, Entry]:
    return {entry.path: entry for entry in UpperChanges(fd, lower, left_out)}


# --- what becomes of what -------------------------------------------------------------------------------------------


def test_an_empty_upper_is_its_root(upper, fd, lower):
    os.chmod(upper, 0o711)
    os.chown(upper, 3, 4)
    os.utime(upper, ns=(5, -7))
    [root] = members(fd, lower).values()
    assert (root.path, root.kind, root.mode, root.uid, root.gid, root.mtime) == (b"", Kind.DIRECTORY, 0o711, 3, 4, -7)


def test_the_order_is_that_of_the_names(upper, fd, lower):
    for name in ("d/z", "d/a", "a-b", "b/c/d", "b/e", "d.x"):
        (upper / name).parent.mkdir(parents=True, exist_ok=True)
        (upper / name).touch()
    found = [entry.path for entry in UpperChanges(fd, lower)]
    assert found == [b"", b"a-b", b"d.x", b"b", b"b/e", b"b/c", b"b/c/d", b"d", b"d/a", b"d/z"]


def test_content(upper, fd, lower):
    data = os.urandom(3 << 20)
    (upper / "big").write_bytes(data)
    (upper / "next").write_bytes(b"next")
    walk = UpperChanges(fd, lower)
    found = {entry.path: b"".join(walk.chunks()) for entry in walk if entry.kind is Kind.FILE}
    assert found == {b"big": data, b"next": b"next"}


def test_metadata(upper, fd, lower):
    path = upper / "file"
    path.write_bytes(b"12345")
    os.chown(path, 1000, 1001)
    os.chmod(path, 0o4751)
    os.setxattr(path, "user.note", b"\0\xff")
    os.utime(path, ns=(1, -1_500_000_001))
    os.mknod(upper / "c", 0o20640, os.makedev(5, 300))
    os.mknod(upper / "b", 0o60600, os.makedev(7, 0))
    os.mkfifo(upper / "p", 0o600)
    os.symlink("../any/where", upper / "l")
    found = members(fd, lower)
    file = found[b"file"]
    assert (file.mode, file.uid, file.gid, file.size, file.mtime) == (0o4751, 1000, 1001, 5, -1_500_000_001)
    assert file.xattrs == {b"user.note": b"\0\xff"}
    assert (found[b"c"].kind, found[b"c"].major, found[b"c"].minor) == (Kind.CHARACTER, 5, 300)
    assert (found[b"b"].kind, found[b"b"].major, found[b"b"].minor) == (Kind.BLOCK, 7, 0)
    assert found[b"p"].kind is Kind.FIFO
    assert (found[b"l"].kind, found[b"l"].link) == (Kind.SYMLINK, b"../any/where")


def test_names_are_bytes(upper, fd, lower):
    (upper / os.fsdecode(b"\xff\n")).mkdir()
    (upper / os.fsdecode(b"\xff\n/\xfe")).touch()
    assert list(members(fd, lower)) == [b"", b"\xff\n", b"\xff\n/\xfe"]


def test_whiteouts(upper, fd, lower):
    (upper / "d").mkdir()
    for path in ("file", "empty", "d/low", "d/never", "never"):
        whiteout(upper / path)
    assert list(members(fd, lower)) == [b"", b".wh.empty", b".wh.file", b"d", b"d/.wh.low"]


def test_whiteouts_by_attribute(upper, fd, lower):
    (upper / "file").touch()
    os.setxattr(upper / "file", "trusted.overlay.whiteout", b"")
    (upper / "d").mkdir()
    os.setxattr(upper / "d", "trusted.overlay.opaque", b"x")
    (upper / "d/low").write_bytes(b"not empty, so it is a file")
    os.setxattr(upper / "d/low", "trusted.overlay.whiteout", b"")
    found = members(fd, lower)
    assert list(found) == [b"", b".wh.file", b"d", b"d/low"]
    assert found[b"d/low"].xattrs == {}


def test_opaque_directories_only_where_they_hide_something(upper, fd, lower):
    for name in ("d", "file", "fresh"):
        (upper / name).mkdir()
        os.setxattr(upper / name, "trusted.overlay.opaque", b"y")
    found = members(fd, lower)
    assert list(found) == [b"", b"d", b"d/.wh..wh..opq", b"file", b"fresh"]
    assert found[b"d"].xattrs == {}


def test_attributes_of_overlayfs_and_of_this_host_are_dropped(upper, fd, lower):
    (upper / "f").touch()
    kept = {"user.a": b"1", "trusted.b": b"2", "security.c": b"3"}
    dropped = {"trusted.overlay.origin": b"x", "user.overlay.y": b"x", "trusted.overlay.overlay.opaque": b"y"}
    for name, value in {**kept, **dropped}.items():
        os.setxattr(upper / "f", name, value)
    assert members(fd, lower)[b"f"].xattrs == {name.encode(): value for name, value in kept.items()}


def test_hard_links_are_kept(upper, fd, lower):
    (upper / "a").mkdir()
    (upper / "z").write_bytes(b"content")
    os.link(upper / "z", upper / "a/one")
    os.link(upper / "z", upper / "zz")
    os.symlink("t", upper / "s")
    os.link(upper / "s", upper / "a/s", follow_symlinks=False)
    found = members(fd, lower)
    assert found[b"z"].kind is Kind.FILE
    assert found[b"s"].kind is Kind.SYMLINK
    assert {path: entry.link for path, entry in found.items() if entry.kind is Kind.HARDLINK} == {
        b"a/one": b"z",
        b"zz": b"z",
        b"a/s": b"s",
    }


def test_shared_whiteouts_are_no_hard_links(upper, fd, lower):
    whiteout(upper / "file")
    os.link(upper / "file", upper / "empty")
    assert list(members(fd, lower)) == [b"", b".wh.empty", b".wh.file"]


def test_sockets_are_counted_and_hide_what_they_hid(upper, fd, lower):
    for name in ("file", "s"):
        socket_at(upper / name)
    walk = UpperChanges(fd, lower)
    assert [entry.path for entry in walk] == [b"", b".wh.file"]
    assert (walk.sockets.count, walk.sockets.paths) == (2, [b"file", b"s"])


def test_a_sparse_file_is_written_whole(upper, fd, lower):
    with open(upper / "sparse", "wb") as file:
        file.truncate(1 << 20)
    walk = UpperChanges(fd, lower)
    for entry in walk:
        if entry.kind is Kind.FILE:
            assert (entry.size, entry.sparse) == (1 << 20, None)
            assert b"".join(walk.chunks()) == bytes(1 << 20)


# --- what no layer can hold -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [".wh.x", ".wh.", ".wh..wh..opq", "d/.wh.dir/"])
def test_names_that_would_come_back_as_whiteouts(upper, fd, lower, name):
    path = upper / name
    path.parent.mkdir(exist_ok=True)
    path.mkdir() if name.endswith("/") else path.touch()
    with pytest.raises(TarError, match=r"begins with \.wh\."):
        members(fd, lower)


def test_a_removed_name_that_is_too_long(upper, fd, lower):
    whiteout(upper / ("n" * 253))
    with pytest.raises(TarError, match="too long for a whiteout"):
        members(fd, lower)


@pytest.mark.parametrize("attribute", ["redirect", "metacopy"])
def test_content_that_is_elsewhere(upper, fd, lower, attribute):
    (upper / "d").mkdir()
    os.setxattr(upper / "d", f"trusted.overlay.{attribute}", b"/file")
    with pytest.raises(StoreDamagedError, match=attribute):
        members(fd, lower)


def deep(root: int, name: str, count: int) -> None:
    fd = os.dup(root)
    for _ in range(count):
        os.mkdir(name, dir_fd=fd)
        below = os.open(name, os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = below
    os.close(fd)


def test_depth_within_the_limits(fd, lower):
    deep(fd, "x" * 200, 20)
    deep(fd, "d", 1024)
    assert len(members(fd, lower)) == 1 + 20 + 1024


@pytest.mark.parametrize(("name", "count"), [("x" * 200, 21), ("d", 1025)])
def test_depth_past_the_limits(fd, lower, name, count):
    deep(fd, name, count)
    with pytest.raises(LimitError):
        members(fd, lower)


# --- changes meanwhile ----------------------------------------------------------------------------------------------


def test_a_directory_that_goes_away(upper, fd, lower):
    (upper / "a").touch()
    (upper / "d").mkdir()
    walk = iter(UpperChanges(fd, lower))
    next(walk)
    next(walk)
    (upper / "d").rmdir()
    with pytest.raises(InUseError):
        list(walk)


def test_a_directory_that_becomes_a_symlink(upper, fd, lower, tmp_path):
    (upper / "a").mkdir()
    (upper / "d").mkdir()
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").touch()
    walk = iter(UpperChanges(fd, lower))
    next(walk)
    next(walk)
    (upper / "d").rmdir()
    (upper / "d").symlink_to(outside)
    with pytest.raises(InUseError):
        list(walk)


def test_a_file_that_becomes_shorter(upper, fd, lower):
    (upper / "a").write_bytes(b"12345")
    walk = UpperChanges(fd, lower)
    entries = iter(walk)
    assert [next(entries).path, next(entries).path] == [b"", b"a"]
    os.truncate(upper / "a", 3)
    with pytest.raises(InUseError):
        list(walk.chunks())


def test_a_file_that_grows_is_read_as_it_was(upper, fd, lower):
    (upper / "a").write_bytes(b"12345")
    walk = UpperChanges(fd, lower)
    for entry in walk:
        if entry.kind is Kind.FILE:
            with open(upper / "a", "ab") as file:
                file.write(b"more")
            assert b"".join(walk.chunks()) == b"12345"


def test_no_descriptor_is_left_open(upper, fd, lower):
    for name in ("a", "b", ".wh.c"):
        (upper / name).touch()
    before = os.listdir("/proc/self/fd")
    with pytest.raises(TarError):
        members(fd, lower)
    walk = iter(UpperChanges(fd, lower))
    next(walk)
    walk.close()
    assert os.listdir("/proc/self/fd") == before


# --- mount points of a runtime --------------------------------------------------------------------------------------


def test_mount_points_that_only_a_runtime_wanted(upper, fd, lower):
    for path in ("proc", "etc", "d/fresh", "empty", "vol/data", "used", "vol2/data"):
        (upper / path).mkdir(parents=True)
    for path in ("etc/hosts", "etc/hostname", "used/file", "vol2/other"):
        (upper / path).touch()
    (upper / "etc/hostname").write_bytes(b"written")
    points = {b"proc", b"etc/hosts", b"etc/hostname", b"d/fresh", b"empty", b"vol/data", b"used", b"vol2/data"}
    found = unused_mount_points(fd, lower, points | {b"not/there", b"used/file/below"})
    assert found == {b"proc", b"etc/hosts", b"d", b"d/fresh", b"vol/data", b"vol", b"vol2/data"}
    shown = set(members(fd, lower, found))
    assert shown == {b"", b"empty", b"etc", b"etc/hostname", b"used", b"used/file", b"vol2", b"vol2/other"}


@pytest.mark.parametrize("change", ["nothing", "mode", "opaque", "file", "whiteout"])
def test_a_directory_in_which_a_runtime_made_something(upper, fd, lower, change):
    path = upper / "d"
    (path / "fresh").mkdir(parents=True)
    {
        "nothing": lambda: os.utime(path, (1, 1)),
        "mode": lambda: path.chmod(0o700),
        "opaque": lambda: os.setxattr(path, "trusted.overlay.opaque", b"y"),
        "file": (path / "new").touch,
        "whiteout": lambda: whiteout(path / "x"),
    }[change]()
    found = unused_mount_points(fd, lower, {b"d/fresh"})
    assert found == ({b"", b"d", b"d/fresh"} if change == "nothing" else {b"d/fresh"})


@pytest.mark.parametrize("kind", ["whiteout", "symlink", "device"])
def test_what_is_no_empty_file_or_directory_is_no_mount_point(upper, fd, lower, kind):
    path = upper / "dev"
    {
        "whiteout": lambda: whiteout(path),
        "symlink": lambda: path.symlink_to("x"),
        "device": lambda: os.mknod(path, 0o20600, os.makedev(1, 3)),
    }[kind]()
    assert unused_mount_points(fd, lower, {b"dev"}) == set()


# --- descriptors ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("missing", [False, True])
def test_nothing_is_opened_through_a_symlink(upper, fd, monkeypatch, missing):
    if missing:

        def no_call(*_: object) -> int:
            raise OSError(errno.ENOSYS, "no such call")

        monkeypatch.setattr(changes, "openat2", no_call)
    (upper / "a/b").mkdir(parents=True)
    (upper / "a/b/f").write_bytes(b"1")
    (upper / "link").symlink_to("a")
    with opened_below(fd, b"a/b/f", os.O_RDONLY) as file:
        assert os.read(file, 2) == b"1"
    with opened_below(fd, b"", os.O_RDONLY) as root:
        assert os.path.samestat(os.fstat(root), os.stat(upper))
    for path in (b"link/b", b"link/b/f"):
        with pytest.raises(OSError, match=r"symbolic|directory"), opened_below(fd, path, os.O_RDONLY):
            pass
    with opened_below(fd, b"link") as link:
        assert stat.S_ISLNK(os.fstat(link).st_mode)


@pytest.mark.parametrize(
    "path", [b"a" * (DEFAULT_LIMITS.path + 1), b"a/" * DEFAULT_LIMITS.depth + b"a", b"/".join([b"b" * 250] * 20)]
)
def test_a_path_that_no_layer_may_hold(path):
    with pytest.raises(LimitError):
        changes._check_name(path, path.rpartition(b"/")[2])


def test_the_longest_path_that_a_layer_may_hold():
    changes._check_name(b"/".join([b"c" * 127] * (DEFAULT_LIMITS.path // 128)), b"c" * 127)
