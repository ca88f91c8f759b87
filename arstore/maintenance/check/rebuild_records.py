"""Records of the graph rebuilt from the rest of the store: index.json, manifests, configs, files.

Facts that only the graph had are lost with it: when an image was imported, the image of a container, and the names if
index.json is lost too. Trees are recorded as untrusted, so that they are built again at their next use.
"""

from __future__ import annotations

import os
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from arstore.digest import CHUNK, Digest
from arstore.errors import ArstoreError
from arstore.graph.records import (
    AttachmentRecord,
    BlobRecord,
    ContainerRecord,
    ImageRecord,
    LayerRecord,
    LentRecord,
    TreeRecord,
)
from arstore.maintenance.check.blobs import present
from arstore.oci.attachment import SUFFIXES, blobs_of, type_of
from arstore.oci.chain import chain_ids
from arstore.oci.config import ImageConfig
from arstore.oci.document import BOUNDS, STORED
from arstore.oci.index import Index
from arstore.oci.manifest import Manifest
from arstore.store.containers import read_record
from arstore.tar.compression import decompressed
from arstore.trees.forms import MERGED, TAR, form_of
from arstore.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from arstore.disk.paths import Directories
    from arstore.graph.records import Record

    Attachment = tuple[str, str, str]
    """Digests of a subject and of a manifest, and the suffix of its tag, or ""."""

RECOVERED = "recovered"
"""The repository of names for images whose own names are lost; the tag is the start of the digest."""

_UNKNOWN_IMAGE = "sha256:" + "0" * 64
"""The image of a container whose record is lost: its files are kept, and `check` keeps reporting it."""


def manifests(directories: Directories) -> list[str]:
    """Return the digests of the blobs that are manifests or indexes of images, found by reading all of them."""
    return [digest for digest, data in _documents(directories) if _kind(data, digest) is not None]


def referring(directories: Directories) -> list[Attachment]:
    """Return the attachments among the blobs that name their subject themselves, found in the same way."""
    found: list[Attachment] = []
    for digest, data in _documents(directories):
        with suppress(ArstoreError):
            subject = Manifest.parse(data, digest, bounds=STORED).subject
            if subject is not None:
                found.append((subject, digest, ""))
    return found


def _documents(directories: Directories) -> Iterator[tuple[str, bytes]]:
    """Yield the blobs that may be manifests or indexes."""
    for digest in present(directories):
        with suppress(ArstoreError, OSError):
            if _may_be_document(directories.blob(digest)):
                data = document(directories, digest)
                if b'"schemaVersion"' in data:
                    yield digest, data


def _may_be_document(path: str) -> bool:
    """Whether to read a file: one larger than usual documents has to begin like JSON. Raises OSError."""
    size = os.path.getsize(path)
    if BOUNDS.document < size <= STORED.document:
        with open(path, "rb") as file:
            return file.read(4096).lstrip().startswith(b"{")
    return size <= BOUNDS.document


def document(directories: Directories, digest: str) -> bytes:
    """Return a document among the blobs, verified. Raises StoreDamagedError, OSError."""
    from arstore.digest import verify

    with open(directories.blob(digest), "rb") as file:
        return verify(file.read(STORED.document + 1), Digest(digest))


def _kind(data: bytes, digest: str) -> Manifest | Index | None:
    with suppress(ArstoreError):
        manifest = Manifest.parse(data, digest, bounds=STORED)
        return manifest if manifest.is_image else None
    with suppress(ArstoreError):
        return Index.parse(data, digest, bounds=STORED)
    return None


class _Config(NamedTuple):
    """The fields of a config that records use, and its *size* in bytes."""

    size: int
    platform: str
    created: str
    diff_ids: tuple[Digest, ...]
    chain_ids: tuple[Digest, ...]


class Reconstruction:
    """Records, by `table/key`, for everything that can be found; *known* are good records, which are kept and used."""

    def __init__(self, directories: Directories, known: dict[str, Record | str]) -> None:
        self.directories = directories
        self.records: dict[str, Record | str] = dict(known)
        self._blobs_of: dict[str, set[str]] = {}
        self._attached = {key.rpartition("/")[2] for key in known if key.startswith("attachments/")}
        self._now = time.time()
        self._configs: dict[Digest, _Config] = {}
        self._sizes = {record.diff_id: record.size for record in known.values() if isinstance(record, LayerRecord)}

    def add_images(self, digests: Iterable[str]) -> None:
        """Record these images, if their documents exist and are intact."""
        indexes: list[tuple[str, bytes, Index]] = []
        for digest in digests:
            with suppress(ArstoreError, OSError):
                data = document(self.directories, digest)
                found = _kind(data, digest)
                if isinstance(found, Index):
                    indexes.append((digest, data, found))
                elif found is not None:
                    self._add_image(digest, data, found)
        for digest, data, index in indexes:
            there = tuple(str(one.digest) for one in index.manifests if f"images/{one.digest}" in self.records)
            self._put_record("blobs", digest, BlobRecord(len(data)))
            self._put_record(
                "images", digest, ImageRecord(index.media_type, len(data), "", "", self._now, manifests=there)
            )

    def add_found(self, digests: Iterable[str]) -> None:
        """Record images that no list names, found among the blobs, if all their blobs exist.

        Nothing would hold them, and `gc` would delete them: so those that are in no index get a name.
        """
        images, indexes = [], []
        for digest in digests:
            with suppress(ArstoreError, OSError):
                found = _kind(document(self.directories, digest), digest)
                if isinstance(found, Index):
                    indexes.append((digest, found))
                elif found is not None and self._are_there(found):
                    images.append(digest)
        unlisted = [digest for digest in images if f"images/{digest}" not in self.records]
        self.add_images(images)
        for digest, index in indexes:
            if any(f"images/{one.digest}" in self.records for one in index.manifests):
                unlisted += [digest] if f"images/{digest}" not in self.records else []
                self.add_images([digest])
        members = {member for _, index in indexes for member in map(str, (one.digest for one in index.manifests))}
        for digest in unlisted:
            if digest not in members and f"images/{digest}" in self.records:
                self._put_record("names", f"{RECOVERED}:{Digest(digest).hex[:12]}", digest)

    def _are_there(self, manifest: Manifest) -> bool:
        digests = [layer.digest for layer in manifest.layers]
        return all(os.path.isfile(self.directories.blob(one)) or f"lent/{one}" in self.records for one in digests)

    def add_attachments(self, some: Iterable[Attachment]) -> None:
        """Record these attachments, if their manifests exist and their subjects are recorded.

        A manifest that does not name its subject is accepted if it has a tag.
        """
        waiting = dict.fromkeys(some)
        while waiting:
            ready = [one for one in waiting if self._is_recorded(one[0])]
            if not ready:
                return
            for subject, digest, tag in ready:
                del waiting[subject, digest, tag]
                with suppress(ArstoreError, OSError):
                    self._add_attachment(subject, digest, tag)

    def _is_recorded(self, subject: str) -> bool:
        return f"images/{subject}" in self.records or subject in self._attached

    def _add_attachment(self, subject: str, digest: str, tag: str) -> None:
        data = document(self.directories, digest)
        manifest = Manifest.parse(data, digest, bounds=STORED)
        if manifest.subject != subject and tag not in SUFFIXES:
            return
        self._put_record("blobs", digest, BlobRecord(len(data)))
        blobs = blobs_of(manifest)
        for blob in blobs:
            self._put_record("blobs", blob.digest, BlobRecord(blob.size))
        names = tuple(str(blob.digest) for blob in blobs)
        record = AttachmentRecord(manifest.media_type, len(data), type_of(manifest), names, self._now, tag)
        self._put_record("attachments", f"{subject}/{digest}", record)
        self._attached.add(digest)

    def add_names(self, names: dict[str, list[str]]) -> None:
        """Record the names in index.json for images that are recorded."""
        for digest, own in names.items():
            for name in own:
                if f"images/{digest}" in self.records:
                    self._put_record("names", name, digest)

    def add_containers(self, names: Iterable[str]) -> None:
        """Record those of these containers that have a directory and no record.

        The record next to a container's files names its image. An ephemeral container stays ephemeral. A name that
        another container has is given up: a kill during `rename` may leave it in both records.
        """
        taken = {record.name for record in self.records.values() if isinstance(record, ContainerRecord)}
        for name in names:
            path = self.directories.container(name)
            if os.path.isdir(f"{path}/upper"):
                record = read_record(path, name) or ContainerRecord(_UNKNOWN_IMAGE, os.stat(path).st_ctime)
                record = record._replace(name="") if record.name in taken else record
                taken.add(record.name)
                self._put_record("containers", name, record)

    def _put_record(self, table: str, key: str, record: Record | str) -> None:
        self.records.setdefault(f"{table}/{key}", record)

    def _add_image(self, digest: str, data: bytes, manifest: Manifest) -> None:
        config = self._config(manifest.config.digest)
        if len(config.diff_ids) != len(manifest.layers):
            return
        size = len(data) + config.size + sum(layer.size for layer in manifest.layers)
        self._put_record("blobs", digest, BlobRecord(len(data)))
        self._put_record("blobs", manifest.config.digest, BlobRecord(config.size))
        parent = ""
        for descriptor, diff_id, chain_id in zip(manifest.layers, config.diff_ids, config.chain_ids, strict=True):
            tar_size = self._add_layer_blob(descriptor.digest, descriptor.size, diff_id)
            known = self.records.get(f"layers/{chain_id}")
            if isinstance(known, LayerRecord):
                # Thousands of images may each have their own compression of one layer.
                listed = self._blobs_of.setdefault(chain_id, set(known.blobs))
                if descriptor.digest not in listed:
                    listed.add(str(descriptor.digest))
                    blobs = (*known.blobs, str(descriptor.digest))
                    self.records[f"layers/{chain_id}"] = known._replace(blobs=blobs)
            else:
                record = LayerRecord(diff_id, parent, (descriptor.digest,), tar_size, self._tree(diff_id, chain_id))
                self._put_record("layers", chain_id, record)
            parent = chain_id
        self._put_record(
            "images",
            digest,
            ImageRecord(
                manifest.media_type,
                size,
                config.platform,
                config.created,
                self._now,
                str(manifest.config.digest),
                tuple(str(layer.digest) for layer in manifest.layers),
                parent,
            ),
        )

    def _config(self, digest: Digest) -> _Config:
        """Return a config, read once, because many images may share it. Raises ArstoreError, OSError."""
        known = self._configs.get(digest)
        if known is None:
            raw = document(self.directories, digest)
            config = ImageConfig.parse(raw, bounds=STORED)
            chain = chain_ids(config.diff_ids)
            known = _Config(len(raw), str(config.platform), config.created, config.diff_ids, chain)
            self._configs[digest] = known
        return known

    def _add_layer_blob(self, digest: Digest, size: int, diff_id: Digest) -> int:
        """Record a layer's blob; return the bytes of its tar."""
        lent = self.records.get(f"lent/{digest}")
        if isinstance(lent, LentRecord):
            return lent.tar_size
        known = self.records.get(f"blobs/{digest}")
        if not isinstance(known, BlobRecord) or not known.diff_id:
            known = BlobRecord(size, diff_id, self._tar_size(digest, diff_id))
            self.records[f"blobs/{digest}"] = known
        return known.tar_size

    def _tar_size(self, digest: Digest, diff_id: Digest) -> int:
        if diff_id in self._sizes:
            return self._sizes[diff_id]
        with suppress(OSError):
            return os.stat(f"{self.directories.tree(diff_id)}/{TAR}").st_size
        total = 0
        with suppress(ArstoreError, OSError), open(self.directories.blob(digest), "rb", buffering=0) as file:
            inflated = decompressed(file, f"layer {digest}")
            while data := inflated.read(CHUNK):
                total += len(data)
        return total

    def _tree(self, *keys: Digest) -> str:
        """Return the first of *keys* with a tree, after recording that as untrusted if necessary; else ""."""
        for key in reversed(dict.fromkeys(keys)):
            if f"trees/{key}" in self.records or self.add_tree(key):
                return key
        return ""

    def add_tree(self, key: str) -> bool:
        """Record the tree *key* as untrusted, in the form of its directory; return whether it exists."""
        try:
            names = os.listdir(self.directories.tree(key))
        except OSError:
            return False
        form = form_of(names)
        if form is MERGED:
            return False
        self._put_record("trees", key, TreeRecord(form.name, "", False, 0, 0, False))
        return True
