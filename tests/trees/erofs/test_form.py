"""The format `erofs`: the contract of trees, and the kernel shows the same of it as of extracted files."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, assume, given, settings
from support import images, treelist
from trees.directory.test_unpacker import RICH, STACKS
from trees.erofs.trees import FORM, built, fsck, mountable, why_no_fsck
from trees.spec_model import loops_alone
from trees.stacks import Layer, Model, NoSuchStackError, Stack, Step
from trees.tree_contract import TreeContract, build, new_tree

from arstore.trees.directory.form import DirectoryFormat, hides_below
from arstore.trees.erofs.form import ErofsFormat
from arstore.trees.erofs.verification import verify
from arstore.trees.format import FileRange
from arstore.trees.forms import EROFS

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from arstore.trees.format import LowerDirectory, Node, TreeBuilder


class TestErofs(TreeContract):
    form = FORM


class Either:
    """Trees of both formats in turn."""

    name = "either"
    properties = EROFS

    def __init__(self) -> None:
        self._forms: list[DirectoryFormat | ErofsFormat] = [DirectoryFormat(), ErofsFormat()]
        self._built = 0

    def _of(self, names: list[str]) -> DirectoryFormat | ErofsFormat:
        return self._forms["layer.erofs" in names]

    def builder(self, tree_fd: int) -> TreeBuilder:
        self._built += 1
        return self._forms[self._built % 2].builder(tree_fd)

    def lower(self, tree_path: str) -> AbstractContextManager[LowerDirectory]:
        return self._of(os.listdir(tree_path)).lower(tree_path)

    def lookup(self, tree_fd: int, path: bytes) -> Node | None:
        return self._of(os.listdir(tree_fd)).lookup(tree_fd, path)

    def open_file(self, tree_fd: int, path: bytes) -> FileRange:
        return self._of(os.listdir(tree_fd)).open_file(tree_fd, path)

    def remove(self, parent_fd: int, name: str) -> None:
        raise AssertionError("nothing is removed here")


@mountable
@pytest.mark.mounts
@settings(suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow])
@given(STACKS)
def test_overlays_of_all_forms_show_the_same(stack: list[list[Step]]) -> None:
    model = Model()
    try:
        for layer in stack:
            model.apply(layer)
    except NoSuchStackError:
        assume(False)
    assume(not any(map(loops_alone, stack)))
    members = [[step.member() for step in layer] for layer in stack]
    place = Path(tempfile.mkdtemp(prefix="arstore-stack-"))
    try:
        listings = [overlaid(place / form.name, form, members) for form in (DirectoryFormat(), FORM, Either())]
        assert treelist.differences(listings[0], listings[1]) == []
        assert treelist.differences(listings[0], listings[2], ignore=["linked"]) == []
    finally:
        shutil.rmtree(place)


def overlaid(place: Path, form: DirectoryFormat | ErofsFormat | Either, layers: list[Layer]) -> treelist.Listing:
    """The content of an overlay over trees of *form*; indexes are verified on the way."""
    place.mkdir()
    with Stack(place, form) as trees:
        for layer in layers:
            trees.add(layer)
        for path in trees.paths:
            check_index(path)
        with trees.mounted() as mounted:
            return treelist.listing(mounted)


def check_index(tree: Path) -> None:
    """Verify the tree's index, if it has one."""
    if not (tree / "layer.erofs").exists():
        return
    fd = os.open(tree, os.O_RDONLY | os.O_DIRECTORY)
    try:
        verify(fd)
    finally:
        os.close(fd)
    if not why_no_fsck():
        fsck(tree)


@mountable
@pytest.mark.mounts
def test_a_rich_stack_is_the_same_in_both_forms(tmp_path: Path) -> None:
    listings = [overlaid(tmp_path / form.name, form, RICH) for form in (DirectoryFormat(), FORM)]
    assert treelist.differences(*listings) == []
    assert listings[1][b"d/f"].mtime != listings[1][b"linked"].mtime
    assert listings[1].keys() >= {b"caf\xe9", b"null", b"pipe", b"d/through", b"linked"}


@mountable
def test_an_opaque_root_is_seen_from_outside(tmp_path: Path) -> None:
    for name, members in (("marked", [images.opaque("")]), ("plain", [images.file("f")])):
        with built(tmp_path / name, members), FORM.lower(str(tmp_path / name)) as lower:
            assert hides_below(lower) is (name == "marked")


@mountable
def test_a_lower_is_gone_with_its_context(tmp_path: Path) -> None:
    before = sorted(os.listdir("/proc/self/fd"))
    with built(tmp_path / "t", [images.file("f", b"content")]) as tree:
        with FORM.lower(str(tmp_path / "t")) as lower:
            assert Path(f"/proc/self/fd/{lower.fd}/f").read_bytes() == b"content"
        with pytest.raises(OSError, match="Bad file"):
            os.fstat(lower.fd)
        assert tree.read("f") == b"content"
    assert sorted(os.listdir("/proc/self/fd")) == before
    assert str(tmp_path) not in Path("/proc/self/mountinfo").read_text()


def test_lookups_take_names_only(tmp_path: Path) -> None:
    with built(tmp_path / "t", [images.directory("d"), images.file("d/f")]) as tree:
        for path in (b"d/..", b".", b"d//f", b"d/", b"/d"):
            with pytest.raises(OSError, match="Invalid"):
                FORM.lookup(tree.fd, path)
            with pytest.raises(OSError, match="Invalid"):
                FORM.open_file(tree.fd, path)


def test_content_is_a_range_of_the_tar(tmp_path: Path) -> None:
    with built(tmp_path / "t", [images.file("a", b"first"), images.file("b", b"second" * 1000)]) as tree:
        with FORM.open_file(tree.fd, b"b") as file:
            assert os.readlink(f"/proc/self/fd/{file.fd}").endswith("/layer.tar")
            assert file.read(8, 5994) == b"second"
            assert file.read(8, 7000) == b""
        with FORM.open_file(tree.fd, b"a") as file:
            assert file.read(100) == b"first"


def test_the_model_of_a_layer_is_the_same_for_both_forms(tmp_path: Path) -> None:
    """The build's result about a layer, apart from its tree, does not depend on the format."""
    for number, layer in enumerate(RICH):
        found = []
        for form in (DirectoryFormat(), FORM):
            if isinstance(form, DirectoryFormat) and os.geteuid():
                pytest.skip("needs root")
            with new_tree(form, tmp_path / f"{form.name}{number}") as fd:
                tree = build(form, fd, layer)
                found.append((tree.needs, tree.stat[:2]))
        assert found[0] == found[1]
