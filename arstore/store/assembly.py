"""Putting a chain together: which tree stands for each layer, and what has to lie on top of them all.

Most layers say everything they need, and their tree is the one of their diff ID. A layer that speaks through
directories it has no entry for gets a tree of its own under its chain ID where a lower layer has a symlink in that
place, and the whole stack gets a *cap*, a tree of directories only, where such a directory would show other
attributes than the layers below gave it.
"""

from __future__ import annotations

import os
from contextlib import ExitStack
from typing import TYPE_CHECKING

from arstore.digest import Digest
from arstore.store.adapt import cap_entries, plan
from arstore.store.layer import LayerPass
from arstore.store.merged import MergedView
from arstore.store.needs import read_needs
from arstore.store.records import TreeRecord

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from arstore.store.incoming import IncomingLayer
    from arstore.store.ingest import Ingest
    from arstore.store.inventory import Inventory
    from arstore.store.publication import Publication
    from arstore.store.tree import Needs, TreeFormat

    Adapt = Callable[[IncomingLayer, LayerPass, str], None]

CAP_FORM = "directory"
"""The form of caps: they hold a few directories and no content."""


class Assembly:
    """The trees of chains, some in the store and some still in the ingest."""

    def __init__(self, inventory: Inventory, ingest: Ingest, publication: Publication, adapt: Adapt) -> None:
        self._inventory = inventory
        self._ingest = ingest
        self._publication = publication
        self._adapt = adapt
        self._needs: dict[str, Needs] = {}

    def stack(self, layers: Sequence[IncomingLayer]) -> tuple[list[str], str]:
        """The keys of the trees for *layers*, bottom first, and the key of their cap ("" when they need none).

        Raises TarError when a hard link's target is in no layer, UnsafePathError, OSError.
        """
        keys: list[str] = []
        for layer in layers:
            keys.append(self._tree(layer, keys))
        for key in keys:
            if key not in self._publication.trees:
                self._publication.reused_trees.add(key)
        return keys, self._cap(layers, keys)

    def _tree(self, layer: IncomingLayer, below: list[str]) -> str:
        recorded = self._publication.layers.get(layer.chain_id)
        if recorded is not None and recorded.tree:
            return recorded.tree
        adapted = self._inventory.adapted_tree(layer)
        if adapted is not None:
            return adapted
        needs = self._needs_of(layer.diff_id)
        if not needs.absent_links and needs.implied in ([], [b""]):
            return layer.diff_id
        with ExitStack() as stack:
            adaptation = plan(needs, self._view(below, stack))
            if adaptation is None:
                return layer.diff_id
            form, _ = self._place(layer.diff_id)
            directory = self._ingest.directory(f"tree-{layer.chain_id.hex}")
            work = LayerPass(layer.digest, layer.size, layer.diff_id, "", form, directory, adaptation)
            self._adapt(layer, work, layer.chain_id)
        return layer.chain_id

    def _cap(self, layers: Sequence[IncomingLayer], keys: list[str]) -> str:
        if not any(self._needs_of(key).implied for key in keys):
            return ""
        with ExitStack() as stack:
            entries = cap_entries(self._view(keys, stack))
        if not entries:
            return ""
        key = Digest.of(f"cap of {layers[-1].chain_id}".encode())
        if key in self._publication.trees:
            return key
        if self._inventory.is_trusted(key):
            self._publication.reused_trees.add(key)
            return key
        form = self._inventory.forms[CAP_FORM]
        directory = self._ingest.directory(f"tree-{key.hex}")
        fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        builder = form.builder(fd)
        try:
            for entry in entries:
                builder.add(entry, _NOTHING)
            _, stat = builder.finish()
        finally:
            builder.close()
            os.close(fd)
        record = TreeRecord(form.name, self._inventory.boot, False, stat.entries, stat.size, False)
        self._publication.add_tree(key, directory, record, self._inventory.tree_record(key))
        return key

    def _view(self, keys: Sequence[str], stack: ExitStack) -> MergedView:
        """The merged view of these trees (given bottom first), open until *stack* is."""
        layers = []
        for key in reversed(list(dict.fromkeys(reversed(keys)))):
            form, path = self._place(key)
            fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            stack.callback(os.close, fd)
            layers.append((form, fd, frozenset(self._needs_of(key).implied)))
        layers.reverse()
        return MergedView(layers)

    def _place(self, key: str) -> tuple[TreeFormat, str]:
        staged = self._publication.trees.get(key)
        if staged is not None:
            return self._inventory.forms[staged[1].form], staged[0]
        return self._inventory.tree_place(key)

    def _needs_of(self, key: str) -> Needs:
        if key not in self._needs:
            self._needs[key] = read_needs(self._place(key)[1])
        return self._needs[key]


class _NoContent:
    """The content of directories."""

    def chunks(self) -> tuple[bytes, ...]:
        return ()


_NOTHING = _NoContent()
