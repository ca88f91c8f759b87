"""Where a backup goes: whose backup is there already, and what of it would be lost.

A backup says in `backup.json` which store wrote it, so that the next one knows what a missing image means: removed
since by that very store, or never known to this one. Without such a record (an older arstore's backup, or a layout of
another tool), and wherever the record does not vouch for what is there, nothing that is listed may be lost.
"""

from __future__ import annotations

import hashlib
import json
import os
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from arstore.digest import HEX_LENGTHS, Digest, is_digest
from arstore.errors import BackupRefusedError
from arstore.graph import identity
from arstore.graph.records import SUBJECT
from arstore.oci.descriptor import REF_NAME
from arstore.oci.document import STORED
from arstore.store.layout import INDEX
from arstore.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from arstore.graph.snapshot import Snapshot

RECORD = "backup.json"
"""The file in a backup that says which store wrote it."""

_HINT = "--replace makes it a backup of this store all the same"


class Writer(NamedTuple):
    """The store that writes a backup, at one moment.

    `home` tells the store from copies of it, and `number` is that of the graph's transaction: of two moments of one
    graph the later one has the larger number.
    """

    id: str
    lineage: str
    home: str
    number: int

    @classmethod
    def of(cls, snapshot: Snapshot) -> Writer:
        """The store of this moment."""
        own = snapshot.own
        return cls(own(identity.ID) or "", own(identity.LINEAGE) or "", snapshot.home(), snapshot.number())


class BackupListing(NamedTuple):
    """What an index.json lists."""

    images: frozenset[str]
    names: frozenset[str]


class Loss(NamedTuple):
    """What a backup lists and the next one will not."""

    images: int
    names: int

    def __bool__(self) -> bool:
        return bool(self.images or self.names)


def compare(directory: str, writer: Writer, index: bytes, replace: bool) -> Loss:
    """What would be lost when *index* takes the place of the one in *directory*.

    Raises BackupRefusedError unless that is what the store of the backup itself has removed, or *replace*; OSError.
    """
    old, after = _content(f"{directory}/{INDEX}"), listing(index)
    before = BackupListing(frozenset(), frozenset()) if old is None else listing(old)
    if replace and before is None:
        return Loss(0, 0)
    if before is None or after is None:
        raise BackupRefusedError(f"{directory}/{INDEX}", "cannot be read, so nobody knows what would be lost", _HINT)
    loss = Loss(len(before.images - after.images), len(before.names - after.names))
    holds = bool(before.images) or (old is None and _has_blobs(directory))
    why = _doubt(read_record(directory), writer, digest_of(old or b""), loss, bool(after.images)) if holds else ""
    if why and not replace:
        lost = f"{loss.images} of its {_count(len(before.images), 'image')} and {_count(loss.names, 'name')}"
        raise BackupRefusedError(directory, f"{why}; {lost} would be lost", _HINT)
    return loss


def _doubt(found: tuple[Writer, tuple[str, ...]] | None, writer: Writer, old: str, loss: Loss, has_images: bool) -> str:
    """Why what is missing now may not be what the store has removed; "" for no reason to think so."""
    if not has_images:
        return "this store has no images"
    if found is None:
        return "it does not say which store it is a backup of" if loss else ""
    known, indexes = found
    if known.id != writer.id:
        return f"it is the backup of another store ({known.id})"
    if known.lineage != writer.lineage:
        return "this store's graph was made again since"
    if not loss:
        return ""
    if old not in indexes:
        return "something else has changed its index.json since"
    if writer.number < known.number:
        return "this store is older than the backup"
    return "this store is a copy of the one it is a backup of" if known.home != writer.home else ""


def listing(document: bytes) -> BackupListing | None:
    """The images that an index.json lists; None where it is none. What is attached to them goes with them."""
    try:
        entries: Any = json.loads(document)["manifests"]
        entries = [entry for entry in entries if SUBJECT not in (entry.get("annotations") or {})]
        images = frozenset(str(entry["digest"]) for entry in entries)
        names = [(entry.get("annotations") or {}).get(REF_NAME) for entry in entries]
        return BackupListing(images, frozenset(str(name) for name in names if name and name not in images))
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return None


def record_document(writer: Writer, indexes: Iterable[str]) -> bytes:
    """`backup.json`: the store, and the digests of the index.json that it has left or is about to leave there."""
    return json.dumps({"store": writer._asdict(), "indexes": sorted(indexes)}, indent=1).encode() + b"\n"


def read_record(directory: str) -> tuple[Writer, tuple[str, ...]] | None:
    """What `backup.json` says; None where there is none, or one that says nothing. Raises OSError."""
    data = _content(f"{directory}/{RECORD}")
    try:
        document: Any = json.loads(data or b"")
        said = document["store"]
        writer = Writer(str(said["id"]), str(said["lineage"]), str(said["home"]), int(said["number"]))
        return writer, tuple(map(str, document["indexes"]))
    except (ValueError, LookupError, TypeError, RecursionError):
        return None


def digest_of(document: bytes) -> str:
    """The digest by which an index.json is known again."""
    return "sha256:" + hashlib.sha256(document).hexdigest()


def members(directory: str, indexes: Iterable[str]) -> set[str]:
    """Blobs in *directory* that the images of these *indexes* need, also images that the store does not have.

    An index may list images for platforms that were never imported, and that another tool has brought there.
    """
    found: set[str] = set()
    todo = list(indexes)
    while todo:
        document = _document(directory, todo.pop())
        for digest in _descriptors(document):
            if digest not in found and os.path.exists(_blob(directory, digest)):
                found.add(digest)
                todo.append(digest)
    return found


def _descriptors(document: object) -> Iterator[str]:
    """The digests of the descriptors in a manifest or an index."""
    if isinstance(document, dict):
        for field in ("manifests", "layers", "config"):
            value = document.get(field)
            for entry in value if isinstance(value, list) else [value]:
                digest = entry.get("digest") if isinstance(entry, dict) else None
                if isinstance(digest, str) and is_digest(digest):
                    yield digest


def _has_blobs(directory: str) -> bool:
    for algorithm in HEX_LENGTHS:
        with suppress(FileNotFoundError), os.scandir(f"{directory}/blobs/{algorithm}") as entries:
            if next(entries, None) is not None:
                return True
    return False


def _document(directory: str, digest: str) -> object:
    with suppress(OSError, ValueError, RecursionError), open(_blob(directory, digest), "rb") as file:
        data = file.read(STORED.document + 1)
        return json.loads(data) if data.lstrip().startswith(b"{") and len(data) <= STORED.document else None
    return None


def _blob(directory: str, digest: str) -> str:
    parsed = Digest(digest)
    return f"{directory}/blobs/{parsed.algorithm}/{parsed.hex}"


def _content(path: str) -> bytes | None:
    try:
        with open(path, "rb") as file:
            return file.read()
    except FileNotFoundError:
        return None


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
