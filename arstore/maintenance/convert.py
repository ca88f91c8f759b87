"""Conversion of trees from one form to the other.

A tree is rebuilt from its layer's blob, as after damage, and replaces the old one in one transaction with the graph. A
crash on the way leaves the old tree or the new one. Trees in use are not changed. Neither are caps, which have only one
form, nor merged indexes, which follow from their members.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum
from typing import TYPE_CHECKING

from arstore.disk.access import require_writable
from arstore.errors import ArstoreError, HostError, PermissionDeniedError, as_root
from arstore.store.collect.holders import tree_holders
from arstore.store.ingest.incoming import NoBlobs
from arstore.store.store import chain_of

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Iterator, Sequence

    from arstore.graph.records import TreeRecord
    from arstore.graph.snapshot import Snapshot
    from arstore.store.collect.holders import Holder
    from arstore.store.progress import Progress
    from arstore.store.store import Store, StoredImage
    from arstore.trees.format import TreeFormat


class Fate(Enum):
    """The outcome for a tree."""

    CONVERTED = "converted"
    PLANNED = "to-convert"
    UNCHANGED = "unchanged"
    UNREPRESENTABLE = "unrepresentable"
    IN_USE = "in-use"
    FAILED = "failed"


@dataclass(slots=True, frozen=True)
class Conversion:
    """One tree: its key, its form after the work, and the reason if it is not the requested one.

    `error` is the error that ended the work on its image.
    """

    key: str
    outcome: Fate
    form: str
    why: str = ""
    hint: str = ""
    error: ArstoreError | None = None


def target_forms(store: Store, name: str) -> tuple[TreeFormat, ...]:
    """Return the forms to make: *name*, or this host's choice for `auto`, and the fallback for other layers.

    Raises PermissionDeniedError if this process may not make trees, HostError for a form that cannot be mounted here:
    converted images could no longer be used.
    """
    forms = store.tree_forms(name)
    if not forms:
        raise PermissionDeniedError(store.directories.root, "this user may not make trees", as_root())
    if not forms[0].properties.extracts:
        from arstore.mounts.probe import can_mount
        from arstore.trees.forms import FALLBACK

        if not can_mount(store.directories, forms[0]):
            hint = f"`--tree {FALLBACK.name}` works everywhere"
            raise HostError(f"--tree {forms[0].name}", "this host cannot mount such trees", hint)
    return forms


def plan_conversion(store: Store, images: Sequence[StoredImage], form: str) -> list[Conversion]:
    """Return what `convert` would do to the trees of *images*, each once. Raises the errors of Graph."""
    found: dict[str, Conversion] = {}
    with store.graph.read() as snapshot:
        held = _Held(store, snapshot)
        for image in images:
            found.update(_planned(snapshot, held, image, form, found.keys()))
    return list(found.values())


def convert(
    store: Store, images: Sequence[StoredImage], forms: tuple[TreeFormat, ...], progress: Progress | None = None
) -> Iterator[Conversion]:
    """Convert the trees of *images*, each once, to the first of *forms*; yield each outcome as soon as it is known.

    Images are converted one at a time, which needs space for both forms of an image's trees. Missing trees are left to
    their next use, and an image that fails does not stop the others. Raises PermissionDeniedError for a read-only
    store, the errors of Graph, OSError.
    """
    require_writable(store.directories.root)
    form = forms[0].name
    seen: set[str] = set()
    for image in images:
        with store.graph.read() as snapshot:
            plan = _planned(snapshot, _Held(store, snapshot), image, form, seen)
        seen |= plan.keys()
        again = frozenset(key for key, one in plan.items() if one.outcome is Fate.PLANNED)
        try:
            if again:
                store.take([store.incoming(image)], [], NoBlobs(), forms, progress, again=again)
        except ArstoreError as error:
            for one in plan.values():
                failed = replace(one, outcome=Fate.FAILED, why=str(error), error=error)
                yield failed if one.outcome is Fate.PLANNED else one
            continue
        yield from _done(store, plan.values(), form)


class _Held:
    """The holders of trees, found on first use, because that reads all containers and mounts."""

    def __init__(self, store: Store, snapshot: Snapshot) -> None:
        self._directories = store.directories
        self._snapshot = snapshot
        self._holders: dict[str, Holder] | None = None

    def get(self, key: str) -> Holder | None:
        """Return a holder of the tree *key*, or None."""
        if self._holders is None:
            self._holders = tree_holders(self._directories, self._snapshot)
        return self._holders.get(key)


def _planned(
    snapshot: Snapshot, held: _Held, image: StoredImage, form: str, seen: Container[str]
) -> dict[str, Conversion]:
    """Return the plan for *image*, by key, top first, without the trees already *seen*."""
    found: dict[str, Conversion] = {}
    for _, layer in reversed(chain_of(snapshot, image)):
        tree = snapshot.tree(layer.tree) if layer.tree and layer.tree not in seen else None
        if tree is None or layer.tree in found:
            continue
        if tree.form == form:
            one = Conversion(layer.tree, Fate.UNCHANGED, form)
        elif (holder := held.get(layer.tree)) is not None:
            one = Conversion(layer.tree, Fate.IN_USE, tree.form, holder.why, holder.hint)
        else:
            one = Conversion(layer.tree, Fate.PLANNED, tree.form)
        found[layer.tree] = one
    return found


def _done(store: Store, plan: Iterable[Conversion], form: str) -> Iterator[Conversion]:
    """Yield *plan* with its outcomes."""
    with store.graph.read() as snapshot:
        held = _Held(store, snapshot)
        done = [_outcome(one, snapshot.tree(one.key), held, form) for one in plan]
    yield from done


def _outcome(one: Conversion, record: TreeRecord | None, held: _Held, form: str) -> Conversion:
    if one.outcome is not Fate.PLANNED or record is None:
        return one
    if record.form == form:
        return replace(one, outcome=Fate.CONVERTED, form=form)
    if (holder := held.get(one.key)) is not None:
        return replace(one, outcome=Fate.IN_USE, why=holder.why, hint=holder.hint)
    why = f"its layer contains something that the form {form} cannot represent here"
    return replace(one, outcome=Fate.UNREPRESENTABLE, why=why)
