"""The layers of all images, as trees from the top down, read from one snapshot of the graph."""

from __future__ import annotations

from typing import TYPE_CHECKING

from arstore.graph.key_numbers import UNKNOWN, Numbers
from arstore.store.contents.segment import tree_id
from arstore.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Set

    from arstore.graph.snapshot import Snapshot


class _Layers(NamedTuple):
    diff_id: list[str]
    parent: list[str]
    tree: list[str]


class _Image(NamedTuple):
    config: str
    layers: tuple[str, ...]
    top: str
    manifests: tuple[str, ...]


class Stacks:
    """Images and their stacks of trees. A tree is its id, the first 16 bytes of its key. Raises the errors of Graph."""

    def __init__(self, snapshot: Snapshot, only: Collection[str] = ()) -> None:
        """Read the layers of the images *only*, by default of all."""
        self.names = snapshot.names_by_digest()
        self.images = snapshot.every("images", _Image)
        chain_ids, layers = snapshot.columns("layers", _Layers)
        self._numbers = Numbers(chain_ids)
        self._parents = self._numbers.known(layers.parent)
        self._layers = layers
        self._only = frozenset(only)
        self.keys: dict[bytes, str] = {}
        """The key of each tree, by id."""
        self.diff_ids: dict[bytes, str] = {}
        """The diff ID of the layer that each tree shows."""
        self.lacking: set[str] = set()
        """The diff IDs of layers that have no tree."""
        self._trees: list[bytes] = []
        used = self._used()
        for number, (diff_id, tree) in enumerate(zip(layers.diff_id, layers.tree, strict=True)):
            known = tree_id(tree) if tree else b""
            self._trees.append(known)
            if used is not None and number not in used:
                continue
            if known:
                self.keys[known] = tree
                self.diff_ids[known] = diff_id
            else:
                self.lacking.add(diff_id)

    def _used(self) -> set[int] | None:
        """Return the layers of the wanted images; None for all layers."""
        if not self._only:
            return None
        return {layer for digest in self._only for layer in self._chain(digest)}

    def _chain(self, digest: str) -> Iterable[int]:
        """Yield the numbers of the layers of an image, from the top down."""
        (layer,) = self._numbers.known([self.images[digest].top])
        seen: set[int] = set()
        while layer != UNKNOWN and layer not in seen:
            seen.add(layer)
            yield layer
            layer = self._parents[layer]

    def wanted(self) -> list[str]:
        """Return the digests of the images that were asked for, without indexes."""
        chosen = self._only or self.images
        return [digest for digest in chosen if digest in self.images and self.images[digest].config]

    def stack(self, digest: str) -> list[bytes]:
        """Return the trees of an image from the top down, each once, at its topmost place."""
        trees = self._trees
        return list(dict.fromkeys(trees[layer] for layer in self._chain(digest) if trees[layer]))

    def images_over(self, trees: Set[bytes]) -> dict[str, list[bytes]]:
        """Return the stacks of the wanted images that have one of *trees*."""
        found = {}
        for digest in self.wanted():
            stack = self.stack(digest)
            if not trees.isdisjoint(stack):
                found[digest] = stack
        return found

    def images_with(self, layers: Set[int]) -> list[str]:
        """Return the wanted images that have one of these layers, by number."""
        return [digest for digest in self.wanted() if not layers.isdisjoint(self._chain(digest))]

    def numbers(self, chain_ids: Iterable[str]) -> list[int]:
        """Return the numbers of layers, UNKNOWN for chain IDs that are not recorded."""
        return self._numbers.known(chain_ids)

    def chain_ids(self) -> list[str]:
        """Return the chain IDs of all layers."""
        return self._numbers.keys

    def layers(self) -> _Layers:
        """Return the fields of all layers, in the order of `chain_ids`."""
        return self._layers
