"""Replacement of trees, such that the record always fits the tree in place, or marks it as not trusted.

A file and a record of the graph cannot change at once. So if a good tree is to be replaced by one of another form, its
trust is removed first, in a separate transaction. Then both change: the names are exchanged, which keeps a tree in
place all the time, and the record is written. If the process dies in between, the tree is rebuilt at its next use. If
it fails, or finds that the tree has come into use, everything is undone.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

from arstore.linux.files.rename import exchange
from arstore.linux.process import boot_id
from arstore.trace import reached

if TYPE_CHECKING:
    from collections.abc import Mapping, Set

    from arstore.disk.paths import Directories
    from arstore.disk.staging import Ingest
    from arstore.graph.graph import Graph
    from arstore.graph.records import TreeRecord
    from arstore.graph.write import Change


class Replacement:
    """The trees that one publication replaces: those with the records *outdated*, except trees of *sparing* in use.

    Of trees that follow other rules, it spares those of current mounts.
    """

    def __init__(
        self, directories: Directories, ingest: Ingest, outdated: Mapping[str, TreeRecord], sparing: Set[str]
    ) -> None:
        self._directories = directories
        self._ingest = ingest
        self._outdated = dict(outdated)
        self._sparing = sparing
        boot = boot_id()
        # Only trusted trees are spared: an untrusted tree is of no use to its mounts either.
        self._other_rules = {
            key for key, one in outdated.items() if one.is_outdated and (one.synced or one.boot == boot)
        }
        self._good: dict[str, TreeRecord] = {}
        self._exchanged: dict[str, str] = {}

    def announce(self, graph: Graph) -> None:
        """Remove the trust of the good trees among those to be replaced. Raises the errors of Graph."""
        boot = boot_id()
        good = {key: record for key, record in self._outdated.items() if record.synced or record.boot == boot}
        if not good:
            return
        with graph.write() as change:
            held = self.held(change)
            for key, record in good.items():
                if key not in held and change.tree(key) == record:
                    self._good[key] = record
                    self._outdated[key] = record._replace(boot="", synced=False)
                    change.put_tree(key, self._outdated[key])
        reached("publish.announced")

    def held(self, change: Change) -> Set[str]:
        """Return the trees that are spared now, because they are in use."""
        if not self._sparing and not self._other_rules:
            return frozenset()
        from arstore.store.collect.holders import mounted_trees, tree_holders

        found: Set[str] = tree_holders(self._directories, change).keys() & self._sparing if self._sparing else set()
        return found | (mounted_trees(self._directories, change).keys() & self._other_rules)

    def may_replace(self, change: Change, key: str, held: Set[str]) -> bool:
        """Whether the recorded tree *key* is still as it was; a *held* tree gets its trust back."""
        if change.tree(key) != self._outdated.get(key):
            return False
        if key in held:
            if key in self._good:
                change.put_tree(key, self._good[key])
            return False
        return True

    def place(self, key: str, staged: str) -> None:
        """Move the directory *staged* to the tree's place, and the old tree into the ingest. Raises OSError."""
        path = self._directories.tree(key)
        if os.path.lexists(path) and exchange(staged, path):
            self._exchanged[key] = staged
            reached("publish.tree-exchanged")
            return
        # This cannot be undone at once: the record stays unchanged until the transaction commits.
        self._good.pop(key, None)
        with suppress(FileNotFoundError):
            self._ingest.take(path, f"replaced-{os.path.basename(path)}")
        self._ingest.place(staged, path)

    def undo(self, change: Change) -> None:
        """Put back the trees that no other process has touched since, after the transaction was aborted.

        A power cut may undo only the second of two exchanges. So a tree that was exchanged and is back in place counts
        as one of this boot until the next sync, whatever it was before.
        """
        for key, record in self._good.items():
            if change.tree(key) != self._outdated[key]:
                continue
            staged = self._exchanged.get(key)
            if staged is None:
                change.put_tree(key, record)
            elif exchange(staged, self._directories.tree(key)):
                change.put_tree(key, record._replace(boot=boot_id(), synced=False))
