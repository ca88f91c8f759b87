"""Runs: which consecutive trees of a stack are mounted as one, by a merged index over them.

Every tree of the index form costs a mount about 0.2 ms, and overlayfs takes 500 at most. A run's merged index shows the
same and costs little more than one of them. It is a tree like any other (`trees/<key>/`, of the form `merged`), made of
nothing but the indexes of its members: a cache of a cache, which can be lost at any time. Whoever looks *into* a stack
goes by the members; only mounts use runs. The index itself is made by `trees.erofs.merged_index`.

The plan depends on the stack alone. Runs lie between what is too large or has another form, and are cut from below into
pieces of a fixed number of members, so that images which stand on one another share all but their last one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from arstore.digest import Digest
from arstore.mounts.overlay import MAX_LOWERS
from arstore.trees.forms import properties
from arstore.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

FEWEST = 8
"""Trees that are worth a merged index."""
MOST = 256
"""Members of one: when a layer is added to a stack, at most so many are merged again.

And so many devices erofs-utils can open (1.9 crashes on more; the kernel takes 65,535).
"""
SMALL, LARGE = 1 << 10, 1 << 15
"""Entries of a tree, and of a whole run: to merge one costs about 10 us."""

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
        fits = properties(record.form).mergeable and record.entries <= small and key.startswith(_KEYS)
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
