"""Checks of the graph: LMDB's pages, the seal of each record, and records against the documents they were made from.

The pages are read as bytes (`graph.lmdb_pages`), so that damage is a finding and does not crash LMDB. A writer may
change them during the walk. So the result counts only if the walk was undisturbed, or was done while a reader kept LMDB
from reusing pages.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from arstore.digest import is_digest
from arstore.errors import ArstoreError, reason
from arstore.graph.identity import ID, LINEAGE, IdentityKind
from arstore.graph.record_checksum import BrokenSealError, is_sealed, unsealed
from arstore.graph.records import KINDS, TABLES
from arstore.graph.snapshot import FORMAT_KEY, decoded
from arstore.graph.soundness import examined
from arstore.maintenance.check.findings import Damage, Finding
from arstore.oci.attachment import blobs_of, type_of
from arstore.oci.chain import chain_ids
from arstore.oci.config import ImageConfig
from arstore.oci.document import STORED
from arstore.oci.manifest import Manifest

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from arstore.digest import Digest
    from arstore.disk.paths import Directories
    from arstore.graph.records import AttachmentRecord, BlobRecord, ImageRecord, LayerRecord
    from arstore.store.store import Store

HINTS = b"hints"
_IDS = frozenset({f"meta/{ID}".encode(), f"meta/{LINEAGE}".encode()})


def pages(store: Store) -> list[Finding]:
    """Return the damage of the graph's file: of pages, or of single records. Raises OSError and the errors of Graph."""
    path = f"{store.directories.graph}/data.mdb"
    if not (os.path.isfile(path) and os.path.getsize(path)):
        return belonging(store)
    try:
        faults, broken = examined(store.graph, is_well)
    except PermissionError:
        raise
    except OSError as error:
        faults, broken = [f"data.mdb cannot be read: {reason(error)}"], []
    found = [Finding(Damage.GRAPH_PAGES, "graph", fault) for fault in faults]
    if FORMAT_KEY in broken:
        # The graph cannot be opened without it.
        found.append(Finding(Damage.GRAPH_PAGES, "graph", "the record of its format is damaged"))
    found = found or belonging(store)
    # Next to damaged pages, the walk may have taken other bytes for records.
    return found or [damaged_record(key) for key in broken]


def belonging(store: Store) -> list[Finding]:
    """Return a finding if the graph is not this store's. Raises the errors of Graph."""
    fault = store.graph.fault()
    if fault is None:
        return []
    damage = Damage.STORE_ID if fault.kind is IdentityKind.UNNAMED else Damage.GRAPH_LOST
    return [Finding(damage, fault.what, fault.why)]


def damaged_record(key: bytes) -> Finding:
    """Return the finding for the unreadable record *key*."""
    return Finding(Damage.RECORD_DAMAGED, shown_key(key), "its record in the graph is damaged")


def shown_key(key: bytes) -> str:
    """Return a key of the graph as text for users."""
    return key.decode("utf-8", "backslashreplace")


def is_well(key: bytes, value: bytes) -> bool:
    """Whether a record has a valid seal (or none, in a store of format 1), and is valid for its table."""
    table, _, name = key.partition(b"/")
    try:
        text = unsealed(key, value)
        name.decode()
        kind = KINDS.get(table.decode())
        if kind is not None:
            decoded(kind, key, value)
            return True
        if table.decode() not in TABLES or table == HINTS:
            # A table of a newer arstore, which `newer` handles, or an unknown one.
            return is_sealed(key, value)
        if table == b"names":
            return is_digest(text.decode())
        if key in _IDS:
            return is_sealed(key, value)
        if key == FORMAT_KEY:
            # Only a store of format 1 has it without a seal.
            return is_sealed(key, value) or text == b"1"
        return table == b"meta" and bool(text.decode())
    except (BrokenSealError, ValueError, TypeError, RecursionError):
        return False


def against_documents(
    directories: Directories,
    images: Iterable[tuple[str, ImageRecord]],
    layers: Mapping[str, LayerRecord],
    blobs: Mapping[str, BlobRecord],
) -> Iterator[Finding]:
    """Yield records that contradict the manifests and configs of these images; unreadable ones are skipped.

    Blobs are checked against their digests elsewhere, and an index's document has nothing that its record could
    contradict. The config of consecutive images that share one is read once.
    """
    config_digest, read = "", None
    for digest, image in images:
        if image.is_index:
            continue
        try:
            manifest = Manifest.parse(_read_blob(directories, digest), digest, image.media_type, STORED)
        except (ArstoreError, OSError):
            continue
        if manifest.config.digest != config_digest:
            config_digest, read = manifest.config.digest, _read_config(directories, manifest.config.digest)
        if read is None:
            continue
        config, chain = read
        said = (image.config, image.layers, image.top, image.media_type, image.platform, image.created)
        digests = tuple(str(layer.digest) for layer in manifest.layers)
        top = chain[-1] if chain else ""
        if said != (
            manifest.config.digest, digests, top, manifest.media_type, str(config.platform), config.created,
        ):  # fmt: skip
            yield Finding(Damage.RECORD_WRONG, f"images/{digest}", "contradicts its manifest and config")
        parent = ""
        for chain_id, diff_id, blob in zip(chain, config.diff_ids, digests, strict=False):
            layer = layers.get(chain_id)
            if layer is not None and (layer.diff_id, layer.parent) != (diff_id, parent):
                yield Finding(Damage.RECORD_WRONG, f"layers/{chain_id}", "contradicts the config")
            stored = blobs.get(blob)
            if stored is None or layer is None or not stored.diff_id:
                pass
            elif (stored.diff_id, stored.tar_size) != (diff_id, layer.size):
                for key in (f"blobs/{blob}", f"layers/{chain_id}"):
                    yield Finding(Damage.RECORD_WRONG, key, "contradicts the other record of its layer")
            parent = chain_id


def against_manifests(
    directories: Directories, attachments: Iterable[tuple[str, AttachmentRecord]]
) -> Iterator[Finding]:
    """Yield records of attachments that contradict their manifests; unreadable ones are skipped."""
    for key, record in attachments:
        subject, _, digest = key.partition("/")
        try:
            raw = _read_blob(directories, digest)
            manifest = Manifest.parse(raw, digest, record.media_type, STORED)
        except (ArstoreError, OSError):
            continue
        said = (record.media_type, record.size, record.artifact_type, record.blobs)
        blobs = tuple(str(blob.digest) for blob in blobs_of(manifest))
        belongs = bool(record.tag) or manifest.subject == subject
        if said != (manifest.media_type, len(raw), type_of(manifest), blobs) or not belongs:
            yield Finding(Damage.RECORD_WRONG, f"attachments/{key}", "contradicts its manifest")


def _read_config(directories: Directories, digest: str) -> tuple[ImageConfig, tuple[Digest, ...]] | None:
    """Return a config and the chain IDs of its layers; None if it cannot be read."""
    try:
        config = ImageConfig.parse(_read_blob(directories, digest), bounds=STORED)
    except (ArstoreError, OSError):
        return None
    return config, chain_ids(config.diff_ids)


def _read_blob(directories: Directories, digest: str) -> bytes:
    with open(directories.blob(digest), "rb") as file:
        return file.read()
