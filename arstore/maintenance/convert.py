"""Converting trees from one form to the other.

A tree is made anew from its layer's blob, as after damage, and takes the old one's place in one transaction with the
graph; whatever dies on the way leaves the old tree or the new one. Trees that something alive stands on are not
touched, and neither are caps, which have one form, nor merged indexes, which follow from what they are made of.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, replace
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


class Fate(enum.Enum):
    """What became of a tree."""

    CONVERTED = "converted"
    PLANNED = "to-convert"
    UNCHANGED = "unchanged"
    UNREPRESENTABLE = "unrepresentable"
    IN_USE = "in-use"
    FAILED = "failed"


@dataclass(slots=True, frozen=True)
class Conversion:
    """One tree: its key, its form when the work is done, and, where it is not the one asked for, why.

    `error` is what ended the work on its image.
    """

    key: str
    outcome: Fate
    form: str
    why: str = ""
    hint: str = ""
    error: ArstoreError | None = None


def target_forms(store: Store, name: str) -> tuple[TreeFormat, ...]:
    """The forms to make: *name*, or what this host would choose for `auto`, and what takes the layers it cannot.

    Raises PermissionDeniedError when this process may not make trees, HostError for a form that cannot be mounted here:
    images would be the worse for it.
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
    """What `convert` would do to the trees of *images*, each once. Raises the errors of Graph."""
    found: dict[str, Conversion] = {}
    with store.graph.read() as snapshot:
        held = _Held(store, snapshot)
        for image in images:
            found.update(_planned(snapshot, held, image, form, found.keys()))
    return list(found.values())


def convert(
    store: Store, images: Sequence[StoredImage], forms: tuple[TreeFormat, ...], progress: Progress | None = None
) -> Iterator[Conversion]:
    """Give the trees of *images*, each once, the first of *forms*; what became of each, as soon as that is known.

    An image at a time, which needs room for both forms of its trees. A tree that is not there is left to its next use,
    and an image that cannot be worked on does not keep the others from it. Raises PermissionDeniedError for a store
    that can only be read, the errors of Graph, OSError.
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
    """Who holds which tree, found out when somebody asks: all containers and mounts are looked at for that."""

    def __init__(self, store: Store, snapshot: Snapshot) -> None:
        self._directories = store.directories
        self._snapshot = snapshot
        self._holders: dict[str, Holder] | None = None

    def get(self, key: str) -> Holder | None:
        """One that holds the tree *key*."""
        if self._holders is None:
            self._holders = tree_holders(self._directories, self._snapshot)
        return self._holders.get(key)


def _planned(
    snapshot: Snapshot, held: _Held, image: StoredImage, form: str, seen: Container[str]
) -> dict[str, Conversion]:
    """What there is to do for *image*, by key, top first, but for the trees that were *seen*."""
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
    """*plan* as it has come out."""
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
    why = f"its layer holds something that the form {form} cannot represent here"
    return replace(one, outcome=Fate.UNREPRESENTABLE, why=why)
