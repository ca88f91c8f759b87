"""What a store may borrow: blobs and trees of additional stores, by their digests and keys.

What is found are places. Nothing there is held: whoever fails on what was found looks again, or makes it here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from arstore.disk.access import Access
from arstore.store.additional import lent_by
from arstore.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

    from arstore.graph.records import BlobRecord, LentRecord, TreeRecord
    from arstore.store.additional import AdditionalStore, AdditionalStores
    from arstore.store.store import Store
    from arstore.trees.format import TreeFormat


class LentBlob(NamedTuple):
    """A blob in an additional store: its record there, and its file."""

    record: BlobRecord
    path: str
    lender: AdditionalStore

    def lent(self) -> LentRecord:
        """What is recorded of it here. Raises the errors of Graph."""
        return lent_by(self.lender, self.record)


class LentTree(NamedTuple):
    """A tree in an additional store: its record there, and its directory."""

    record: TreeRecord
    path: str


class Lenders:
    """One look at the additional stores that are there; what it has found it does not look for again."""

    def __init__(self, own: Store, stores: AdditionalStores, own_trees: bool = False) -> None:
        """With *own_trees*, only blobs are borrowed."""
        self._own = own
        self._stores = stores
        self._own_trees = own_trees
        self._blobs: dict[str, LentBlob | None] = {}
        self._trees: dict[str, LentTree | None] = {}
        self._mountable: dict[str, bool] = {}

    def blob(self, digest: str) -> LentBlob | None:
        """The blob in the first store that has it whole, by its size."""
        if digest not in self._blobs:
            self._blobs[digest] = self._look_for_blob(digest)
        return self._blobs[digest]

    def _look_for_blob(self, digest: str) -> LentBlob | None:
        for one in self._stores.there():
            record = one.blob_record(digest)
            if record is not None:
                return LentBlob(record, one.store.directories.blob(digest), one)
        return None

    def tree(self, key: str) -> LentTree | None:
        """The tree in the first store that has it as it can be used here."""
        if self._own_trees or not key:
            return None
        if key not in self._trees:
            self._trees[key] = self._look_for_tree(key)
        return self._trees[key]

    def _look_for_tree(self, key: str) -> LentTree | None:
        for one in self._stores.there():
            found = one.store.inventory().trusted_records([key])
            if found is not None and self._is_usable(one, found[0][1]):
                return LentTree(found[0][1], one.store.directories.tree(key))
        return None

    def _is_usable(self, lender: AdditionalStore, record: TreeRecord) -> bool:
        """Whether a tree there shows here what it shows there, for as long as it is mounted.

        Extracted files of a store that somebody may write to can go while they are mounted; an index and its tar are
        held by whoever has mounted them.
        """
        form = self._own.forms[record.form]
        if form.properties.extracts:
            return lender.store.graph.is_settled()
        return self._can_mount(form)

    def _can_mount(self, form: TreeFormat) -> bool:
        if self._own.graph.access is Access.FROZEN:
            return True
        if form.name not in self._mountable:
            from arstore.mounts.probe import can_mount

            self._mountable[form.name] = can_mount(self._own.directories, form)
        return self._mountable[form.name]

    def run_directory(self, key: str, members: Sequence[str]) -> str | None:
        """The directory of the merged index over *members*, in a store that has all of them and it."""
        if self._own_trees:
            return None
        for one in self._stores.there():
            inventory = one.store.inventory()
            if inventory.holds_run(key) and inventory.are_trusted(members):
                return one.store.directories.tree(key)
        return None

    def layer_tree(self, chain_id: str) -> str:
        """The key of the tree that a store recorded for this chain; "" where none did."""
        for one in self._stores.there():
            with one.store.graph.read() as snapshot:
                layer = snapshot.layer(chain_id)
            if layer is not None and layer.tree and self.tree(layer.tree) is not None:
                return layer.tree
        return ""

    def tree_roots(self) -> list[str]:
        """The parents of the trees of all of them."""
        return [one.store.directories.trees for one in self._stores.there()]

    def release(self) -> None:
        """Close their graphs, as must be done before a fork."""
        self._stores.release()
