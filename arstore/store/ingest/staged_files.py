"""Documents and attachments of an import: small files, which are written and verified by the importing process."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from arstore.digest import VerifiedReader, verify
from arstore.errors import SizeMismatchError
from arstore.graph.records import AttachmentRecord, BlobRecord
from arstore.linux.files.writing import write_all
from arstore.store.progress import NoProgress
from arstore.trace import reached

if TYPE_CHECKING:
    from collections.abc import Sequence

    from arstore.digest import Digest
    from arstore.disk.free_space import Room
    from arstore.disk.staging import Ingest
    from arstore.store.ingest.incoming import BlobSource, IncomingAttachment, IncomingBlob
    from arstore.store.ingest.inventory import Inventory
    from arstore.store.ingest.publish import Publication
    from arstore.store.progress import Progress

_SHOWN = 1 << 20
"""Size in bytes from which on the progress of an attachment's blob is shown: most have a few hundred."""


class StagedFiles:
    """The blobs of *publication* in *ingest*; if `is_durable`, each is synced when it is complete."""

    def __init__(
        self,
        inventory: Inventory,
        ingest: Ingest,
        blobs: BlobSource,
        progress: Progress,
        room: Room,
        publication: Publication,
    ) -> None:
        self._inventory = inventory
        self._ingest = ingest
        self._blobs = blobs
        self._progress = progress
        self._room = room
        self._publication = publication
        self.is_durable = True

    def add(self, digest: str, path: str, record: BlobRecord) -> None:
        """Add a blob that is complete at *path*."""
        self._publication.blobs[digest] = (path, record)
        if self._inventory.is_recorded(digest):
            self._publication.replaced.add(digest)

    def document(self, digest: Digest, data: bytes) -> None:
        """Stage a manifest, config or index, which the caller holds in memory."""
        if self._inventory.intact_blob(digest) is not None:
            self._publication.reused_blobs.add(digest)
            return
        if digest in self._publication.blobs:
            return
        verify(data, digest)
        path = self._ingest.file(f"blob-{digest.hex}")
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            write_all(fd, data)
            if self.is_durable:
                os.fdatasync(fd)
        finally:
            os.close(fd)
        if self.is_durable:
            reached("take.document-synced")
        self.add(digest, path, BlobRecord(len(data)))

    def missing_of(self, attachments: Sequence[IncomingAttachment]) -> dict[Digest, int]:
        """Return the blobs of *attachments* that the store does not have, with their sizes."""
        blobs = {blob.digest: blob.size for one in attachments for blob in one.blobs}
        return {digest: size for digest, size in blobs.items() if self._inventory.intact_blob(digest) is None}

    def attachment(self, attachment: IncomingAttachment) -> None:
        """Stage the manifest and the blobs of an attachment. Raises the errors of the source, OSError."""
        self.document(attachment.digest, attachment.manifest)
        for blob in attachment.blobs:
            self._blob(blob)
        self._publication.attachments[attachment.subject, attachment.digest] = AttachmentRecord(
            attachment.media_type,
            len(attachment.manifest),
            attachment.artifact_type,
            tuple(str(blob.digest) for blob in attachment.blobs),
            self._inventory.now,
            attachment.tag,
        )
        reached("take.attachment-kept")

    def _blob(self, blob: IncomingBlob) -> None:
        """Read a blob from the source and verify it, unless the store has it."""
        digest, size = blob
        known = self._inventory.intact_blob(digest)
        staged = self._publication.blobs.get(digest)
        if known is None and staged is not None:
            known = staged[1]
        if known is not None:
            if known.size != size:
                raise SizeMismatchError(f"blob {digest}", f"has {known.size} bytes, {size} were declared")
            if staged is None:
                self._publication.reused_blobs.add(digest)
            return
        path = self._ingest.file(f"blob-{digest.hex}")
        progress = self._progress if size >= _SHOWN else NoProgress()
        progress.start(digest, digest.short, size)
        reader = self._blobs.open_blob(digest)
        fd = -1
        try:
            fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            for data in VerifiedReader(reader, digest, size, f"blob {digest}"):
                write_all(fd, data)
                self._room.came(len(data))
                self._room.note(len(data))
                progress.advance(digest, len(data))
            if self.is_durable:
                os.fdatasync(fd)
        finally:
            reader.close()
            if fd >= 0:
                os.close(fd)
        progress.finish(digest)
        self.add(digest, path, BlobRecord(size))
