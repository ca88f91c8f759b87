"""`images` and `layers`: what is in the store."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from arstore.cli.command import (
    command,
    exit_statuses,
    json_option,
)
from arstore.cli.terminal.output import human_size, short_digest, short_time, utc_time, write_json, write_table

if TYPE_CHECKING:
    from arstore.cli.session import Session
    from arstore.store.store import Store, StoredImage


@exit_statuses()
@command("images")
@json_option
def images(session: Session) -> None:
    """List the images.

    An image with several names has a line for each; one without a name has a line with - in its place. SIZE is that
    of its blobs, as they came: what it takes on disk is told by `arstore du`.

    Where the last `arstore check` found damage, and what is damaged has not changed since, a column STATE marks the
    images that need it.
    """
    with session.store() as store:
        found = store.images()
        damage = _damage(store)
    if session.json:
        ordered = sorted(found, key=_by_name)
        write_json([{**image_summary(image), **_damage_member(damage.get(image.digest))} for image in ordered])
        return
    rows = [(name, image) for image in found for name in image.names or ("-",)]
    rows.sort(key=lambda row: (row[0] == "-", row[0], row[1].digest))
    head: tuple[str, ...] = ("NAME", "DIGEST", "PLATFORM", "CREATED", "SIZE>", "LAYERS>")
    cells = [(name, *_cells(image)) for name, image in rows]
    if any(image.digest in damage for image in found):
        head = (*head, "STATE")
        cells = [
            (*row, "damaged" if image.digest in damage else "") for row, (_, image) in zip(cells, rows, strict=True)
        ]
    write_table(head, cells)


def _damage(store: Store) -> dict[str, list[str]]:
    """The kinds of damage that are known of images, by digest."""
    if not os.path.exists(store.directories.damage):
        return {}
    from arstore.maintenance.verdicts import known

    return known(store)


def _damage_member(kinds: list[str] | None) -> dict[str, list[str]]:
    return {"damage": kinds} if kinds else {}


def _by_name(image: StoredImage) -> tuple[bool, tuple[str, ...], str]:
    return not image.names, image.names, image.digest


def _cells(image: StoredImage) -> tuple[str, ...]:
    record = image.record
    short = short_digest(image.digest)
    if record.is_index:
        return short, f"index of {len(record.manifests)}", "-", human_size(record.size), "-"
    return short, record.platform, short_time(record.created), human_size(record.size), str(len(record.layers))


def image_summary(image: StoredImage) -> dict[str, Any]:
    """An image, or an index, as JSON tells it in a list; `layers` are blobs, bottom first."""
    record = image.record
    summary: dict[str, Any] = {
        "digest": image.digest,
        "names": list(image.names),
        "media_type": record.media_type,
        "platform": record.platform,
        "created": record.created,
        "imported": utc_time(record.imported),
        "size": record.size,
        "layers": list(record.layers),
        "config": record.config,
    }
    if record.is_index:
        summary["index"] = {"manifests": list(record.manifests)}
    return summary


@exit_statuses()
@command("layers")
@json_option
def layers(session: Session) -> None:
    """List the layers.

    A layer is named by its chain ID, which stands for it and all below it. SIZE is that of its uncompressed tar; FORM
    is how its tree is kept, - when it has none yet.
    """
    with session.store() as store:
        found = _layers(store)
    if session.json:
        write_json(found)
        return
    rows = [
        (
            short_digest(layer["chain_id"]),
            short_digest(layer["diff_id"]),
            short_digest(layer["parent"]) or "-",
            human_size(layer["size"]),
            layer["form"] or "-",
            str(len(layer["images"])),
        )
        for layer in found
    ]
    write_table(("CHAIN ID", "DIFF ID", "PARENT", "SIZE>", "FORM", "IMAGES>"), rows)


def _layers(store: Store) -> list[dict[str, Any]]:
    """Every layer, those of one image together and bottom first, in the order of the images' names."""
    from arstore.store.store import images_of

    holders: dict[str, list[str]] = {}
    with store.graph.read() as snapshot:
        records = dict(snapshot.layers())
        forms = {key: tree.form for key, tree in snapshot.trees()}
        tops = [(image.digest, image.record.top) for image in sorted(images_of(snapshot), key=_by_name)]
        for digest, top in tops:
            for chain_id, _ in snapshot.chain(top):
                holders.setdefault(chain_id, []).append(digest)
    ordered = [*holders, *(chain_id for chain_id in records if chain_id not in holders)]
    return [
        {
            "chain_id": chain_id,
            "diff_id": record.diff_id,
            "parent": record.parent,
            "blobs": list(record.blobs),
            "size": record.size,
            "tree": record.tree,
            "form": forms.get(record.tree, ""),
            "images": holders.get(chain_id, []),
        }
        for chain_id, record in ((chain_id, records[chain_id]) for chain_id in ordered)
    ]
