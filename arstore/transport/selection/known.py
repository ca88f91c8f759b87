"""An image of a registry that the store has already, complete and under its name: a pull of it brings nothing.

This is found out from the manifest that the registry gives and from the store's records and files, with the checks of
an import (`ingest.inventory`). Whatever is missing, in doubt or out of the ordinary is left to the import, which also
reports what is wrong. Nothing is written, and nothing is loaded that reads layers or documents of images.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from arstore.errors import ArstoreError
from arstore.oci.media_type import is_index, is_manifest, may_be_image
from arstore.oci.reference import parse_name
from arstore.store.ingest.incoming import TakenImage, TakenLayer
from arstore.store.ingest.parts import Parts
from arstore.trust.rules import Rules

if TYPE_CHECKING:
    from arstore.digest import Digest
    from arstore.graph.records import ImageRecord
    from arstore.registry.manifests import GotManifest
    from arstore.store.ingest.parts import Part
    from arstore.store.progress import Progress
    from arstore.store.store import Store
    from arstore.transport.registry import RegistrySource
    from arstore.transport.selection.options import ImportOptions


def known_image(
    store: Store, source: RegistrySource, options: ImportOptions, progress: Progress | None
) -> TakenImage | None:
    """Return the image that *source* names if an import would not change the store; else None.

    Raises the errors of the source.
    """
    wanted, rules = options.wanted, options.rules or Rules()
    if wanted.every or wanted.referrers or options.keys is not None or options.limits.strict_xattrs:
        return None
    if not rules.is_open or store.elsewhere is not None:
        return None
    name = str(parse_name(options.name)) if options.name else source.name
    digest = _image_of(source.top, options) if name else None
    if digest is None:
        return None
    with store.graph.read() as snapshot:
        record = snapshot.image(digest)
        if record is None or record.is_index or snapshot.name(name) != digest:
            return None
        parts = Parts(store).all(digest, record)
    if parts is None:
        return None
    return _taken(digest, record, name, parts, progress)


def _image_of(got: GotManifest, options: ImportOptions) -> Digest | None:
    """The digest of the manifest that an import would take; None if that takes more than the document *got*."""
    platform = options.wanted.platform
    if not is_index(got.media_type):
        # Whether an image suits a platform is in its config.
        return got.digest if platform is None and is_manifest(got.media_type) else None
    from arstore.oci.descriptor import Flawed
    from arstore.oci.index import Index
    from arstore.oci.platform import host, select

    try:
        entries = Index.parse(got.raw, media_type=got.media_type).entries
    except ArstoreError:
        return None
    found = []
    for entry in entries:
        if not may_be_image(entry.media_type):
            continue
        if isinstance(entry, Flawed) or entry.platform is None or not is_manifest(entry.media_type):
            return None
        if not entry.platform.is_denied:
            if not entry.platform.is_known:
                return None
            found.append((entry.digest, entry.platform))
    best = select([platform for _, platform in found], platform or host())
    return found[best[0]][0] if best else None


def _taken(digest: Digest, record: ImageRecord, name: str, parts: list[Part], progress: Progress | None) -> TakenImage:
    layers = []
    told: set[str] = set()
    for blob_digest, (chain_id, layer, blob) in zip(record.layers, parts, strict=True):
        layers.append(TakenLayer(blob_digest, layer.diff_id, chain_id, blob.tar_size, blob.size, True, 0))
        if progress is not None and blob_digest not in told:
            told.add(blob_digest)
            progress.start(layer.diff_id, blob_digest.partition(":")[2][:12], blob.size)
            progress.finish(layer.diff_id, reused=True)
    return TakenImage(digest, record.config, (name,), record.platform, tuple(layers), "", ())
