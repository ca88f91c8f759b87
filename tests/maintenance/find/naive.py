"""The answers of `find`, by the simplest means: trees are walked by the kernel, and merged directory by directory."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from arstore.store.store import Store

Listing = dict[str, str]
"""The content of a tree by path: `file`, `dir`, `opaque`, `whiteout`, `link` or `other`."""


def listing(store: Store, key: str) -> Listing:
    """Everything in a tree, as the kernel shows it."""
    form, path = store.inventory().tree_place(key)
    found: Listing = {}
    with form.lower(path) as lower:
        top = f"/proc/self/fd/{lower.fd}"
        found[""] = _directory(top)
        for place, directories, others in os.walk(top):
            inside = "" if place == top else place[len(top) + 1 :] + "/"
            for name in directories + others:
                found[inside + name] = _kind(f"{place}/{name}")
    return found


def _kind(path: str) -> str:
    status = os.lstat(path)
    if stat.S_ISDIR(status.st_mode):
        return _directory(path)
    if stat.S_ISCHR(status.st_mode) and not status.st_rdev:
        return "whiteout"
    return "file" if stat.S_ISREG(status.st_mode) else "link" if stat.S_ISLNK(status.st_mode) else "other"


def _directory(path: str) -> str:
    try:
        return "opaque" if os.getxattr(path, "trusted.overlay.opaque") == b"y" else "dir"
    except OSError:
        return "dir"


def visible(stack: Sequence[tuple[str, Listing]]) -> set[tuple[str, str]]:
    """The paths that an overlay of *stack* (top first) shows, with the key of each tree that contributes to it."""
    found: set[tuple[str, str]] = set()
    _merge("", list(stack), found)
    return found


def _merge(path: str, stack: list[tuple[str, Listing]], found: set[tuple[str, str]]) -> None:
    """Add a directory that *stack* shows together, or a single file."""
    layers = []
    for key, names in stack:
        kind = names.get(path)
        if kind is None:
            continue
        if kind == "whiteout" or (layers and kind not in {"dir", "opaque"}):
            break
        found.add((path, key))
        if kind not in {"dir", "opaque"}:
            return
        layers.append((key, names))
        if kind == "opaque":
            break
    inside = f"{path}/" if path else ""
    below = {
        name
        for _, names in layers
        for name in names
        if name.startswith(inside) and name != path and "/" not in name[len(inside) :]
    }
    for name in below:
        _merge(name, layers, found)
