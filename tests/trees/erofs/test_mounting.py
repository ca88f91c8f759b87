"""Mounting: every way to the two files, use as a layer of overlayfs, and no leftovers."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support import images, treelist
from trees.erofs.trees import FORM, built, mountable

from arstore.linux import features
from arstore.linux.mounting import mount
from arstore.mounts.overlay import Method, Overlay, perform
from arstore.trees.erofs import mounting
from arstore.trees.erofs.mounting import ATTACHED_PREFIX, Way, lower_directory, mounted
from arstore.trees.format import LowerDirectory

if TYPE_CHECKING:
    from collections.abc import Iterator

MEMBERS = [
    images.directory("./", mtime_ns=5),
    images.directory("d", 0o750, xattrs={"user.a": b"1"}),
    images.file("d/f", b"content" * 10_000),
    images.file("d/empty"),
    images.symlink("l", "d/f"),
    images.file("last", b"end"),
]
NEEDS_LOOP = pytest.mark.skipif(not os.path.exists("/dev/loop-control"), reason="there are no loop devices here")
pytestmark = mountable


@pytest.fixture
def tree(tmp_path: Path) -> Iterator[Path]:
    with built(tmp_path / "tree", MEMBERS):
        yield tmp_path / "tree"


def shown(fd: int) -> treelist.Listing:
    return treelist.listing(f"/proc/self/fd/{fd}/")


def loops() -> list[str]:
    """The files behind loop devices."""
    found = []
    for path in Path("/sys/block").glob("loop*/loop/backing_file"):
        try:
            found.append(path.read_text().strip())
        except OSError:
            continue
    return found


def settled(condition: object) -> bool:
    """Whether *condition* comes true soon: the kernel ends loop devices in the background."""
    assert callable(condition)
    for _ in range(150):
        if condition():
            return True
        time.sleep(0.02)
    return False


@NEEDS_LOOP
def test_all_ways_show_the_same(tree: Path) -> None:
    listings = []
    for way in Way:
        fd = mounted(str(tree), way)
        try:
            listings.append(shown(fd))
        finally:
            os.close(fd)
    assert listings[0] == listings[1] == listings[2]
    assert listings[0][b"d/f"].size == 70_000


@NEEDS_LOOP
def test_loop_devices_go_with_the_mount(tree: Path) -> None:
    fd = mounted(str(tree), Way.LOOP)
    try:
        assert sum(str(tree) in name for name in loops()) == 2
        assert "d" in os.listdir(f"/proc/self/fd/{fd}")
    finally:
        os.close(fd)
    assert settled(lambda: not any(str(tree) in name for name in loops()))


@NEEDS_LOOP
def test_a_loop_device_over_a_tar_without_its_padding(tmp_path: Path) -> None:
    data = images.tar(MEMBERS)
    with built(tmp_path / "t", data[: data.rindex(b"end") + 3]):
        fd = mounted(str(tmp_path / "t"), Way.LOOP)
        try:
            assert Path(f"/proc/self/fd/{fd}/last").read_bytes() == b"end"
        finally:
            os.close(fd)


@NEEDS_LOOP
def test_a_file_system_that_erofs_cannot_read_from(tmp_path: Path) -> None:
    """Tmpfs returns ENOTBLK, as any file system does before Linux 6.12."""
    place = tmp_path / "tmpfs"
    place.mkdir()
    mount.mount("tmpfs", str(place), "tmpfs")
    try:
        with built(place / "t", MEMBERS):
            with pytest.raises(OSError, match="lock device") as caught:
                mounted(str(place / "t"), Way.FILES)
            assert caught.value.errno == errno.ENOTBLK
            fd = mounted(str(place / "t"))
            try:
                assert shown(fd)[b"d/f"].size == 70_000
            finally:
                os.close(fd)
        assert settled(lambda: not any(str(place) in name for name in loops()))
    finally:
        mount.umount(str(place), mount.MNT_DETACH)


@NEEDS_LOOP
@pytest.mark.mounts
def test_a_tree_on_an_overlay_can_be_a_layer(tmp_path: Path) -> None:
    """Overlay on EROFS on overlay would be one file system on another too many; a loop device does not count."""
    for name in ("lower", "upper", "work", "store", "shown"):
        (tmp_path / name).mkdir()
    below = LowerDirectory(os.open(tmp_path / "lower", os.O_PATH), str(tmp_path / "lower"))
    try:
        perform(Overlay((below,), str(tmp_path / "upper"), str(tmp_path / "work")), str(tmp_path / "store"))
        try:
            with built(tmp_path / "store/t", MEMBERS), FORM.lower(str(tmp_path / "store/t")) as lower:
                perform(Overlay((lower, below)), str(tmp_path / "shown"))
                try:
                    assert (tmp_path / "shown/last").read_bytes() == b"end"
                finally:
                    mount.umount(str(tmp_path / "shown"))
        finally:
            settled(lambda: not any(str(tmp_path) in name for name in loops()))
            mount.umount(str(tmp_path / "store"), mount.MNT_DETACH)
    finally:
        os.close(below.fd)


@pytest.mark.mounts
@pytest.mark.parametrize(
    ("method", "detached"),
    [(Method.AUTO, None), (Method.AUTO, False), (Method.LAYERS, False), (Method.PAGE, False)],
)
def test_overlays_take_it(tree: Path, tmp_path: Path, method: Method, detached: bool | None) -> None:
    (tmp_path / "target").mkdir()
    (tmp_path / "blank").mkdir()
    blank = LowerDirectory(os.open(tmp_path / "blank", os.O_PATH), str(tmp_path / "blank"))
    try:
        with lower_directory(str(tree), detached=detached) as lower:
            assert bool(lower.path) is (detached is False or not features.layers_by_fd())
            perform(Overlay((lower, blank)), str(tmp_path / "target"), method)
        try:
            assert sorted(os.listdir(tree)) == ["layer.erofs", "layer.tar"]
            assert (tmp_path / "target/d/f").read_bytes() == b"content" * 10_000
        finally:
            mount.umount(str(tmp_path / "target"))
    finally:
        os.close(blank.fd)
    assert str(tree) not in Path("/proc/self/mountinfo").read_text()


def test_long_paths(tmp_path: Path) -> None:
    place = tmp_path / ("x" * 200) / ("y" * 200)
    place.mkdir(parents=True)
    with built(place / "t", MEMBERS), FORM.lower(str(place / "t")) as lower:
        assert b"d/f" in shown(lower.fd)


@pytest.mark.parametrize("broken", ["magic", "checksum", "missing", "tar", "directory"])
def test_what_cannot_be_mounted_is_said(tree: Path, broken: str) -> None:
    index = tree / "layer.erofs"
    data = bytearray(index.read_bytes())
    if broken == "magic":
        data[1024] ^= 1
        index.write_bytes(data)
    elif broken == "checksum":
        data[1024 + 40] ^= 1
        index.write_bytes(data)
    elif broken == "directory":
        shutil.rmtree(tree)
    else:
        (tree / {"missing": "layer.erofs", "tar": "layer.tar"}[broken]).unlink()
    before = sorted(os.listdir("/proc/self/fd"))
    with pytest.raises(OSError, match=r".") as caught:
        mounted(str(tree))
    assert caught.value.filename == str(tree)
    assert sorted(os.listdir("/proc/self/fd")) == before


def test_the_tree_can_go_while_it_is_mounted(tree: Path) -> None:
    parent = os.open(tree.parent, os.O_RDONLY)
    try:
        with FORM.lower(str(tree)) as lower:
            FORM.remove(parent, tree.name)
            assert not tree.exists()
            assert Path(f"/proc/self/fd/{lower.fd}/d/f").read_bytes() == b"content" * 10_000
    finally:
        os.close(parent)


KILLED = """
import os, sys
sys.path[:0] = {path!r}
from arstore.trees.erofs.mounting import Way, lower_directory
with lower_directory({tree!r}, Way[{way!r}], detached={detached!r}) as lower:
    print(lower.fd, flush=True)
    sys.stdin.read()
"""


@pytest.mark.parametrize("way", ["FILES", pytest.param("LOOP", marks=NEEDS_LOOP)])
def test_a_killed_process_leaves_no_detached_mount(tree: Path, way: str) -> None:
    kill_holder(tree, way, detached=True)
    assert sorted(os.listdir(tree)) == ["layer.erofs", "layer.tar"]
    assert settled(lambda: not any(str(tree) in name for name in loops()))
    assert str(tree) not in Path("/proc/self/mountinfo").read_text()


def test_what_a_killed_process_has_attached_goes_with_the_tree(tree: Path) -> None:
    kill_holder(tree, "FILES", detached=False)
    left = [name for name in os.listdir(tree) if name.startswith(ATTACHED_PREFIX)]
    assert len(left) == 1
    assert str(tree / left[0]) in Path("/proc/self/mountinfo").read_text()
    parent = os.open(tree.parent, os.O_RDONLY)
    try:
        FORM.remove(parent, tree.name)
    finally:
        os.close(parent)
    assert not tree.exists()
    assert str(tree) not in Path("/proc/self/mountinfo").read_text()


def kill_holder(tree: Path, way: str, detached: bool) -> None:
    """Start a process that holds the tree as a lower layer, and kill it."""
    script = KILLED.format(path=sys.path, tree=str(tree), way=way, detached=detached)
    command = [sys.executable, "-c", script]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline().strip().isdigit()
        process.send_signal(signal.SIGKILL)
        process.wait()


def test_the_way_through_an_old_kernel_is_found(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before 6.15, overlayfs needs a path to the layer."""
    mounting._takes_detached.cache_clear()
    monkeypatch.setattr(features, "layers_by_fd", lambda: features.Answer(False, "an old kernel"))
    try:
        with FORM.lower(str(tree)) as lower:
            assert os.path.samefile(f"{lower.path}/d/f", f"/proc/self/fd/{lower.fd}/d/f")
    finally:
        mounting._takes_detached.cache_clear()
    assert sorted(os.listdir(tree)) == ["layer.erofs", "layer.tar"]
