"""The parts of an image that the store has completely."""

from __future__ import annotations

from typing import TYPE_CHECKING

from arstore.trees.forms import NEEDS, NO_NEEDS

if TYPE_CHECKING:
    from arstore.graph.records import BlobRecord, ImageRecord, LayerRecord, TreeRecord
    from arstore.store.ingest.inventory import Inventory
    from arstore.store.store import Store

    Part = tuple[str, LayerRecord, BlobRecord]


class Parts:
    """Looks up what an image of *store* consists of, with the checks of an import."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._inventory: Inventory = store.inventory()

    def blobs(self, digest: str, record: ImageRecord) -> list[Part] | None:
        """The layers, bottom first, with their chain IDs and blobs; None if a blob of the image is missing."""
        parts = self._layers(record)
        if parts is None or not all(map(self._inventory.intact_blob, (digest, record.config))):
            return None
        return parts

    def all(self, digest: str, record: ImageRecord) -> list[Part] | None:
        """The same; None also if the store should have trees of the image, and lacks one."""
        parts = self.blobs(digest, record)
        if parts is None or (self._store.makes_trees and not self._has_trees(record, parts)):
            return None
        return parts

    def _layers(self, record: ImageRecord) -> list[Part] | None:
        parts: list[Part] = []
        chain_id = record.top
        for blob_digest in reversed(record.layers):
            with self._store.graph.read() as snapshot:
                layer = snapshot.layer(chain_id)
            blob = self._inventory.intact_blob(blob_digest)
            if layer is None or blob is None or blob.diff_id != layer.diff_id:
                return None
            parts.append((chain_id, layer, blob))
            chain_id = layer.parent
        return None if chain_id else parts[::-1]

    def _has_trees(self, record: ImageRecord, parts: list[Part]) -> bool:
        from arstore.mounts.merge_plan import Run, plan

        if record.cap is None:
            return False
        keys = [layer.tree for _, layer, _ in reversed(parts)]
        if record.cap:
            keys.insert(0, record.cap)
        trees = self._inventory.trusted_records(keys)
        if trees is None or any(map(self._may_lack_attributes, trees)):
            return False
        return not self._inventory.missing_runs([part for part in plan(trees) if isinstance(part, Run)])

    def _may_lack_attributes(self, tree: tuple[str, TreeRecord]) -> bool:
        """Whether an import would report extended attributes that could not be kept (`trees.needs`)."""
        key, record = tree
        if NO_NEEDS in record.sums:
            return False
        try:
            with open(f"{self._inventory.tree_directory(key)}/{NEEDS}", "rb") as file:
                return b'"dropped":' in file.read()
        except FileNotFoundError:
            return False
