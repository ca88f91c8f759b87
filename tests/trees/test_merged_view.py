"""The merged view: overlayfs' rules, compared with expected trees and, in `test_unpack`, with the kernel."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from support import images
from trees.stacks import Layer, Stack

from arstore.errors import UnsafePathError
from arstore.tar.entry import Kind

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from arstore.trees.merged_view import MergedView

pytestmark = pytest.mark.root

LAYERS: list[Layer] = [
    [
        images.directory("./", 0o751, mtime_ns=11),
        images.directory("d", 0o700, uid=7, mtime_ns=5, xattrs={"user.a": b"1"}),
        images.file("d/low", b"low"),
        images.file("d/both", b"lower"),
        images.symlink("link", "/d"),
        images.symlink("chain", "x/../link/sub"),
        images.symlink("loop", "loop"),
        images.directory("gone", 0o711),
        images.file("gone/f"),
        images.directory("o", 0o712),
        images.file("o/hidden"),
        images.directory("marked", 0o713),
        images.file("marked/hidden"),
        images.directory("covered", 0o714),
        images.file("covered/f"),
    ],
    [
        images.file("d/both", b"upper"),
        images.file("gone/new"),
        images.whiteout("gone"),
        images.directory("o", 0o722),
        images.opaque("o"),
        images.opaque("marked"),
        images.file("covered", b"file"),
    ],
    [images.file("d/top", b"top"), images.file("covered/g")],
]


@pytest.fixture
def view(tmp_path: Path) -> Iterator[MergedView]:
    with Stack(tmp_path) as stack:
        for layer in LAYERS:
            stack.add(layer)
        yield stack.view()


def test_the_topmost_file_shows(view: MergedView) -> None:
    def read(path: bytes) -> bytes:
        with view.open_file(path) as file:
            return file.read(file.size)

    assert [read(path) for path in (b"d/low", b"d/both", b"d/top")] == [b"low", b"upper", b"top"]
    for path in (b"gone/f", b"o/hidden", b"marked/hidden", b"covered/f", b"nothing", b"nothing/at/all", b"d"):
        with pytest.raises(FileNotFoundError):
            view.open_file(path)


def test_lookups_do_not_follow(view: MergedView) -> None:
    assert view.lookup(b"gone/f") is None
    assert view.lookup(b"gone/new") is not None
    assert view.lookup(b"covered/f") is None
    blocked = view.lookup(b"link/low")
    assert blocked is not None
    assert (blocked.entry.path, blocked.entry.kind) == (b"link", Kind.SYMLINK)
    assert view.link(b"link") is not None
    assert view.link(b"link/low") is None
    assert view.link(b"d") is None


@pytest.mark.parametrize(
    ("path", "place"),
    [
        (b"d/low", b"d/low"),
        (b"link/low", b"d/low"),
        (b"link", b"d"),
        (b"chain/x", b"d/sub/x"),
        (b"link/../../d", b"d"),
        (b"none/../link", b"d"),
        (b"none/x", b"none/x"),
        (b"../..", b""),
        (b"", b""),
    ],
)
def test_resolution_in_the_root(view: MergedView, path: bytes, place: bytes) -> None:
    assert view.resolve(path) == place


def test_resolution_ends(view: MergedView) -> None:
    with pytest.raises(UnsafePathError):
        view.resolve(b"loop/x")


@pytest.mark.parametrize(
    ("path", "mode", "mtime"),
    [
        (b"", 0o751, 11),
        (b"d", 0o700, 5),
        (b"gone", 0o755, 0),
        (b"o", 0o722, images.EPOCH * 10**9),
        (b"marked", 0o713, images.EPOCH * 10**9),
        (b"covered", 0o755, 0),
        (b"nowhere", 0o755, 0),
    ],
)
def test_the_metadata_that_a_directory_has(view: MergedView, path: bytes, mode: int, mtime: int) -> None:
    entry = view.directory(path)
    assert (entry.path, entry.kind, entry.mode, entry.mtime) == (path, Kind.DIRECTORY, mode, mtime)


def test_attributes_and_owners_come_along(view: MergedView) -> None:
    assert (view.directory(b"d").uid, view.directory(b"d").xattrs) == (7, {b"user.a": b"1"})


def test_which_layers_a_directory_shows(view: MergedView) -> None:
    assert view.layers_of(b"") == (0, 1, 2)
    assert view.layers_of(b"d") == (0, 1, 2)
    assert view.layers_of(b"gone") == (1,)
    assert view.layers_of(b"marked") == (1,)
    assert view.layers_of(b"covered") == (0,)
    assert view.layers_of(b"d/low") == ()
    assert view.mounted() == 3


def test_an_opaque_root_is_the_last_layer_of_a_mount(tmp_path: Path) -> None:
    with Stack(tmp_path) as stack:
        for layer in [[images.file("f")], [images.opaque(""), images.file("g")], [images.file("h")]]:
            stack.add(layer)
        view = stack.view()
        assert view.mounted() == 2
        assert view.lookup(b"f") is None
        assert view.lookup(b"g") is not None


def test_an_empty_view() -> None:
    from arstore.trees.merged_view import MergedView

    view = MergedView([])
    assert view.lookup(b"x") is None
    assert view.mounted() == 0
    assert view.directory(b"x").mode == 0o755


def test_paths_of_any_length(tmp_path: Path) -> None:
    deep = "/".join(["component"] * 200)
    with Stack(tmp_path) as stack:
        stack.add([images.file(f"{deep}/f", b"x")])
        with stack.view().open_file(os.fsencode(f"{deep}/f")) as file:
            assert file.read(9) == b"x"
        assert stack.view().lookup(os.fsencode(f"{deep}/" * 2)) is None
