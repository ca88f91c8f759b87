"""An image that a registry has already, under the tag that it is pushed to: a push of it brings nothing.

This is found out from the store's records and from the digest that the registry gives for the tag. Whatever is missing,
in doubt or out of the ordinary is left to the copy, which also reports what is wrong. Nothing is written or leased, and
nothing is loaded that reads documents of images.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from arstore.digest import Digest
from arstore.oci.descriptor import Descriptor
from arstore.oci.media_type import is_manifest
from arstore.oci.platform import recorded
from arstore.store.ingest.parts import Parts
from arstore.transport.export.options import Exported, ExportOptions
from arstore.transport.sink import OutgoingImage, OutgoingLayer
from arstore.trust.rules import Rules

if TYPE_CHECKING:
    from arstore.store.ingest.parts import Part
    from arstore.store.progress import Progress
    from arstore.store.store import Store
    from arstore.transport.selection.options import Wanted
    from arstore.transport.sinks.destination import Destination
    from arstore.transport.sinks.registry import RegistrySink


def known_there(
    store: Store,
    text: str,
    destination: Destination,
    sink: RegistrySink,
    wanted: Wanted,
    options: ExportOptions,
    rules: Rules,
    progress: Progress | None,
) -> Exported | None:
    """Return the result of a copy of the image *text* to *sink* if the copy would send nothing; else None.

    Raises the errors of `Store.find` and of `RegistrySink.begin`, PolicyError.
    """
    if not destination.name or wanted.every or wanted.referrers or wanted.platform is not None:
        return None
    if options.converts or options.signer is not None or options.remove_signatures or options.every:
        return None
    if not rules.is_open or store.elsewhere is not None:
        return None
    image = store.find(text)
    if image.record.is_index or not is_manifest(image.record.media_type):
        return None
    parts = Parts(store).blobs(image.digest, image.record)
    if parts is None:
        return None
    size = os.stat(store.blob_path(image.digest)).st_size
    platform = recorded(image.record.platform)
    top = Descriptor(image.record.media_type, image.digest, size, platform=platform if platform.is_known else None)
    sink.begin((top,))
    if not sink.is_current:
        return None
    layers = tuple(_layer(blob, part) for blob, part in zip(image.record.layers, parts, strict=True))
    if progress is not None:
        for descriptor in dict.fromkeys(layer.descriptor for layer in layers):
            progress.start(descriptor.digest, descriptor.digest.short, descriptor.size)
            progress.advance(descriptor.digest, descriptor.size)
            progress.finish(descriptor.digest, reused=True)
    done = OutgoingImage(top, (destination.name,), b"", Digest(image.record.config), layers)
    return Exported((done,), (done,))


def _layer(digest: str, part: Part) -> OutgoingLayer:
    """A layer without its media type, which the store's records do not have."""
    _, layer, blob = part
    return OutgoingLayer(Descriptor("", Digest(digest), blob.size), Digest(layer.diff_id))
