"""Merged indexes: the kernel shows the same for one as for an overlay of its members, and nothing is copied."""

from __future__ import annotations

import os
import random
import shutil
import stat
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from support import images, treelist
from trees.erofs.trees import FORM, checkable, fsck, mountable, why_no_fsck
from trees.stacks import Layer, Stack

from arstore.errors import LimitError, StoreDamagedError, TarError, UnsafePathError
from arstore.mounts.merge_plan import MOST
from arstore.trees.erofs import format as layout
from arstore.trees.erofs.devices import device_files
from arstore.trees.erofs.merging import merge
from arstore.trees.erofs.mounting import Way, lower_directory, mounted
from arstore.trees.erofs.reader import IndexReader, walk
from arstore.trees.erofs.superblock import DeviceRow, SuperBlock, devices
from arstore.trees.format import UnrepresentableError
from arstore.trees.forms import MERGED_INDEX

pytestmark = [pytest.mark.root, mountable]

ROOT = images.directory("./", 0o711, uid=3, mtime_ns=5)
PATHS = st.sampled_from(["a", "a", "a/a", "a/a", "a/b", "a/a/a", "a/a/b", "b", "b/a", "a/" + "long" * 60, "a/caf\xe9"])
"""Few, so that layers overlap."""
XATTRS = st.dictionaries(
    st.sampled_from(["user.a", "user.b", "trusted.t"]), st.sampled_from([b"", b"1", b"x" * 700]), max_size=2
)


@st.composite
def members(draw: st.DrawFn) -> images.Member:
    kind = draw(st.sampled_from("fffffdddddlllhhpcwwwwooo"))
    path = draw(PATHS)
    attributes = {"uid": draw(st.sampled_from([0, 7, 70_000])), "mtime_ns": draw(st.sampled_from([0, 5, -9, 10**18]))}
    xattrs = draw(XATTRS) if kind in "fd" else {}
    match kind:
        case "f":
            return images.file(path, draw(st.binary(max_size=1100)), 0o640, xattrs=xattrs, **attributes)
        case "d":
            return images.directory(draw(st.sampled_from([path, path, "./"])), 0o751, xattrs=xattrs, **attributes)
        case "l":
            return images.symlink(path, draw(st.sampled_from(["a", "/b/c", "t" * 1500])), **attributes)
        case "h":
            return images.hardlink(path, draw(PATHS))
        case "p":
            return images.fifo(path, 0o600, **attributes)
        case "c":
            return images.device(path, "c", 1, draw(st.sampled_from([0, 3, 300])), **attributes)
        case "w":
            return images.whiteout(path)
    return images.opaque(draw(st.sampled_from([path, path, path, ""])))


STACKS = st.lists(st.lists(members(), max_size=8), min_size=2, max_size=6)


def cuts(draw: st.DrawFn, count: int) -> list[tuple[int, int]]:
    """Runs of at least two trees, which do not overlap."""
    found = []
    start = 0
    while start < count - 1:
        end = draw(st.integers(start + 1, count))
        if end - start > 1:
            found.append((start, end))
        start = end
    return found


@settings(suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow])
@given(STACKS, st.data())
def test_an_overlay_shows_the_same_with_and_without(layers: list[Layer], data: st.DataObject) -> None:
    runs = data.draw(st.composite(cuts)(len(layers)))
    place = Path(tempfile.mkdtemp(prefix="arstore-merging-"))
    try:
        with Stack(place, FORM) as stack:
            try:
                for layer in layers:
                    stack.add(layer)
            except (LimitError, TarError, UnsafePathError):
                assume(False)
            with stack.mounted() as single:
                expected = treelist.listing(single)
            with stack.mounted_with(runs) as merged:
                assert treelist.differences(expected, treelist.listing(merged)) == []
            for directory in place.glob("merged*"):
                verify_links(directory)
                if not why_no_fsck():
                    fsck(directory)
    finally:
        shutil.rmtree(place)


def verify_links(directory: Path) -> None:
    """Every file has as many links as names, every directory as many as it should."""
    fd = mounted(str(directory))
    try:
        names: dict[int, int] = {}
        counts: dict[int, int] = {}
        for path, below, files in os.walk(f"/proc/self/fd/{fd}/"):
            assert os.lstat(path).st_nlink == 2 + sum(not os.path.islink(f"{path}/{name}") for name in below)
            for name in [*files, *(name for name in below if os.path.islink(f"{path}/{name}"))]:
                status = os.lstat(f"{path}/{name}")
                names[status.st_ino] = names.get(status.st_ino, 0) + 1
                counts[status.st_ino] = status.st_nlink
        assert names == counts
    finally:
        os.close(fd)


# --- the rules one by one -------------------------------------------------------------------------------------------

LAYERS: list[Layer] = [
    [
        ROOT,
        images.directory("d", 0o700, uid=7, xattrs={"user.a": b"low"}),
        images.file("d/low", b"low" * 1000),
        images.file("d/both", b"lower"),
        images.file("links/1", b"linked"),
        images.hardlink("links/2", "links/1"),
        images.hardlink("links/3", "links/1"),
        images.directory("gone", 0o711),
        images.file("gone/f"),
        images.file("o/hidden"),
        images.file("was-file", b"file"),
        images.directory("was-directory"),
        images.file("was-directory/f"),
    ],
    [
        images.directory("d", 0o755, xattrs={"user.b": b"up"}),
        images.file("d/both", b"upper"),
        images.whiteout("d/never"),
        images.whiteout("gone"),
        images.whiteout("links/2"),
        images.opaque("o"),
        images.file("o/new", b"new"),
        images.whiteout("o/none"),
        images.directory("was-file"),
        images.file("was-file/f"),
        images.symlink("was-directory", "d"),
    ],
    [images.directory("gone", 0o722), images.file("gone/again", b"again"), images.file("top", b"top")],
]


@pytest.fixture
def merged(tmp_path: Path):
    with Stack(tmp_path, FORM) as stack:
        for layer in LAYERS:
            stack.add(layer)
        yield stack.merged(0, 3)


def test_what_a_merged_index_says(merged: Path) -> None:
    fd = mounted(str(merged))
    try:
        root = f"/proc/self/fd/{fd}"
        found = treelist.listing(root + "/")

        def mark(path: str, name: str) -> bytes | None:
            return os.getxattr(f"{root}/{path}", name) if name in os.listxattr(f"{root}/{path}") else None

        assert (found[b"d"].mode, found[b"d"].uid, found[b"d"].xattrs) == (0o755, 0, (("user.b", b"up"),))
        assert found[b"d/both"].sha256 == images.sha256(b"upper")[7:]
        assert found[b"d/low"].sha256 == images.sha256(b"low" * 1000)[7:]
        assert found[b"d/never"].device == "0:0"
        assert mark("d", "trusted.overlay.origin") == b""
        assert mark("d", "trusted.overlay.opaque") is None
        assert os.stat(f"{root}/links/1").st_nlink == 2
        assert found[b"links/1"].linked == found[b"links/3"].linked == b"links/1"
        assert found[b"links/2"].device == "0:0"
        # Lower files stay hidden: by an existing mark, by the whiteout below, or because it was not a directory.
        for path in ("o", "gone", "was-file"):
            assert mark(path, "trusted.overlay.opaque") == b"y"
            assert mark(path, "trusted.overlay.origin") is None
        assert {name for name in found if name.startswith((b"o/", b"gone/"))} == {b"o/new", b"gone/again"}
        assert found[b"was-directory"].kind == "l"
        assert found[b""].mode == 0o755  # the top layer has no entry for it: a cap has its mode
        assert mark("", "trusted.overlay.origin") is None
    finally:
        os.close(fd)


def test_it_holds_no_content(merged: Path) -> None:
    with open(merged / MERGED_INDEX, "rb") as file:
        names = device_files(file.fileno(), "x")
        data = file.read()
    assert sorted(os.path.realpath(merged / name) for name in names) == [
        str(merged.parent / f"tree{number}" / "layer.tar") for number in range(3)
    ]
    for content in (b"lowlowlow", b"upper", b"linked", b"again"):
        assert content not in data.replace(b"gone/again", b"") or content == b"again"


def test_equal_members_make_equal_bytes(merged: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    copy.mkdir()
    with Stack(copy, FORM) as stack:
        for layer in LAYERS:
            stack.add(layer)
        assert (stack.merged(0, 3) / MERGED_INDEX).read_bytes() == (merged / MERGED_INDEX).read_bytes()
        assert (stack.merged(0, 2) / MERGED_INDEX).read_bytes() != (merged / MERGED_INDEX).read_bytes()


@checkable
def test_fsck_finds_nothing(merged: Path) -> None:
    fsck(merged)


@pytest.mark.skipif(not os.path.exists("/dev/loop-control"), reason="there are no loop devices here")
def test_through_loop_devices(merged: Path) -> None:
    fds = [mounted(str(merged), way) for way in (Way.FILES, Way.LOOP)]
    try:
        one, other = (treelist.listing(f"/proc/self/fd/{fd}/") for fd in fds)
        assert treelist.differences(one, other) == []
    finally:
        for fd in fds:
            os.close(fd)


def test_attached_for_a_kernel_that_takes_no_detached_mount(merged: Path) -> None:
    with lower_directory(str(merged), detached=False) as lower:
        assert os.path.dirname(lower.path) == str(merged)
        assert Path(lower.path, "top").read_bytes() == b"top"
    assert os.listdir(merged) == [MERGED_INDEX]


def test_at_a_path_that_is_longer_than_an_option(merged: Path, tmp_path: Path) -> None:
    deep = tmp_path.joinpath(*["d" * 100] * 3)
    deep.parent.mkdir(parents=True)
    shutil.copytree(merged.parent, deep, symlinks=True, ignore=shutil.ignore_patterns("d" * 100))
    fd = mounted(str(deep / merged.name))
    try:
        assert Path(f"/proc/self/fd/{fd}/top").read_bytes() == b"top"
    finally:
        os.close(fd)


# --- content of a member's own --------------------------------------------------------------------------------------


def test_content_that_no_tar_has_comes_from_the_members_index(tmp_path: Path) -> None:
    below = [ROOT, images.file("f", b"lower content" * 200, xattrs={"user.a": b"1"})]
    links = [images.hardlink("copy", "f"), images.file("own", b"own")]
    unpadded = images.tar([images.file("last", b"the last file")])[: 512 + 13]
    with Stack(tmp_path, FORM) as stack:
        for layer in (below, links, unpadded, [images.file("top", b"top")]):
            stack.add(layer)
        with stack.mounted() as single:
            expected = treelist.listing(single)
        with stack.mounted_with([(0, 4)]) as whole:
            assert treelist.differences(expected, treelist.listing(whole)) == []
        assert expected[b"copy"].sha256 == images.sha256(b"lower content" * 200)[7:]
        directory = next(tmp_path.glob("merged*"))
        with open(directory / MERGED_INDEX, "rb") as file:
            names = [os.path.realpath(directory / name) for name in device_files(file.fileno(), "x")]
            starts = [device.start for device in devices(file.fileno(), "x")]
    assert sum(name.endswith("layer.erofs") for name in names) == 2
    assert sum(name.endswith("layer.tar") for name in names) == 4
    assert starts == sorted(starts)
    assert starts[0] == layout.TAR_START


# --- sizes ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 3, 4, MOST])
def test_any_number_of_members(tmp_path: Path, count: int) -> None:
    contents = {f"{number}": random.Random(number).randbytes(700) for number in range(count)}
    with Stack(tmp_path, FORM) as stack:
        for name, content in contents.items():
            stack.add([images.file(name, content), images.file("changed", name.encode())])
        directory = stack.merged(0, count)
        if not why_no_fsck():
            fsck(directory)
        fd = mounted(str(directory))
    try:
        assert {name: Path(f"/proc/self/fd/{fd}/{name}").read_bytes() for name in contents} == contents
        assert Path(f"/proc/self/fd/{fd}/changed").read_bytes() == b"%d" % (count - 1)
    finally:
        os.close(fd)


def test_directories_of_many_blocks(tmp_path: Path) -> None:
    with Stack(tmp_path, FORM) as stack:
        for number in range(20):
            stack.add([ROOT, *(images.file(f"d/{name:060}-{number}", b"x") for name in range(30))])
        fd = mounted(str(stack.merged(0, 20)))
    try:
        assert len(os.listdir(f"/proc/self/fd/{fd}/d")) == 600
        names = [f"{name:060}-{number}" for name in (0, 17, 29) for number in (0, 19)]
        assert all(stat.S_ISREG(os.stat(f"/proc/self/fd/{fd}/d/{name}").st_mode) for name in names)
    finally:
        os.close(fd)


def test_members_with_nothing_in_them_need_no_device(tmp_path: Path) -> None:
    with Stack(tmp_path, FORM) as stack:
        for _ in range(3):
            stack.add([ROOT, images.directory("d"), images.file("empty"), images.symlink("l", "d")])
        directory = stack.merged(0, 3)
        with open(directory / MERGED_INDEX, "rb") as file:
            assert devices(file.fileno(), "x") == []
        fd = mounted(str(directory))
    try:
        assert sorted(os.listdir(f"/proc/self/fd/{fd}")) == ["d", "empty", "l"]
    finally:
        os.close(fd)


def test_tars_that_are_too_long_together_are_not_merged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layout, "TAR_BLOCKS", 5)
    with Stack(tmp_path, FORM) as stack:
        for name in "ab":
            stack.add([images.file(name, b"x" * 1000)])
        with pytest.raises(UnrepresentableError):
            stack.merged(0, 2)


# --- damage ---------------------------------------------------------------------------------------------------------


def test_damaged_members_are_said(tmp_path: Path) -> None:
    with Stack(tmp_path, FORM) as stack:
        for layer in LAYERS:
            stack.add(layer)
        index = tmp_path / "tree1" / "layer.erofs"
        whole = index.read_bytes()
        for data in (whole[:700], whole[:1100], bytes(len(whole)), whole[:2048] + b"\xff" * (len(whole) - 2048)):
            index.write_bytes(data)
            with pytest.raises(StoreDamagedError):
                stack.merged(0, 3)
            shutil.rmtree(tmp_path / "merged0-3")


def test_a_directory_that_is_in_itself_is_said(tmp_path: Path) -> None:
    """A flipped bit leads there, and the parts that merging reads have no checksum; it looped without end."""
    with Stack(tmp_path, FORM) as stack:
        stack.add([images.directory("d"), images.directory("d/e"), images.directory("d/f")])
        stack.add([images.file("g")])
        tree_fd = os.open(tmp_path / "tree0", os.O_RDONLY | os.O_DIRECTORY)
        with IndexReader(tree_fd) as index:
            directory = list(walk(index, b"d"))[-1][1]
            at = [name for name, _, _ in index.entries(directory, 0)].index(b"e")
        os.close(tree_fd)
        with open(tmp_path / "tree0" / "layer.erofs", "r+b") as file:
            file.seek(directory.tail + at * layout.DIRENT.size)
            file.write(directory.nid.to_bytes(8, "little"))
        with pytest.raises(StoreDamagedError, match="with two parents"):
            stack.merged(0, 2)


@pytest.mark.parametrize("tag", [b"", b"../../../etc/passwd", b"A" * 64, b"f" * 63])
def test_no_device_but_a_tree_is_opened(tmp_path: Path, tag: bytes) -> None:
    block = SuperBlock(1, 1, 0, 9, 8, 4, 0, (DeviceRow(tag, 1, layout.TAR_START),)).block()
    (tmp_path / MERGED_INDEX).write_bytes(bytes(1024) + block)
    with pytest.raises(StoreDamagedError, match="not belong to a tree"):
        mounted(str(tmp_path))


@pytest.mark.parametrize("data", [b"", bytes(1100), bytes(4096)])
def test_a_file_that_is_no_index(tmp_path: Path, data: bytes) -> None:
    (tmp_path / MERGED_INDEX).write_bytes(data)
    with pytest.raises(StoreDamagedError):
        mounted(str(tmp_path))


def test_more_members_than_devices_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UnrepresentableError):
        merge([("sha256:" + "0" * 64, str(tmp_path))] * 20_000, -1)


def test_more_members_than_an_index_numbers(tmp_path):
    """Refused before any of them is opened."""
    with open(tmp_path / "merged", "w+b") as file, pytest.raises(UnrepresentableError, match="more layers"):
        merge([("sha256:" + "0" * 64, str(tmp_path / "none"))] * ((1 << 14) + 1), file.fileno())
