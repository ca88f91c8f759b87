"""Damage of images found by the last `check`, kept for commands that list images.

    <root>/graph/damage.json    {"things": [[kind, what, state], ...], "images": {digest: [place in things, ...]}}

A verdict applies to a thing as it was when it was checked: `state` is derived from the file's inode and times, or from
the record's bytes. If that has changed since, because the thing was repaired, replaced or removed, the verdict no
longer applies. So verdicts need not be withdrawn, and a store without damage does not have the file. The file is
advisory: it may be lost, and is not durable.

Not in scope: finding damage (`check`). An image without a verdict may never have been checked.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from arstore.errors import ArstoreError
from arstore.linux.files.writing import replace_file

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from arstore.disk.paths import Directories
    from arstore.graph.snapshot import Snapshot
    from arstore.store.store import Store

_MOST_THINGS, _MOST_OF_AN_IMAGE = 10_000, 8
"""Maximum number of things remembered, in total and for one image. More would not change the answer."""

Thing = tuple[str, str]
"""A kind of damage (`check.findings`), and the name of the damaged thing."""


def known(store: Store) -> dict[str, list[str]]:
    """Return the known kinds of damage of images, by digest; empty if the file cannot be read.

    Raises the errors of Graph.
    """
    things, images = _read_verdicts(store.directories.damage)
    if not images:
        return {}
    with store.graph.read(lenient=True) as snapshot:
        stands = [_state(store.directories, snapshot, kind, what) == state for kind, what, state in things]
    found = {
        digest: sorted({things[place][0] for place in places if 0 <= place < len(things) and stands[place]})
        for digest, places in images.items()
    }
    return {digest: kinds for digest, kinds in found.items() if kinds}


def record(store: Store, hits: Mapping[Thing, Iterable[str]], whole: bool) -> None:
    """Remember the damage *hits*, with the digests of the images that it affects.

    Unless *whole*, earlier verdicts that still apply are kept, because only a part of the store was checked. Raises
    OSError and the errors of Graph.
    """
    path = store.directories.damage
    if not hits and (whole or not os.path.exists(path)):
        with suppress(FileNotFoundError):
            os.unlink(path)
        return
    with store.graph.read(lenient=True) as snapshot:
        merged: dict[Thing, tuple[str, set[str]]] = {}
        for kind, what, state, before in [] if whole else _rows(path):
            if _state(store.directories, snapshot, kind, what) == state:
                merged[kind, what] = (state, before)
        for (kind, what), digests in hits.items():
            merged[kind, what] = (_state(store.directories, snapshot, kind, what), set(digests))
    _write_verdicts(store, path, merged)


def _write_verdicts(store: Store, path: str, found: Mapping[Thing, tuple[str, set[str]]]) -> None:
    from arstore.disk.staging import Ingest

    things: list[tuple[str, str, str]] = []
    images: dict[str, list[int]] = {}
    for (kind, what), (state, digests) in list(found.items())[:_MOST_THINGS]:
        for digest in digests:
            places = images.setdefault(digest, [])
            if len(places) < _MOST_OF_AN_IMAGE:
                places.append(len(things))
        things.append((kind, what, state))
    with Ingest(store.directories) as ingest:
        document = json.dumps({"things": things, "images": images}).encode()
        replace_file(path, document, ingest.file(os.path.basename(path)))


def _rows(path: str) -> list[tuple[str, str, str, set[str]]]:
    things, images = _read_verdicts(path)
    rows: list[tuple[str, str, str, set[str]]] = [(*thing, set()) for thing in things]
    for digest, places in images.items():
        for place in places:
            if 0 <= place < len(rows):
                rows[place][3].add(digest)
    return [row for row in rows if row[3]]


def _read_verdicts(path: str) -> tuple[list[tuple[str, str, str]], dict[str, list[int]]]:
    """Return the two members of the file; empty if it is missing or invalid."""
    try:
        with open(path, "rb") as file:
            document: Any = json.loads(file.read())
        things = [(str(kind), str(what), str(state)) for kind, what, state in document["things"]]
        images = {str(digest): [int(place) for place in places] for digest, places in document["images"].items()}
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return [], {}
    return things, images


def _state(directories: Directories, snapshot: Snapshot, kind: str, what: str) -> str:
    """Return a value for the present state of a thing; equal as long as it is unchanged."""
    from hashlib import sha256

    table = kind.partition("-")[0]
    parts: list[object] = []
    with suppress(ArstoreError, OSError, ValueError):
        if table == "blob":
            parts += _file(directories.blob(what))
        elif table == "tree":
            parts += [*_tree(directories.tree(what)), snapshot.raw(f"trees/{what}".encode())]
        elif table == "record":
            parts.append(snapshot.raw(what.encode()))
        else:
            parts += _gaps(snapshot, table, what)
    return sha256(repr(parts).encode()).hexdigest()[:16]


def _file(path: str) -> list[object]:
    try:
        status = os.lstat(path)
    except FileNotFoundError:
        return []
    return [status.st_ino, status.st_ctime_ns, status.st_size]


def _tree(path: str) -> list[object]:
    found = _file(path)
    for name in sorted(os.listdir(path)) if found else []:
        found += [name, *_file(f"{path}/{name}")]
    return found


def _gaps(snapshot: Snapshot, table: str, key: str) -> list[object]:
    """Return a record of this *table* (without its s), and which of the records that it needs exist."""
    needed: list[tuple[str, str]] = []
    if table == "image" and (image := snapshot.image(key)) is not None:
        needed += [("blobs", blob) for blob in (key, image.config, *image.layers)]
        needed += [("layers", image.top), *(("images", one) for one in image.manifests)]
    elif table == "layer" and (layer := snapshot.layer(key)) is not None:
        needed += [("layers", layer.parent), *(("blobs", blob) for blob in layer.blobs)]
    elif table == "attachment":
        subject, _, digest = key.partition("/")
        if (attachment := snapshot.attachment(subject, digest)) is not None:
            needed += [("blobs", blob) for blob in (digest, *attachment.blobs)]
    elif table == "name":
        needed.append(("images", snapshot.name(key) or ""))
    return [snapshot.raw(f"{table}s/{key}".encode()), [snapshot.has(*one) for one in needed]]
