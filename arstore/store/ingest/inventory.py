"""Content of the store that may be trusted: recorded, in place, of the right size. Trees must also follow the current
rules, and must have been written so that a power cut cannot have damaged them.

A check is cheap, one stat(2) each; `check` verifies content. Content that fails counts as missing, so that importing it
again repairs it. Nothing is locked: another process may remove it at any moment, and a caller that then fails asks
`has_lost` whether that was the reason.
"""

from __future__ import annotations

import os
import stat
import time
from typing import TYPE_CHECKING

from arstore.errors import StoreDamagedError
from arstore.linux.process import boot_id
from arstore.trees.forms import TREES, is_usable, properties

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence, Set

    from arstore.disk.paths import Directories
    from arstore.graph.graph import Graph
    from arstore.graph.records import BlobRecord, LentRecord, TreeRecord
    from arstore.graph.snapshot import Snapshot
    from arstore.mounts.merge_plan import Run
    from arstore.store.ingest.incoming import IncomingLayer
    from arstore.trees.format import TreeFormat


class Inventory:
    """A view of one store; the trees *again* do not count as trusted, because they are to be rebuilt."""

    def __init__(
        self,
        directories: Directories,
        graph: Graph,
        forms: Callable[[], dict[str, TreeFormat]],
        again: frozenset[str] = frozenset(),
        mounted: Set[str] | None = None,
    ) -> None:
        """*mounted* are the trees of current mounts, if the caller knows them."""
        self.directories = directories
        self.graph = graph
        self._forms = forms
        self.boot = boot_id()
        self.now = time.time()
        self.again = again
        self._seen: dict[tuple[str, str], tuple[int, int]] = {}
        self._mounted = mounted

    @property
    def forms(self) -> dict[str, TreeFormat]:
        """The formats of trees by name, which are loaded when one is used."""
        return self._forms()

    def intact_blob(self, digest: str) -> BlobRecord | None:
        """Return the record of a blob whose file exists with the recorded size, else None."""
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
        self._seen["blob", digest] = _blob_identity(status)
        return record

    def layer_blob(self, digest: str) -> BlobRecord | LentRecord | None:
        """Return the record of a layer's blob whose file exists with the recorded size, else None."""
        return self.intact_blob(digest)

    def blob_place(self, digest: str) -> str:
        """Return the path of a blob that `layer_blob` has found."""
        return self.directories.blob(digest)

    def lent(self, digest: str) -> LentRecord | None:
        """Return the record for a blob that this store does not record and an additional store has; else None."""
        del digest
        return None

    def is_lent(self, key: str) -> bool:
        """Whether the tree *key* has to come from an additional store, because this store has no trusted one."""
        del key
        return False

    def tree_roots(self) -> list[str]:
        """Return the parent directories of all trees that may be used."""
        return [self.directories.trees]

    def release(self) -> None:
        """Close everything that has to be closed before a fork."""
        self.graph.release()

    def is_recorded(self, digest: str) -> bool:
        """Whether the graph records the blob, even if its file is gone."""
        with self.graph.read() as snapshot:
            return snapshot.blob(digest) is not None

    def tree_record(self, key: str) -> TreeRecord | None:
        """Return the record of this store's tree *key*, trusted or not."""
        with self.graph.read() as snapshot:
            return snapshot.tree(key)

    def tree_records(self, keys: Sequence[str]) -> dict[str, TreeRecord]:
        """Return the records of these trees. Raises StoreDamagedError if one is not recorded."""
        found = {}
        with self.graph.read() as snapshot:
            for key in keys:
                record = self._known_tree(snapshot, key)[0]
                if record is None:
                    raise StoreDamagedError(f"tree {key}", "is not in the store")
                found[key] = record
        return found

    def _known_tree(self, snapshot: Snapshot, key: str) -> tuple[TreeRecord | None, str]:
        """Return the record of the tree *key* (None if there is none), and its directory."""
        return snapshot.tree(key), self.directories.tree(key)

    def is_trusted(self, key: str) -> bool:
        """Whether the tree *key* is in place, and a power cut cannot have damaged it."""
        return self.are_trusted([key])

    def are_trusted(self, keys: Sequence[str]) -> bool:
        """Whether all these trees are in place, and a power cut cannot have damaged them."""
        return self.trusted_records(keys) is not None

    def trusted_records(self, keys: Sequence[str]) -> list[tuple[str, TreeRecord]] | None:
        """Return these trees with their records; None if one is not trusted."""
        found = []
        with self.graph.read() as snapshot:
            for key in keys:
                record = self._trusted_record(snapshot, key)
                if record is None:
                    return None
                found.append((key, record))
        return found

    def _trusted_record(self, snapshot: Snapshot, key: str) -> TreeRecord | None:
        """Return the record of this store's tree *key*; None if it is not trusted."""
        record = snapshot.tree(key) if key else None
        if record is None or record.form not in TREES or not is_usable(properties(record.form)):
            return None
        if not self._is_intact(key, record):
            return None
        if record.is_outdated and key not in self._mounted_trees(snapshot):
            return None
        return record

    def holds_run(self, key: str) -> bool:
        """Whether the merged index *key* is in place, and a power cut cannot have damaged it."""
        with self.graph.read() as snapshot:
            record = snapshot.tree(key)
            return record is not None and self._is_intact(key, record)

    def _mounted_trees(self, snapshot: Snapshot) -> Set[str]:
        """The trees of current mounts, which are kept as they are even if they follow older rules."""
        if self._mounted is None:
            from arstore.store.collect.holders import mounted_trees

            self._mounted = mounted_trees(self.directories, snapshot).keys()
        return self._mounted

    def missing_runs(self, runs: Sequence[Run]) -> list[Run]:
        """Return those of *runs* whose merged index is not in place, or may have been damaged by a power cut."""
        return [run for run in runs if self.run_place(run) is None]

    def run_place(self, run: Run) -> str | None:
        """Return the directory of *run*'s merged index, from the store of its members; None if none is trusted."""
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
        """Whether content that was found intact is gone or replaced by now."""
        with self.graph.read() as snapshot:
            for (table, key), identity in self._seen.items():
                record = snapshot.blob(key) if table == "blob" else snapshot.tree(key)
                path = self.directories.blob(key) if table == "blob" else self.directories.tree(key)
                if record is None or _identity(path, is_blob=table == "blob") != identity:
                    return True
        return False

    def adapted_tree(self, layer: IncomingLayer) -> str | None:
        """Return the key of the trusted tree adapted to this chain; None if there is none."""
        with self.graph.read() as snapshot:
            record = snapshot.layer(layer.chain_id)
        key = (record.tree if record is not None else "") or self._tree_elsewhere(layer)
        if key in {"", layer.diff_id}:
            return None
        return key if self.serves(layer, key) else None

    def _tree_elsewhere(self, layer: IncomingLayer) -> str:
        """Return the key of an additional store's tree adapted to this chain; "" if there is none."""
        del layer
        return ""

    def serves(self, layer: IncomingLayer, key: str) -> bool:
        """Whether the tree *key* is trusted and may be used for *layer*."""
        del layer
        return self.is_trusted(key)

    def trusted_tree(self, layer: IncomingLayer) -> str | None:
        """Return the key of a trusted tree for *layer*: the one adapted to its chain, else the shared one; or None."""
        return self.adapted_tree(layer) or (layer.diff_id if self.serves(layer, layer.diff_id) else None)

    def tree_place(self, key: str) -> tuple[TreeFormat, str]:
        """Return form and directory of the recorded tree *key*. Raises StoreDamagedError."""
        return self.tree_places([key])[0]

    def tree_directory(self, key: str) -> str:
        """Return the directory of the tree *key*, which `trusted_records` has found. Raises StoreDamagedError."""
        return self.directories.tree(key)

    def tree_places(self, keys: Sequence[str]) -> list[tuple[TreeFormat, str]]:
        """Return form and directory of each of these recorded trees. Raises StoreDamagedError."""
        found = []
        with self.graph.read() as snapshot:
            for key in keys:
                record, path = self._known_tree(snapshot, key)
                if record is None or record.form not in self.forms:
                    raise StoreDamagedError(f"tree {key}", "is not in the store")
                found.append((self.forms[record.form], path))
        return found


def _blob_identity(status: os.stat_result) -> tuple[int, int]:
    """Return the inode number and the mtime: a blob is written once, but its ctime changes with each link to it."""
    return status.st_ino, status.st_mtime_ns


def _identity(path: str, *, is_blob: bool) -> tuple[int, int] | None:
    """Return the identity of the blob or the tree at *path*; None if it does not exist."""
    if not is_blob:
        return _tree_identity(path)
    try:
        return _blob_identity(os.stat(path, follow_symlinks=False))
    except FileNotFoundError:
        return None


def _tree_identity(path: str, kind: int = 0) -> tuple[int, int] | None:
    """Return the inode number and the ctime of *path*; the ctime is needed because inode numbers are reused.

    None if it does not exist, or if its type is not *kind*.
    """
    try:
        status = os.stat(path, follow_symlinks=False)
    except FileNotFoundError:
        return None
    return (status.st_ino, status.st_ctime_ns) if kind in {0, stat.S_IFMT(status.st_mode)} else None
