"""Runs: which consecutive trees of a stack are mounted as one, by a merged index over them.

Every tree of the index form costs a mount about 0.2 ms, and overlayfs takes 500 at most. A run's merged index shows the
same and costs little more than one of them. It is a tree like any other (`trees/<key>/`, of the form `merged`), made of
nothing but the indexes of its members: a cache of a cache, which can be lost at any time. Whoever looks *into* a stack
goes by the members; only mounts use runs.

The plan depends on the stack alone. Runs lie between what is too large or has another form, and are cut from below into
pieces of a fixed number of members, so that images which stand on one another share all but their last one.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Protocol

from arstore.digest import CHUNK, Digest
from arstore.mounts.overlay import MAX_LOWERS
from arstore.trees.format import TreeStat, UnrepresentableError
from arstore.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from arstore.graph.records import TreeRecord

FORM = "merged"
"""What the graph calls the form of a merged index."""

FEWEST = 8
"""Trees that are worth a merged index."""
MOST = 256
"""Members of one: when a layer is added to a stack, at most so many are merged again.

And so many devices erofs-utils can open (1.9 crashes on more; the kernel takes 65,535).
"""
SMALL, LARGE = 1 << 10, 1 << 15
"""Entries of a tree, and of a whole run: to merge one costs about 10 us."""

MEMBER_FORM = "erofs"
"""The form that can be merged."""

_VERSION = "merged 1"
_KEYS = "sha256:"
"""What the keys begin with that fit into the tag of a device."""


class _Shape(Protocol):
    """What of a tree's record decides."""

    @property
    def form(self) -> str:
        """The form of the tree."""

    @property
    def entries(self) -> int:
        """How many entries it has."""


class Run(NamedTuple):
    """Trees that stand together in a stack, the top one first, and the key of their merged index."""

    key: Digest
    members: tuple[str, ...]


def plan(stack: Sequence[tuple[str, _Shape]], most_lowers: int = MAX_LOWERS) -> list[str | Run]:
    """What a mount of *stack*, keys and records with the top one first, is made of: trees and runs, the top one first.

    The limits give way where there would be more than *most_lowers* otherwise, as far as that helps.
    """
    small, large = SMALL, LARGE
    while True:
        found = _planned(stack, small, large)
        if len(found) <= most_lowers or small > max(record.entries for _, record in stack):
            return found
        small, large = small * 8, large * 8


def _planned(stack: Sequence[tuple[str, _Shape]], small: int, large: int) -> list[str | Run]:
    found: list[str | Run] = []
    for piece in _pieces(stack, small, large):
        if len(piece) >= FEWEST:
            members = tuple(reversed(piece))
            found.append(Run(run_key(members), members))
        else:
            found += piece
    found.reverse()
    return found


def _pieces(stack: Sequence[tuple[str, _Shape]], small: int, large: int) -> Iterator[list[str]]:
    """The keys of *stack* from below: what is to be merged, as far as it is enough for that, together."""
    piece: list[str] = []
    entries = 0
    for key, record in reversed(stack):
        fits = record.form == MEMBER_FORM and record.entries <= small and key.startswith(_KEYS)
        if piece and (not fits or len(piece) == MOST or entries + record.entries > large):
            yield piece
            piece, entries = [], 0
        if fits:
            piece.append(key)
            entries += record.entries
        else:
            yield [key]
    if piece:
        yield piece


def run_key(members: Iterable[str]) -> Digest:
    """The key of the merged index of these trees, the top one first."""
    return Digest.of("\n".join([_VERSION, *members]).encode())


def build(run: Run, place: Callable[[str], str], directory: str) -> TreeStat:
    """Make the merged index of *run* in the empty *directory*; *place* tells the directory of a member.

    The result counts the entries of the index, and its bytes. Raises UnrepresentableError, StoreDamagedError, OSError.
    """
    from arstore.trees.erofs.files import MERGED

    fd = os.open(f"{directory}/{MERGED}", os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        return _write(run.members, place, fd)
    finally:
        os.close(fd)


def glance(parent_fd: int, name: str, size: int) -> str:
    """What the size of the merged index in the tree directory *name* tells, that has *size* bytes: a fault, or "".

    Raises OSError.
    """
    from arstore.trees.erofs.files import MERGED

    found = os.lstat(f"{name}/{MERGED}", dir_fd=parent_fd).st_size
    return "" if found == size else f"its index has {found} bytes, {size} are recorded"


def fault(key: str, record: TreeRecord, place: Callable[[str], str]) -> str:
    """What is wrong with the merged index *key*, which is made again and compared; "" when nothing is found.

    Raises StoreDamagedError for damage of its members, OSError for what cannot be read.
    """
    from arstore.trees.erofs.files import MERGED

    fd = os.open(f"{place(key)}/{MERGED}", os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        size = os.fstat(fd).st_size
        if size != record.size:
            return f"its index has {size} bytes, {record.size} are recorded"
        return "" if _is_as_made(fd, record, place) else "its index is not what its members make"
    finally:
        os.close(fd)


def _is_as_made(fd: int, record: TreeRecord, place: Callable[[str], str]) -> bool:
    again = os.memfd_create("merged", os.MFD_CLOEXEC)
    try:
        _write(record.members, place, again)
        offset = 0
        while data := os.pread(again, CHUNK, offset):
            if os.pread(fd, len(data), offset) != data:
                return False
            offset += len(data)
        return offset == record.size
    except UnrepresentableError:
        return False
    finally:
        os.close(again)


def _write(members: Sequence[str], place: Callable[[str], str], fd: int) -> TreeStat:
    from arstore.trees.erofs.merging import merge

    merged = merge([(key, place(key)) for key in members], fd)
    return TreeStat(merged.entries, os.fstat(fd).st_size)
