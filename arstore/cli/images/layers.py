"""`layers`: list the layers of the store.

A store may have millions of layers. Only a few numbers are held for each; its line is formatted when it is printed.
"""

from __future__ import annotations

from array import array
from itertools import chain
from typing import TYPE_CHECKING

from arstore.cli.command import command, exit_statuses, json_option
from arstore.cli.images.images import name_order
from arstore.cli.parameter import option
from arstore.cli.terminal.output import human_size, short_digest, write_json_list, write_long_table, write_text
from arstore.errors import UsageError
from arstore.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Any

    from arstore.cli.session import Session
    from arstore.graph.graph import Graph
    from arstore.graph.snapshot import Snapshot
    from arstore.store.forest import Forest
    from arstore.store.store import Store

_HEAD = ("CHAIN ID", "DIFF ID", "PARENT", "SIZE>", "FORM", "IMAGES>")
_BATCH = 1000
_MOST_IN_TREE = 100_000
"""Lines of a tree in a terminal."""


@exit_statuses()
@command("layers")
@option("--tree", is_flag=True, help="Show the layers as a tree, each below its parent.")
@option("--html", metavar="FILE", help="Write the graph of layers to FILE, a page for browsers; - is stdout.")
@option("--svg", metavar="FILE", help="Write the graph to FILE as an image; - is stdout.")
@option("--dot", is_flag=True, help="Print the graph for Graphviz.")
@json_option
def layers(session: Session, tree: bool, html: str | None, svg: str | None, dot: bool) -> None:
    """List the layers.

    A layer is identified by its chain ID, which covers the layer and all layers below it. SIZE is the size of its
    uncompressed tar. FORM is how the layer is kept for mounting: erofs, directory, or - if that has not been prepared
    yet. Layers of additional stores are listed after those of the store, with the path of their store in a column
    STORE.

    --tree, --html, --svg and --dot show the layers of the store as a graph, with the sizes of their uncompressed tars,
    and the images that have them. What several images have is marked. A picture has the 2,000 layers that matter most
    for the size; the others are summed up.

    Example:

    arstore layers

    arstore layers --html layers.html

    arstore layers --dot | dot -Tpdf -o layers.pdf
    """
    given = [word for word, value in (("--tree", tree), ("--html", html), ("--svg", svg), ("--dot", dot)) if value]
    if len(given) > 1 or (given and session.json):
        raise UsageError(given[0], f"excludes {given[1] if len(given) > 1 else '--json'}")
    if given:
        with session.store(reads=True) as store:
            _draw(session, store, given[0], html or svg or "-")
        return
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


def _draw(session: Session, store: Store, word: str, file: str) -> None:
    """Show the graph of layers in the way that the option *word* means."""
    from arstore.cli.pictures.layer_graph import MOST, layer_graph

    with store.graph.read() as snapshot:
        names = snapshot.names_by_digest()
        tops = _tops(snapshot)
        called = {digest: names[digest][0] if digest in names else short_digest(digest) for digest in tops}
        graph = layer_graph(snapshot, tops, called, MOST if word != "--tree" else _MOST_IN_TREE)
    if word == "--tree":
        from arstore.cli.images.layer_tree import write_layer_tree

        write_layer_tree(graph)
    elif word == "--dot":
        from arstore.cli.pictures.layer_dot import layer_dot

        write_text("".join(f"{line}\n" for line in layer_dot(graph)))
    else:
        from arstore.cli.pictures.output import write_picture

        if word == "--svg":
            from arstore.cli.pictures.layer_svg import layer_svg

            write_picture(session, file, layer_svg(graph, store.directories.root))
        else:
            from arstore.cli.pictures.layer_page import layer_page

            write_picture(session, file, layer_page(graph, store.directories.root))


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
