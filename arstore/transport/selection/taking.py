"""Take images and indexes from a source: each of their documents is verified and parsed once.

An index is taken with the indexes in it and those of its images that are there. Its document is kept unchanged, so it
may list more than was taken. Not in scope: which entries are wanted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from arstore.dataclass import dataclass, field
from arstore.errors import ManifestError, MissingBlobError, UsageError
from arstore.oci.descriptor import Flawed
from arstore.oci.document import shown
from arstore.oci.media_type import is_encrypted, is_layer
from arstore.store.ingest.incoming import IncomingAttachment, IncomingImage, IncomingIndex, IncomingLayer
from arstore.transport.media.bounds import bounds_of
from arstore.transport.selection.entries import why_no_image
from arstore.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from arstore.digest import Digest
    from arstore.oci.descriptor import Descriptor
    from arstore.tar.limits import Limits
    from arstore.transport.documents import Documents
    from arstore.transport.skipped import SkippedTop
    from arstore.transport.source import ImageSource

    Absent = list[tuple[Descriptor | Flawed, MissingBlobError]]


@dataclass(slots=True)
class Selection:
    """The images and the indexes to take, each once, however many names it has.

    `embedded` has the content of blobs that the source holds only inside descriptors, `encrypted` the digests of images
    that have encrypted layers.
    """

    images: dict[str, IncomingImage] = field(default_factory=dict)
    indexes: dict[str, IncomingIndex] = field(default_factory=dict)
    embedded: Mapping[Digest, bytes] = field(default_factory=dict)
    encrypted: set[Digest] = field(default_factory=set)
    decrypted: dict[Digest, Digest] = field(default_factory=dict)
    """The new digests of images and indexes that were decrypted, by their old digests."""
    attachments: list[IncomingAttachment] = field(default_factory=list)
    """Attachments of these and of one another; an attachment of an attachment comes after it."""

    def rename(self, name: str, what: str) -> None:
        """Give the only selected image or index this name, replacing its names. Raises UsageError."""
        listed = {digest for index in self.indexes.values() for digest in index.manifests}
        indexes = [index for index in self.indexes.values() if index.digest not in listed]
        alone = [image for image in self.images.values() if image.digest not in listed]
        if len(indexes) + len(alone) != 1:
            count = len(indexes) + len(alone)
            raise UsageError(what, f"brings {count} images, but one name can name only one", "select one of them")
        for index in indexes:
            self.indexes[index.digest] = index._replace(names=(name,))
        for image in alone:
            self.images[image.digest] = image._replace(names=(name,))

    def name(self, names: Mapping[Digest, Iterable[str]]) -> None:
        """Give these names to images and indexes that were taken."""
        for digest, some in names.items():
            if digest in self.images:
                self.images[digest] = self.images[digest]._replace(names=tuple(some))
            if digest in self.indexes:
                self.indexes[digest] = self.indexes[digest]._replace(names=tuple(some))


class Found(NamedTuple):
    """An entry whose document is there, and whether it is an index."""

    descriptor: Descriptor
    is_index: bool


class Taking:
    """Fills a selection; *skipped* records entries of indexes that are not taken."""

    def __init__(self, source: ImageSource, documents: Documents, skipped: SkippedTop, limits: Limits) -> None:
        self._source = source
        self._documents = documents
        self._skipped = skipped
        self._bounds = bounds_of(limits)
        self._empty: set[Digest] = set()
        self._names: dict[Digest, dict[str, None]] = {}
        self.selection = Selection(embedded=documents.embedded)

    def image(self, entry: Descriptor | Flawed, names: Sequence[str] = ()) -> None:
        """Take one image, or add names to it.

        Raises the errors of `Documents`, and ManifestError for a document that is not an image or does not fit its
        config.
        """
        raw = self._documents.get(entry)
        if isinstance(entry, Flawed):
            raise entry.error
        if entry.digest not in self.selection.images:
            self.selection.images[entry.digest] = self._read_manifest(entry, raw)
        self.name(entry.digest, names)

    def name(self, digest: Digest, names: Iterable[str]) -> None:
        """Add these names to an image or an index; they are set by `finish`."""
        self._names.setdefault(digest, {}).update(dict.fromkeys(names))

    def finish(self) -> Selection:
        """The selection, with all names set."""
        self.selection.name(self._names)
        return self.selection

    def look(self, entry: Descriptor | Flawed, absent: Absent) -> Found | None:
        """Find the document of an entry; None if it is missing, and the entry is then added to *absent*.

        Raises the entry's own error if it is flawed, and the errors of `Documents`.
        """
        try:
            is_index = self._documents.nature(entry).is_index
        except MissingBlobError as error:
            absent.append((entry, error))
            return None
        if isinstance(entry, Flawed):
            raise entry.error
        return Found(entry, is_index)

    def member(self, entry: Descriptor, absent: Absent) -> bool:
        """Take an image of an index; if a part of it is missing, add it to *absent*. Raises the errors of `image`."""
        try:
            if entry.digest not in self.selection.images:
                image = self._read_manifest(entry, self._documents.get(entry))
                self._require_layers(image)
                self.selection.images[entry.digest] = image
        except MissingBlobError as error:
            absent.append((entry, error))
            return False
        return True

    def index(self, descriptor: Descriptor, names: Sequence[str] = (), depth: int = 1) -> bool:
        """Take an index, the indexes in it and all their images; return whether there are any.

        Raises the errors of `image`, MissingBlobError if it lists images but none is there, and LimitError.
        """
        digest = descriptor.digest
        what = f"index {digest}"
        most = self._bounds.index_depth
        if depth > most:
            raise self._bounds.passed("index-depth", what, f"is nested more than {most} indexes deep")
        if digest in self.selection.indexes:
            self.name(digest, names)
            return True
        if digest in self._empty:
            return False
        index = self._documents.index(descriptor)
        absent: Absent = []
        taken: dict[Digest, None] = {}
        for entry in index.entries:
            if self._take_entry(entry, absent, depth) and not isinstance(entry, Flawed):
                taken[entry.digest] = None
        self.report_absent(absent, bool(taken))
        if taken:
            media_type = self._documents.nature(descriptor).media_type
            self.add_index(IncomingIndex(digest, media_type, index.raw, tuple(taken)), names)
        else:
            self._empty.add(digest)
        return bool(taken)

    def add_index(self, index: IncomingIndex, names: Sequence[str] = ()) -> None:
        """Take an index unchanged, and give it *names*."""
        self.selection.indexes[index.digest] = index
        self.name(index.digest, names)

    def report_absent(self, absent: Absent, others: bool) -> None:
        """Report the images of an index that are missing from the source.

        Raises the first one's MissingBlobError if there are no *others*, or if the source may be truncated.
        """
        for entry, error in absent:
            if not others or not self._source.complete:
                raise error
            platform = f" for {entry.platform}" if entry.platform is not None else ""
            self._skipped.add(entry, f"an image{platform} that is missing: {self._source.what} {error.why}")

    def _take_entry(self, entry: Descriptor | Flawed, absent: Absent, depth: int) -> bool:
        """Take an entry of an index; return whether anything was taken. A missing document is added to *absent*."""
        why = why_no_image(entry, self._documents)
        if why:
            self._skipped.add(entry, why)
            return False
        if isinstance(entry, Flawed):
            self._skipped.add(entry, entry.why)
            return False
        found = self.look(entry, absent)
        if found is None:
            return False
        if not found.is_index:
            return self.member(found.descriptor, absent)
        before = self._skipped.count
        taken = self.index(found.descriptor, (), depth + 1)
        if not taken and self._skipped.count == before:
            self._skipped.add(entry, "an index that lists no image")
        return taken

    def _require_layers(self, image: IncomingImage) -> None:
        for layer in image.layers:
            self._documents.require_blob(layer.digest)

    def _read_manifest(self, entry: Descriptor, raw: bytes) -> IncomingImage:
        what = f"manifest {entry.digest}"
        manifest = self._documents.manifest(entry)
        if not manifest.is_image:
            kind = manifest.artifact_type or manifest.config.media_type
            raise ManifestError(what, f"is not a container image, but an artifact of type {shown(kind) or 'unknown'}")
        self._documents.refer(entry.digest, len(manifest.layers))
        self._documents.admit(entry)
        config = self._documents.config_facts(manifest.config)
        if len(config.diff_ids) != len(manifest.layers):
            counts = f"{len(manifest.layers)} layers in the manifest, {len(config.diff_ids)} diff IDs in the config"
            raise ManifestError(what, f"does not fit its config: {counts}")
        if any(is_encrypted(layer.media_type) for layer in manifest.layers):
            self.selection.encrypted.add(entry.digest)
        layers = tuple(
            IncomingLayer(self._layer_digest(layer, what), layer.size, diff_id, chain_id)
            for layer, diff_id, chain_id in zip(manifest.layers, config.diff_ids, config.chain_ids, strict=True)
        )
        return IncomingImage(
            entry.digest,
            self._documents.nature(entry).media_type,
            raw,
            manifest.config.digest,
            self._documents.config(manifest.config),
            layers,
            str(config.platform),
            config.created,
        )

    def _layer_digest(self, layer: Descriptor, what: str) -> Digest:
        if layer.media_type and not is_layer(layer.media_type):
            raise ManifestError(what, f"has a layer of the unknown type {shown(layer.media_type)}")
        if layer.data is not None:
            self._documents.embed(layer)
        return layer.digest
