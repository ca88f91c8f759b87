"""The graph itself: LMDB's pages, the seal of each record, and records against the documents they were made from.

The pages are read as bytes (`graph.lmdb_pages`), so that damage is a finding and no crash of LMDB. A writer may change
them under the walk: what is found counts when the walk was undisturbed, or was done while a reader kept LMDB from using
its pages again.
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
    """Damage of the graph's file: of its pages, or of single records. Raises OSError and the errors of Graph."""
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
        # Without it the graph is not opened at all.
        found.append(Finding(Damage.GRAPH_PAGES, "graph", "the record of its format is damaged"))
    found = found or belonging(store)
    # What the walk took for records beside damaged pages may be none.
    return found or [damaged_record(key) for key in broken]


def belonging(store: Store) -> list[Finding]:
    """Whether the graph is this store's. Raises the errors of Graph."""
    fault = store.graph.fault()
    if fault is None:
        return []
    damage = Damage.STORE_ID if fault.kind is IdentityKind.UNNAMED else Damage.GRAPH_LOST
    return [Finding(damage, fault.what, fault.why)]


def damaged_record(key: bytes) -> Finding:
    """The finding for the record *key*, which cannot be read."""
    return Finding(Damage.RECORD_DAMAGED, shown_key(key), "its record in the graph is damaged")


def shown_key(key: bytes) -> str:
    """A key of the graph for people."""
    return key.decode("utf-8", "backslashreplace")


def is_well(key: bytes, value: bytes) -> bool:
    """Whether a record has its seal (or none, in a store of format 1), and says what a record of its table says."""
    table, _, name = key.partition(b"/")
    try:
        text = unsealed(key, value)
        name.decode()
        kind = KINDS.get(table.decode())
        if kind is not None:
            decoded(kind, key, value)
            return True
        if table.decode() not in TABLES or table == HINTS:
            # Of a newer arstore, which `newer` sees to; or of nobody.
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
    """Records that say something else than the manifests and configs of these images; unreadable ones are passed over.

    Blobs are found by their own digests, and an index's document has nothing that its record could contradict. Of
    images with one config it is read once where they come one after the other.
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
            yield Finding(Damage.RECORD_WRONG, f"images/{digest}", "is not what manifest and config say")
        parent = ""
        for chain_id, diff_id, blob in zip(chain, config.diff_ids, digests, strict=False):
            layer = layers.get(chain_id)
            if layer is not None and (layer.diff_id, layer.parent) != (diff_id, parent):
                yield Finding(Damage.RECORD_WRONG, f"layers/{chain_id}", "is not what the config says")
            stored = blobs.get(blob)
            if stored is None or layer is None or not stored.diff_id:
                pass
            elif (stored.diff_id, stored.tar_size) != (diff_id, layer.size):
                for key in (f"blobs/{blob}", f"layers/{chain_id}"):
                    yield Finding(Damage.RECORD_WRONG, key, "does not fit the other record of its layer")
            parent = chain_id


def against_manifests(
    directories: Directories, attachments: Iterable[tuple[str, AttachmentRecord]]
) -> Iterator[Finding]:
    """Records of attachments that say something else than their manifests; unreadable ones are passed over."""
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
            yield Finding(Damage.RECORD_WRONG, f"attachments/{key}", "is not what the manifest says")


def _read_config(directories: Directories, digest: str) -> tuple[ImageConfig, tuple[Digest, ...]] | None:
    """A config and the chain IDs of its layers; None where it cannot be read."""
    try:
        config = ImageConfig.parse(_read_blob(directories, digest), bounds=STORED)
    except (ArstoreError, OSError):
        return None
    return config, chain_ids(config.diff_ids)


def _read_blob(directories: Directories, digest: str) -> bytes:
    with open(directories.blob(digest), "rb") as file:
        return file.read()
