"""Checks that a place to write to is not in a store.

A layout, a backup and a store look alike from outside. Writing into a store's directories would damage it.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from arstore.builtin import suppress
from arstore.errors import ConflictError, UsageError
from arstore.graph import identity
from arstore.linux.mounting.place import Place, place_of

if TYPE_CHECKING:
    from arstore.disk.paths import Directories


def refuse_stores(directory: str, own: Directories | None = None, noun: str = "a copy") -> None:
    """Require that *directory*, a resolved path, is not a store, is not inside one, and does not contain one.

    *own* is the store that is copied from; *noun* names the thing written. Raises UsageError if the store is *own*,
    ConflictError if it is another; OSError.
    """
    if own is not None:
        target, root = place_of(directory), place_of(os.path.realpath(own.root))
        if _is_within(target, root):
            raise UsageError(directory, f"{noun} cannot be inside the store")
        if _is_within(root, target):
            raise UsageError(directory, f"{noun} cannot contain the store")
    refuse_within(directory)
    with suppress(FileNotFoundError, NotADirectoryError), os.scandir(directory) as entries:
        for entry in entries:
            if entry.is_dir() and _is_store(entry.path):
                raise ConflictError(directory, f"contains a store, {entry.name}", "name another directory")


def refuse_within(path: str) -> None:
    """Require that *path*, a resolved path, is not a store and not inside one. Raises ConflictError."""
    place = path
    while True:
        if _is_store(place):
            what = "is a store" if place == path else f"is inside the store {place}"
            raise ConflictError(path, what, "name another place")
        if place == os.path.dirname(place):
            return
        place = os.path.dirname(place)


def _is_within(inner: Place, outer: Place) -> bool:
    """Whether *inner* is *outer*, or below it, no matter through which mount each is reached."""
    same = inner.device == outer.device
    return same and (inner.path == outer.path or inner.path.startswith(outer.path.rstrip("/") + "/"))


def _is_store(place: str) -> bool:
    try:
        if identity.read(place):
            return True
    except PermissionError:
        return True
    return os.path.isfile(f"{place}/graph/data.mdb") and os.path.isdir(f"{place}/blobs")
