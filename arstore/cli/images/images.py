"""`images`: list the images of the store."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from arstore.cli.command import (
    command,
    exit_statuses,
    json_option,
)
from arstore.cli.parameter import argument, option
from arstore.cli.terminal.listing import Table, listing_options, require_valid, write_listing
from arstore.cli.terminal.output import human_size, short_digest, short_time, utc_time, write_json_list, write_table
from arstore.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from collections.abc import Set as AbstractSet
    from typing import Any, Unpack

    from arstore.cli.session import Session
    from arstore.cli.terminal.listing import ListingWords
    from arstore.graph.snapshot import Snapshot
    from arstore.store.elsewhere import Foreign
    from arstore.store.store import Store, StoredImage


SORTS = ("created", "id", "repository", "size", "tag")
FILTERS = (
    *("after", "before", "containers", "dangling", "digest", "id", "intermediate", "label", "label!", "manifest"),
    *("readonly", "reference", "reference!", "since", "until"),
)


@exit_statuses()
@command("images")
@argument("name", metavar="[NAME]", required=False)
@option("-a", "--all", "every", is_flag=True, help="No effect: all images are listed; steps of builds are not images.")
@listing_options(SORTS, FILTERS)
@json_option
def images(session: Session, name: str | None, every: bool, **words: Unpack[ListingWords]) -> None:
    """List the images.

    An image with several names has a line for each; an image without a name has a line with - instead. SIZE is the
    total size of its blobs as they were imported; `arstore du` shows what it occupies on disk. With NAME, only the
    images with a name, or a part of one after a slash, that matches it; it may have * and ?, and no tag.

    A column STATE marks images that are protected (`arstore protect`), or damaged: those for which the last `arstore
    check` found damage that has not changed since.

    Images of additional stores are listed after those of the store, with the path of their store in a column STORE.
    They are read-only. A name that is already used by an image listed before is marked as hidden. If an additional
    store cannot be read, the other images are listed, and then the command fails.

    The filters are those of podman. Several values of one key match any of them, but each label has to match; different
    keys have to match all. In Go templates, the fields have podman's names, and ID is the start of the image's digest.

    Examples:

    arstore images

    arstore images -q --filter dangling=true

    arstore images --sort size --format '{{.ID}} {{.Size}}'
    """
    require_valid(session, "images", words, SORTS)
    with session.store(reads=True) as store:
        if name is not None or words["filters"] or words["sort"] or words["only_ids"] or words["template"] is not None:
            _chosen(session, store, name, words)
        else:
            _all(session, store, heading=not words["noheading"])
        if store.elsewhere is not None:
            # The list is correct but incomplete, which has to be reported.
            store.elsewhere.stores.require_all()


def _all(session: Session, store: Store, *, heading: bool) -> None:
    with store.graph.read() as snapshot:
        found = _listed(snapshot)
    damage, kept = _damage(store), _protected(store)
    if session.json:
        write_json_list(_documents(store, found, damage, kept, _elsewhere(store)))
        return
    rows = [(name, image) for image in found for name in image.names or ("-",)]
    rows.sort(key=lambda row: (row[0] == "-", row[0], row[1].digest))
    _write(rows, damage, kept, _elsewhere(store), heading=heading)


def _chosen(session: Session, store: Store, name: str | None, words: ListingWords) -> None:
    """List some of the images, in an order or a format that was asked for."""
    from arstore.cli.images.images_options import HEADINGS, items_of, listed, match, named_like

    found = match(store, listed(store), words["filters"], FILTERS)
    if name is not None:
        found = named_like(found, name)
    damage, kept = _damage(store), _protected(store)
    # Rows and documents are made as without options; only then they are sorted.
    own = [_listed_image(one.image) for one in found if one.image.home is None]
    foreign = [one for one in _elsewhere(store) if any(one.image is f.image or one.image == f.image for f in found)]
    if session.json or words["template"] is not None or words["only_ids"]:
        documents = {document["digest"]: document for document in _documents(store, own, damage, kept, foreign)}
        items = items_of(store, found, whole=words["no_trunc"], documents=documents)
        if words["template"] is None or words["template"].startswith(("json", "{.", "{[", "{range")):
            # One for each image, not for each name.
            items = list({item.document.get("digest", item.id): item for item in items}.values())
        write_listing(session, words, items, Table((), HEADINGS))
        return
    rows = [(one_name, image) for image in own for one_name in image.names or ("-",)]
    rows.sort(key=_row_order(words["sort"]))
    _write(rows, damage, kept, foreign, heading=not words["noheading"])


def _row_order(key: str) -> Callable[[tuple[str, _Listed]], Any]:
    if key == "size":
        return lambda row: row[1].size
    if key == "created":
        return lambda row: tuple(-ord(letter) for letter in row[1].created)
    if key == "id":
        return lambda row: row[1].digest
    if key == "tag":
        return lambda row: (row[0].rpartition(":")[2], row[0])
    return lambda row: (row[0] == "-", row[0], row[1].digest)


def _elsewhere(store: Store) -> list[Foreign]:
    return [] if store.elsewhere is None else list(store.elsewhere.images())


def _write(
    rows: Sequence[tuple[str, _Listed]],
    damage: Mapping[str, list[str]],
    kept: AbstractSet[str],
    foreign: Sequence[Foreign],
    *,
    heading: bool,
) -> None:
    head: tuple[str, ...] = ("NAME", "DIGEST", "PLATFORM", "CREATED", "SIZE>", "LAYERS>")
    cells = [(name, *_cells(image)) for name, image in rows]
    if any(image.digest in damage or image.digest in kept for _, image in rows):
        head = (*head, "STATE")
        cells = [(*row, _state(image, damage, kept)) for row, (_, image) in zip(cells, rows, strict=True)]
    if foreign:
        width = len(head)
        head = (*head, "STORE")
        cells = [(*row, "-") for row in cells]
        for one in foreign:
            listed = _listed_image(one.image)
            for name in one.image.names or ("-",):
                place = f"{one.root} (hidden)" if name in one.hidden else one.root
                row = (name, *_cells(listed))
                cells.append((*row, *[""] * (width - len(row)), place))
    write_table(head, cells, heading=heading)


def _protected(store: Store) -> AbstractSet[str]:
    from arstore.store.collect.protected import protected

    with store.graph.read() as snapshot:
        return protected(snapshot, store.protects)


def _state(image: _Listed, damage: Mapping[str, list[str]], kept: AbstractSet[str]) -> str:
    states = {"damaged": image.digest in damage, "protected": image.digest in kept}
    return ", ".join(state for state, holds in states.items() if holds)


def _listed_image(image: StoredImage) -> _Listed:
    record = image.record
    parts = len(record.manifests if record.is_index else record.layers)
    platform, created = record.platform, record.created
    return _Listed(image.digest, image.names, not record.is_index, platform, created, record.size, parts)


class _Records(NamedTuple):
    config: list[str]
    platform: list[str]
    created: list[str]
    size: list[int]
    layers: list[tuple[str, ...]]
    manifests: list[tuple[str, ...]]


class _Listed(NamedTuple):
    """The columns of an image or, without *is_image*, of an index; *parts* is the number of layers, or of manifests."""

    digest: str
    names: tuple[str, ...]
    is_image: bool
    platform: str
    created: str
    size: int
    parts: int


def _listed(snapshot: Snapshot) -> list[_Listed]:
    """Return all images and indexes, ordered by name. Their layers, which may be thousands, are only counted."""
    names = snapshot.names_by_digest()
    found = [
        _Listed(
            digest,
            tuple(names.get(digest, ())),
            bool(config),
            platform,
            created,
            size,
            len(layers if config else manifests),
        )
        for digests, records in snapshot.batches("images", _Records)
        for digest, config, platform, created, size, layers, manifests in zip(digests, *records, strict=True)
    ]
    return sorted(found, key=lambda image: name_order(image.names, image.digest))


def _documents(
    store: Store,
    images: Sequence[_Listed],
    damage: Mapping[str, list[str]],
    kept: AbstractSet[str],
    foreign: Sequence[Foreign],
) -> Iterator[dict[str, Any]]:
    """Return every image for JSON output; images that were removed meanwhile are left out."""
    from arstore.digest import Digest
    from arstore.store.store import StoredImage

    lenders = _lenders(store)
    for image in images:
        with store.graph.read() as snapshot:
            record = snapshot.image(image.digest)
        if record is not None:
            stored = StoredImage(Digest(image.digest), record, image.names)
            needs = sorted({lenders[digest] for digest in record.layers if digest in lenders})
            more = {"needs_stores": needs} if needs else {}
            marks = {"protected": image.digest in kept, **_damage_member(damage.get(image.digest))}
            yield {**image_summary(stored), **more, **marks}
    for one in foreign:
        yield {**image_summary(one.image), "hidden": list(one.hidden)}


def _lenders(store: Store) -> dict[str, str]:
    """Return the additional stores that hold blobs for images of this store, by digest of the blob."""
    with store.graph.read() as snapshot:
        return {digest: one.place for digest, one in snapshot.all_lent()}


def _damage(store: Store) -> dict[str, list[str]]:
    """Return the recorded kinds of damage, by digest of the image."""
    if not os.path.exists(store.directories.damage):
        return {}
    from arstore.maintenance.verdicts import known

    return known(store)


def _damage_member(kinds: list[str] | None) -> dict[str, list[str]]:
    return {"damage": kinds} if kinds else {}


def name_order(names: Sequence[str], digest: str) -> tuple[bool, tuple[str, ...], str]:
    """Return the sort key of an image: by its names; images without a name come last."""
    return not names, tuple(names), digest


def _cells(image: _Listed) -> tuple[str, ...]:
    short = short_digest(image.digest)
    if not image.is_image:
        return short, f"index of {image.parts}", "-", human_size(image.size), "-"
    return short, image.platform, short_time(image.created), human_size(image.size), str(image.parts)


def image_summary(image: StoredImage) -> dict[str, Any]:
    """Return an image or index for a JSON list; `layers` are the digests of its blobs, bottom first."""
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
        "store": None if image.home is None else image.home.directories.root,
        "read_only": image.home is not None,
    }
    if record.is_index:
        summary["index"] = {"manifests": list(record.manifests)}
    return summary
