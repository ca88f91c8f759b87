"""Replacing trees: at every moment the record of a tree fits what lies in its place, or says that it is not relied on.

A file and a record of the graph cannot change at once. So a tree that is good, and is to be replaced by one of another
form, loses its trust first, in a transaction of its own. Then both change: names are exchanged, which leaves a tree in
the place all the time, and the record is written. If it dies between, the tree is made anew at its next use; if it
fails, or finds that something has come to stand on the tree, all is undone.
"""

from __future__ import annotations

import contextlib
import os
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
    """The trees that one publication replaces: those with the records *outdated*, but no held one of *sparing*.

    Of trees that were made by other rules it spares those that something is mounted over.
    """

    def __init__(
        self, directories: Directories, ingest: Ingest, outdated: Mapping[str, TreeRecord], sparing: Set[str]
    ) -> None:
        self._directories = directories
        self._ingest = ingest
        self._outdated = dict(outdated)
        self._sparing = sparing
        boot = boot_id()
        # What is not relied on is of no use to whatever stands on it.
        self._other_rules = {
            key for key, one in outdated.items() if one.is_outdated and (one.synced or one.boot == boot)
        }
        self._good: dict[str, TreeRecord] = {}
        self._exchanged: dict[str, str] = {}

    def announce(self, graph: Graph) -> None:
        """Take the trust from the good trees among those to be replaced. Raises the errors of Graph."""
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
        """The trees that are to be spared now, because something stands on them."""
        if not self._sparing and not self._other_rules:
            return frozenset()
        from arstore.store.collect.holders import mounted_trees, tree_holders

        found: Set[str] = tree_holders(self._directories, change).keys() & self._sparing if self._sparing else set()
        return found | (mounted_trees(self._directories, change).keys() & self._other_rules)

    def may_replace(self, change: Change, key: str, held: Set[str]) -> bool:
        """Whether the tree *key*, which is recorded, is still what it was; what is *held* gets its trust back."""
        if change.tree(key) != self._outdated.get(key):
            return False
        if key in held:
            if key in self._good:
                change.put_tree(key, self._good[key])
            return False
        return True

    def place(self, key: str, staged: str) -> None:
        """Give the directory *staged* the tree's place; what is there goes into the ingest. Raises OSError."""
        path = self._directories.tree(key)
        if os.path.lexists(path) and exchange(staged, path):
            self._exchanged[key] = staged
            reached("publish.tree-exchanged")
            return
        # This cannot be undone at once: the record stays as it is until the transaction commits.
        self._good.pop(key, None)
        with contextlib.suppress(FileNotFoundError):
            self._ingest.take(path, f"replaced-{os.path.basename(path)}")
        self._ingest.place(staged, path)

    def undo(self, change: Change) -> None:
        """Put back what nobody has touched since, after the transaction of the replacement was given up.

        Of two exchanges a power cut may undo the second alone: until the next sync a tree that was exchanged and is
        back in its place is one of this boot, whatever it was before.
        """
        for key, record in self._good.items():
            if change.tree(key) != self._outdated[key]:
                continue
            staged = self._exchanged.get(key)
            if staged is None:
                change.put_tree(key, record)
            elif exchange(staged, self._directories.tree(key)):
                change.put_tree(key, record._replace(boot=boot_id(), synced=False))
