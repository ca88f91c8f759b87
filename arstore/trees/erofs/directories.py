"""Directories for an index: the order of their entries, and their blocks.

A block has the heads of its entries, then their names without separators; a name never crosses into the next block.
Entries are sorted by their bytes, with `.` and `..` among them, so that a name is found by binary search.
"""

from __future__ import annotations

import functools
import struct
from itertools import accumulate, chain
from typing import TYPE_CHECKING

from arstore.trees.erofs import format as layout
from arstore.trees.erofs.attributes import OPAQUE, taken
from arstore.trees.skeleton import DirectoryNode

if TYPE_CHECKING:
    from collections.abc import Sequence

    from arstore.trees.erofs.attributes import Attribute
    from arstore.trees.erofs.inodes import Record

_DIRENT = layout.DIRENT.size


class DirectoryPlace:
    """A directory with a place among the inodes, its `nid`.

    `counts` is how many of its `names` each block has, `tail` the length of the last block. If `is_inline`, the last
    block follows `head`, the inode with its attributes; `index` is the offset of `head` in the inode area.
    """

    __slots__ = (
        *("counts", "head", "index", "is_inline", "links", "names"),
        *("nid", "node", "parent_nid", "records", "tail"),
    )

    def __init__(self, node: DirectoryNode, records: dict[bytes, Record], parent_nid: int) -> None:
        self.node = node
        self.records = records
        self.parent_nid = parent_nid
        names = [b".", b"..", *records]
        self.links = 2
        if node.children:
            below = [name for name, child in node.children.items() if isinstance(child, DirectoryNode)]
            self.links += len(below)
            names += below
        names.sort()
        self.names = names
        self.counts, self.tail = partition(names)
        self.nid = self.index = 0
        self.head = b""
        self.is_inline = False


def attributes_of(node: DirectoryNode) -> tuple[Attribute, ...]:
    """Return the extended attributes of a directory's inode. Raises UnrepresentableError."""
    found = taken(node.entry) if node.entry is not None and node.entry.xattrs else ()
    return (*found, OPAQUE) if node.opaque else found


def partition(names: Sequence[bytes]) -> tuple[list[int], int]:
    """Return how many of *names* each block of a directory takes, and how many bytes of the last one are used."""
    used = _DIRENT * len(names) + sum(map(len, names))
    if used <= layout.BLOCK:
        return [len(names)], used
    counts = []
    count = used = 0
    for name in names:
        size = _DIRENT + len(name)
        if used + size > layout.BLOCK:
            counts.append(count)
            count = used = 0
        count += 1
        used += size
    counts.append(count)
    return counts, used


def dirents(names: Sequence[bytes], nids: Sequence[int], types: Sequence[int]) -> bytes:
    """Return one block of a directory, as far as it is used."""
    # One offset more than names: the end of the last name.
    offsets = accumulate(map(len, names), initial=_DIRENT * len(names))
    fields = chain.from_iterable(zip(nids, offsets, types, strict=False))
    return _dirents_struct(len(names)).pack(*fields) + b"".join(names)


@functools.cache
def _dirents_struct(count: int) -> struct.Struct:
    return struct.Struct("<" + "QHH" * count)
