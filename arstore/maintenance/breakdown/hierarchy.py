"""Parts: the hierarchy of everything that takes space in a store, for pictures and for trees in a terminal.

    the store ─ an image ─ a layer that only it needs ─ a directory ─ …
              ─ shared layers ─ a layer that several images need ─ …
              ─ containers, volumes, records, unfinished imports, orphans

The sizes of the parts of a part add up to its size, down to bytes, and the store's size is the total of `du`. An image
also refers to the shared layers that it needs, each with the bytes that it needs of it.

There are limits on everything that a store or an image decides: how many images, layers and directories are told apart,
and how many file names are read. What is not told apart is one part of the kind REST, which says how much it is.
"""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING

from arstore.digest import Digest
from arstore.errors import ArstoreError
from arstore.maintenance.breakdown.directories import divided_tree
from arstore.maintenance.breakdown.part import Breakdown, ImagePart, Limits, Part, sorted_parts
from arstore.maintenance.breakdown.pieces import DOCUMENTS, Pieces
from arstore.maintenance.breakdown.steps import steps_of
from arstore.store.images import StoredImage

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from arstore.graph.snapshot import Snapshot
    from arstore.maintenance.breakdown.pieces import Piece
    from arstore.maintenance.disk_usage import Usage
    from arstore.maintenance.shares import ImageUsage
    from arstore.store.store import Store

ALL = Limits()


def break_down(store: Store, usage: Usage, limits: Limits = ALL) -> Breakdown:
    """Return the parts of the measured *usage* of a store. Raises OSError and the errors of Graph."""
    with store.graph.read() as snapshot:
        return _Builder(store, snapshot, usage, limits).run()


class _Builder:
    def __init__(self, store: Store, snapshot: Snapshot, usage: Usage, limits: Limits) -> None:
        assert usage.basis is not None
        self._store = store
        self._snapshot = snapshot
        self._usage = usage
        self._limits = limits
        self._shares = usage.basis.shares
        self._found = usage.basis.found
        self._pieces = Pieces(snapshot, self._shares)
        self._positions = {digest: position for position, digest in enumerate(self._shares.images)}
        self._unread = 0

    def run(self) -> Breakdown:
        limits = self._limits
        ordered = sorted(self._usage.images, key=lambda one: (-one.size, one.digest))
        chosen = ordered[: limits.images]
        self._titles = _titles(self._snapshot, chosen)
        self._steps = steps_of(self._store, self._stored(chosen))
        self._trees = self._divided()
        shared, places = self._shared_layers()
        images = tuple(self._image(one, places) for one in chosen)
        parts = self._parts_of_images(images)
        parts += self._beside_images(shared)
        root = Part("store", self._store.directories.root, self._usage.total, sorted_parts(parts))
        gap = root.size - sum(part.size for part in parts)
        if gap:
            root.parts.append(Part("rest", "changed while it was measured", gap))
        return Breakdown(root, images, tuple(shared), len(self._positions) - len(images), self._unread)

    def _stored(self, chosen: Iterable[ImageUsage]) -> Iterable[StoredImage]:
        for one in chosen:
            record = self._snapshot.image(one.digest)
            if record is not None and not record.is_index:
                yield StoredImage(Digest(one.digest), record, one.names)

    def _parts_of_images(self, images: Sequence[ImagePart]) -> list[Part]:
        """Return a part for each image, or for each repository if there are many, and one for all others."""
        drawn = {image.usage.digest: image.own for image in images}
        if len(self._positions) <= self._limits.ungrouped:
            others = [digest for digest in self._positions if digest not in drawn]
            return [*drawn.values(), *self._rest(others, "more images")]
        groups: dict[str, list[str]] = {}
        for digest in self._positions:
            groups.setdefault(self._repository(digest), []).append(digest)
        sizes = {name: sum(map(self._own_size, digests)) for name, digests in groups.items()}
        ordered = sorted(groups, key=lambda name: (-sizes[name], name))
        parts = []
        for name in ordered[: self._limits.images]:
            digests = groups[name]
            known = [drawn[digest] for digest in digests if digest in drawn]
            inside = [*known, *self._rest([one for one in digests if one not in drawn], "more images")]
            parts.append(known[0] if len(digests) == len(known) == 1 else Part("group", name, sizes[name], inside))
        left = [digest for name in ordered[self._limits.images :] for digest in groups[name]]
        return [*parts, *self._rest(left, "images of more repositories")]

    def _repository(self, digest: str) -> str:
        """Return the repository of an image, from its first name; "" without one."""
        names = self._shares.names(digest)
        return names[0].rpartition(":")[0] if names else ""

    def _rest(self, digests: Sequence[str], name: str) -> list[Part]:
        """Return one part for these images, if there are any."""
        return [Part("rest", name, sum(map(self._own_size, digests)), count=len(digests))] if digests else []

    def _own_size(self, digest: str) -> int:
        return self._pieces.sizes[self._positions[digest]]

    # --- layers ---------------------------------------------------------------------------------------------------

    def _divided(self) -> dict[str, list[Part]]:
        """Return the directories of the largest trees, by diff ID, as far as names may be read."""
        limits = self._limits
        least = int(self._usage.total * limits.share)
        sizes: dict[str, int] = {}
        own = map(self._pieces.own, range(len(self._positions)))
        for source in chain((self._pieces.shared, self._pieces.unused), own):
            for diff_id, piece in source.items():
                if piece.trees >= max(least, 1):
                    sizes[diff_id] = max(piece.trees, sizes.get(diff_id, 0))
        trees = self._pieces.trees(sizes)
        left, found = limits.names, dict[str, list[Part]]()
        for diff_id, size in sorted(sizes.items(), key=lambda item: (-item[1], item[0])):
            tree = trees.get(diff_id)
            if tree is None:
                continue
            if tree.entries > left:
                self._unread += 1
                continue
            left -= tree.entries
            form = self._store.forms.get(tree.form)
            try:
                if form is not None:
                    path = self._store.directories.tree(tree.key)
                    found[diff_id] = divided_tree(form, path, size, max(least, int(size * limits.of_layer)), limits)
            except (ArstoreError, OSError):
                # It is damaged, or was given up at this moment.
                self._unread += 1
        return found

    def _layer(self, diff_id: str, piece: Piece, users: int) -> Part:
        if diff_id == DOCUMENTS:
            return Part("documents", "", piece.size, users=users)
        step = self._steps.get(diff_id)
        part = Part("layer", step.text if step is not None else "", piece.size, key=diff_id, users=users)
        folders = self._trees.get(diff_id, [])
        if folders and sum(one.size for one in folders) == piece.trees:
            part.parts = list(folders)
            if piece.blobs:
                part.parts = sorted_parts([*part.parts, Part("blob", "", piece.blobs, key=diff_id)])
        elif piece.trees and piece.blobs:
            part.parts = sorted_parts([Part("blob", "", piece.blobs, key=diff_id), Part("files", "", piece.trees)])
        return part

    def _layers(self, pieces: Mapping[str, Piece], users: Mapping[str, int], most: int) -> list[Part]:
        """Return a part for each of the *most* largest pieces, and one for the others."""
        ordered = sorted(pieces.items(), key=lambda item: (-item[1].size, item[0]))
        parts = [self._layer(diff_id, piece, users.get(diff_id, 1)) for diff_id, piece in ordered[:most]]
        if len(ordered) > most:
            size = sum(piece.size for _, piece in ordered[most:])
            parts.append(Part("rest", "smaller layers", size, count=len(ordered) - most))
        return parts

    def _shared_layers(self) -> tuple[list[Part], dict[str, int]]:
        """Return the parts that several images need, and the place of each."""
        users = {diff_id: len(images) for diff_id, images in self._pieces.users.items()}
        parts = self._layers(self._pieces.shared, users, self._limits.shared)
        places = {part.key: place for place, part in enumerate(parts) if part.kind != "rest"}
        return parts, places

    def _image(self, one: ImageUsage, places: Mapping[str, int]) -> ImagePart:
        position = self._positions[one.digest]
        pieces = self._pieces.own(position)
        size = sum(piece.size for piece in pieces.values())
        title = self._titles[one.digest]
        own = Part("image", title, size, self._layers(pieces, {}, self._limits.layers), one.digest)
        needed = self._pieces.shared_of(position)
        ordered = sorted(needed.items(), key=lambda item: (-item[1].size, item[0]))
        kept = [(places[key], piece.size) for key, piece in ordered if key in places][: self._limits.layers]
        everything = sum(piece.size for piece in needed.values())
        return ImagePart(one, title, own, tuple(kept), everything - sum(size for _, size in kept))

    # --- what is not an image ---------------------------------------------------------------------------------------

    def _beside_images(self, shared: list[Part]) -> list[Part]:
        usage, found = self._usage, self._found
        parts = [Part("shared", "", sum(part.size for part in shared), list(shared))]
        unused = self._layers(self._pieces.unused, {}, self._limits.shared)
        parts.append(Part("unused", "", sum(part.size for part in unused), unused))
        names = {key: record.name or key for key, record in self._snapshot.containers()}
        recorded = {key: size for key, size in found.containers.items() if key in names}
        parts.append(self._group("containers", "container", usage.containers, recorded, names))
        parts.append(self._group("volumes", "volume", usage.volumes, found.volumes, {}))
        parts += [Part(kind, "", getattr(usage, kind)) for kind in ("metadata", "ingest", "orphans")]
        return [part for part in parts if part.size]

    def _group(self, kind: str, one: str, size: int, sizes: Mapping[str, int], names: Mapping[str, str]) -> Part:
        ordered = sorted(sizes.items(), key=lambda item: (-item[1], item[0]))[: self._limits.images]
        parts = [Part(one, names.get(key, key), bytes_, key=key) for key, bytes_ in ordered if bytes_]
        rest = size - sum(part.size for part in parts)
        if rest > 0 and parts:
            parts.append(Part("rest", "", rest))
        return Part(kind, "", size, parts)


def _titles(snapshot: Snapshot, images: Sequence[ImageUsage]) -> dict[str, str]:
    """Return the name of each image; one without a name is called after an index that lists it."""
    records = {one.digest: snapshot.image(one.digest) for one in images}
    indexes: dict[str, str] = {}
    for one in images:
        record = records[one.digest]
        if record is not None and one.names:
            indexes |= {member: one.names[0] for member in record.manifests if member not in indexes}
    titles = {}
    for one in images:
        title, record = one.names[0] if one.names else "", records[one.digest]
        if title and record is not None and record.is_index:
            title += " (index)"
        if not title and one.digest in indexes:
            title = f"{indexes[one.digest]} ({record.platform})" if record is not None else indexes[one.digest]
        titles[one.digest] = title
    return titles
