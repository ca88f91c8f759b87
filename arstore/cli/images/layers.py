"""`layers`: list the layers of the store.

A store may have millions of layers. Only a few numbers are held for each; its line is formatted when it is printed.
"""

from __future__ import annotations

from array import array
from itertools import chain
from typing import TYPE_CHECKING

from arstore.cli.command import command, exit_statuses, json_option
from arstore.cli.images.images import name_order
from arstore.cli.terminal.output import human_size, short_digest, write_json_list, write_long_table
from arstore.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Any

    from arstore.cli.session import Session
    from arstore.graph.graph import Graph
    from arstore.graph.snapshot import Snapshot
    from arstore.store.forest import Forest

_HEAD = ("CHAIN ID", "DIFF ID", "PARENT", "SIZE>", "FORM", "IMAGES>")
_BATCH = 1000


@exit_statuses()
@command("layers")
@json_option
def layers(session: Session) -> None:
    """List the layers.

    A layer is identified by its chain ID, which covers the layer and all layers below it. SIZE is the size of its
    uncompressed tar. FORM is how the layer is kept for mounting: erofs, directory, or - if that has not been prepared
    yet. Layers of additional stores are listed after those of the store, with the path of their store in a column
    STORE.

    Example:

    arstore layers
    """
    with session.store(reads=True) as store:
        lenders = [] if store.elsewhere is None else store.elsewhere.stores.there()
        if session.json:
            write_json_list(chain(_documents(store.graph), *(_documents(one.graph, one.root) for one in lenders)))
        elif not lenders:
            write_long_table(_HEAD, _columns(store.graph).rows)
        else:
            found = [("-", _columns(store.graph)), *((one.root, _columns(one.graph)) for one in lenders)]
            write_long_table((*_HEAD, "STORE"), lambda: _with_place(found))
        if store.elsewhere is not None:
            store.elsewhere.stores.require_all()


def _forest(graph: Graph) -> tuple[Forest, list[str]]:
    """Return the layers of a store, and its images in the order in which the layers count them."""
    from arstore.store.forest import Forest

    with graph.read() as snapshot:
        tops = _tops(snapshot)
        return Forest(snapshot, list(tops.values())), list(tops)


def _columns(graph: Graph) -> _Columns:
    from arstore.store.forest import Forest

    with graph.read() as snapshot:
        return _Columns(snapshot, Forest(snapshot, list(_tops(snapshot).values())))


def _with_place(found: Sequence[tuple[str, _Columns]]) -> Iterator[Sequence[str]]:
    for place, columns in found:
        for row in columns.rows():
            yield (*row, place)


class _Images(NamedTuple):
    top: list[str]


def _tops(snapshot: Snapshot) -> dict[str, str]:
    """Return the chain ID of each image's top layer, by the image's digest, ordered by the images' names."""
    names = snapshot.names_by_digest()
    found: dict[str, str] = {}
    for digests, images in snapshot.batches("images", _Images):
        found.update(zip(digests, images.top, strict=True))
    ordered = sorted(found, key=lambda digest: name_order(names.get(digest, ()), digest))
    return {digest: found[digest] for digest in ordered}


class _Layers(NamedTuple):
    diff_id: list[str]
    size: list[int]
    tree: list[str]


class _Trees(NamedTuple):
    form: list[str]


class _Columns:
    """The columns of the table, by the number of a layer in *forest*."""

    def __init__(self, snapshot: Snapshot, forest: Forest) -> None:
        self._forest = forest
        self._names: list[str] = [""]
        self._sizes = array("q", bytes(8 * len(forest.chain_ids)))
        self._forms = array("i", bytes(4 * len(forest.chain_ids)))
        self._diff_ids = [""] * len(forest.chain_ids)
        numbers: dict[str, int] = {"": 0}
        forms: dict[str, int] = {}
        for keys, trees in snapshot.batches("trees", _Trees):
            for key, form in zip(keys, trees.form, strict=True):
                forms[key] = numbers.setdefault(form, len(numbers))
        self._names = list(numbers)
        seen: dict[str, str] = {}
        for chain_ids, found in snapshot.batches("layers", _Layers):
            for chain_id, diff_id, size, tree in zip(chain_ids, *found, strict=True):
                number = forest.numbers[chain_id]
                short = short_digest(diff_id)
                self._diff_ids[number] = seen.setdefault(short, short)
                self._sizes[number] = size
                self._forms[number] = forms.get(tree, 0)

    def rows(self) -> Iterator[Sequence[str]]:
        """Return the cells of each layer."""
        forest = self._forest
        for number in forest.order:
            yield (
                short_digest(forest.chain_ids[number]),
                self._diff_ids[number],
                short_digest(forest.parent(number)) or "-",
                human_size(self._sizes[number]),
                self._names[self._forms[number]] or "-",
                str(forest.image_count(number)),
            )


def _documents(graph: Graph, place: str | None = None) -> Iterator[dict[str, Any]]:
    """Return every layer for JSON output; *place* is the root of an additional store.

    Layers that were removed meanwhile are left out. The graph is read in batches, because the reader of the output may
    be slow, and an open snapshot keeps LMDB from reusing pages.
    """
    forest, images = _forest(graph)
    for start in range(0, len(forest.order), _BATCH):
        some = forest.order[start : start + _BATCH]
        with graph.read() as snapshot:
            found = [(number, snapshot.layer(forest.chain_ids[number])) for number in some]
            keys = {record.tree for _, record in found if record is not None and record.tree}
            forms = {key: tree.form for key in keys if (tree := snapshot.tree(key)) is not None}
        for number, record in found:
            if record is not None:
                yield {
                    "chain_id": forest.chain_ids[number],
                    "diff_id": record.diff_id,
                    "parent": record.parent,
                    "blobs": list(record.blobs),
                    "size": record.size,
                    "tree": record.tree,
                    "form": forms.get(record.tree, ""),
                    "images": [images[place] for place in forest.images(number)],
                    "store": place,
                }
