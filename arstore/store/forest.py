"""The layers of a store as a forest: trees of chains, with images on top of their layers.

Layers are numbers, kept in arrays: a store in which nothing is shared has as many layers as its images have together,
and an object for each image and each of its layers would take gigabytes. All work is done once for a layer, not once
for each image over it.
"""

from __future__ import annotations

from array import array
from itertools import count
from typing import TYPE_CHECKING

from arstore.errors import StoreDamagedError
from arstore.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

    from arstore.graph.snapshot import Snapshot

_NONE, _MISSING = -1, -2
"""Numbers used for the parent of a bottom layer, and for a parent without a record."""
_UNSEEN, _ON_THE_WAY, _SEEN = 0, 1, 2


class _Parents(NamedTuple):
    parent: list[str]


class Forest:
    """The layers of *snapshot*, and images by their *tops*, the chain IDs of their top layers ("" for none).

    `order` has the numbers of all layers: those of the first image from the bottom up, then those that the second one
    adds, and so on; at the end those that no image has. Raises StoreDamagedError if an image's layers are not a chain.
    """

    def __init__(self, snapshot: Snapshot, tops: Sequence[str]) -> None:
        self.chain_ids = snapshot.keys("layers")
        self.numbers = dict(zip(self.chain_ids, count()))
        self.order = array("i")
        self._snapshot: Snapshot | None = snapshot
        self._parents = array("i", bytes(4 * len(self.chain_ids)))
        for some, columns in snapshot.batches("layers", _Parents):
            for chain_id, parent in zip(some, columns.parent, strict=True):
                number = self.numbers.get(parent, _MISSING) if parent else _NONE
                self._parents[self.numbers[chain_id]] = number
        self._state = bytearray(len(self.chain_ids))
        self._add_images(tops)
        self._add_places()
        self.order.extend(number for number in range(len(self.chain_ids)) if self._state[number] == _UNSEEN)
        self._snapshot = None

    def parent(self, number: int) -> str:
        """Return the chain ID of a layer's parent; "" if it has none, or one without a record."""
        parent = self._parents[number]
        return self.chain_ids[parent] if parent >= 0 else ""

    def image_count(self, number: int) -> int:
        """Return the number of images that have the layer."""
        return self._counts[number]

    def images(self, number: int) -> list[int]:
        """Return the positions in *tops* of the images that have the layer, sorted."""
        start = self._starts[number]
        return sorted(self._images[start : start + self._counts[number]])

    def _add_images(self, tops: Sequence[str]) -> None:
        self._tops = array("i")
        self._counts = array("i", bytes(4 * len(self.chain_ids)))
        for top in tops:
            number = self.numbers.get(top, _MISSING) if top else _NONE
            if number == _MISSING:
                raise _damaged(top, "its record is missing")
            self._tops.append(number)
            self._walk(number)
            if number >= 0:
                self._counts[number] += 1

    def _walk(self, number: int) -> None:
        """Add to the order the layers from *number* down that are not in it yet."""
        way = []
        while number >= 0 and self._state[number] == _UNSEEN:
            self._state[number] = _ON_THE_WAY
            way.append(number)
            number = self._parents[number]
        if number >= 0 and self._state[number] == _ON_THE_WAY:
            raise _damaged(self.chain_ids[number], "it is its own ancestor")
        if number == _MISSING:
            raise _damaged(self._parent_text(way[-1]), "its record is missing")
        for one in way:
            self._state[one] = _SEEN
        self.order.extend(reversed(way))

    def _parent_text(self, number: int) -> str:
        layer = self._snapshot.layer(self.chain_ids[number]) if self._snapshot else None
        return layer.parent if layer is not None else self.chain_ids[number]

    def _add_places(self) -> None:
        """Place the images so that those of each layer are adjacent: its own, then those of each layer over it."""
        own = array("i", self._counts)
        for number in reversed(self.order):
            parent = self._parents[number]
            if parent >= 0:
                self._counts[parent] += self._counts[number]
        self._starts = array("i", bytes(4 * len(self.chain_ids)))
        free = array("i", self._starts)
        end = 0
        for number in self.order:
            parent = self._parents[number]
            if parent >= 0:
                self._starts[number] = free[parent]
                free[parent] += self._counts[number]
            else:
                self._starts[number] = end
                end += self._counts[number]
            free[number] = self._starts[number] + own[number]
        self._images = array("i", bytes(4 * end))
        filled = array("i", self._starts)
        for place, number in enumerate(self._tops):
            if number >= 0:
                self._images[filled[number]] = place
                filled[number] += 1


def _damaged(chain_id: str, why: str) -> StoreDamagedError:
    return StoreDamagedError(f"layer {chain_id}", why, "`arstore check` reports all damage")
