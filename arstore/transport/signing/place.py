"""Sign an existing image of the store, or in a registry."""

from __future__ import annotations

from typing import TYPE_CHECKING

from arstore.digest import Digest
from arstore.disk.staging import Ingest
from arstore.oci.attachment import blobs_of, type_of
from arstore.oci.descriptor import Descriptor
from arstore.oci.manifest import Manifest
from arstore.store.ingest.incoming import IncomingAttachment, IncomingBlob, NoBlobs
from arstore.transport.embedded import EmbeddedBlobs
from arstore.transport.sink import put_blob

if TYPE_CHECKING:
    from collections.abc import Iterable

    from arstore.oci.docker_reference import DockerReference
    from arstore.registry.access import RegistryOptions
    from arstore.store.store import Store, StoredImage
    from arstore.transport.signing.signer import Made, Signer
    from arstore.transport.sink import ImageSink


def sign_stored(store: Store, image: StoredImage, signer: Signer) -> list[Digest]:
    """Sign an image or an index of *store*; return the digests of the attachments that hold the signatures.

    Raises the errors of `Signer.sign` and of `Store.take`.
    """
    raw = store.read_blob(image.digest)
    subject = Descriptor(image.record.media_type, image.digest, len(raw))
    names = (image.called,) if image.called else image.names
    made = signer.sign(subject, raw, names, image.label)
    contents = {Digest.of(blob): blob for one in made for blob in one.blobs}
    with Ingest(store.directories) as spool, EmbeddedBlobs(NoBlobs(), contents, spool) as blobs:
        store.take([], [], blobs, (), spool=spool, attachments=[_incoming(one) for one in made])
    return [one.attachment.descriptor.digest for one in made]


def sign_remote(reference: DockerReference, registries: RegistryOptions, signer: Signer) -> tuple[Digest, list[Digest]]:
    """Sign the image that *reference* names; return its digest, and the digests that were put into the repository.

    Raises the errors of `Signer.sign` and of the registry.
    """
    from arstore.registry.access import Access
    from arstore.registry.manifests import get_manifest
    from arstore.transport.sinks.registry import RegistrySink

    with RegistrySink(reference, Access(registries), lambda _digest: "") as sink:
        found = get_manifest(sink.repository, reference.wanted)
        subject = Descriptor(found.media_type, found.digest, len(found.raw))
        made = signer.sign(subject, found.raw, [str(reference)], sink.what)
        attach(sink, made)
        sink.publish_attachments()
    return found.digest, [one.attachment.descriptor.digest for one in made]


def attach(sink: ImageSink, made: Iterable[Made]) -> None:
    """Store signatures as attachments in *sink*, their blobs first. Raises the errors of the sink."""
    every = []
    for one in made:
        if one.is_message and sink.traits.lookaside and one.file is not None:
            sink.put_signature(one.attachment.subject, one.file)
        else:
            every.append(one)
    blobs = {one.attachment.descriptor.digest: one.blobs for one in every}
    for attachment in sink.begin_attachments([one.attachment for one in every]):
        for blob in blobs[attachment.descriptor.digest]:
            put_blob(sink, blob)
        sink.put_attachment(attachment)


def _incoming(made: Made) -> IncomingAttachment:
    one = made.attachment
    manifest = Manifest.parse(one.raw)
    blobs = tuple(IncomingBlob(blob.digest, blob.size) for blob in blobs_of(manifest))
    known = (one.descriptor.media_type, one.raw, type_of(manifest), blobs, one.tag)
    return IncomingAttachment(one.subject, one.descriptor.digest, *known)
