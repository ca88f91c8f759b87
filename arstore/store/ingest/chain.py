"""Assembly of a chain: the tree for each layer, and the cap on top of them.

Most layers are complete, and use the shared tree of their diff ID. A layer that has members or marks in a directory
without an entry for it gets an adapted tree under its chain ID, if a lower layer has a symlink in that place, or if no
lower layer has the directory and the layer has only marks in it. The whole stack gets a *cap*, a tree with directories
only, if such a directory would show other attributes than the layers below gave it.

The stack must not exceed overlayfs's limit. Where a cap would be one tree too many, its directories go into a special
tree of the top layer, for this chain only. Runs of small trees get a merged index (`mounts.merge_plan`).
"""

from __future__ import annotations

import os
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING

from arstore.digest import Digest
from arstore.errors import ArstoreError
from arstore.graph.records import RULES, TreeRecord
from arstore.mounts.merge_plan import Run
from arstore.mounts.merge_plan import plan as plan_runs
from arstore.mounts.overlay import MAX_LOWERS
from arstore.tar.entry import Kind
from arstore.tar.whiteout import Mark, mark_of
from arstore.trace import reached
from arstore.trees.adaptation import OwnTree, cap_entries, plan
from arstore.trees.format import UnrepresentableError
from arstore.trees.forms import extracted
from arstore.trees.memory_quota import Allowance
from arstore.trees.merged_view import MergedView
from arstore.trees.needs import NO_NEEDS, read_needs
from arstore.trees.relocation import NOTHING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from arstore.disk.staging import Ingest
    from arstore.store.ingest.incoming import IncomingLayer
    from arstore.store.ingest.inventory import Inventory
    from arstore.store.ingest.layer_pass import Adaptation as Change
    from arstore.store.ingest.layer_pass import LayerPass
    from arstore.store.ingest.publish import Publication
    from arstore.tar.entry import Entry
    from arstore.tar.limits import Limits
    from arstore.tar.steps import Steps
    from arstore.trees.adaptation import Adaptation
    from arstore.trees.format import Content, EntryReader, Needs, TreeBuilder, TreeFormat

    Adapt = Callable[[LayerPass, str], None]


class Assembly:
    """The trees of chains, some in the store and some still in the ingest.

    Paths that layers imply are looked up in all trees below; *allowance* limits the steps for that.
    """

    def __init__(
        self,
        inventory: Inventory,
        ingest: Ingest,
        publication: Publication,
        adapt: Adapt,
        allowance: Allowance | None = None,
    ) -> None:
        self._inventory = inventory
        self._allowance = allowance or Allowance()
        self._ingest = ingest
        self._publication = publication
        self._adapt = adapt
        self._needs: dict[str, Needs] = {}

    def stack(self, layers: Sequence[IncomingLayer]) -> tuple[list[str], str]:
        """Return the keys of the trees for *layers*, bottom first, and the key of their cap ("" if not needed).

        Raises TarError if the target of a hard link is in no layer, UnsafePathError, OSError.
        """
        keys: list[str] = []
        straight: dict[bytes, int] = {}
        for layer in layers:
            keys.append(self._tree(layer, keys, straight))
        keys, cap = self._with_cap(layers, keys)
        for key in keys:
            self._reuse(key)
        self._merge([*([cap] if cap else []), *_top_first(keys)])
        return keys, cap

    def _tree(self, layer: IncomingLayer, below: list[str], straight: dict[bytes, int]) -> str:
        """Return the key of the tree for *layer*. *straight* is the cache of `_is_straight`."""
        recorded = self._publication.layers.get(layer.chain_id)
        if recorded is not None and recorded.tree:
            return recorded.tree
        adapted = self._inventory.adapted_tree(layer)
        if adapted is not None:
            return adapted
        needs = self._needs_of(layer.diff_id)
        paths = (*needs.implied, *needs.passed)
        asks = needs.absent_links or needs.marked
        absent: dict[str, set[bytes]] = {}
        if not asks and all(self._is_straight(path, below, straight, absent) for path in paths):
            return layer.diff_id
        with ExitStack() as stack:
            adaptation = self._plan(layer, below, stack)
            if adaptation is None:
                straight.update(dict.fromkeys(paths, len(below)))
                return layer.diff_id
            key = _adapted_key(layer)
            directory = self._ingest.directory(f"adapted-{key.hex}")
            self._adapt(self._again(layer, directory, adaptation), key)
        return key

    def _plan(self, layer: IncomingLayer, below: list[str], stack: ExitStack) -> Adaptation | None:
        """Return how *layer* has to be changed to fit the trees *below*, which stay open until *stack* closes."""
        needs = self._needs_of(layer.diff_id)
        form, path = self._place(layer.diff_id)
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        stack.callback(os.close, fd)
        return plan(needs, self._view(below, stack), OwnTree(form, fd, frozenset(needs.implied)))

    def _is_straight(
        self, path: bytes, below: list[str], straight: dict[bytes, int], absent: dict[str, set[bytes]]
    ) -> bool:
        """Whether *path* is known not to be a symlink in any of the trees *below*.

        *straight* has the number of trees, from the bottom, for which this is known: if hundreds of layers imply one
        directory, each looks only at the one below it. *absent* has paths that each tree lacks: if a tree lacks a
        thousand nested directories, only the first is looked up.
        """
        known = straight.get(path) if path else len(below)
        if known is None:
            return False
        parent = path.rpartition(b"/")[0]
        for key in below[known:]:
            lacks = absent.setdefault(key, set())
            if parent in lacks:
                lacks.add(path)
                continue
            self._allowance.look_up(path, 1)
            form, place = self._place(key)
            fd = os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                node = form.lookup(fd, path)
            finally:
                os.close(fd)
            if node is None:
                lacks.add(path)
            elif node.entry.path == path and node.entry.kind is Kind.SYMLINK:
                return False
        straight[path] = len(below)
        return True

    def _with_cap(self, layers: Sequence[IncomingLayer], keys: list[str]) -> tuple[list[str], str]:
        """Return the keys of the trees for *layers*, and the key of their cap ("" if not needed).

        The keys are *keys*, unless the stack is full: then the top tree is a special one with the cap's directories.
        """
        needs = [self._needs_of(key) for key in _top_first(keys)]
        if not any(one.implied or one.masked for one in needs):
            return keys, ""
        with ExitStack() as stack:
            view = self._view(keys, stack)
            masked = {
                path for place, one in enumerate(needs) for path in one.masked if view.layers_of(path) == (place,)
            }
            entries = cap_entries(view, masked)
            if not entries:
                return keys, ""
            if len(plan_runs(self._records(_top_first(keys)[: view.mounted()]), MAX_LOWERS - 1)) >= MAX_LOWERS:
                only_top = frozenset(path for path in masked if view.layers_of(path) == (0,))
                return [*keys[:-1], self._capped_top(layers[-1], keys[:-1], entries, only_top, stack)], ""
        key = Digest.of(f"cap of {layers[-1].chain_id}".encode())
        if key not in self._publication.trees and not self._has(key, layers):
            self._build_cap(key, entries)
        self._reuse(key)
        return keys, key

    def _has(self, key: str, layers: Sequence[IncomingLayer]) -> bool:
        """Whether the tree *key* exists; a lent one counts only for an image that also has lent blobs."""
        if not self._inventory.is_trusted(key):
            return False
        is_lent = self._inventory.is_lent(key)
        return not is_lent or any(self._inventory.lent(one.digest) is not None for one in layers)

    def _build_cap(self, key: str, entries: Iterable[Entry]) -> None:
        form = self._inventory.forms[extracted().name]
        directory = self._ingest.directory(f"tree-{Digest(key).hex}")
        fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        builder = form.builder(fd)
        try:
            for entry in entries:
                builder.add(entry, NOTHING)
            _, stat = builder.finish()
        finally:
            builder.close()
            os.close(fd)
        reached("take.cap-built")
        sums = (*stat.sums, NO_NEEDS, RULES)
        record = TreeRecord(form.name, self._inventory.boot, False, stat.entries, stat.size, False, sums=sums)
        self._publication.add_tree(key, directory, record, self._inventory.tree_record(key))

    def _capped_top(
        self,
        layer: IncomingLayer,
        below: list[str],
        cap: Sequence[Entry],
        only_here: frozenset[bytes],
        stack: ExitStack,
    ) -> str:
        """Return the key of a tree of the top *layer*, over *below*, that also has the directories of *cap*."""
        key = Digest.of(f"capped {layer.chain_id}".encode())
        if key not in self._publication.trees and not self._has(key, [layer]):
            capped = _Capped(self._plan(layer, below, stack), cap, only_here)
            directory = self._ingest.directory(f"tree-{key.hex}")
            self._adapt(self._again(layer, directory, capped), key)
        self._reuse(key)
        return key

    def _again(self, layer: IncomingLayer, directory: str, adaptation: Change) -> LayerPass:
        """Plan another pass over a layer's blob, wherever it is by now; in the form of its tree, if possible."""
        from arstore.store.ingest.layer_pass import LayerPass

        staged = self._publication.blobs.get(layer.digest)
        blob = staged[0] if staged else self._inventory.blob_place(layer.digest)
        forms = (self._place(layer.diff_id)[0], self._inventory.forms[extracted().name])
        return LayerPass(
            layer.digest, layer.size, layer.diff_id, blob, False, tuple(dict.fromkeys(forms)), directory, adaptation
        )

    def _merge(self, keys: list[str]) -> None:
        """Make the merged indexes that a mount of these trees (top first) uses.

        They are a cache: if one cannot be made, the image is taken in without it.
        """
        runs = [part for part in plan_runs(self._records(keys)) if isinstance(part, Run)]
        missing = {run.key for run in self._inventory.missing_runs(runs)}
        for run in runs:
            # An index over a tree that is rebuilt has to be rebuilt with it.
            stale = run.key in missing or any(member in self._publication.trees for member in run.members)
            if stale and run.key not in self._publication.trees and self._may_merge(run):
                with suppress(UnrepresentableError, ArstoreError, OSError):
                    self._publication.add_run(run, self._ingest, lambda key: self._place(key)[1], self._inventory)

    def _may_merge(self, run: Run) -> bool:
        """Whether all members are in this store, or will be after publication."""
        return not any(key not in self._publication.trees and self._inventory.is_lent(key) for key in run.members)

    def _records(self, keys: Sequence[str]) -> list[tuple[str, TreeRecord]]:
        """Return the records of these trees. Raises StoreDamagedError."""
        staged = self._publication.trees
        known = self._inventory.tree_records([key for key in keys if key not in staged])
        return [(key, staged[key][1] if key in staged else known[key]) for key in keys]

    def _reuse(self, key: str) -> None:
        if key not in self._publication.trees and not self._inventory.is_lent(key):
            self._publication.reused_trees.add(key)

    def _view(self, keys: Sequence[str], stack: ExitStack) -> MergedView:
        """Return the merged view of these trees (bottom first), open until *stack* closes."""
        layers = []
        for key in _top_first(keys):
            form, path = self._place(key)
            fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            stack.callback(os.close, fd)
            layers.append((form, fd, frozenset(self._needs_of(key).implied)))
        return MergedView(layers, self._allowance)

    def _place(self, key: str) -> tuple[TreeFormat, str]:
        staged = self._publication.trees.get(key)
        if staged is not None:
            return self._inventory.forms[staged[1].form], staged[0]
        return self._inventory.tree_place(key)

    def _needs_of(self, key: str) -> Needs:
        if key not in self._needs:
            self._needs[key] = read_needs(self._place(key)[1])
        return self._needs[key]


def _adapted_key(layer: IncomingLayer) -> Digest:
    """Return the key of an adapted tree: the chain ID; for a bottom layer, whose chain ID is its diff ID, another."""
    return layer.chain_id if layer.chain_id != layer.diff_id else Digest.of(f"bottom {layer.chain_id}".encode())


def _top_first(keys: Sequence[str]) -> list[str]:
    """Return the keys of a stack (bottom first) in overlayfs's order: top first, each once, at its topmost place."""
    return list(dict.fromkeys(reversed(keys)))


class _Capped:
    """A layer's entries, adapted if necessary, followed by those of a cap.

    Whiteouts in directories that only this layer has are left out: they hide nothing, and overlayfs would show them.
    """

    def __init__(self, adaptation: Adaptation | None, cap: Sequence[Entry], only_here: frozenset[bytes]) -> None:
        self._adaptation = adaptation
        self._cap = cap
        self._only_here = only_here

    def pay(self, steps: Steps, limits: Limits) -> None:
        if self._adaptation is not None:
            self._adaptation.pay(steps, limits)

    def survey(self, reader: EntryReader) -> None:
        if self._adaptation is not None:
            self._adaptation.survey(reader)

    def attach(self, builder: TreeBuilder) -> None:
        if self._adaptation is not None:
            self._adaptation.attach(builder)

    def entries(self, reader: EntryReader) -> Iterator[tuple[Entry, Content]]:
        own = ((entry, reader) for entry in reader) if self._adaptation is None else self._adaptation.entries(reader)
        for entry, content in own:
            if entry.parent not in self._only_here or mark_of(entry)[0] is not Mark.WHITEOUT:
                yield entry, content
        for entry in self._cap:
            yield entry, NOTHING
