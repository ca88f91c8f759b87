"""The merged index of a run as a file of the store: built, checked, and compared with its members.

It is alone in its tree's directory. `merging` has the format; `mounts.merge_plan` decides which trees are merged. In
all functions, *place* returns the directory of the tree with a key, and *members* are keys, top first.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from arstore.digest import CHUNK
from arstore.trees.format import TreeStat, UnrepresentableError
from arstore.trees.forms import MERGED_INDEX

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


def build(members: Sequence[str], place: Callable[[str], str], directory: str) -> TreeStat:
    """Build the merged index of *members* in the empty *directory*; return the entries of the index, and its bytes.

    Raises UnrepresentableError, StoreDamagedError, OSError.
    """
    fd = os.open(f"{directory}/{MERGED_INDEX}", os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        return _write(members, place, fd)
    finally:
        os.close(fd)


def glance(parent_fd: int, name: str, size: int) -> str:
    """Compare the size of the merged index in the tree directory *name* with *size*; return a fault, or "".

    Raises OSError.
    """
    found = os.lstat(f"{name}/{MERGED_INDEX}", dir_fd=parent_fd).st_size
    return "" if found == size else f"its index has {found} bytes, but {size} are recorded"


def fault(directory: str, size: int, members: Sequence[str], place: Callable[[str], str]) -> str:
    """Rebuild the merged index in *directory*, of *size* bytes, and compare; return a fault, or "".

    Raises StoreDamagedError for damage of its members, OSError for what cannot be read.
    """
    fd = os.open(f"{directory}/{MERGED_INDEX}", os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        found = os.fstat(fd).st_size
        if found != size:
            return f"its index has {found} bytes, but {size} are recorded"
        return "" if _is_as_made(fd, size, members, place) else "its index does not match its members"
    finally:
        os.close(fd)


def _is_as_made(fd: int, size: int, members: Sequence[str], place: Callable[[str], str]) -> bool:
    again = os.memfd_create("merged-index", os.MFD_CLOEXEC)
    try:
        _write(members, place, again)
        offset = 0
        while data := os.pread(again, CHUNK, offset):
            if os.pread(fd, len(data), offset) != data:
                return False
            offset += len(data)
        return offset == size
    except UnrepresentableError:
        return False
    finally:
        os.close(again)


def _write(members: Sequence[str], place: Callable[[str], str], fd: int) -> TreeStat:
    # Imported late: most callers only compare sizes.
    from arstore.trees.erofs.merging import merge

    merged = merge([(key, place(key)) for key in members], fd)
    return TreeStat(merged.entries, os.fstat(fd).st_size)
