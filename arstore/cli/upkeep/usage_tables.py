"""The tables of `du`: the parts of the bill, and its items by image, layer or container."""

from __future__ import annotations

from typing import TYPE_CHECKING

from arstore.cli.terminal.output import human_size, short_digest, short_time, utc_time, write_line, write_table
from arstore.cli.upkeep.usage_words import PARTS
from arstore.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import Any

    from arstore.maintenance.disk_usage import Usage
    from arstore.maintenance.lenders import LenderUsage
    from arstore.maintenance.shares import ImageUsage
    from arstore.store.store import Store


class Row(NamedTuple):
    """One line of a listing, its document for JSON, and what it can be sorted by."""

    cells: tuple[str, ...]
    document: dict[str, Any]
    name: str
    size: int
    unique: int = 0
    last_used: float = 0.0


class Listing(NamedTuple):
    """Lines with their head; *key* is their key in JSON."""

    key: str
    head: tuple[str, ...]
    rows: Sequence[Row]

    def document(self) -> dict[str, Any]:
        """Return the part of the JSON document."""
        return {self.key: [row.document for row in self.rows]}

    def write(self) -> None:
        """Print the table, if it has lines."""
        if self.rows:
            write_line()
            write_table(self.head, [row.cells for row in self.rows])


_SORTS: dict[str, Callable[[Row], Any]] = {
    "size": lambda row: (-row.size, row.name),
    "name": lambda row: row.name,
    "unique": lambda row: (-row.unique, -row.size, row.name),
    "last-used": lambda row: (row.last_used, row.name),
}


def listing(store: Store, usage: Usage, by: str, sort: str | None, chosen: bool) -> Listing:
    """Return the items of the bill: images, layers (of the *chosen* images) or containers.

    Raises the errors of Graph.
    """
    match by:
        case "layer":
            found = _by_layer(store, usage, chosen)
        case "container":
            found = _by_container(store, usage)
        case _:
            found = _by_image(usage)
    return found if sort is None else found._replace(rows=sorted(found.rows, key=_SORTS[sort]))


def bill(usage: Usage) -> dict[str, Any]:
    """Return the bill for JSON, with all images that were measured."""
    return {
        "total": usage.total,
        **usage.parts(),
        "reclaimable": usage.reclaimable,
        "strays": [{"name": name, "size": size} for name, size in usage.strays.items()],
        "images": [_image_document(image) for image in usage.images],
    }


def write_parts(usage: Usage, lenders: Iterable[LenderUsage]) -> None:
    """Print the parts of the bill in words, what does not belong to the store, and additional stores."""
    sizes = {**usage.parts(), "total": usage.total, "reclaimable": usage.reclaimable}
    # The words have no heading, and the total needs none: scripts read the columns before them.
    words = {**PARTS, "total": ""}
    rows = [(part, human_size(size), str(size), words[part]) for part, size in sizes.items()]
    write_table(("PART", "SIZE>", "BYTES>", ""), rows)
    if usage.strays:
        write_line()
        strays = [(name, human_size(size), str(size)) for name, size in usage.strays.items()]
        write_table(("STRAY", "SIZE>", "BYTES>"), strays)
    if lenders := list(lenders):
        write_line()
        write_table(("ADDITIONAL STORE", "SIZE>", "BYTES>", "NEEDED>"), map(_lender_cells, lenders))


def _lender_cells(one: LenderUsage) -> tuple[str, ...]:
    size = ("-", "-") if one.size is None else (human_size(one.size), str(one.size))
    return one.root, *size, human_size(one.needed)


# --- items ----------------------------------------------------------------------------------------------------------


def _image_document(image: ImageUsage) -> dict[str, Any]:
    return {
        "digest": image.digest,
        "names": list(image.names),
        "size": image.size,
        "unique": image.unique,
        "shared": image.shared,
        "last_used": utc_time(image.last_used) if image.last_used else None,
    }


def _by_image(usage: Usage) -> Listing:
    rows = [
        Row(
            (
                image.names[0] if image.names else "-",
                short_digest(image.digest),
                *map(human_size, (image.size, image.unique, image.shared)),
                short_time(utc_time(image.last_used)) if image.last_used else "-",
            ),
            _image_document(image),
            image.names[0] if image.names else f"\U0010ffff{image.digest}",
            image.size,
            image.unique,
            image.last_used,
        )
        for image in usage.images
    ]
    return Listing("images", ("IMAGE", "DIGEST", "SIZE>", "UNIQUE>", "SHARED>", "LAST USED"), rows)


def _by_layer(store: Store, usage: Usage, chosen: bool) -> Listing:
    from arstore.maintenance.breakdown.pieces import DOCUMENTS, Pieces

    assert usage.basis is not None
    shares = usage.basis.shares
    with store.graph.read() as snapshot:
        pieces = Pieces(snapshot, shares)
        trees = pieces.trees()
    wanted = {image.digest for image in usage.images}
    uses = [shares.last_used(digest) for digest in shares.images]
    own: dict[str, int] = {}
    for some in map(pieces.own, range(len(uses))):
        for diff_id, piece in some.items():
            own[diff_id] = own.get(diff_id, 0) + piece.size
    rows = []
    for diff_id, (piece, images) in pieces.by_layer().items():
        if diff_id == DOCUMENTS or (chosen and not any(shares.images[one] in wanted for one in images)):
            continue
        tree = trees.get(diff_id)
        form = tree.form if tree is not None else ""
        sizes = {"blobs": piece.blobs, "trees": piece.trees, "size": piece.size, "unique": own.get(diff_id, 0)}
        document = {"diff_id": diff_id, "form": form, **sizes, "images": len(images)}
        cells = (short_digest(diff_id), form or "-", *map(human_size, sizes.values()), str(len(images)))
        used = max((uses[one] for one in images), default=0.0)
        rows.append(Row(cells, document, diff_id, piece.size, sizes["unique"], used))
    rows.sort(key=lambda row: row.name)
    head = ("LAYER", "FORM", "BLOBS>", "TREES>", "SIZE>", "UNIQUE>", "IMAGES>")
    return Listing("per_layer", head, rows)


def _by_container(store: Store, usage: Usage) -> Listing:
    assert usage.basis is not None
    with store.graph.read() as snapshot:
        records = dict(snapshot.containers())
        names = snapshot.names_by_digest()
    rows = []
    for key, record in records.items():
        size = usage.basis.found.containers.get(key, 0)
        name = record.name or key
        image = (names.get(record.image) or [short_digest(record.image)])[0]
        created = utc_time(record.created)
        document = {"id": key, "name": name, "image": record.image, "created": created, "size": size}
        rows.append(Row((key, name, image, short_time(created), human_size(size)), document, name, size))
    return Listing("per_container", ("CONTAINER", "NAME", "IMAGE", "CREATED", "SIZE>"), rows)
