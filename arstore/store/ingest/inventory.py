"""What the store has that may be relied on: recorded, in its place, of its size, and (for trees) made by today's rules
and written in a way that a power cut cannot have hurt.

Looking is cheap, a stat(2) each; content is the business of `check`. What is found wanting counts as missing, so that
bringing it again mends it. Nothing that was seen is held: somebody else may remove it at any moment, and whoever fails
on what he saw asks `has_lost` whether that was why.
"""

from __future__ import annotations

import os
import stat
import time
from typing import TYPE_CHECKING

from arstore.errors import StoreDamagedError
from arstore.linux.process import boot_id

if TYPE_CHECKING:
    from collections.abc import Sequence, Set

    from arstore.disk.paths import Directories
    from arstore.graph.graph import Graph
    from arstore.graph.records import BlobRecord, LentRecord, TreeRecord
    from arstore.graph.snapshot import Snapshot
    from arstore.mounts.merge_plan import Run
    from arstore.store.ingest.incoming import IncomingLayer
    from arstore.trees.format import TreeFormat


class Inventory:
    """A look at one store; the trees *again* are not relied on, whatever they are, because they are to be made anew."""

    def __init__(
        self,
        directories: Directories,
        graph: Graph,
        forms: dict[str, TreeFormat],
        again: frozenset[str] = frozenset(),
        mounted: Set[str] | None = None,
    ) -> None:
        """*mounted* are the trees that something is mounted over, if that need not be looked up."""
        self.directories = directories
        self.graph = graph
        self.forms = forms
        self.boot = boot_id()
        self.now = time.time()
        self.again = again
        self._seen: dict[tuple[str, str], tuple[int, int]] = {}
        self._mounted = mounted

    def intact_blob(self, digest: str) -> BlobRecord | None:
        """The record of a blob whose file is there and has its size."""
        with self.graph.read() as snapshot:
            record = snapshot.blob(digest)
        if record is None:
            return None
        try:
            status = os.stat(self.directories.blob(digest), follow_symlinks=False)
        except FileNotFoundError:
            return None
        if not stat.S_ISREG(status.st_mode) or status.st_size != record.size:
            return None
        self._seen["blob", digest] = status.st_ino, status.st_ctime_ns
        return record

    def layer_blob(self, digest: str) -> BlobRecord | LentRecord | None:
        """The record of a layer's blob whose file is there and has its size."""
        return self.intact_blob(digest)

    def blob_place(self, digest: str) -> str:
        """Where a blob lies that `layer_blob` has found."""
        return self.directories.blob(digest)

    def lent(self, digest: str) -> LentRecord | None:
        """Record for a blob that this store does not know, and that an additional one has."""
        del digest
        return None

    def is_lent(self, key: str) -> bool:
        """Whether the tree *key* is an additional store's, because none of this store's may be relied on."""
        del key
        return False

    def tree_roots(self) -> list[str]:
        """The parents of all trees that may be used."""
        return [self.directories.trees]

    def release(self) -> None:
        """Close what has to be closed before a fork."""
        self.graph.release()

    def is_recorded(self, digest: str) -> bool:
        """Whether the graph knows the blob, whatever became of its file."""
        with self.graph.read() as snapshot:
            return snapshot.blob(digest) is not None

    def tree_record(self, key: str) -> TreeRecord | None:
        """The record of this store's tree *key*, whether it may be relied on or not."""
        with self.graph.read() as snapshot:
            return snapshot.tree(key)

    def tree_records(self, keys: Sequence[str]) -> dict[str, TreeRecord]:
        """The records of these trees. Raises StoreDamagedError when one is not recorded."""
        found = {}
        with self.graph.read() as snapshot:
            for key in keys:
                record = self._known_tree(snapshot, key)[0]
                if record is None:
                    raise StoreDamagedError(f"tree {key}", "is not in the store")
                found[key] = record
        return found

    def _known_tree(self, snapshot: Snapshot, key: str) -> tuple[TreeRecord | None, str]:
        """The record of the tree *key*, None for none, and its directory."""
        return snapshot.tree(key), self.directories.tree(key)

    def is_trusted(self, key: str) -> bool:
        """Whether the tree *key* is in its place and no power cut can have hurt it."""
        return self.are_trusted([key])

    def are_trusted(self, keys: Sequence[str]) -> bool:
        """Whether all these trees are in their places and no power cut can have hurt them."""
        return self.trusted_records(keys) is not None

    def trusted_records(self, keys: Sequence[str]) -> list[tuple[str, TreeRecord]] | None:
        """These trees with their records; None when one is not in its place, or a power cut can have hurt it."""
        found = []
        with self.graph.read() as snapshot:
            for key in keys:
                record = self._trusted_record(snapshot, key)
                if record is None:
                    return None
                found.append((key, record))
        return found

    def _trusted_record(self, snapshot: Snapshot, key: str) -> TreeRecord | None:
        """The record of this store's tree *key*; None where it may not be relied on."""
        record = snapshot.tree(key) if key else None
        if record is None or record.form not in self.forms or not self._is_intact(key, record):
            return None
        if record.is_outdated and key not in self._mounted_trees(snapshot):
            return None
        return record

    def holds_run(self, key: str) -> bool:
        """Whether the merged index *key* is in its place, and no power cut can have hurt it."""
        with self.graph.read() as snapshot:
            record = snapshot.tree(key)
            return record is not None and self._is_intact(key, record)

    def _mounted_trees(self, snapshot: Snapshot) -> Set[str]:
        """The trees that something is mounted over: whatever rules they were made by, they stay as they are."""
        if self._mounted is None:
            from arstore.store.collect.holders import mounted_trees

            self._mounted = mounted_trees(self.directories, snapshot).keys()
        return self._mounted

    def missing_runs(self, runs: Sequence[Run]) -> list[Run]:
        """Those of *runs* whose merged index is not in its place, or can have been hurt by a power cut."""
        return [run for run in runs if self.run_place(run) is None]

    def run_place(self, run: Run) -> str | None:
        """The directory of the merged index of *run*, in the store of its members; None where none can be relied on."""
        return self.directories.tree(run.key) if self.holds_run(run.key) else None

    def _is_intact(self, key: str, record: TreeRecord) -> bool:
        if key in self.again or (not record.synced and record.boot != self.boot):
            return False
        if self.graph.distrusts(record.form):
            return False
        identity = _tree_identity(self.directories.tree(key), stat.S_IFDIR)
        if identity is not None:
            self._seen["tree", key] = identity
        return identity is not None

    def has_lost(self) -> bool:
        """Whether something that this look has found intact is gone by now, or another in its place."""
        with self.graph.read() as snapshot:
            for (table, key), identity in self._seen.items():
                record = snapshot.blob(key) if table == "blob" else snapshot.tree(key)
                path = self.directories.blob(key) if table == "blob" else self.directories.tree(key)
                if record is None or _tree_identity(path) != identity:
                    return True
        return False

    def adapted_tree(self, layer: IncomingLayer) -> str | None:
        """The key of the trusted tree that was made for this very chain."""
        with self.graph.read() as snapshot:
            record = snapshot.layer(layer.chain_id)
        key = (record.tree if record is not None else "") or self._tree_elsewhere(layer)
        if key in {"", layer.diff_id}:
            return None
        return key if self.serves(layer, key) else None

    def _tree_elsewhere(self, layer: IncomingLayer) -> str:
        """The key of the tree that an additional store has for this very chain; "" for none."""
        del layer
        return ""

    def serves(self, layer: IncomingLayer, key: str) -> bool:
        """Whether the tree *key* may be relied on, and may stand for *layer*."""
        del layer
        return self.is_trusted(key)

    def trusted_tree(self, layer: IncomingLayer) -> str | None:
        """The key of a trusted tree for *layer*: the one made for its chain, else the one that all chains share."""
        return self.adapted_tree(layer) or (layer.diff_id if self.serves(layer, layer.diff_id) else None)

    def tree_place(self, key: str) -> tuple[TreeFormat, str]:
        """Form and directory of the recorded tree *key*. Raises StoreDamagedError."""
        return self.tree_places([key])[0]

    def tree_directory(self, key: str) -> str:
        """The directory of the tree *key*, which `trusted_records` has found. Raises StoreDamagedError."""
        return self.directories.tree(key)

    def tree_places(self, keys: Sequence[str]) -> list[tuple[TreeFormat, str]]:
        """Form and directory of each of these recorded trees. Raises StoreDamagedError."""
        found = []
        with self.graph.read() as snapshot:
            for key in keys:
                record, path = self._known_tree(snapshot, key)
                if record is None or record.form not in self.forms:
                    raise StoreDamagedError(f"tree {key}", "is not in the store")
                found.append((self.forms[record.form], path))
        return found


def _tree_identity(path: str, kind: int = 0) -> tuple[int, int] | None:
    """The inode number of what lies at *path* and the time of its last change, for numbers are given again at once.

    None for nothing, or for something of another type than *kind*.
    """
    try:
        status = os.stat(path, follow_symlinks=False)
    except FileNotFoundError:
        return None
    return (status.st_ino, status.st_ctime_ns) if kind in {0, stat.S_IFMT(status.st_mode)} else None
