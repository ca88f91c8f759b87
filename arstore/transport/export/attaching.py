"""Copy the attachments of images after the images: blobs, then manifests, byte for byte.

An attachment names a digest. If the image has another digest at the destination, because it was converted, or if the
medium cannot hold attachments, they are left behind.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from arstore.oci.attachment import BUNDLE, NOTATION, OPENPGP
from arstore.oci.descriptor import Descriptor
from arstore.oci.manifest import Manifest
from arstore.store.progress import NoProgress
from arstore.transport.export.transfer import transfer
from arstore.transport.sink import ALL, SIGNATURES, OutgoingAttachment

_TAG = "sig"
_TYPES = (OPENPGP, BUNDLE, NOTATION)
"""Types of attachments that are signatures: arstore's form, sigstore bundles, Notation's."""

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from arstore.digest import Digest
    from arstore.oci.document import Bounds
    from arstore.store.ingest.incoming import IncomingAttachment
    from arstore.store.progress import Progress
    from arstore.transport.export.content import Contents
    from arstore.transport.sink import ImageSink


def is_signature(one: IncomingAttachment) -> bool:
    """Whether an attachment is a signature of its subject."""
    return one.tag == _TAG or one.artifact_type in _TYPES


def signed_digests(attachments: Sequence[IncomingAttachment]) -> set[Digest]:
    """The manifests that have signatures among *attachments*."""
    return {one.subject for one in attachments if is_signature(one)}


def carry(
    contents: Contents,
    sink: ImageSink,
    attachments: Sequence[IncomingAttachment],
    unchanged: Collection[Digest],
    progress: Progress,
    bounds: Bounds,
) -> tuple[int, int]:
    """Copy those of *attachments* whose subjects are *unchanged* at the destination; return how many were copied, and
    how many were not.

    An attachment of an attachment comes after it. Raises the errors of `Contents.blob` and of the sink, and LimitError
    for a signature that is larger than a document may be.
    """
    subjects = set(unchanged)
    todo = []
    for one in attachments:
        if one.subject in subjects:
            subjects.add(one.digest)
            todo.append(one)
    if sink.traits.attachments == ALL:
        _all(contents, sink, todo, progress)
        count = len(todo)
    elif sink.traits.attachments == SIGNATURES:
        count = sum(_signatures(contents, sink, one, bounds) for one in todo)
    else:
        count = 0
    return count, len(attachments) - count


def _all(contents: Contents, sink: ImageSink, todo: Sequence[IncomingAttachment], progress: Progress) -> None:
    if not todo:
        return
    blobs = {(one.subject, one.digest): one.blobs for one in todo}
    missing = sink.begin_attachments([_outgoing(one) for one in todo])
    wanted = [blob for one in missing for blob in blobs[one.subject, one.descriptor.digest]]
    descriptors = [Descriptor("", blob.digest, blob.size) for blob in wanted]
    # Most attachments have a few hundred bytes, too few to show progress.
    is_large = sum(blob.size for blob in wanted) >= 1 << 20
    transfer(contents, sink, descriptors, progress if is_large else NoProgress())
    for one in missing:
        sink.put_attachment(one)


def _outgoing(one: IncomingAttachment) -> OutgoingAttachment:
    descriptor = Descriptor(one.media_type, one.digest, len(one.manifest), artifact_type=one.artifact_type)
    return OutgoingAttachment(one.subject, descriptor, one.manifest, one.tag)


def _signatures(contents: Contents, sink: ImageSink, one: IncomingAttachment, bounds: Bounds) -> bool:
    """Put the signatures in an attachment; False if it is something else."""
    # Imported here: most copies have no signatures.
    from arstore.oci.simple_signing import unwrapped

    def read(layer: Descriptor) -> bytes:
        if layer.size > bounds.document:
            why = f"has {layer.size} bytes; a signature may have at most {bounds.document}"
            raise bounds.passed("document", f"signature {layer.digest}", why)
        with contents.blob(layer) as reader:
            return reader.read()

    manifest = Manifest.parse(one.manifest, f"manifest {one.digest}", one.media_type, bounds)
    files = unwrapped(manifest, read)
    for data in files or ():
        sink.put_signature(one.subject, data)
    return files is not None
