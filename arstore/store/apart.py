"""Places that are written to from outside: no store may be in the way.

A layout, a backup and a store look alike from above: to write into a store's directories would damage it.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

from arstore.errors import ConflictError, UsageError
from arstore.graph import identity
from arstore.linux.mounting.place import Place, place_of

if TYPE_CHECKING:
    from arstore.disk.paths import Directories


def refuse_stores(directory: str, own: Directories | None = None, noun: str = "a copy") -> None:
    """See to it that *directory*, which is resolved, is not in a store, none itself, and has none in it.

    *own* is the store that is copied from; *noun* is what is written. Raises UsageError where it is this store,
    ConflictError where it is another; OSError.
    """
    if own is not None:
        target, root = place_of(directory), place_of(os.path.realpath(own.root))
        if _is_within(target, root):
            raise UsageError(directory, f"{noun} cannot lie within the store")
        if _is_within(root, target):
            raise UsageError(directory, f"{noun} cannot have the store in it")
    refuse_within(directory)
    with suppress(FileNotFoundError, NotADirectoryError), os.scandir(directory) as entries:
        for entry in entries:
            if entry.is_dir() and _is_store(entry.path):
                raise ConflictError(directory, f"has a store in it, {entry.name}", "name another directory")


def refuse_within(path: str) -> None:
    """See to it that *path*, which is resolved, is no store and lies in none. Raises ConflictError."""
    place = path
    while True:
        if _is_store(place):
            what = "is a store" if place == path else f"lies within the store {place}"
            raise ConflictError(path, what, "name another place")
        if place == os.path.dirname(place):
            return
        place = os.path.dirname(place)


def _is_within(inner: Place, outer: Place) -> bool:
    """Whether one place is the other, or below it, by whatever mount each is reached."""
    same = inner.device == outer.device
    return same and (inner.path == outer.path or inner.path.startswith(outer.path.rstrip("/") + "/"))


def _is_store(place: str) -> bool:
    try:
        if identity.read(place):
            return True
    except PermissionError:
        return True
    return os.path.isfile(f"{place}/graph/data.mdb") and os.path.isdir(f"{place}/blobs")
