"""Caps and adaptations: parts that a layer's tree lacks for its parents."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from support import images, treelist
from trees.stacks import Layer, Stack, shown
from trees.tree_contract import is_hole

from arstore.errors import TarError, UnsafePathError
from arstore.trees.adaptation import cap_entries, plan
from arstore.trees.format import Needs

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.root

USR: Layer = [
    images.directory("./", 0o755),
    images.directory("usr/lib", 0o711, uid=3, mtime_ns=9),
    images.file("usr/lib/libc", b"c", 0o640, uid=4, mtime_ns=77, xattrs={"user.x": b"1"}),
    images.file("usr/lib/old", b"o"),
    images.symlink("lib", "usr/lib"),
    images.symlink("absolute", "/usr/lib"),
    images.symlink("dangling", "new/place"),
    images.symlink("loop", "loop"),
]


def build(place: Path, *layers: Layer) -> tuple[list[bool], dict[bytes, tuple[object, ...]]]:
    """Which layers were adapted, and the content of the last one's tree."""
    with Stack(place) as stack:
        for layer in layers:
            stack.add(layer)
        return stack.adapted, shown(stack.paths[-1] / "fs")


# --- adaptation -----------------------------------------------------------------------------------------------------


def test_most_layers_serve_as_they_are(tmp_path: Path) -> None:
    adapted, _ = build(tmp_path, USR, [images.file("usr/lib/new"), images.directory("lib"), images.file("lib/own")])
    assert adapted == [False, False]


@pytest.mark.parametrize("through", ["lib", "absolute", "absolute/../lib"])
def test_members_move_to_where_a_lower_symlink_leads(tmp_path: Path, through: str) -> None:
    layer = [
        images.file(f"{through}/new", b"n"),
        images.directory(f"{through}/sub", 0o700),
        images.file(f"{through}/sub/f", b"f"),
        images.hardlink("linked", f"{through}/sub/f"),
        images.whiteout(f"{through}/old"),
        images.symlink(f"{through}/sub/l", "f"),
        images.file("untouched", b"u"),
    ]
    adapted, tree = build(tmp_path, USR, layer)
    assert adapted == [False, True]
    assert {path for path, item in tree.items() if item[0] != "d"} == {
        b"linked",
        b"untouched",
        b"usr/lib/new",
        b"usr/lib/old",
        b"usr/lib/sub/f",
        b"usr/lib/sub/l",
    }
    assert tree[b"usr/lib/old"][0] == "c"
    assert tree[b"usr/lib/sub"][1] == 0o700


def test_opaque_marks_move_too(tmp_path: Path) -> None:
    with Stack(tmp_path) as stack:
        stack.add(USR)
        stack.add([images.opaque("lib"), images.file("lib/only")])
        view = stack.view()
        assert view.lookup(b"usr/lib/old") is None
        assert view.lookup(b"usr/lib/only") is not None
        assert view.link(b"lib") == b"usr/lib"


def test_a_symlink_to_nothing_makes_its_target(tmp_path: Path) -> None:
    _, tree = build(tmp_path, USR, [images.file("dangling/f")])
    assert b"new/place/f" in tree


def test_the_layers_own_symlinks_come_first(tmp_path: Path) -> None:
    layer = [images.symlink("mine", "lib"), images.file("mine/f", b"x"), images.symlink("far", "mine/sub")]
    _, tree = build(tmp_path, USR, [*layer, images.file("far/g", b"y")])
    assert {b"usr/lib/f", b"usr/lib/sub/g"} <= tree.keys()


def test_a_symlink_that_the_layer_hides_is_not_followed(tmp_path: Path) -> None:
    layer = [images.file("lib/f"), images.whiteout("lib"), images.directory("dangling"), images.file("dangling/g")]
    adapted, tree = build(tmp_path, USR, layer)
    assert adapted == [False, False]
    assert {b"lib/f", b"dangling/g"} <= tree.keys()


def test_a_member_before_its_directory_goes_through_the_symlink(tmp_path: Path) -> None:
    """As in extraction: the directory takes the symlink's place only later."""
    adapted, tree = build(tmp_path, USR, [images.file("lib/f"), images.directory("lib")])
    assert adapted == [False, True]
    assert tree[b"lib"][0] == "d"
    assert {b"usr/lib/f", b"lib"} <= tree.keys()
    assert b"lib/f" not in tree


@pytest.mark.parametrize("first", [True, False])
def test_marks_in_a_directory_that_replaces_a_symlink_leave_its_target_alone(tmp_path: Path, first: bool) -> None:
    """Docker writes an opaque mark into each directory that replaced something."""
    marks = [images.opaque("lib"), images.whiteout("absolute/libc")]
    members = [images.directory("lib"), images.symlink("absolute", "usr")]
    with Stack(tmp_path) as stack:
        stack.add(USR)
        stack.add([*marks, *members] if first else [*members, *marks])
        view = stack.view()
        assert view.is_directory(b"lib")
        assert view.lookup(b"usr/lib/libc") is not None
        assert view.lookup(b"usr/lib/old") is not None


def test_a_mark_through_a_hidden_symlink_is_moot(tmp_path: Path) -> None:
    with Stack(tmp_path) as stack:
        stack.add(USR)
        stack.add([images.whiteout("lib/libc"), images.whiteout("lib"), images.whiteout("loop/x")])
        assert stack.view().lookup(b"usr/lib/libc") is not None
        assert stack.view().lookup(b"lib") is None


@pytest.mark.parametrize("lower", ["file", "nothing", "hidden", "directory"])
def test_a_directory_that_only_marks_speak_of_is_there_where_the_lower_layers_have_it(
    tmp_path: Path, lower: str
) -> None:
    below = {
        "file": [[images.file("d", b"file")]],
        "nothing": [[images.file("other")]],
        "hidden": [[images.file("d/x")], [images.whiteout("d")]],
        "directory": [[images.directory("d", 0o700), images.file("d/x")]],
    }[lower]
    with Stack(tmp_path) as stack:
        for layer in below:
            stack.add(layer)
        stack.add([images.whiteout("d/x")])
        assert stack.adapted[-1] is (lower != "directory")
        node = stack.view().lookup(b"d")
        assert (node is not None and node.entry.kind.value) == {"file": "f", "directory": "d"}.get(lower, False)


def test_a_loop_in_a_lower_layer(tmp_path: Path) -> None:
    with pytest.raises(UnsafePathError):
        build(tmp_path, USR, [images.file("loop/f")])


def test_absent_hard_links_become_copies(tmp_path: Path) -> None:
    layer = [
        images.hardlink("copy", "usr/lib/libc", 0o777),
        images.hardlink("again", "copy"),
        images.hardlink("through", "lib/libc"),
        images.hardlink("link", "lib"),
    ]
    with Stack(tmp_path) as stack:
        stack.add(USR)
        needs = stack.add(layer)
        tree = treelist.listing(stack.paths[-1] / "fs")
    assert needs.absent_links == [
        (b"copy", b"usr/lib/libc"),
        (b"through", b"lib/libc"),
        (b"link", b"lib"),
    ]
    copy = tree[b"copy"]
    assert (copy.mode, copy.uid, copy.mtime, copy.xattrs) == (0o640, 4, 77, (("user.x", b"1"),))
    assert copy.linked == tree[b"again"].linked == b"again"
    assert tree[b"through"].sha256 == copy.sha256
    assert tree[b"link"].target == b"usr/lib"


@pytest.mark.parametrize("target", ["nowhere", "usr/lib/none", "usr/lib", "usr/lib/libc/x"])
def test_hard_links_that_nothing_answers(tmp_path: Path, target: str) -> None:
    with pytest.raises(TarError):
        build(tmp_path, USR, [images.hardlink("l", target)])


def test_copies_keep_holes(tmp_path: Path) -> None:
    with Stack(tmp_path) as stack:
        stack.add([images.file("f", b"small")])
        big = tmp_path / "tree0/fs/f"
        os.truncate(big, 1 << 26)
        with open(big, "r+b") as file:
            file.seek(1 << 25)
            file.write(b"middle")
        stack.add([images.hardlink("g", "f")])
        copy = stack.paths[-1] / "fs/g"
        assert is_hole(copy)
        assert treelist.listing(copy.parent)[b"g"].sha256 == treelist.listing(big.parent)[b"f"].sha256


def test_nothing_is_asked_of_layers_that_need_nothing() -> None:
    assert plan(Needs(), None, None) is None  # type: ignore[arg-type]


# --- the cap --------------------------------------------------------------------------------------------------------


def cap(place: Path, *layers: Layer) -> dict[bytes, tuple[int, int, int]]:
    with Stack(place) as stack:
        for layer in layers:
            stack.add(layer)
        entries = cap_entries(stack.view(), {path for needs in stack.needs for path in needs.masked})
    assert [entry.path for entry in entries] == sorted(entry.path for entry in entries)
    return {entry.path: (entry.mode, entry.uid, entry.mtime) for entry in entries}


def test_no_cap_where_all_shows_as_it_should(tmp_path: Path) -> None:
    assert cap(tmp_path, [images.file("a/f")], [images.file("a/g"), images.file("b/c/d")]) == {}


def test_implied_directories_show_what_lower_layers_gave_them(tmp_path: Path) -> None:
    root, a, b = images.directory("./", 0o711), images.directory("a", 0o700, uid=8, mtime_ns=5), images.directory("a/b")
    upper = [images.file("a/b/g"), images.directory("a/b", 0o750, mtime_ns=6)]
    found = cap(tmp_path, [root, a, b], [images.file("a/f")], upper)
    assert found[b"a"] == (0o700, 8, 5)
    assert found[b""][0] == 0o711
    assert b"a/b" not in found


def test_ancestors_in_a_cap_show_what_they_should(tmp_path: Path) -> None:
    lower = [images.directory("./", 0o755), images.directory("a", 0o700), images.directory("a/b", 0o701)]
    upper = [images.directory("./", 0o555), images.directory("a", 0o500), images.file("a/b/f")]
    assert {path: mode for path, (mode, _, _) in cap(tmp_path, lower, upper).items()} == {
        b"": 0o555,
        b"a": 0o500,
        b"a/b": 0o701,
    }


def test_what_a_layer_hides_gives_nothing(tmp_path: Path) -> None:
    lower = [images.directory("w", 0o700), images.directory("o", 0o700), images.directory("o/x", 0o700)]
    found = cap(tmp_path, lower, [images.whiteout("w"), images.file("w/f"), images.opaque("o"), images.file("o/x/f")])
    assert found == {b"": (0o755, 0, 0), b"o": (0o700, 0, images.EPOCH * 10**9)}


@pytest.mark.mounts
def test_whiteouts_that_nothing_is_merged_with_do_not_show(tmp_path: Path) -> None:
    with Stack(tmp_path) as stack:
        stack.add([images.directory("d", 0o700), images.whiteout("d/x"), images.file("d/y")])
        with stack.mounted(cap=False) as plain:
            assert sorted(os.listdir(plain / "d")) == ["x", "y"]
        with stack.mounted() as capped:
            assert sorted(os.listdir(capped / "d")) == ["y"]
            assert (capped / "d").stat().st_mode & 0o777 == 0o700
