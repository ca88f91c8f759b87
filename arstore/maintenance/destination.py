"""The destination of a backup: which store's backup is already there, and how much of it would be lost.

`backup.json` names the store that wrote the backup. So the next backup can distinguish an image that this store has
removed from one that it never had. If that record is missing (a backup of an older arstore, or a layout of another
tool), or does not match the content, no listed image or name may be lost.
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
"""The file in a backup that names the store that wrote it."""

_HINT = "--replace overwrites it with a backup of this store"


class Writer(NamedTuple):
    """The store that writes a backup, at one moment.

    `home` distinguishes the store from copies of it. `number` is the number of the graph's transaction, which grows
    over the life of a graph.
    """

    id: str
    lineage: str
    home: str
    number: int

    @classmethod
    def of(cls, snapshot: Snapshot) -> Writer:
        """Return the state of the store in *snapshot*."""
        own = snapshot.own
        return cls(own(identity.ID) or "", own(identity.LINEAGE) or "", snapshot.home(), snapshot.number())


class BackupListing(NamedTuple):
    """The images and names that an index.json lists."""

    images: frozenset[str]
    names: frozenset[str]


class Loss(NamedTuple):
    """The number of images and names that a backup lists and the next one will not."""

    images: int
    names: int

    def __bool__(self) -> bool:
        return bool(self.images or self.names)


def compare(directory: str, writer: Writer, index: bytes, replace: bool) -> Loss:
    """Return the loss if *index* replaces the one in *directory*.

    Raises BackupRefusedError, unless the store of the backup itself has removed the images, or *replace*; OSError.
    """
    old, after = _content(f"{directory}/{INDEX}"), listing(index)
    before = BackupListing(frozenset(), frozenset()) if old is None else listing(old)
    if replace and before is None:
        return Loss(0, 0)
    if before is None or after is None:
        raise BackupRefusedError(f"{directory}/{INDEX}", "cannot be read, so the loss is unknown", _HINT)
    loss = Loss(len(before.images - after.images), len(before.names - after.names))
    holds = bool(before.images) or (old is None and _has_blobs(directory))
    why = _doubt(read_record(directory), writer, digest_of(old or b""), loss, bool(after.images)) if holds else ""
    if why and not replace:
        lost = f"{loss.images} of its {_count(len(before.images), 'image')} and {_count(loss.names, 'name')}"
        raise BackupRefusedError(directory, f"{why}; {lost} would be lost", _HINT)
    return loss


def _doubt(found: tuple[Writer, tuple[str, ...]] | None, writer: Writer, old: str, loss: Loss, has_images: bool) -> str:
    """Return a reason why missing images may not have been removed by the store; "" if there is none."""
    if not has_images:
        return "this store has no images"
    if found is None:
        return "it does not name the store that it is a backup of" if loss else ""
    known, indexes = found
    if known.id != writer.id:
        return f"it is the backup of another store ({known.id})"
    if known.lineage != writer.lineage:
        return "the graph of this store was rebuilt since"
    if not loss:
        return ""
    if old not in indexes:
        return "its index.json was changed by something else since"
    if writer.number < known.number:
        return "this store is older than the backup"
    return "this store is a copy of the store that it is a backup of" if known.home != writer.home else ""


def listing(document: bytes) -> BackupListing | None:
    """Return the images and names in an index.json, without attachments; None if it is not an index."""
    try:
        entries: Any = json.loads(document)["manifests"]
        entries = [entry for entry in entries if SUBJECT not in (entry.get("annotations") or {})]
        images = frozenset(str(entry["digest"]) for entry in entries)
        names = [(entry.get("annotations") or {}).get(REF_NAME) for entry in entries]
        return BackupListing(images, frozenset(str(name) for name in names if name and name not in images))
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return None


def record_document(writer: Writer, indexes: Iterable[str]) -> bytes:
    """Return `backup.json`: the store, and the digests of the index.json that is there and of the one to follow."""
    return json.dumps({"store": writer._asdict(), "indexes": sorted(indexes)}, indent=1).encode() + b"\n"


def read_record(directory: str) -> tuple[Writer, tuple[str, ...]] | None:
    """Return the content of `backup.json`; None if it is missing or invalid. Raises OSError."""
    data = _content(f"{directory}/{RECORD}")
    try:
        document: Any = json.loads(data or b"")
        said = document["store"]
        writer = Writer(str(said["id"]), str(said["lineage"]), str(said["home"]), int(said["number"]))
        return writer, tuple(map(str, document["indexes"]))
    except (ValueError, LookupError, TypeError, RecursionError):
        return None


def digest_of(document: bytes) -> str:
    """Return the digest that identifies an index.json."""
    return "sha256:" + hashlib.sha256(document).hexdigest()


def members(directory: str, indexes: Iterable[str]) -> set[str]:
    """Return the blobs in *directory* that the images of these *indexes* need, including images not in the store.

    An index may list images for platforms that were never imported, but that another tool has copied there.
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
    """Yield the digests of the descriptors in a manifest or an index."""
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
