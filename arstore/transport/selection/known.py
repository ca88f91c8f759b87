"""An image of a registry that the store has already, complete and under its name: a pull of it brings nothing.

This is found out from the manifest that the registry gives and from the store's records and files, with the checks of
an import (`ingest.inventory`). Whatever is missing, in doubt or out of the ordinary is left to the import, which also
reports what is wrong. Nothing is written, and nothing is loaded that reads layers or documents of images.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from arstore.errors import ArstoreError
from arstore.mounts.merge_plan import Run, plan
from arstore.oci.media_type import is_index, is_manifest, may_be_image
from arstore.oci.reference import parse_name
from arstore.store.ingest.incoming import TakenImage, TakenLayer
from arstore.trees.forms import NEEDS, NO_NEEDS
from arstore.trust.rules import Rules

if TYPE_CHECKING:
    from arstore.digest import Digest
    from arstore.graph.records import BlobRecord, ImageRecord, LayerRecord, TreeRecord
    from arstore.registry.manifests import GotManifest
    from arstore.store.ingest.inventory import Inventory
    from arstore.store.progress import Progress
    from arstore.store.store import Store
    from arstore.transport.registry import RegistrySource
    from arstore.transport.selection.options import ImportOptions

    Part = tuple[str, LayerRecord, BlobRecord]


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
        parts = _Parts(store, store.inventory()).of(digest, record)
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


class _Parts:
    """Looks up what an image consists of."""

    def __init__(self, store: Store, inventory: Inventory) -> None:
        self._store = store
        self._inventory = inventory

    def of(self, digest: Digest, record: ImageRecord) -> list[Part] | None:
        """The layers, bottom first, with their chain IDs and blobs; None if anything of the image is missing."""
        parts = self._layers(record)
        if parts is None or not all(map(self._inventory.intact_blob, (digest, record.config))):
            return None
        if self._store.makes_trees and not self._has_trees(record, parts):
            return None
        return parts

    def _layers(self, record: ImageRecord) -> list[Part] | None:
        parts: list[Part] = []
        chain_id = record.top
        for blob_digest in reversed(record.layers):
            with self._store.graph.read() as snapshot:
                layer = snapshot.layer(chain_id)
            blob = self._inventory.intact_blob(blob_digest)
            if layer is None or blob is None or blob.diff_id != layer.diff_id:
                return None
            parts.append((chain_id, layer, blob))
            chain_id = layer.parent
        return None if chain_id else parts[::-1]

    def _has_trees(self, record: ImageRecord, parts: list[Part]) -> bool:
        if record.cap is None:
            return False
        keys = [layer.tree for _, layer, _ in reversed(parts)]
        if record.cap:
            keys.insert(0, record.cap)
        trees = self._inventory.trusted_records(keys)
        if trees is None or any(map(self._may_lack_attributes, trees)):
            return False
        return not self._inventory.missing_runs([part for part in plan(trees) if isinstance(part, Run)])

    def _may_lack_attributes(self, tree: tuple[str, TreeRecord]) -> bool:
        """Whether an import would report extended attributes that could not be kept (`trees.needs`)."""
        key, record = tree
        if NO_NEEDS in record.sums:
            return False
        try:
            with open(f"{self._inventory.tree_directory(key)}/{NEEDS}", "rb") as file:
                return b'"dropped":' in file.read()
        except FileNotFoundError:
            return False


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
