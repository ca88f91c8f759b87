"""The blobs and layers that images need, and the trees that their mounts are made of.

The tables of a snapshot are read once, completely, for all images. The results are numbers (`graph.key_numbers`).
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from arstore.graph.key_numbers import UNKNOWN, Numbers
from arstore.mounts.merge_plan import FEWEST, MOST, Run, plan, run_key
from arstore.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, KeysView

    from arstore.graph.snapshot import Snapshot


class ImageNeeds(NamedTuple):
    """Numbers of the content that one image needs, each once: blobs, layers from the top down, and trees.

    Attachments of an image or an index are among its blobs. An index needs nothing else; its `images` are the digests
    of those of its images that are in the store.
    """

    blobs: tuple[int, ...]
    layers: tuple[int, ...] = ()
    trees: tuple[int, ...] = ()
    images: tuple[str, ...] = ()
    is_index: bool = False


class ImageFields(NamedTuple):
    """The fields of an image's record that list what it needs, and the time of its import."""

    config: str
    layers: tuple[str, ...]
    top: str
    cap: str | None
    manifests: tuple[str, ...]
    imported: float = 0.0


class _Attached(NamedTuple):
    blobs: tuple[str, ...]


class _Layers(NamedTuple):
    parent: list[str]
    tree: list[str]


class _Tree(NamedTuple):
    form: str
    entries: int


class Reach:
    """Reachability of all images in one snapshot, valid while that is open. Raises the errors of Graph."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot
        snapshot.read_ahead()
        self._images = snapshot.every("images", ImageFields)
        self.names = snapshot.names_by_digest()
        """The names of each image that has any."""
        self.blobs = Numbers(snapshot.keys("blobs"))
        """The digests of blobs."""
        self.trees = Numbers(snapshot.keys("trees"))
        """The keys of trees."""
        chain_ids, layers = snapshot.columns("layers", _Layers)
        self.layers = Numbers(chain_ids)
        """The chain IDs of layers."""
        self._parents = self.layers.known(layers.parent)
        self._tree_of = self.trees.all_of(layers.tree)
        self._none = self.trees.of("")
        self._found: dict[str, ImageNeeds] = {}
        self._attached: dict[str, list[tuple[str, tuple[str, ...]]]] = {}
        for key, attached in snapshot.every("attachments", _Attached).items():
            subject, _, digest = key.partition("/")
            self._attached.setdefault(subject, []).append((digest, attached.blobs))

    @cached_property
    def _shapes(self) -> dict[str, _Tree]:
        """Read only when a plan is made: many stores have no merged index, or none that needs a plan."""
        if not self._snapshot.runs():
            return {}
        return self._snapshot.every("trees", _Tree)

    def of(self, digest: str) -> ImageNeeds | None:
        """Return the needs of the image *digest*; None if it is not recorded. Missing records are skipped."""
        found = self._found.get(digest)
        if found is None and (image := self._images.get(digest)) is not None:
            found = self._found[digest] = self._needs(digest, image)
        return found

    def _needs(self, digest: str, image: ImageFields) -> ImageNeeds:
        attached = self._blobs_attached(digest)
        if not image.config:
            blobs = dict.fromkeys(self.blobs.all_of((digest, *attached)))
            return ImageNeeds(tuple(blobs), images=image.manifests, is_index=True)
        layers, stack = self._chain(image)
        blobs = dict.fromkeys(self.blobs.all_of((digest, image.config, *image.layers, *attached)))
        return ImageNeeds(tuple(blobs), tuple(layers), (*stack, *self._planned(stack)))

    def _blobs_attached(self, digest: str) -> list[str]:
        """Return the blobs of all attachments of the image *digest*, and of their attachments."""
        if digest not in self._attached:
            return []
        subjects = {digest, *(key.partition("/")[2] for key in self.attached_to([digest]))}
        found: list[str] = []
        for subject in subjects:
            for manifest, blobs in self._attached.get(subject, ()):
                found += (manifest, *blobs)
        return found

    def attached_to(self, images: Iterable[str]) -> dict[str, None]:
        """Return the keys of all attachments of these images, of their attachments, and so on."""
        found: dict[str, None] = {}
        todo = [digest for digest in images if digest in self._attached] if self._attached else []
        seen = set(todo)
        while todo:
            subject = todo.pop()
            for manifest, _ in self._attached[subject]:
                found[f"{subject}/{manifest}"] = None
                if manifest in self._attached and manifest not in seen:
                    seen.add(manifest)
                    todo.append(manifest)
        return found

    @property
    def attachments(self) -> list[str]:
        """The keys of all attachments: the digests of subject and manifest, separated by a slash."""
        return [f"{subject}/{manifest}" for subject, some in self._attached.items() for manifest, _ in some]

    @property
    def images(self) -> KeysView[str]:
        """The digests of all images and indexes, sorted."""
        return self._images.keys()

    def imported(self, digest: str) -> float:
        """Return when an image was imported, in seconds since the epoch; 0 if it is not recorded."""
        found = self._images.get(digest)
        return 0.0 if found is None else found.imported

    def indexes(self) -> dict[str, tuple[str, ...]]:
        """The images of each index."""
        return {digest: image.manifests for digest, image in self._images.items() if image.manifests}

    def _chain(self, image: ImageFields) -> tuple[dict[int, None], dict[int, None]]:
        """Return the layers of *image*, and the trees of its stack, both from the top down."""
        layers: dict[int, None] = {}
        stack: dict[int, None] = {self.trees.of(image.cap): None} if image.cap else {}
        parents, tree_of = self._parents, self._tree_of
        (layer,) = self.layers.known([image.top])
        while layer != UNKNOWN and layer not in layers:
            layers[layer] = None
            stack[tree_of[layer]] = None
            layer = parents[layer]
        # A layer that was never built has no tree.
        stack.pop(self._none, None)
        return layers, stack

    def _planned(self, numbers: Collection[int]) -> list[int]:
        """Return the existing merged indexes that a mount of the stack *numbers* uses."""
        if len(numbers) < FEWEST:
            return []
        names = self.trees.keys
        keys = [names[number] for number in numbers]
        # An index over the whole stack, the usual case, needs no plan.
        if len(keys) <= MOST and (whole := self.trees.known([run_key(keys)])) != [UNKNOWN]:
            return whole
        shapes = self._shapes
        stack = [(key, shapes[key]) for key in keys if key in shapes]
        if len(stack) != len(keys):
            return []
        made = self.trees.known([part.key for part in plan(stack) if isinstance(part, Run)])
        return [number for number in made if number != UNKNOWN]
