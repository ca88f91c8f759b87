"""Views of a stack of layers: arstore's, in every way that it has, and the expected ones of the model."""

from __future__ import annotations

import os
import random
import shutil
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from support import images, stores, treelist
from trees.erofs.trees import FORM
from trees.spec_model import Model
from trees.stacks import Stack, shown, unpack

from arstore.mounts.table import MountTable
from arstore.rootfs import mount as rootfs
from arstore.rootfs.commit import CommitOptions, commit
from arstore.rootfs.diff import DiffKind, differences, opened_stacks
from arstore.rootfs.unpack import unpack_image
from arstore.store.progress import NoProgress
from arstore.transport.copy import ImportOptions, import_reference
from arstore.trees.directory.form import DirectoryFormat

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from trees.spec_model import Shown, Step

    from arstore.mounts.record import MountRecord
    from arstore.store.store import Store

Layers = list[list[images.Member]]
View = dict[bytes, "Shown"]


def expected(stack: Sequence[Sequence[Step]]) -> View:
    """The view of the model."""
    model = Model()
    for layer in stack:
        model.apply(layer)
    return model.shown()


def members(stack: Sequence[Sequence[Step]]) -> Layers:
    """The stack's layers as members of archives."""
    return [[step.member() for step in layer] for layer in stack]


# --- trees alone ----------------------------------------------------------------------------------------------------


def by_trees(stack: Sequence[Sequence[Step]], place: Path, rng: random.Random) -> Iterator[tuple[str, View]]:
    """Views without a store: overlays of trees in both forms, with merged indexes, and a copy."""
    layers = members(stack)
    for form in (DirectoryFormat(), FORM):
        directory = place / form.name
        directory.mkdir()
        with Stack(directory, form) as trees:
            for layer in layers:
                trees.add(layer)
            with trees.mounted() as mounted:
                yield f"mount, {form.name}", shown(mounted)
            if form is FORM:
                start = rng.randrange(len(layers) - 1)
                with trees.mounted_with([(start, rng.randint(start + 2, len(layers)))]) as mounted:
                    yield "mount, merged", shown(mounted)
    unpack(layers, place / "unpacked")
    yield "unpack", shown(place / "unpacked")


# --- through a store ------------------------------------------------------------------------------------------------


def by_store(stack: Sequence[Sequence[Step]], place: Path, rng: random.Random) -> Iterator[tuple[str, object, object]]:
    """Views or differences of a store for an image with this stack: a title, the result, and the expected one."""
    want = expected(stack)
    layers = [images.layer(layer) for layer in members(stack)]
    for form in ("directory", "auto"):
        directory = place / f"store-{form}"
        directory.mkdir()
        with stores.opened(directory) as store:
            whole = images.image(*layers, names=("whole:1",))
            part = images.image(*layers[:-1], names=("part:1",))
            archive = stores.archive_for(store, part, whole)
            import_reference(store, str(archive), ImportOptions(tree=form))
            with _mounted(store, "whole:1") as path:
                yield f"store, {form}", shown(path), want
            unpack_image(store, store.find_image("whole:1"), str(directory / "copy"), NoProgress())
            yield f"store, unpack, {form}", shown(directory / "copy"), want
            yield f"store, diff, {form}", _differing(store), _expected_differences(expected(stack[:-1]), want)
            yield (f"store, commit, {form}", *_committed(store, want, rng))


@contextmanager
def _mounted(store: Store, name: str) -> Iterator[Path]:
    with _unmounting(store, rootfs.mount_image(store, store.find_image(name))) as path:
        yield path


@contextmanager
def _unmounting(store: Store, record: MountRecord) -> Iterator[Path]:
    try:
        yield Path(record.target)
    finally:
        MountTable(store.directories).umount(record.id)


def _differing(store: Store) -> dict[bytes, DiffKind]:
    with opened_stacks(store) as stacks:
        before, after = (stacks.image(store.find_image(name)) for name in ("part:1", "whole:1"))
        return {one.path: one.change for one in differences(before, after)}


def _expected_differences(before: View, after: View) -> dict[bytes, DiffKind]:
    found = {path: DiffKind.CHANGED for path in before.keys() & after.keys() if before[path] != after[path]}
    found |= dict.fromkeys(after.keys() - before.keys(), DiffKind.ADDED)
    for path in before.keys() - after.keys():
        parent = path.rpartition(b"/")[0]
        if parent in after and after[parent][0] == "d":
            found[path] = DiffKind.DELETED
    return found


def _committed(store: Store, want: View, rng: random.Random) -> tuple[object, object]:
    """Remove, replace and add files in a container; return its view, and that of its commit."""
    container = rootfs.create_container(store, store.find_image("whole:1"))
    with _unmounting(store, rootfs.mount_container(store, container)) as path:
        for name in rng.sample(sorted(want), min(len(want), 3)):
            _change(path / os.fsdecode(name), rng)
        changed = treelist.listing(path)
    commit(store, store.containers.get(container.id), CommitOptions("committed:1", 0))
    with _mounted(store, "committed:1") as path:
        return treelist.differences(changed, treelist.listing(path), ignore=["linked"]), []


def _change(path: Path, rng: random.Random) -> None:
    makers: list[Callable[[], object]] = [
        lambda: path.symlink_to("a"),
        path.mkdir,
        lambda: path.write_bytes(b"new"),
        lambda: None,
    ]
    if not path.is_symlink() and path.is_dir() and rng.random() < 0.5:
        (path / "new").write_bytes(b"new")
        return
    if not os.path.lexists(path) or path.is_mount():
        return
    if path.is_symlink() or not path.is_dir():
        path.unlink()
    else:
        shutil.rmtree(path)
    rng.choice(makers)()
