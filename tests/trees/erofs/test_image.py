"""Indexes as the kernel and fsck.erofs read them, with parts of every possible size."""

from __future__ import annotations

import hashlib
import io
import os
import stat
from pathlib import Path

import pytest
from support import images
from trees.erofs.trees import FORM, bare, built, checkable, fsck, listing, mountable, of_entries, seen
from trees.tree_contract import entry

from arstore.tar.entry import Entry, Kind
from arstore.tar.reader import TarReader
from arstore.trees.erofs import format as layout
from arstore.trees.erofs.verification import verify

TIME = 1_600_000_000_123_456_789


def everything() -> list[images.Member]:
    """A member of each kind, with everything that an inode can have."""
    return [
        images.directory("./", 0o711, uid=70_000, mtime_ns=TIME),
        images.directory("d", 0o2755, gid=70_000, mtime_ns=-1, xattrs={"user.on": b"directory"}),
        images.file("d/f", b"x" * 1000, 0o4755, uid=1, gid=2, mtime_ns=-5_500_000_000, xattrs={"user.a": b"1"}),
        images.file("d/g", b"y", xattrs={"user.a": b"1", "user.b": b"\0" * 3000, "trusted.t": b"own"}),
        images.file("d/same", b"z", xattrs={"user.a": b"1", "user.b": b"\0" * 3000}),
        images.hardlink("h", "d/f"),
        images.hardlink("d/h2", "d/f"),
        images.symlink("l", "d/f", uid=9, xattrs={"security.note": b"on a symlink"}),
        images.symlink("long", "t" * 1500),
        images.hardlink("l2", "l"),
        images.hardlink("long2", "long"),
        images.device("c", "c", 4095, (1 << 20) - 1, 0o666),
        images.device("b", "b", 259, 300),
        images.hardlink("b2", "b"),
        images.fifo("p", 0o600, mtime_ns=TIME),
        images.file("empty", mtime_ns=0),
        images.whiteout("w"),
        images.opaque("o"),
        images.file(b"caf\xe9\n", b"name"),
    ]


@mountable
@checkable
def test_fsck_finds_nothing(tmp_path: Path) -> None:
    with built(tmp_path / "t", everything()):
        fsck(tmp_path / "t")


@mountable
def test_the_kernel_shows_what_was_put_in(tmp_path: Path) -> None:
    with built(tmp_path / "t", everything()) as tree:
        found = listing(tmp_path / "t")
        verify(tree.fd)
    assert len(found) == len(everything())
    root, f, g, same = (found[path] for path in (b"", b"d/f", b"d/g", b"d/same"))
    assert (root.mode, root.uid, root.mtime) == (0o711, 70_000, TIME)
    assert (f.mode, f.uid, f.gid, f.mtime, f.size) == (0o4755, 1, 2, -5_500_000_000, 1000)
    assert f.linked == found[b"h"].linked == found[b"d/h2"].linked == b"d/f"
    assert g.xattrs == (("trusted.t", b"own"), ("user.a", b"1"), ("user.b", b"\0" * 3000))
    assert same.xattrs == g.xattrs[1:]
    assert (found[b"l"].target, found[b"l"].xattrs) == (b"d/f", (("security.note", b"on a symlink"),))
    assert found[b"l2"].linked == b"l"
    assert found[b"long2"].target == b"t" * 1500
    assert found[b"c"].device == "4095:1048575"
    assert (found[b"b"].device, found[b"b2"].linked) == ("259:300", b"b")
    assert (found[b"w"].kind, found[b"w"].device) == ("c", "0:0")
    assert found[b"empty"].size == 0


@mountable
def test_link_counts(tmp_path: Path) -> None:
    with built(tmp_path / "t", everything()), seen(tmp_path / "t") as path:
        counts = {name: os.lstat(f"{path}/{name}").st_nlink for name in ("", "d", "d/f", "l", "long", "b", "p")}
        numbers = [os.lstat(f"{path}/{name}").st_ino for name in ("", "d", "d/f", "l", "p", "w", "empty")]
    assert counts == {"": 4, "d": 2, "d/f": 3, "l": 2, "long": 2, "b": 2, "p": 1}
    assert 0 not in numbers
    assert len(set(numbers)) == len(numbers)


@mountable
def test_a_link_count_larger_than_a_compact_inode_has(tmp_path: Path) -> None:
    count = 1 << 16
    links = (Entry(b"%d" % n, Kind.HARDLINK, link=b"f") for n in range(count))
    with of_entries(tmp_path / "t", bare([entry("f", mode=0o640), *links])) as tree, seen(tmp_path / "t") as path:
        assert os.stat(f"{path}/12345").st_nlink == count + 1
        assert os.stat(f"{path}/12345").st_mode == stat.S_IFREG | 0o640
        assert tree.stat.entries == count + 1


@mountable
def test_symlinks_of_every_length(tmp_path: Path) -> None:
    lengths = [*range(1, 700), *range(4000, 4096)]
    members = [images.symlink(f"{length}", "x" * length, mtime_ns=length % 3) for length in lengths]
    with built(tmp_path / "t", members) as tree, seen(tmp_path / "t") as path:
        assert [len(os.readlink(f"{path}/{length}")) for length in lengths] == lengths
        assert [len(tree[f"{length}"].link) for length in lengths] == lengths
        verify(tree.fd)


@mountable
@checkable
def test_fsck_reads_symlinks_of_every_length(tmp_path: Path) -> None:
    members = [images.symlink(f"{n}", "x" * n, xattrs={"security.a": bytes(n % 50)}) for n in range(1, 600)]
    with built(tmp_path / "t", members):
        fsck(tmp_path / "t")


@mountable
def test_directories_of_every_length(tmp_path: Path) -> None:
    """The last block of each ends at another offset, after inodes of both sizes, with attributes and without."""
    members = []
    for count in range(90):
        attributes = {"user.a": b"a" * count} if count % 3 == 0 else {}
        members.append(images.directory(f"{count}", mtime_ns=count % 2 * TIME, xattrs=attributes))
        members += [images.fifo(f"{count}/{'n' * (1 + (n * 37 + count) % 250)}{n}") for n in range(count)]
    with built(tmp_path / "t", members) as tree, seen(tmp_path / "t") as path:
        for count in range(90):
            names = os.listdir(f"{path}/{count}")
            assert len(set(names)) == len(names) == count
            assert names == sorted(names)
            assert all(f"{count}/{name}" in tree for name in names[::7])
            assert all(stat.S_ISFIFO(os.lstat(f"{path}/{count}/{name}").st_mode) for name in names)
        verify(tree.fd)


@mountable
def test_a_directory_of_100_000_entries(tmp_path: Path) -> None:
    names = [b"d/entry-%d" % n for n in range(100_000)]
    with of_entries(tmp_path / "t", bare(Entry(name, Kind.FILE) for name in names)) as tree:
        with seen(tmp_path / "t") as path:
            assert len(os.listdir(f"{path}/d")) == 100_000
            assert os.path.exists(f"{path}/d/entry-99999")
            assert not os.path.exists(f"{path}/d/entry-100000")
        for name in names[::9973]:
            assert name in tree
        for name in (b"d/entry-", b"d/entry-100000", b"d/a", b"d/zzz", b"d/\xff"):
            assert name not in tree


@mountable
def test_names_that_sort_around_the_dots(tmp_path: Path) -> None:
    names = [b"!", b"+a", b"-", b".a", b"..a", b"...", b"0", b"\x01", b"\xff" * 255, b"a" * 255]
    with built(tmp_path / "t", [images.file(name, name) for name in names]), seen(tmp_path / "t") as path:
        assert sorted(map(os.fsencode, os.listdir(path + "/"))) == sorted(names)
        assert all(Path(os.fsdecode(os.fsencode(path) + b"/" + name)).read_bytes() == name for name in names)


@mountable
def test_a_file_of_more_than_4_gib(tmp_path: Path) -> None:
    size = 5 << 30
    entries = [
        entry("large", size=size, offset=512, mtime=0),
        entry("behind", size=6, offset=512 + size, mtime=0),
    ]
    with of_entries(tmp_path / "t", bare(entries), length=1024 + size) as tree:
        with open(tmp_path / "t" / "layer.tar", "r+b") as tar:
            tar.seek(512 + size - 4)
            tar.write(b"end.behind")
        with seen(tmp_path / "t") as path:
            assert os.stat(f"{path}/large").st_size == size
            with open(f"{path}/large", "rb") as file:
                file.seek(size - 8)
                assert file.read() == b"\0\0\0\0end."
            assert Path(f"{path}/behind").read_bytes() == b"behind"
        assert verify(tree.fd) == 3
        with FORM.open_file(tree.fd, b"large") as opened:
            assert opened.read(100, size - 4) == b"end."


@mountable
def test_owners_and_sizes_around_what_a_compact_inode_has(tmp_path: Path) -> None:
    owners = [0, 65_535, 65_536, (1 << 32) - 2]
    sizes = [(1 << 32) - 1, 1 << 32]
    entries = [entry(f"{uid}-{gid}", uid=uid, gid=gid) for uid in owners for gid in owners]
    entries += [entry(f"s{size}", size=size, offset=512) for size in sizes]
    with of_entries(tmp_path / "t", bare(entries), length=5 << 30) as tree, seen(tmp_path / "t") as path:
        for one in entries:
            status = os.stat(f"{path}/{one.path.decode()}")
            assert (status.st_uid, status.st_gid, status.st_size) == (one.uid, one.gid, one.size)
            assert tree[one.path] == one.replaced(offset=0)


@mountable
@pytest.mark.parametrize("common", [0, TIME, -1_500_000_000])
def test_times_of_compact_and_extended_inodes(tmp_path: Path, common: int) -> None:
    times = [common] * 20 + [0, 1, -1, 253_402_300_799_999_999_999, -(1 << 40) * 1_000_000_000]
    members = [entry(f"{n}", mtime=time) for n, time in enumerate(times)]
    with of_entries(tmp_path / "t", bare(members)) as tree:
        assert [tree[f"{n}"].mtime for n in range(len(times))] == times
        found = listing(tmp_path / "t")
        size = (tmp_path / "t" / "layer.erofs").stat().st_size
    assert [found[b"%d" % n].mtime for n in range(len(times))] == times
    with of_entries(tmp_path / "u", bare(one.replaced(mtime=n) for n, one in enumerate(members))):
        assert (tmp_path / "u" / "layer.erofs").stat().st_size > size


@mountable
@pytest.mark.parametrize("members", [[], [images.directory("./", 0o700)], [images.whiteout("x")]])
def test_layers_with_nothing_in_the_tar(tmp_path: Path, members: list[images.Member]) -> None:
    with built(tmp_path / "t", members) as tree:
        assert verify(tree.fd) == 1 + (len(members) == 1 and members[0].info.name == ".wh.x")
        assert len(listing(tmp_path / "t")) == 1 + (len(members) == 1 and members[0].info.name == ".wh.x")
    with built(tmp_path / "u", b""):
        assert len(listing(tmp_path / "u")) == 1


def test_equal_layers_make_equal_indexes(tmp_path: Path) -> None:
    contents = []
    for number in range(2):
        with built(tmp_path / f"{number}", everything()):
            contents.append((tmp_path / f"{number}" / "layer.erofs").read_bytes())
    assert contents[0] == contents[1]
    with built(tmp_path / "other", [*everything(), images.fifo("one-more")]):
        other = (tmp_path / "other" / "layer.erofs").read_bytes()
    uuid = slice(layout.SUPER_OFFSET + 48, layout.SUPER_OFFSET + 64)
    assert contents[0][uuid] != other[uuid]


def test_shared_attributes_stand_once(tmp_path: Path) -> None:
    value = os.urandom(2000)
    with built(tmp_path / "t", [images.file(f"{n}", xattrs={"trusted.v": value.hex().encode()}) for n in range(50)]):
        assert (tmp_path / "t" / "layer.erofs").read_bytes().count(value.hex().encode()) == 1


@mountable
def test_more_attributes_than_an_inode_can_share(tmp_path: Path) -> None:
    attributes = {f"user.{n}": b"%d" % n for n in range(400)}
    with built(tmp_path / "t", [images.file(name, xattrs=attributes) for name in "ab"]) as tree:
        found = listing(tmp_path / "t")
        verify(tree.fd)
        assert tree["a"].xattrs == {name.encode(): value for name, value in attributes.items()}
    assert dict(found[b"a"].xattrs) == dict(found[b"b"].xattrs) == attributes


@mountable
@pytest.mark.parametrize("xattrs", [{}, {"user.a": b"1"}])
def test_a_tar_without_the_padding_behind_its_last_file(tmp_path: Path, xattrs: dict[str, bytes]) -> None:
    """umoci writes such tars; the kernel does not read an incomplete block."""
    members = [images.file("a", b"a" * 600), images.file("last", b"end" * 300, mtime_ns=TIME, xattrs=xattrs)]
    data = images.tar(members)
    cut = data[: data.rindex(b"end") + 3]
    with built(tmp_path / "t", cut) as tree:
        found = listing(tmp_path / "t")
        assert verify(tree.fd) == 3
        assert tree.read("last") == b"end" * 300
    assert found[b"last"].sha256 == hashlib.sha256(b"end" * 300).hexdigest()
    assert (found[b"last"].mtime, found[b"last"].xattrs) == (TIME, tuple(xattrs.items()))
    assert found[b"a"].size == 600
    assert (tmp_path / "t" / "layer.tar").read_bytes() == cut


@mountable
def test_a_last_file_with_several_names(tmp_path: Path) -> None:
    """All of them, in one directory and in another, lead to the one copy."""
    members = [images.file("d/a", b"x"), images.file("last", b"end" * 300)]
    cut = images.tar(members)
    cut = cut[: cut.rindex(b"end") + 3]
    reader = TarReader(io.BytesIO(cut))
    links = [entry(name, Kind.HARDLINK, link=b"last") for name in ("again", "d/again")]
    pairs = [*((one, reader) for one in list(reader)), *((one, reader) for one in links)]
    with of_entries(tmp_path / "t", pairs, cut) as tree:
        assert verify(tree.fd) == 4
        found = listing(tmp_path / "t")
    assert {found[name].linked for name in (b"again", b"d/again", b"last")} == {b"again"}
    assert found[b"d/again"].sha256 == hashlib.sha256(b"end" * 300).hexdigest()
