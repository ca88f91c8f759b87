"""Blobs and trees that a store may borrow: those of additional stores, by digest and key.

The results are paths. Nothing is locked there: a caller for whom one fails looks again, or makes its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from arstore.disk.access import Access
from arstore.store.ingest.inventory import Inventory
from arstore.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from arstore.disk.paths import Directories
    from arstore.graph.graph import Graph
    from arstore.graph.records import BlobRecord, LentRecord, TreeRecord
    from arstore.graph.snapshot import Snapshot
    from arstore.mounts.merge_plan import Run
    from arstore.store.additional import AdditionalStore, AdditionalStores
    from arstore.store.ingest.incoming import IncomingLayer
    from arstore.trees.format import TreeFormat


class LentBlob(NamedTuple):
    """A blob in an additional store: the record to keep here, and its file."""

    record: LentRecord
    path: str


class LentTree(NamedTuple):
    """A tree in an additional store: its record there, and its directory."""

    record: TreeRecord
    path: str


class Lenders:
    """A view of the additional stores that are present; results are remembered, and not looked up again."""

    def __init__(
        self,
        directories: Directories,
        graph: Graph,
        forms: Callable[[], dict[str, TreeFormat]],
        stores: AdditionalStores,
        own_trees: bool = False,
    ) -> None:
        """*directories*, *graph* and *forms* are the borrowing store's; with *own_trees*, only blobs are borrowed."""
        self._directories = directories
        self._graph = graph
        self._forms = forms
        self._stores = stores
        self._own_trees = own_trees
        self._blobs: dict[str, LentBlob | None] = {}
        self._trees: dict[str, LentTree | None] = {}
        self._mountable: dict[str, bool] = {}

    def blob(self, digest: str) -> LentBlob | None:
        """Return the blob from the first store that has it with its full size."""
        if digest not in self._blobs:
            self._blobs[digest] = self._look_for_blob(digest)
        return self._blobs[digest]

    def _look_for_blob(self, digest: str) -> LentBlob | None:
        for one in self._stores.there():
            record = one.lent(digest)
            if record is not None:
                return LentBlob(record, one.directories.blob(digest))
        return None

    def tree(self, key: str) -> LentTree | None:
        """Return the tree from the first store that has it in a form that can be used here."""
        if self._own_trees or not key:
            return None
        if key not in self._trees:
            self._trees[key] = self._look_for_tree(key)
        return self._trees[key]

    def _look_for_tree(self, key: str) -> LentTree | None:
        for one in self._stores.there():
            found = one.inventory().trusted_records([key])
            if found is not None and self._is_usable(one, found[0][1]):
                return LentTree(found[0][1], one.directories.tree(key))
        return None

    def _is_usable(self, lender: AdditionalStore, record: TreeRecord) -> bool:
        """Whether a mount of the tree here shows the same content for as long as it lasts.

        Extracted files of a store that its owner can write to may vanish while they are mounted. The kernel keeps a
        mounted index and its tar open.
        """
        form = self._forms()[record.form]
        if form.properties.extracts:
            return lender.graph.is_settled()
        return self._can_mount(form)

    def _can_mount(self, form: TreeFormat) -> bool:
        if self._graph.access is Access.FROZEN:
            return True
        if form.name not in self._mountable:
            from arstore.mounts.probe import can_mount

            self._mountable[form.name] = can_mount(self._directories, form)
        return self._mountable[form.name]

    def run_directory(self, key: str, members: Sequence[str]) -> str | None:
        """Return the directory of the merged index over *members*, from a store that has both; None if none has."""
        if self._own_trees:
            return None
        for one in self._stores.there():
            inventory = one.inventory()
            if inventory.holds_run(key) and inventory.are_trusted(members):
                return one.directories.tree(key)
        return None

    def layer_tree(self, chain_id: str) -> str:
        """Return the key of the tree that a store has recorded for this chain; "" if none has."""
        for one in self._stores.there():
            with one.graph.read() as snapshot:
                layer = snapshot.layer(chain_id)
            if layer is not None and layer.tree and self.tree(layer.tree) is not None:
                return layer.tree
        return ""

    def tree_roots(self) -> list[str]:
        """Return the parent directories of the trees of all stores."""
        return [one.directories.trees for one in self._stores.there()]

    def release(self) -> None:
        """Close their graphs, which has to happen before a fork."""
        self._stores.release()


class BorrowingInventory(Inventory):
    """A view of a store and its additional stores, which are used for whatever the store itself does not have."""

    def __init__(
        self,
        directories: Directories,
        graph: Graph,
        forms: Callable[[], dict[str, TreeFormat]],
        again: frozenset[str],
        lenders: Lenders,
    ) -> None:
        super().__init__(directories, graph, forms, again)
        self._lenders = lenders

    def layer_blob(self, digest: str) -> BlobRecord | LentRecord | None:
        """Return the record of a layer's blob whose file exists with its size, here or in an additional store."""
        return self.intact_blob(digest) or self.lent(digest)

    def blob_place(self, digest: str) -> str:
        """Return the path of a blob that `layer_blob` has found."""
        found = self._lent_blob(digest)
        return self.directories.blob(digest) if found is None else found.path

    def lent(self, digest: str) -> LentRecord | None:
        """Return the record for a blob that this store does not record and an additional store has; else None."""
        found = self._lent_blob(digest)
        return None if found is None else found.record

    def _lent_blob(self, digest: str) -> LentBlob | None:
        return None if self.is_recorded(digest) else self._lenders.blob(digest)

    def is_lent(self, key: str) -> bool:
        """Whether the tree *key* has to come from an additional store, because this store has no trusted one."""
        return super().trusted_records([key]) is None and self._lenders.tree(key) is not None

    def tree_roots(self) -> list[str]:
        """Return the parent directories of all trees that may be used."""
        return [self.directories.trees, *self._lenders.tree_roots()]

    def release(self) -> None:
        """Close the graph, and those of additional stores, which has to happen before a fork."""
        super().release()
        self._lenders.release()

    def trusted_records(self, keys: Sequence[str]) -> list[tuple[str, TreeRecord]] | None:
        """Return these trees with their records, each from where it is; None if one is trusted nowhere."""
        found = []
        for key in keys:
            if (own := super().trusted_records([key])) is not None:
                found += own
            elif (lent := self._lenders.tree(key)) is not None:
                found.append((key, lent.record))
            else:
                return None
        return found

    def _known_tree(self, snapshot: Snapshot, key: str) -> tuple[TreeRecord | None, str]:
        lent = self._lenders.tree(key) if self._trusted_record(snapshot, key) is None else None
        return (lent.record, lent.path) if lent is not None else super()._known_tree(snapshot, key)

    def tree_directory(self, key: str) -> str:
        """Return the directory of the tree *key*, which `trusted_records` has found. Raises StoreDamagedError."""
        return self.tree_place(key)[1]

    def run_place(self, run: Run) -> str | None:
        """Return the directory of *run*'s merged index, from the store of its members; None if none is trusted."""
        return super().run_place(run) or self._lenders.run_directory(run.key, run.members)

    def _tree_elsewhere(self, layer: IncomingLayer) -> str:
        return "" if self.lent(layer.digest) is None else self._lenders.layer_tree(layer.chain_id)

    def serves(self, layer: IncomingLayer, key: str) -> bool:
        """Whether the tree *key* is trusted and may be used for *layer*.

        An additional store's tree is used only for a layer whose blob is lent too. So the records of lent blobs list
        everything that is needed from other stores.
        """
        return self.is_trusted(key) and (not self.is_lent(key) or self.lent(layer.digest) is not None)
