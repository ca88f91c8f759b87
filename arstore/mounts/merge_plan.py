"""Runs: consecutive trees of a stack that are mounted as one, by a merged index over them.

Every tree of the index form costs a mount about 0.2 ms, and overlayfs takes 500 at most. A run's merged index shows the
same files and costs little more than one tree. It is a tree like any other (`trees/<key>/`, of the form `merged`), made
only from the indexes of its members. It is a cache and can be deleted at any time. Code that looks *into* a stack uses
the members; only mounts use runs. `trees.erofs.merged_index` makes the index itself.

The plan depends on the stack alone. Trees that are too large or have another form separate runs. Runs are cut from the
bottom up into pieces of a fixed number of members, so that images built on each other share all but their last run.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from arstore.digest import Digest
from arstore.trees.forms import properties
from arstore.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

MAX_LOWERS = 500
"""Most lower layers that overlayfs takes (OVL_MAX_STACK in the kernel)."""
FEWEST = 8
"""Smallest number of trees for which a merged index pays."""
MOST = 256
"""Most members of a run: when a layer is added to a stack, at most so many are merged again.

erofs-utils cannot open more devices either (1.9 crashes; the kernel takes 65,535).
"""
SMALL, LARGE = 1 << 10, 1 << 15
"""Most entries of a tree, and of a whole run: merging one entry takes about 10 us."""

_VERSION = "merged 1"
_KEYS = "sha256:"
"""Prefix of the keys that fit into the tag of a device."""


class _Shape(Protocol):
    """The fields of a tree's record that the plan depends on."""

    @property
    def form(self) -> str:
        """The form of the tree."""

    @property
    def entries(self) -> int:
        """How many entries it has."""


class Run(NamedTuple):
    """Consecutive trees of a stack, top first, and the key of their merged index."""

    key: Digest
    members: tuple[str, ...]


def plan(stack: Sequence[tuple[str, _Shape]], most_lowers: int = MAX_LOWERS) -> list[str | Run]:
    """Return what a mount of *stack* consists of: trees and runs, top first. *stack* has keys and records, top first.

    If there would be more than *most_lowers*, the size limits are raised as far as that helps.
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
    """Yield the keys of *stack* from the bottom: consecutive keys that can be merged together, all others alone."""
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
    """Return the key of the merged index of these trees, top first."""
    return Digest.of("\n".join([_VERSION, *members]).encode())
