"""Attachments of the images that were selected (`oci.attachment`).

A source's list is not trusted. Each manifest is read and verified like any other document, and must name the subject
for which it is listed, unless its tag does. Media types do not matter, and layers are never unpacked. Attachments that
cannot be taken are skipped and reported, because the image is complete without them. But attachments that a store has
recorded must be there (`has_what_it_lists`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from arstore.errors import ManifestError, MissingBlobError
from arstore.oci.attachment import EMPTY, EMPTY_DIGEST, MOST, blobs_of, type_of
from arstore.store.ingest.incoming import IncomingAttachment, IncomingBlob
from arstore.transport.source import attached_to

if TYPE_CHECKING:
    from collections.abc import Iterable

    from arstore.digest import Digest
    from arstore.oci.manifest import Manifest
    from arstore.transport.documents import Documents
    from arstore.transport.selection.taking import Selection
    from arstore.transport.skipped import SkippedTop
    from arstore.transport.source import Attached, ImageSource

_DEEPEST = 4
"""Levels to which attachments of attachments are followed: a signature of an attestation is at the second level."""


class Attaching:
    """Finds in *source* the attachments of the images of *selection*, and adds them; *skipped* records the others."""

    def __init__(self, source: ImageSource, documents: Documents, selection: Selection, skipped: SkippedTop) -> None:
        self._source = source
        self._documents = documents
        self._selection = selection
        self._skipped = skipped
        self._known: dict[tuple[Digest, Digest], IncomingAttachment] = {}

    def add(self) -> None:
        """Ask for each image and index, and for every attachment that is found.

        Raises the errors of the source, and those of `Documents` except MissingBlobError and ManifestError.
        """
        selection = self._selection
        level = [index.digest for index in selection.indexes.values()]
        level += [image.digest for image in selection.images.values()]
        for _ in range(_DEEPEST):
            level = [digest for subject in level for digest in self._of(subject)]
        selection.attachments += self._known.values()

    def add_these(self, some: Iterable[tuple[Digest, Attached]]) -> None:
        """Add those of the given attachments, by subject, whose images and indexes were selected.

        Raises the errors of the source, and those of `Documents` except MissingBlobError and ManifestError.
        """
        chosen = self._selection
        for subject, one in some:
            if subject in chosen.images or subject in chosen.indexes:
                self._take(subject, one)
        chosen.attachments += self._known.values()

    def _of(self, subject: Digest) -> list[Digest]:
        """Take the attachments of *subject*; return those that may have attachments themselves."""
        found = []
        listed = attached_to(self._source, subject)
        for one in listed[:MOST]:
            self._documents.work.visit()
            # Tags for attachments of tagged attachments would cost requests to a registry, and do not occur.
            if self._take(subject, one) and not (one.tag and self._source.is_remote):
                found.append(one.descriptor.digest)
        for one in listed[MOST:]:
            self._skipped.add(one.descriptor, f"more than {MOST} attachments of {subject}")
        return found

    def _take(self, subject: Digest, one: Attached) -> bool:
        """Take one attachment, or report why not; return whether it is new."""
        entry = one.descriptor
        if (subject, entry.digest) in self._known or entry.digest in self._selection.images:
            return False
        try:
            taken = self._read(subject, one)
        except (ManifestError, MissingBlobError) as error:
            if getattr(self._source, "has_what_it_lists", False):
                raise
            self._skipped.add(entry, f"an attachment of {subject} that cannot be taken: {error.why}")
            return False
        if taken is None:
            self._skipped.add(entry, f"listed as an attachment of {subject}, but does not name it as its subject")
            return False
        self._known[subject, entry.digest] = taken
        return True

    def _read(self, subject: Digest, one: Attached) -> IncomingAttachment | None:
        entry = one.descriptor
        raw = self._documents.get(entry)
        nature = self._documents.nature(entry)
        if nature.is_index:
            raise ManifestError(f"index {entry.digest}", "it is an index")
        manifest = self._documents.manifest(entry)
        if not one.tag and manifest.subject != subject:
            return None
        self._require_blobs(manifest)
        blobs = tuple(IncomingBlob(blob.digest, blob.size) for blob in blobs_of(manifest))
        return IncomingAttachment(subject, entry.digest, nature.media_type, raw, type_of(manifest), blobs, one.tag)

    def _require_blobs(self, manifest: Manifest) -> None:
        """Check that all blobs are there, or embedded; for a remote source, this is noticed when they are fetched."""
        if self._source.is_remote:
            return
        for blob in blobs_of(manifest):
            if blob.data is not None:
                self._documents.embed(blob)
            try:
                self._documents.require_blob(blob.digest)
            except MissingBlobError:
                # The empty content need not be stored anywhere.
                if blob.digest != EMPTY_DIGEST:
                    raise
                self._documents.embedded[EMPTY_DIGEST] = EMPTY
