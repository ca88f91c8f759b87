"""Contract of every tree format: a suite that takes the format, for each module that tests one.

Everything is read through the format itself (`lookup`, `open_file`), so no mount is needed. A subclass sets `form`, and
skips what the machine forbids.
"""

from __future__ import annotations

import io
import os
import shutil
import stat
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import pytest
from support import images

from arstore.errors import ArstoreError, LimitError, TarError, UnsafePathError
from arstore.tar.entry import Entry, Kind
from arstore.tar.limits import ACCEPTED
from arstore.tar.reader import TarReader
from arstore.trees import folders
from arstore.trees.contents.row import DIRECTORY, FILE, OPAQUE, OTHER, SYMLINK, WHITEOUT
from arstore.trees.erofs import merged_index
from arstore.trees.format import Needs, TreeStat
from arstore.trees.forms import FORMS, TAR, form_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from arstore.trees.format import Node, TreeFormat

TIME = 1_600_000_000_123_456_789
CAPABILITY = b"\x01\x00\x00\x02\x00\x04\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"


PLAIN = [images.directory("d", 0o4711, uid=7), images.file("d/f", b"content", 0o4711, uid=7)]
"""A layer whose files look different once their owners and modes are lost."""


_KINDS_OF_ROWS = {
    FILE: Kind.FILE,
    DIRECTORY: Kind.DIRECTORY,
    OPAQUE: Kind.DIRECTORY,
    SYMLINK: Kind.SYMLINK,
}


def _paths_of(members: Iterable[images.Member]) -> set[bytes]:
    """The paths in a tree of *members*, and the directories above them."""
    found = {b""}
    for member in members:
        path = os.fsencode(member.info.name).rstrip(b"/")
        parent, _, name = path.rpartition(b"/")
        if name == b".wh..wh..opq":
            path = parent
        elif name.startswith(b".wh."):
            path = parent + b"/" + name[4:] if parent else name[4:]
        while path:
            found.add(path)
            path = path.rpartition(b"/")[0]
    return found


class Bytes:
    """Content that is returned piece by piece."""

    def __init__(self, *pieces: bytes) -> None:
        self.pieces = pieces

    def chunks(self) -> Iterable[bytes]:
        return iter(self.pieces)


class Tree:
    """A finished tree of any format."""

    def __init__(self, form: TreeFormat, fd: int, needs: Needs, stat_: TreeStat) -> None:
        self.form, self.fd, self.needs, self.stat = form, fd, needs, stat_

    def __getitem__(self, path: str | bytes) -> Entry:
        node = self.node(path)
        assert node is not None, f"nothing at {path!r}"
        assert not node.whiteout
        return node.entry

    def __contains__(self, path: str | bytes) -> bool:
        node = self.node(path)
        return node is not None and node.entry.path == os.fsencode(path)

    def node(self, path: str | bytes) -> Node | None:
        return self.form.lookup(self.fd, os.fsencode(path))

    def is_whiteout(self, path: str) -> bool:
        node = self.node(path)
        return node is not None and node.whiteout and node.entry.path == os.fsencode(path)

    def is_opaque(self, path: str) -> bool:
        node = self.node(path)
        return node is not None and node.opaque

    def read(self, path: str | bytes) -> bytes:
        with self.form.open_file(self.fd, os.fsencode(path)) as file:
            return file.read(file.size)


@contextmanager
def new_tree(form: TreeFormat, directory: Path) -> Iterator[int]:
    """The descriptor of a new tree directory."""
    directory.mkdir()
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield fd
    finally:
        os.close(fd)


def build(form: TreeFormat, fd: int, source: Iterable[images.Member] | Iterable[Entry] | bytes) -> Tree:
    """Build a tree in *fd* from members, from the bytes of a tar, or from bare entries without content."""
    if isinstance(source, bytes):
        keep_tar(form, fd, source)
        reader = TarReader(io.BytesIO(source))
        pairs: Iterable[tuple[Entry, object]] = ((entry, reader) for entry in reader)
    else:
        items = list(source)
        if items and isinstance(items[0], Entry):
            keep_tar(form, fd, b"")
            pairs = ((entry, Bytes()) for entry in items)
        else:
            return build(form, fd, images.tar(items))
    builder = form.builder(fd)
    try:
        for entry, content in pairs:
            builder.add(entry, content)
        needs, counted = builder.finish()
    finally:
        builder.close()
    return Tree(form, fd, needs, counted)


def keep_tar(form: TreeFormat, fd: int, data: bytes) -> None:
    """Write the tar, as the import pipeline does for a format that keeps it."""
    if form.properties.keeps_tar:
        Path(f"/proc/self/fd/{fd}/{TAR}").write_bytes(data)


def entry(path: str, kind: Kind = Kind.FILE, **more: object) -> Entry:
    """An entry that does not come from a tar reader."""
    return Entry(path.encode(), kind, mode=0o644).replaced(**more)


class TreeContract:
    """Subclass it as `Test…` and set `form`."""

    form: TreeFormat

    @pytest.fixture
    def fd(self, tmp_path: Path) -> Iterator[int]:
        with new_tree(self.form, tmp_path / "tree") as fd:
            yield fd

    @pytest.fixture
    def victim(self, tmp_path: Path) -> Iterator[Path]:
        """A file outside the tree, which nothing may touch."""
        victim = tmp_path / "victim"
        victim.write_bytes(b"untouched")
        os.utime(victim, ns=(1, 1))
        before = (victim.stat().st_mode, victim.stat().st_nlink, victim.stat().st_ctime_ns)
        names = {*os.listdir(tmp_path), "tree"}
        yield victim
        assert victim.read_bytes() == b"untouched"
        assert (victim.stat().st_mode, victim.stat().st_nlink, victim.stat().st_ctime_ns) == before
        assert set(os.listdir(tmp_path)) <= names

    # --- folders --------------------------------------------------------------------------------------------------

    def test_folders_have_the_bytes_of_their_files(self, fd: int) -> None:
        tree = build(
            self.form,
            fd,
            [
                images.file("a/big", b"x" * 100_000),
                images.file("a/b/small", b"x" * 10_000),
                images.hardlink("c/again", "a/big"),
                images.symlink("c/link", "../a"),
                images.whiteout("c/gone"),
                images.directory("empty"),
                images.file(b"\xff\xfe/f", b"x" * 30_000),
            ],
        )
        root = self.form.folders(tree.fd)
        totals = root.totals()
        assert set(root.folders) == {b"a", b"c", b"empty", b"\xff\xfe"}
        assert set(root.folders[b"a"].folders) == {b"b"}
        assert 140_000 <= totals[id(root)] <= 140_000 + 16 * 4096
        assert 10_000 <= totals[id(root.folders[b"a"].folders[b"b"])] <= 10_000 + 3 * 4096
        assert 30_000 <= totals[id(root.folders[b"\xff\xfe"])] <= 30_000 + 3 * 4096
        # A file with several names counts once.
        assert totals[id(root.folders[b"a"])] + totals[id(root.folders[b"c"])] <= 110_000 + 8 * 4096

    def test_too_many_folders_count_as_their_parents(self, fd: int, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(folders, "MOST", 3)
        tree = build(self.form, fd, [images.file(f"d{number}/e/f", b"x" * 5000) for number in range(9)])
        root = self.form.folders(tree.fd)
        assert len(list(root.walk())) == 3
        assert root.totals()[id(root)] >= 45_000

    # --- metadata ---------------------------------------------------------------------------------------------------

    def test_a_file_keeps_everything(self, fd: int) -> None:
        member = images.file("f", b"content", 0o640, uid=12, gid=34, mtime_ns=TIME, xattrs={"user.a": b"1"})
        tree = build(self.form, fd, [member])
        assert tree["f"] == Entry(b"f", Kind.FILE, 0o640, 12, 34, TIME, 7, xattrs={b"user.a": b"1"}, offset=0)
        assert tree.read("f") == b"content"

    @pytest.mark.parametrize("mode", [0o4755, 0o2755, 0o1777, 0o7777, 0o000, 0o444, 0o666])
    def test_modes_survive_owners_and_the_umask(self, fd: int, mode: int) -> None:
        old = os.umask(0o077)
        try:
            tree = build(
                self.form,
                fd,
                [
                    images.file("f", b"x", mode, uid=1000, gid=1000),
                    images.file("own", b"x", mode),
                    images.directory("d", mode, uid=1000),
                    images.device("c", "c", 5, 1, mode, uid=3),
                    images.fifo("p", mode),
                ],
            )
        finally:
            os.umask(old)
        assert {tree[name].mode for name in ("f", "own", "d", "c", "p")} == {mode}

    @pytest.mark.parametrize("time", [0, 1, -1, -1_500_000_000, TIME, 4_102_444_800_999_999_999])
    def test_times_to_the_nanosecond(self, fd: int, time: int) -> None:
        tree = build(
            self.form,
            fd,
            [
                images.directory("./", mtime_ns=time),
                images.directory("d", mtime_ns=time),
                images.file("d/f", b"x", mtime_ns=time),
                images.symlink("d/l", "f", mtime_ns=time),
                images.fifo("d/p", mtime_ns=time),
            ],
        )
        assert {tree[name].mtime for name in ("", "d", "d/f", "d/l", "d/p")} == {time}

    def test_a_directory_keeps_its_time_when_files_come_later(self, fd: int) -> None:
        later = [images.file("e"), images.file("d/late"), images.whiteout("d/w")]
        tree = build(self.form, fd, [images.directory("d", mtime_ns=5), *later])
        assert tree["d"].mtime == 5

    def test_file_capabilities_survive_the_owner(self, fd: int) -> None:
        members = [images.file("f", b"x", 0o755, uid=7, xattrs={"security.capability": CAPABILITY})]
        assert build(self.form, fd, members)["f"].xattrs == {b"security.capability": CAPABILITY}

    def test_orders_to_overlayfs_are_not_taken_from_an_archive(self, fd: int) -> None:
        orders = {
            "trusted.overlay.opaque": b"y",
            "trusted.overlay.redirect": b"/etc",
            "trusted.overlay.metacopy": b"",
            "user.overlay.opaque": b"y",
        }
        tree = build(self.form, fd, [images.directory("d", xattrs=orders), images.file("f", xattrs=orders)])
        assert not tree.is_opaque("d")
        assert tree["d"].xattrs == tree["f"].xattrs == {}
        assert (tree.needs.dropped.count, tree.needs.dropped.members) == (8, 2)

    def test_attributes_of_other_systems_are_dropped(self, fd: int) -> None:
        tree = build(self.form, fd, [images.file("f", xattrs={"com.apple.provenance": b"\x01", "user.b": b"2"})])
        assert tree["f"].xattrs == {b"user.b": b"2"}
        assert tree.needs.dropped.examples == [(b"f", b"com.apple.provenance", "Linux does not have this namespace")]

    @pytest.mark.parametrize("kind", [Kind.SYMLINK, Kind.FIFO, Kind.CHARACTER, Kind.BLOCK])
    def test_user_attributes_on_what_cannot_have_them(self, fd: int, kind: Kind) -> None:
        xattrs = {b"user.a": b"1", b"trusted.b": b"2"}
        tree = build(self.form, fd, [entry("l", kind, link=b"x", major=1, minor=3, xattrs=xattrs)])
        assert tree["l"].xattrs == {b"trusted.b": b"2"}
        assert tree.needs.dropped.count == 1

    @pytest.mark.parametrize("path", ["f", "d", ""])
    @pytest.mark.parametrize(
        "dropped",
        [
            {b"user." + b"n" * 300: b""},
            {b"user.v": b"v" * 70_000},
            {b"user.a\0b": b""},
            {b"user.": b""},
            {b"": b""},
            {b"system.nfs4_acl": b"x"},
            {b"system.posix_acl_access": b"x"},
            {b"system.posix_acl_default": b""},
            {b"security.capability": b""},
            {b"security.capability": CAPABILITY[:12]},
        ],
        ids=lambda one: f"{next(iter(one))[:25].decode()}-{len(next(iter(one.values())))}",
    )
    def test_attributes_that_no_kernel_takes(self, fd: int, path: str, dropped: dict[bytes, bytes]) -> None:
        kind = Kind.FILE if path == "f" else Kind.DIRECTORY
        tree = build(self.form, fd, [entry(path, kind, xattrs={**dropped, b"user.kept": b"1"})])
        assert tree[path].xattrs == {b"user.kept": b"1"}
        assert (tree.needs.dropped.count, tree.needs.dropped.members) == (1, 1)

    def test_attributes_that_are_strict(self, fd: int) -> None:
        limits = ACCEPTED._replace(strict_xattrs=True)
        builder = self.form.builder(fd, limits)
        builder.add(entry("kept", xattrs={b"user.a": b"1"}), Bytes())
        with pytest.raises(TarError, match=r"^l: cannot keep its extended attribute user\.a, because only files"):
            builder.add(entry("l", Kind.SYMLINK, link=b"x", xattrs={b"user.a": b"1"}), Bytes())
        builder.close()

    @pytest.mark.parametrize(
        "hostile",
        [
            entry("f", uid=(1 << 32) - 1),
            entry("f", gid=1 << 40),
            entry("f", uid=-1),
            entry("f", mtime=10**30),
            entry("c", Kind.CHARACTER, major=1 << 20, minor=0),
            entry("b", Kind.BLOCK, major=1, minor=1 << 32),
            entry("l", Kind.SYMLINK, link=b""),
            entry("l", Kind.SYMLINK, link=b"a\0b"),
            entry("l", Kind.SYMLINK, link=b"x" * 5000),
        ],
        ids=lambda one: f"{one.kind.value}-{one.uid}-{one.mtime}-{one.major}-{len(one.link)}",
    )
    def test_numbers_and_targets_that_no_inode_has(self, fd: int, hostile: Entry) -> None:
        with pytest.raises(ArstoreError):
            build(self.form, fd, [hostile])

    def test_devices_and_fifos(self, fd: int) -> None:
        tree = build(
            self.form, fd, [images.device("c", "c", 1, 3, 0o666), images.device("b", "b", 259, 300), images.fifo("p")]
        )
        assert (tree["c"].kind, tree["c"].major, tree["c"].minor, tree["c"].mode) == (Kind.CHARACTER, 1, 3, 0o666)
        assert (tree["b"].kind, tree["b"].major, tree["b"].minor) == (Kind.BLOCK, 259, 300)
        assert tree["p"].kind is Kind.FIFO

    def test_names_in_any_bytes(self, fd: int) -> None:
        names = [b"caf\xe9", "流水线".encode(), b"new\nline", b"\xff\xfe", b"b\\ack", b"a" * 255, b"d/" + b"\x80" * 200]
        tree = build(self.form, fd, [images.file(name, name) for name in names])
        assert all(tree.read(name) == name for name in names)

    def test_long_paths_and_targets(self, fd: int) -> None:
        path = "/".join(["component-of-some-length"] * 100)
        tree = build(self.form, fd, [images.file(path, b"deep"), images.symlink("l", "t" * 3000)])
        assert tree.read(path) == b"deep"
        assert tree["l"].link == b"t" * 3000

    def test_a_path_deeper_than_any_number_of_descriptors(self, fd: int) -> None:
        path = "/".join("d" * 900)
        members = [images.file(f"{path}/f", b"x"), images.file("d/g"), images.hardlink("d/h", f"{path}/f")]
        tree = build(self.form, fd, members)
        assert tree.read("d/h") == b"x"

    def test_sparse_files(self, fd: int) -> None:
        size = 1 << 24
        sparse = entry("s", size=size, sparse=[(4096, 3), (size - 2, 2)])
        builder = self.form.builder(fd)
        builder.add(sparse, Bytes(b"abcd", b"e"))
        builder.finish()
        builder.close()
        tree = Tree(self.form, fd, Needs(), TreeStat(1, 0))
        assert tree.read("s") == bytes(4096) + b"abc" + bytes(size - 4096 - 5) + b"de"

    @pytest.mark.parametrize("runs", [[(5, 10)], [(-1, 2)], [(0, -1)], [(0, 4)]])
    def test_sparse_maps_that_lie(self, fd: int, runs: list[tuple[int, int]]) -> None:
        builder = self.form.builder(fd)
        with pytest.raises(TarError):
            builder.add(entry("s", size=10, sparse=runs), Bytes(b"ab"))
        builder.close()

    def test_counts(self, fd: int) -> None:
        members = [
            images.file("a/f", b"12345"),
            images.hardlink("a/g", "a/f"),
            images.symlink("l", "a"),
            images.file("twice", b"first"),
            images.file("twice", b"2"),
            images.whiteout("gone"),
        ]
        tree = build(self.form, fd, members)
        assert tree.stat[:2] == TreeStat(entries=5, size=6)[:2]

    # --- the root and implied directories ---------------------------------------------------------------------------

    def test_the_roots_own_entry(self, fd: int) -> None:
        tree = build(self.form, fd, [images.directory("./", 0o711, uid=5, mtime_ns=77), images.file("f")])
        assert (tree[""].mode, tree[""].uid, tree[""].mtime) == (0o711, 5, 77)
        assert tree.needs == Needs()

    def test_what_has_no_entry_is_implied_and_has_the_default(self, fd: int) -> None:
        tree = build(self.form, fd, [images.file("a/b/f"), images.directory("c"), images.whiteout("w/x")])
        assert tree.needs == Needs([b"", b"a", b"a/b", b"w"], [], [b"w"], [b"w"])
        for path in ("", "a", "a/b", "w"):
            assert (tree[path].mode, tree[path].uid, tree[path].gid, tree[path].mtime) == (0o755, 0, 0, 0)

    def test_an_entry_after_its_members_ends_the_implication(self, fd: int) -> None:
        tree = build(self.form, fd, [images.file("a/f"), images.directory("a", 0o700), images.directory("./")])
        assert tree.needs == Needs(passed=[b"a"])
        assert tree["a"].mode == 0o700
        assert "a/f" in tree

    def test_an_empty_layer(self, fd: int) -> None:
        tree = build(self.form, fd, [])
        assert tree.needs == Needs([b""])
        assert tree.stat[:2] == TreeStat(0, 0)[:2]

    @pytest.mark.parametrize("kind", [Kind.SYMLINK, Kind.FILE, Kind.HARDLINK, Kind.CHARACTER])
    def test_the_root_can_only_be_a_directory(self, fd: int, victim: Path, kind: Kind) -> None:
        with pytest.raises(UnsafePathError):
            build(self.form, fd, [entry("", kind, link=os.fsencode(victim)), entry("f")])

    # --- the last one wins ------------------------------------------------------------------------------------------

    MAKERS: ClassVar = {
        "file": lambda path: [images.file(path, b"file")],
        "directory": lambda path: [images.directory(path, 0o701)],
        "full": lambda path: [images.directory(path, 0o702), images.file(f"{path}/in/side")],
        "symlink": lambda path: [images.symlink(path, "elsewhere")],
        "hardlink": lambda path: [images.hardlink(path, "target")],
        "device": lambda path: [images.device(path, "c", 1, 7)],
        "fifo": lambda path: [images.fifo(path)],
    }

    @pytest.mark.parametrize("first", MAKERS)
    @pytest.mark.parametrize("second", MAKERS)
    def test_the_later_entry_at_a_path_wins(self, fd: int, first: str, second: str) -> None:
        members = [images.file("target", b"target"), images.directory("elsewhere"), images.file("elsewhere/kept")]
        tree = build(self.form, fd, [*members, *self.MAKERS[first]("x"), *self.MAKERS[second]("x")])
        kinds = {"directory": Kind.DIRECTORY, "full": Kind.DIRECTORY, "symlink": Kind.SYMLINK, "device": Kind.CHARACTER}
        assert tree["x"].kind is {**kinds, "fifo": Kind.FIFO}.get(second, Kind.FILE)
        if second in {"file", "hardlink"}:
            assert tree.read("x") == (b"file" if second == "file" else b"target")
        if second in {"directory", "full"}:
            assert tree["x"].mode == (0o701 if second == "directory" else 0o702)
            assert ("x/in/side" in tree) == ("full" in (first, second))
        assert tree.read("target") == b"target"
        assert "elsewhere/kept" in tree

    def test_a_file_in_the_way_of_a_parent_becomes_a_directory(self, fd: int) -> None:
        tree = build(self.form, fd, [images.file("a", b"file"), images.file("a/b", b"x"), images.file("a/b/c", b"y")])
        assert tree.read("a/b/c") == b"y"

    # --- symlinks of the same layer ---------------------------------------------------------------------------------

    @pytest.mark.parametrize(
        ("target", "place"),
        [
            ("real", "real/f"),
            ("/real", "real/f"),
            ("../../../real", "real/f"),
            ("/../real/./x/..//", "real/f"),
            ("second", "real/f"),
            ("new/dir", "new/dir/f"),
            ("/etc", "etc/f"),
            ("gone/../real", "real/f"),
            ("..", "f"),
            ("/", "f"),
        ],
    )
    def test_members_go_through_symlinks_inside_the_root(self, fd: int, target: str, place: str) -> None:
        members = [images.directory("real"), images.symlink("second", "real"), images.symlink("l", target)]
        tree = build(self.form, fd, [*members, images.file("l/f", b"through")])
        assert tree.read(place) == b"through"
        assert tree["l"].kind is Kind.SYMLINK
        assert "gone" not in tree

    def test_nothing_outside_is_reached(self, fd: int, victim: Path) -> None:
        up = "../" * 20
        here = str(victim.parent)
        tree = build(
            self.form,
            fd,
            [
                images.symlink("up", up + here),
                images.file("up/victim", b"changed"),
                images.symlink("absolute", here),
                images.file("absolute/other", b"changed"),
                images.symlink("direct", str(victim)),
                images.file("direct", b"over the link"),
                images.symlink("chain1", "chain2"),
                images.symlink("chain2", up),
                images.file(f"chain1{here}/third", b"changed"),
            ],
        )
        assert tree.read(f"{here}/victim".lstrip("/")) == b"changed"
        assert tree.read("direct") == b"over the link"

    @pytest.mark.parametrize("links", [{"a": "a"}, {"a": "b", "b": "a"}, {"a": "a/a/a/a"}])
    def test_loops_end(self, fd: int, links: dict[str, str]) -> None:
        members = [images.symlink(name, target) for name, target in links.items()]
        with pytest.raises(UnsafePathError):
            build(self.form, fd, [*members, images.file("a/f")])

    def test_forty_symlinks_are_followed_and_no_more(self, fd: int, tmp_path: Path) -> None:
        links = [images.symlink(f"l{n}", f"l{n + 1}" if n < 39 else "end") for n in range(40)]
        assert build(self.form, fd, [*links, images.file("l0/f", b"x")]).read("end/f") == b"x"
        with new_tree(self.form, tmp_path / "more") as other, pytest.raises(UnsafePathError):
            build(self.form, other, [*links, images.symlink("m", "l0"), images.file("m/f")])

    def test_symlinks_cannot_make_a_path_without_end(self, fd: int) -> None:
        deep = "/".join(["x" * 200] * 15)
        links = [images.symlink(f"{deep}/l", f"/{deep}/{deep[:1000]}")]
        with pytest.raises(LimitError):
            build(self.form, fd, [*links, images.file(f"{deep}/l/{'y' * 200}/f")])

    @pytest.mark.parametrize("path", ["..", "a/..", ".", "a/.", "a/", "nul\0"])
    def test_names_that_are_none(self, fd: int, victim: Path, path: str) -> None:
        with pytest.raises(ArstoreError):
            build(self.form, fd, [entry(path)])

    def test_parents_are_clamped_to_the_root(self, fd: int, victim: Path) -> None:
        assert "victim" in build(self.form, fd, [entry("../../victim")])

    def test_a_symlink_where_a_path_came_back_from(self, fd: int) -> None:
        """`b/f` is elsewhere once `a/b`, which did not exist, is a symlink."""
        members = [
            images.directory("a"),
            images.directory("far/x"),
            images.symlink("b", "a/b/../c"),
            images.file("b/f", b"1"),
            images.symlink("a/b", "../far/x"),
            images.file("b/f", b"2"),
        ]
        tree = build(self.form, fd, members)
        assert (tree.read("a/c/f"), tree.read("far/c/f")) == (b"1", b"2")

    # --- hard links -------------------------------------------------------------------------------------------------

    def test_hard_links_share_their_file_and_leave_its_metadata(self, fd: int) -> None:
        members = [
            images.file("d/f", b"x", 0o600, uid=3, mtime_ns=9),
            images.hardlink("g", "d/f", 0o777, uid=0, mtime_ns=1),
            images.symlink("s", "d"),
            images.hardlink("s/h", "s/f"),
        ]
        tree = build(self.form, fd, members)
        assert tree["g"] == tree["d/f"].replaced(path=b"g")
        assert tree["d/f"].mode == 0o600
        assert tree.read("d/h") == b"x"

    def test_a_hard_link_to_a_symlink_is_that_symlink(self, fd: int, victim: Path) -> None:
        tree = build(
            self.form,
            fd,
            [
                images.directory("real"),
                images.symlink("s", "real"),
                images.hardlink("t", "s"),
                images.file("t/f", b"x"),
                images.symlink("out", str(victim)),
                images.hardlink("out2", "out"),
            ],
        )
        assert tree["t"].link == b"real"
        assert tree.read("real/f") == b"x"
        assert tree["out2"].link == os.fsencode(victim)

    def test_a_hard_link_to_itself_says_nothing(self, fd: int) -> None:
        tree = build(self.form, fd, [images.file("f", b"x"), images.hardlink("f", "f")])
        assert tree.read("f") == b"x"
        assert tree.needs.absent_links == []

    @pytest.mark.parametrize("target", ["d", ""])
    def test_a_hard_link_to_a_directory(self, fd: int, target: str) -> None:
        with pytest.raises(TarError):
            build(self.form, fd, [entry("d", Kind.DIRECTORY), entry("l", Kind.HARDLINK, link=target.encode())])

    def test_a_hard_link_to_what_may_be_a_symlink_below(self, fd: int) -> None:
        tree = build(self.form, fd, [entry("implied/f"), entry("l", Kind.HARDLINK, link=b"implied")])
        assert tree.needs.absent_links == [(b"l", b"implied")]

    def test_hard_links_that_only_a_lower_layer_can_answer(self, fd: int) -> None:
        links = [images.hardlink("a/l", "lower/f"), images.hardlink("old", "later")]
        tree = build(self.form, fd, [images.file("old"), *links, images.file("later")])
        assert tree.needs.absent_links == [(b"a/l", b"lower/f"), (b"old", b"later")]
        assert "a/l" not in tree
        assert "old" not in tree

    def test_a_hard_link_does_not_leave_the_root(self, fd: int, victim: Path) -> None:
        up = "../" * 20
        members = [
            entry("out", Kind.SYMLINK, link=os.fsencode(up + str(victim.parent))),
            entry("a", Kind.HARDLINK, link=b"out/victim"),
            entry("b", Kind.HARDLINK, link=os.fsencode(up + str(victim))),
            entry("c", Kind.HARDLINK, link=os.fsencode(victim)),
        ]
        assert [path for path, _ in build(self.form, fd, members).needs.absent_links] == [b"a", b"b", b"c"]

    # --- whiteouts --------------------------------------------------------------------------------------------------

    def test_whiteouts_and_opaque_marks(self, fd: int) -> None:
        members = [images.directory("d"), images.whiteout("d/gone"), images.file("d/kept"), images.opaque("o")]
        tree = build(self.form, fd, [*members, images.opaque("e"), images.directory("e", 0o750)])
        assert tree.is_whiteout("d/gone")
        assert tree.is_opaque("o")
        assert tree.is_opaque("e")
        assert not tree.is_opaque("d")
        assert tree.needs == Needs([b"", b"o"], [], [b"d"], [b"o"])
        assert tree["e"].mode == 0o750

    @pytest.mark.parametrize("first", [True, False])
    def test_a_whiteout_never_removes_what_its_layer_adds(self, fd: int, first: bool) -> None:
        marks = [images.opaque("o"), *map(images.whiteout, "fdlh")]
        members = [
            images.file("f", b"x"),
            images.file("d/sub/f", b"y"),
            images.symlink("l", "f"),
            images.file("o/f", b"z"),
            images.directory("h", 0o700),
        ]
        tree = build(self.form, fd, [*marks, *members] if first else [*members, *marks])
        assert (tree.read("f"), tree.read("d/sub/f"), tree.read("o/f")) == (b"x", b"y", b"z")
        assert tree["l"].kind is Kind.SYMLINK
        assert tree.is_opaque("d")
        assert tree.is_opaque("h")
        assert tree["h"].mode == 0o700
        assert tree.needs == Needs([b"", b"o"])

    def test_links_to_what_aufs_kept(self, fd: int) -> None:
        members = [
            images.directory(".wh..wh.plnk", 0o700),
            images.file(".wh..wh.plnk/1.2", b"linked", 0o640, uid=7, xattrs={"user.a": b"1"}),
            images.symlink(".wh..wh.plnk/3.4", "target"),
            images.fifo(".wh..wh.plnk/5.6"),
            images.file(".wh..wh.plnk/unused", b"never linked"),
            images.directory(".wh..wh.plnk/sub"),
            images.file(".wh..wh.plnk/sub/f", b"ignored"),
            images.device(".wh..wh.plnk/0", "c", 0, 0),
            images.directory("d"),
            images.hardlink("d/a", ".wh..wh.plnk/1.2"),
            images.hardlink("b", "/.wh..wh.plnk/1.2"),
            images.hardlink("l", ".wh..wh.plnk/3.4"),
            images.hardlink("p", ".wh..wh.plnk/5.6"),
        ]
        tree = build(self.form, fd, members)
        assert ".wh..wh.plnk" not in tree
        assert ".wh..wh.plnk/1.2" not in tree
        assert tree.read("d/a") == tree.read("b") == b"linked"
        assert (tree["b"].mode, tree["b"].uid, tree["b"].xattrs) == (0o640, 7, {b"user.a": b"1"})
        assert (tree["l"].link, tree["p"].kind) == (b"target", Kind.FIFO)
        assert tree.needs == Needs([b""])
        assert tree.stat[:2] == (5, 6)

    def test_a_link_to_what_aufs_did_not_keep(self, fd: int) -> None:
        tree = build(self.form, fd, [images.hardlink("a", ".wh..wh.plnk/1.2")])
        assert tree.needs.absent_links == [(b"a", b".wh..wh.plnk/1.2")]

    def test_what_a_layer_makes_new_is_not_implied(self, fd: int) -> None:
        members = [images.whiteout("w"), images.file("w/a/b/f"), images.opaque("o"), images.file("o/a/f")]
        tree = build(self.form, fd, members)
        assert tree.needs.implied == [b"", b"o"]

    def test_marks_do_not_follow_symlinks_of_their_layer_and_say_nothing_below_files(self, fd: int) -> None:
        members = [
            images.file("f", b"file"),
            images.whiteout("f/x"),
            images.opaque("f"),
            images.directory("real"),
            images.symlink("l", "real"),
            images.whiteout("l/x"),
            images.opaque("l"),
            images.opaque("l/o"),
            images.fifo("p"),
            images.whiteout("p/x/y"),
        ]
        tree = build(self.form, fd, members)
        assert tree.read("f") == b"file"
        assert tree["l"].kind is Kind.SYMLINK
        assert tree.stat.entries == 4
        assert not tree.is_opaque("real")
        assert tree.needs == Needs([b""])

    @pytest.mark.parametrize("first", [True, False])
    def test_a_marked_directory_is_hidden_by_a_mark_above(self, fd: int, first: bool) -> None:
        members = [
            images.whiteout("a"),
            images.whiteout("a/b"),
            images.opaque("a/c/d"),
            images.opaque("o"),
            images.whiteout("o/x/y"),
            images.directory("o"),
        ]
        tree = build(self.form, fd, members if first else members[::-1])
        assert tree.is_whiteout("a")
        assert tree.is_opaque("o")
        assert tree.stat.entries == 1
        assert tree.needs == Needs([b""], [], [b""])

    def test_directories_that_only_marks_speak_of_are_told(self, fd: int) -> None:
        members = [images.whiteout("a/b/x"), images.opaque("c"), images.directory("d"), images.whiteout("d/e/x")]
        tree = build(self.form, fd, members)
        marked = [b"a", b"a/b", b"c", b"d/e"]
        assert tree.needs == Needs([b"", *marked], [], [b"a/b", b"d/e"], marked)

    def test_paths_that_members_ran_through_before_they_were_replaced_are_told(self, fd: int) -> None:
        members = [
            images.file("late/f"),
            images.directory("late"),
            images.file("gone/sub/f"),
            images.symlink("gone", "x/../y/z"),
            images.file("gone/f"),
            images.file("was"),
            images.file("was/f"),
        ]
        tree = build(self.form, fd, members)
        assert tree.needs.passed == [b"gone", b"gone/sub", b"late", b"was", b"x"]
        assert tree.needs.implied == [b"", b"y", b"y/z"]

    @pytest.mark.parametrize("kind", sorted(MAKERS.keys() - {"directory", "full"}))
    def test_a_directory_in_the_place_of_something_else_hides_what_is_below(self, fd: int, kind: str) -> None:
        tree = build(self.form, fd, [*self.MAKERS[kind]("p"), images.directory("p", 0o711)])
        assert tree["p"].mode == 0o711
        assert tree.is_opaque("p")

    def test_no_whiteouts_where_all_is_hidden(self, fd: int) -> None:
        members = [images.opaque("o"), images.whiteout("o/x"), images.whiteout("o/d/y"), images.file("o/f")]
        tree = build(self.form, fd, members)
        assert not tree.is_whiteout("o/x")
        assert tree.needs.masked == []

    def test_an_opaque_root(self, fd: int) -> None:
        assert build(self.form, fd, [images.opaque(""), images.file("f")]).is_opaque("")

    def test_a_device_of_number_zero_is_a_whiteout(self, fd: int) -> None:
        assert build(self.form, fd, [images.device("w", "c", 0, 0)]).is_whiteout("w")

    def test_rows_are_what_lookups_find(self, fd: int) -> None:
        content = [b"x" * 5, b"y" * 20_000, b""]
        members = [
            images.directory("d"),
            *(images.file(f"d/f{number}", data) for number, data in enumerate(content)),
            images.hardlink("d/again", "d/f0"),
            images.symlink("l", "d"),
            images.fifo("p"),
            images.device("null", "c", 1, 3),
            images.whiteout("d/gone"),
            images.directory("o"),
            images.opaque("o"),
            images.file("i/j/k", b"implied"),
            *(images.file(f"many/{number:04}", b"z") for number in range(300)),
        ]
        tree = build(self.form, fd, members)
        rows = {row.path: row for row in self.form.rows(fd)}
        assert next(iter(rows)) == b""
        for path, row in rows.items():
            node = tree.node(path)
            assert node is not None
            assert node.entry.path == path
            assert (row.kind == WHITEOUT) == node.whiteout
            assert (row.kind == OPAQUE) == node.opaque
            if not node.whiteout:
                assert row.kind == OTHER or _KINDS_OF_ROWS[row.kind] is node.entry.kind
                assert row.size == (node.entry.size if row.kind == FILE else 0)
        assert rows.keys() == _paths_of(members)
        assert rows[b"d/again"].inode == rows[b"d/f0"].inode != rows[b"d/f1"].inode
        assert rows[b"d/again"].links == 2

    def test_rows_of_a_deep_path(self, fd: int) -> None:
        path = "/".join(["n" * 100] * 35)
        build(self.form, fd, [images.file(path, b"deep")])
        assert max(len(row.path) for row in self.form.rows(fd)) == len(path)

    def test_bookkeeping_of_aufs_is_ignored(self, fd: int) -> None:
        members = [images.directory(".wh..wh.plnk"), images.file(".wh..wh.plnk/1.2"), images.file(".wh..wh.aufs")]
        tree = build(self.form, fd, members)
        assert tree.stat[:2] == TreeStat(0, 0)[:2]

    @pytest.mark.parametrize("name", [".wh.", "d/.wh..", ".wh...", ".wh../x"])
    def test_whiteouts_of_nothing(self, fd: int, victim: Path, name: str) -> None:
        with pytest.raises(ArstoreError):
            build(self.form, fd, [entry(name)])

    # --- what the form declares -------------------------------------------------------------------------------------

    def test_it_is_listed_with_what_it_declares(self) -> None:
        assert self.form.name == self.form.properties.name
        assert FORMS[self.form.name] is self.form.properties

    def test_its_directory_tells_the_form(self, fd: int) -> None:
        build(self.form, fd, PLAIN)
        names = os.listdir(fd)
        assert form_of(names) is self.form.properties
        assert [form for form in FORMS.values() if form.holds(names)] == [self.form.properties]
        assert set(names) == set(self.form.properties.files)

    def test_it_has_the_tar_that_it_says_it_keeps(self, fd: int) -> None:
        build(self.form, fd, PLAIN)
        assert (TAR in os.listdir(fd)) == self.form.properties.keeps_tar
        kept = len(images.tar(PLAIN)) if self.form.properties.keeps_tar else 0
        assert self.form.glance(fd, ".", {}) == ("", kept)

    def test_extracted_files_lie_on_the_trees_own_file_system(self, fd: int, tmp_path: Path) -> None:
        if not self.form.properties.extracts:
            pytest.skip("what is not extracted has to be mounted")
        build(self.form, fd, PLAIN)
        with self.form.lower(str(tmp_path / "tree")) as lower:
            assert os.fstat(lower.fd).st_dev == os.fstat(fd).st_dev
            assert Path(f"/proc/self/fd/{lower.fd}/d/f").read_bytes() == b"content"

    def test_a_copy_of_bytes_alone_shows_the_same_if_the_form_survives_it(self, fd: int, tmp_path: Path) -> None:
        tree = build(self.form, fd, PLAIN)
        found = shutil.copytree(tmp_path / "tree", tmp_path / "copy", copy_function=shutil.copyfile)
        shutil.rmtree(tmp_path / "tree")
        copied = os.open(found, os.O_RDONLY | os.O_DIRECTORY)
        try:
            again = Tree(self.form, copied, tree.needs, tree.stat)
            assert again.read("d/f") == b"content"
            as_it_was = all(
                (node := again.node(path)) is not None and (node.entry.mode, node.entry.uid) == (0o4711, 7)
                for path in ("d", "d/f")
            )
            assert as_it_was == self.form.properties.survives_copy
        finally:
            os.close(copied)

    def test_what_is_mergeable_can_be_merged(self, fd: int, tmp_path: Path) -> None:
        build(self.form, fd, PLAIN)
        place = {f"sha256:{'a' * 64}": str(tmp_path / "tree")}
        (tmp_path / "merged").mkdir()
        if not self.form.properties.mergeable:
            with pytest.raises((OSError, ArstoreError)):
                merged_index.build(list(place), place.__getitem__, str(tmp_path / "merged"))
            return
        counted = merged_index.build(list(place), place.__getitem__, str(tmp_path / "merged"))
        assert counted.entries == 2
        parent = os.open(tmp_path, os.O_PATH)
        try:
            assert not merged_index.glance(parent, "merged", counted.size)
            assert merged_index.glance(parent, "merged", counted.size + 1)
        finally:
            os.close(parent)
        assert not merged_index.fault(str(tmp_path / "merged"), counted.size, list(place), place.__getitem__)

    # --- looking ----------------------------------------------------------------------------------------------------

    def test_lookups_stop_at_what_is_in_the_way(self, fd: int, victim: Path) -> None:
        tree = build(
            self.form,
            fd,
            [images.file("f"), images.symlink("l", str(victim.parent)), images.whiteout("w"), images.file("d/g")],
        )
        for path, blocked in [("f/x", "f"), ("l/victim", "l"), ("w/x/y", "w")]:
            node = tree.node(path)
            assert node is not None
            assert node.entry.path == blocked.encode()
        assert tree.node("d/none") is None
        assert tree.node("none/x/y") is None
        for path in (b"l/victim", b"l", b"d", b"none", b"f/x"):
            with pytest.raises(FileNotFoundError):
                self.form.open_file(fd, path)

    def test_a_tree_is_removed_with_all_that_is_in_it(self, fd: int, tmp_path: Path, victim: Path) -> None:
        deep = "/".join(["deep"] * 300)
        members = [images.file(f"{deep}/f"), images.symlink("l", str(tmp_path)), images.directory("locked", 0o000)]
        build(self.form, fd, members + [images.file(f"locked/{n}/{m}") for n in range(3) for m in range(3)])
        parent = os.open(tmp_path, os.O_RDONLY)
        try:
            self.form.remove(parent, "tree")
            with pytest.raises(FileNotFoundError):
                self.form.remove(parent, "tree")
        finally:
            os.close(parent)
        assert not (tmp_path / "tree").exists()

    def test_a_failed_build_leaves_no_descriptors(self, fd: int) -> None:
        before = len(os.listdir("/proc/self/fd"))
        with pytest.raises(ArstoreError):
            build(self.form, fd, [entry(f"d{n}/d/f") for n in range(100)] + [entry("")])
        assert len(os.listdir("/proc/self/fd")) == before


def is_hole(path: Path) -> bool:
    """Whether a file takes less space than its length."""
    status = path.stat()
    return stat.S_ISREG(status.st_mode) and status.st_blocks * 512 < status.st_size
