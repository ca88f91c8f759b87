"""Temporary files below the runroot, and those that killed processes left behind.

A temporary name is a word, a dot, and the process that it belongs to (`owner.Owner`): `forms.json.<owner>` before it is
renamed to `forms.json`, or `trial.<owner>/` in which a runtime is tried. So leftovers are recognized by their name,
without a minimum age.
"""

from __future__ import annotations

import os
from contextlib import suppress

from arstore.disk.owner import Owner
from arstore.disk.rmtree import remove_tree


def passing_name(word: str) -> str:
    """Return a new name that begins with *word* and names this process."""
    return f"{word}.{Owner.current().directory_name()}"


def leftovers(runroot: str) -> list[str]:
    """Return the names below *runroot* of temporary files whose processes have died. Raises OSError."""
    from arstore.trees.erofs.shared_mounts import SharedMounts

    found = [*left_in(runroot), *(f"mounts/{name}" for name in left_in(f"{runroot}/mounts"))]
    return sorted([*found, *SharedMounts(runroot).stale()])


def left_in(directory: str) -> list[str]:
    """Return the temporary names in *directory*, if it exists, whose processes have died. Raises OSError."""
    try:
        return sorted(filter(_is_left, os.listdir(directory)))
    except FileNotFoundError:
        return []


def remove_leftover(runroot: str, name: str) -> bool:
    """Remove *name* below *runroot*, and the control groups of a container there.

    Return whether it was still there. Raises OSError.
    """
    from arstore.disk.cgroups import remove_cgroups
    from arstore.trees.erofs.shared_mounts import SHARED

    path = f"{runroot}/{name}"
    if os.path.isdir(path) and not os.path.islink(path):
        remove_cgroups(path)
        remove_tree(path)
        return True
    try:
        os.unlink(path)
    except FileNotFoundError:
        was_there = False
    else:
        was_there = True
    if name.startswith(f"{SHARED}/"):
        with suppress(OSError):
            # Fails if another process holds a mount of this tree.
            os.rmdir(os.path.dirname(path))
    return was_there


def _is_left(name: str) -> bool:
    owner = Owner.of_directory(name.rpartition(".")[2]) if "." in name else None
    return owner is not None and not owner.is_alive()
