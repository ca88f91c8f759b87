"""The layers of all images, as trees from the top down, read from one snapshot of the graph.

A store may have 10^5 layers, and most of what their records say is never needed. So digests are kept as bytes, layers
have numbers, and the rest is looked up again for the layers that a search has found.
"""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING

from arstore.maintenance.find.links import image_links, layer_links, packed
from arstore.store.contents.segment import ID
from arstore.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Set

    from arstore.graph.graph import Graph
    from arstore.graph.snapshot import Snapshot

_NONE = -1


class _Images(NamedTuple):
    config: list[str]
    layers: list[tuple[str, ...]]
    manifests: list[tuple[str, ...]]


class Uses(NamedTuple):
    """Where a digest occurs: images by config, by layer blob, by image (for an index), and layers by diff ID.

    `is_index` says whether it is an index, None if it is not an image either.
    """

    configs: list[str]
    layer_blobs: list[str]
    indexes: list[str]
    layers: list[int]
    is_index: bool | None


class Stacks:
    """Images and their stacks of trees. A tree is its id, the first 16 bytes of its key. Raises the errors of Graph."""

    def __init__(self, snapshot: Snapshot, only: Collection[str] = (), digest: str = "") -> None:
        """Read the layers of the images *only*, by default of all, and where *digest* occurs in their records."""
        snapshot.read_ahead()
        self.names = snapshot.names_by_digest()
        self._chain_ids: list[bytes] = []
        self._trees: list[bytes] = []
        parents: list[bytes] = []
        of_digest: list[int] = []
        raw = packed(digest)
        for links in layer_links(snapshot, diff_ids=bool(raw)):
            if raw and raw in links.diff_ids:
                start = len(self._chain_ids)
                of_digest += [number for number, one in enumerate(links.diff_ids, start) if one == raw]
            self._chain_ids += links.chain_ids
            parents += links.parents
            self._trees += [tree[:ID] for tree in links.trees]
        self._numbers = {chain_id: number for number, chain_id in enumerate(self._chain_ids)}
        self._parents = array("q", [self._numbers.get(parent, _NONE) for parent in parents])
        del parents
        self._tops: dict[str, int] = {}
        numbers = self._numbers
        for digests, tops in image_links(snapshot):
            self._tops.update(
                (one, numbers.get(top, _NONE)) for one, top in zip(digests, tops, strict=True) if top is not None
            )
        self.uses = self._uses(snapshot, digest, of_digest) if digest else Uses([], [], [], [], None)
        self._last: tuple[Set[bytes], dict[str, list[bytes]]] = frozenset(), {}
        self._only = frozenset(only)
        self.trees: dict[bytes, int] = {}
        """A layer that each wanted tree shows, by number."""
        self.lacking: list[int] = []
        """The wanted layers that have no tree, by number."""
        wanted: Iterable[int] = range(len(self._trees))
        if only:
            wanted = sorted({layer for one in self.wanted() for layer in self._chain(one)})
        for number in wanted:
            if self._trees[number]:
                self.trees[self._trees[number]] = number
            else:
                self.lacking.append(number)

    def _uses(self, snapshot: Snapshot, digest: str, of_digest: list[int]) -> Uses:
        """Return where *digest* occurs."""
        found = Uses([], [], [], of_digest, None)
        for digests, images in snapshot.batches("images", _Images):
            for one, config, layers, manifests in zip(digests, *images, strict=True):
                if config == digest:
                    found.configs.append(one)
                if digest in layers:
                    found.layer_blobs.append(one)
                if digest in manifests:
                    found.indexes.append(one)
                if one == digest:
                    found = found._replace(is_index=not config)
        return found

    def _chain(self, digest: str) -> Iterator[int]:
        """Yield the numbers of the layers of an image, from the top down."""
        layer = self._tops[digest]
        left = len(self._parents)
        while layer != _NONE and left:
            yield layer
            layer = self._parents[layer]
            left -= 1

    def wanted(self) -> list[str]:
        """Return the digests of the images that were asked for, without indexes."""
        return [digest for digest in self._only if digest in self._tops] if self._only else list(self._tops)

    def stack(self, digest: str) -> list[bytes]:
        """Return the trees of an image from the top down, each once, at its topmost place."""
        trees = self._trees
        return list(dict.fromkeys(trees[layer] for layer in self._chain(digest) if trees[layer]))

    def images_over(self, trees: Set[bytes]) -> dict[str, list[bytes]]:
        """Return the stacks of the wanted images that have one of *trees*."""
        if not trees:
            return {}
        if self._last[0] == trees:
            return self._last[1]
        above = self._above({number for number, tree in enumerate(self._trees) if tree in trees})
        found = {digest: self.stack(digest) for digest in self.wanted() if above[self._tops[digest]]}
        self._last = frozenset(trees), found
        return found

    def _above(self, layers: Set[int]) -> bytearray:
        """Return for each layer, by number, whether it is one of *layers* or has one below it; and 0 for no layer."""
        unknown = 2
        found = bytearray([unknown]) * len(self._parents) + b"\0"
        for layer in layers:
            found[layer] = 1
        parents = self._parents
        for start in range(len(parents)):
            path = []
            layer = start
            while found[layer] == unknown:
                path.append(layer)
                # In a damaged graph, a layer may be its own parent.
                found[layer] = 0
                layer = parents[layer]
            if found[layer]:
                for layer in path:
                    found[layer] = 1
        return found

    def trees_over(self, trees: Set[bytes]) -> set[bytes]:
        """Return all trees of the wanted images that have one of *trees*."""
        return set().union(*self.images_over(trees).values())

    def images_with(self, layers: Set[int]) -> list[str]:
        """Return the wanted images that have one of these layers, by number."""
        return [digest for digest in self.wanted() if not layers.isdisjoint(self._chain(digest))]

    def number_of(self, chain_id: str) -> int | None:
        """Return the number of a layer; None if it is not recorded."""
        return self._numbers.get(packed(chain_id))

    def chain_id(self, number: int) -> str:
        """Return the chain ID of a layer."""
        raw = self._chain_ids[number]
        return f"{'sha256' if len(raw) == 32 else 'sha512'}:{raw.hex()}"

    def keys_of(self, graph: Graph, trees: Iterable[bytes]) -> Iterator[tuple[bytes, str]]:
        """Yield these wanted trees with their keys. Raises the errors of Graph."""
        with graph.read() as snapshot:
            found = [(tree, snapshot.layer(self.chain_id(self.trees[tree]))) for tree in trees]
        return ((tree, layer.tree) for tree, layer in found if layer is not None)

    def diff_ids(self, graph: Graph, numbers: Iterable[int]) -> dict[int, str]:
        """Return the diff IDs of these layers, "" for those that are gone. Raises the errors of Graph."""
        with graph.read() as snapshot:
            found = {number: snapshot.layer(self.chain_id(number)) for number in numbers}
        return {number: "" if layer is None else layer.diff_id for number, layer in found.items()}
