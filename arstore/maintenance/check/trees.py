"""Trees: their content against what was recorded of it when they were made, and merged indexes against their members.

Only trees that are relied on are looked at: what a power cut may have hurt is built again anyway.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from arstore.errors import StoreDamagedError
from arstore.maintenance.check.findings import Damage, Finding
from arstore.store.runs import fault as run_fault

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from arstore.store.graph import Snapshot
    from arstore.store.records import LayerRecord, TreeRecord
    from arstore.store.store import Store

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(slots=True, frozen=True)
class Candidate:
    """A tree to look at: its record, a layer that it shows (None for caps and merged indexes), and its inode."""

    key: str
    record: TreeRecord
    layer: LayerRecord | None
    inode: int

    @property
    def bytes(self) -> int:
        """About as many as looking deep will read."""
        return self.layer.size if self.layer is not None else self.record.size


def candidates(store: Store, snapshot: Snapshot) -> Iterator[Candidate]:
    """The trees of the graph that are in their places and relied on. Raises the errors of Graph."""
    boot = store.inventory().boot
    records = dict(snapshot.trees())
    layers = {layer.tree: layer for _, layer in snapshot.layers() if layer.tree}

    def inode(key: str) -> int:
        record = records.get(key)
        if record is None or (not record.synced and record.boot != boot):
            return 0
        if not record.members and record.form not in store.forms:
            return 0
        try:
            return os.stat(store.directories.tree(key), follow_symlinks=False).st_ino
        except OSError:
            return 0

    for key, record in records.items():
        if (found := inode(key)) and all(map(inode, record.members)):
            yield Candidate(key, record, layers.get(key), found)


def altered(store: Store, tree: Candidate, deep: bool, report: Callable[[int], None]) -> Finding | None:
    """What is wrong with one tree. The graph is not read."""
    try:
        if tree.record.members:
            found = run_fault(tree.key, tree.record, store.directories.tree, deep)
        else:
            found = _fault(store, tree, deep, report)
    except StoreDamagedError as error:
        # Of a merged index it is a member that is damaged, which is found by itself.
        found = "" if tree.record.members else f"{error.what}: {error.why}"
    except OSError as error:
        found = f"cannot be read: {(error.strerror or str(error)).lower()}"
    return Finding(Damage.TREE_ALTERED, tree.key, found) if found else None


def _fault(store: Store, tree: Candidate, deep: bool, report: Callable[[int], None]) -> str:
    fd = os.open(store.directories.tree(tree.key), _DIRECTORY)
    try:
        if tree.layer is None:
            return ""
        form = store.forms[tree.record.form]
        return form.fault(fd, tree.layer.diff_id, tree.layer.size, deep, report)
    finally:
        os.close(fd)


def is_still_there(store: Store, tree: Candidate) -> bool:
    """Whether nobody has removed or replaced the tree since it was listed. Raises the errors of Graph."""
    with store.graph.read(lenient=True) as snapshot:
        record = snapshot.tree(tree.key)
    if record is None or record._replace(synced=False) != tree.record._replace(synced=False):
        return False
    try:
        return os.stat(store.directories.tree(tree.key), follow_symlinks=False).st_ino == tree.inode
    except OSError:
        return True
