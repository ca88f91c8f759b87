"""What images need: their blobs, their layers, and the trees that mounts of them are made of.

A snapshot's tables are read whole for that, once for all images that are asked about.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

from arstore.store.runs import Run, plan

if TYPE_CHECKING:
    from collections.abc import Iterable, KeysView

    from arstore.store.snapshot import Snapshot


class Needs(NamedTuple):
    """Keys of what one image needs, each once: blobs, layers from the top down, and trees.

    An index needs nothing but its own blob; its `images` are those of its images that are in the store.
    """

    blobs: tuple[str, ...]
    layers: tuple[str, ...] = ()
    trees: tuple[str, ...] = ()
    images: tuple[str, ...] = ()
    is_index: bool = False


class _Image(NamedTuple):
    config: str
    layers: tuple[str, ...]
    top: str
    cap: str | None
    manifests: tuple[str, ...]


class _Layer(NamedTuple):
    parent: str
    tree: str


class _Tree(NamedTuple):
    form: str
    entries: int


class Reach:
    """A look at all images of one snapshot, as long as that lasts. Raises the errors of Graph."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot
        self._images = snapshot.every("images", _Image)
        self._layers = snapshot.every("layers", _Layer)
        self._runs = {tree.members: key for key, tree in snapshot.runs()}
        self._found: dict[str, Needs] = {}

    @cached_property
    def _trees(self) -> dict[str, _Tree]:
        """Read only where a plan is made: many a store has no merged index, or only such as need none."""
        return self._snapshot.every("trees", _Tree)

    def of(self, digest: str) -> Needs | None:
        """What the image *digest* needs; None where there is none. Gaps are passed over."""
        found = self._found.get(digest)
        if found is None and (image := self._images.get(digest)) is not None:
            found = self._found[digest] = self._needs(digest, image)
        return found

    def _needs(self, digest: str, image: _Image) -> Needs:
        if not image.config:
            return Needs((digest,), images=image.manifests, is_index=True)
        layers, stack = self._chain(image)
        blobs = dict.fromkeys((digest, image.config, *image.layers))
        return Needs(tuple(blobs), tuple(layers), (*stack, *self._planned(stack)))

    @property
    def images(self) -> KeysView[str]:
        """The digests of all images and indexes, sorted."""
        return self._images.keys()

    def indexes(self) -> dict[str, tuple[str, ...]]:
        """The images of each index."""
        return {digest: image.manifests for digest, image in self._images.items() if image.manifests}

    @property
    def layers(self) -> KeysView[str]:
        """The chain IDs of all layers, sorted."""
        return self._layers.keys()

    def _chain(self, image: _Image) -> tuple[dict[str, None], dict[str, None]]:
        """The layers of *image*, and the trees of its stack, both from the top down."""
        layers: dict[str, None] = {}
        stack: dict[str, None] = {image.cap: None} if image.cap else {}
        known = self._layers
        chain_id = image.top
        while chain_id and chain_id not in layers:
            layer = known.get(chain_id)
            if layer is None:
                break
            layers[chain_id] = None
            if layer.tree:
                stack[layer.tree] = None
            chain_id = layer.parent
        return layers, stack

    def _planned(self, keys: dict[str, None]) -> Iterable[str]:
        """The keys of the merged indexes that a mount of the stack *keys* uses, of those that have been made."""
        if not self._runs:
            return ()
        # One over the whole stack can have been made for this alone: it needs no plan, and most stacks have it.
        whole = self._runs.get(tuple(keys))
        if whole is not None:
            return (whole,)
        known = self._trees
        stack = [(key, known[key]) for key in keys if key in known]
        if len(stack) != len(keys):
            return ()
        return [part.key for part in plan(stack) if isinstance(part, Run) and part.key in known]
