"""From what a source lists to the images that are wanted: indexes are followed, platforms chosen, documents verified.

What comes out has been read and verified down to the config; only layers are still to come. OCI image-spec:
manifest.md, image-index.md, config.md.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from arstore.digest import CHUNK, Digest, verify
from arstore.errors import LimitError, ManifestError, PlatformError
from arstore.oci.chain import chain_ids
from arstore.oci.config import ImageConfig
from arstore.oci.document import STORED
from arstore.oci.index import Index
from arstore.oci.manifest import Manifest
from arstore.oci.media_type import is_index, is_layer, is_manifest
from arstore.oci.platform import Platform, host, select
from arstore.store.incoming import IncomingImage, IncomingIndex, IncomingLayer
from arstore.tar.limits import DEFAULT_LIMITS, Limits, raising
from arstore.transport.bounds import bounds_of

if TYPE_CHECKING:
    from arstore.digest import Reader
    from arstore.oci.descriptor import Descriptor
    from arstore.transport.source import ImageSource, SourceImage


class Wanted(NamedTuple):
    """Which of an index's images are wanted: those of one platform (None: the host's), or all."""

    platform: Platform | None = None
    every: bool = False


@dataclass(slots=True)
class Selection:
    """The images and the indexes that are to be taken, each once, whatever the number of names."""

    images: dict[str, IncomingImage] = field(default_factory=dict)
    indexes: dict[str, IncomingIndex] = field(default_factory=dict)


class _Leaf(NamedTuple):
    """A manifest that an index, or an index below it, lists."""

    descriptor: Descriptor
    platform: Platform | None


class Selector:
    """Reads the documents of one source."""

    def __init__(self, source: ImageSource, wanted: Wanted, limits: Limits = DEFAULT_LIMITS) -> None:
        self._source = source
        self._limits = limits
        self._bounds = bounds_of(limits)
        self._wanted = wanted
        self._selection = Selection()
        self._documents: dict[str, bytes] = {}
        self._bytes = 0
        self._visited: set[str] = set()

    def select(self) -> Selection:
        """Follow everything that the source lists.

        Raises PlatformError when an index has nothing for the platform, ManifestError, MissingBlobError, LimitError,
        and the errors of the source.
        """
        listed = list(self._source.images())
        most = self._limits.images
        if len(listed) > most:
            raise LimitError(self._source.what, f"lists {len(listed)} images; {most} are allowed", raising("images"))
        for image in listed:
            self._follow(image)
        if not self._selection.images:
            raise ManifestError(self._source.what, "has no container image in it")
        return self._selection

    def _follow(self, image: SourceImage) -> None:
        descriptor = image.descriptor
        raw = self._document(descriptor)
        if not self._is_index(descriptor, raw):
            self._single(image, raw)
        elif self._wanted.every:
            self._visited = {descriptor.digest}
            if not self._whole_index(descriptor, raw, image.names, 1):
                raise PlatformError(self._source.what, f"index {descriptor.digest} lists no container image")
        else:
            self._visited = {descriptor.digest}
            leaves = self._leaves(raw, descriptor, 1)
            self._add(self._chosen(leaves), image.names)

    def _single(self, image: SourceImage, raw: bytes) -> None:
        manifest = Manifest.parse(raw, str(image.descriptor.digest), image.descriptor.media_type or None, self._bounds)
        if _is_attestation(image.descriptor, manifest):
            return
        taken = self._add(image.descriptor, image.names)
        wanted = self._wanted.platform
        if wanted is not None and not select([_platform_of(taken)], wanted):
            raise PlatformError(self._source.what, f"is for {taken.platform}, not for {wanted}")

    def _whole_index(self, descriptor: Descriptor, raw: bytes, names: tuple[str, ...], depth: int) -> bool:
        """Take an index, the indexes in it and all their images; whether there are any."""
        digest = descriptor.digest
        what = f"index {digest}"
        self._require_depth(what, depth)
        known = self._selection.indexes.get(digest)
        if known is not None:
            self._selection.indexes[digest] = known._replace(names=tuple(dict.fromkeys((*known.names, *names))))
            return True
        index = Index.parse(raw, what, descriptor.media_type or None, self._bounds)
        taken: list[Digest] = []
        for entry in index.manifests:
            if is_index(entry.media_type):
                if self._nested_index(entry, depth + 1):
                    taken.append(entry.digest)
            elif (is_manifest(entry.media_type) or not entry.media_type) and _is_image(entry):
                taken.append(self._add(entry, ()).digest)
        if taken:
            members = tuple(dict.fromkeys(taken))
            self._selection.indexes[digest] = IncomingIndex(digest, index.media_type, raw, members, names)
        return bool(taken)

    def _nested_index(self, entry: Descriptor, depth: int) -> bool:
        """Take an index that another one lists, once however often it does; whether there are images in it."""
        if entry.digest in self._selection.indexes:
            return True
        return self._visit(entry.digest) and self._whole_index(entry, self._document(entry), (), depth)

    def _leaves(self, raw: bytes, descriptor: Descriptor, depth: int) -> list[_Leaf]:
        """The manifests that an index and the indexes in it list."""
        what = f"index {descriptor.digest}"
        self._require_depth(what, depth)
        found: list[_Leaf] = []
        for entry in Index.parse(raw, what, descriptor.media_type or None, self._bounds).manifests:
            if is_index(entry.media_type):
                if self._visit(entry.digest):
                    found.extend(self._leaves(self._document(entry), entry, depth + 1))
            elif is_manifest(entry.media_type) or not entry.media_type:
                found.append(_Leaf(entry, entry.platform))
            if len(found) > self._limits.images:
                raise LimitError(what, f"lists more than {self._limits.images} manifests", raising("images"))
        return found

    def _visit(self, digest: Digest) -> bool:
        """Whether an index within an index is one that has not been followed from this one before."""
        if digest in self._visited:
            return digest in self._selection.indexes
        self._visited.add(digest)
        return True

    def _chosen(self, leaves: list[_Leaf]) -> Descriptor:
        wanted = self._wanted.platform or host()
        for position in select([leaf.platform for leaf in leaves], wanted):
            leaf = leaves[position]
            if leaf.platform is not None or select([_platform_of(self._image(leaf.descriptor, ()))], wanted):
                return leaf.descriptor
        there = sorted({str(leaf.platform) for leaf in leaves if leaf.platform is not None and leaf.platform.is_known})
        offer = f"it has {', '.join(there)}" if there else "it has none at all"
        raise PlatformError(self._source.what, f"has no image for {wanted}", offer)

    # --- documents --------------------------------------------------------------------------------------------------

    def _add(self, descriptor: Descriptor, names: tuple[str, ...]) -> IncomingImage:
        known = self._selection.images.get(descriptor.digest)
        if known is None:
            known = self._image(descriptor, names)
        else:
            known = known._replace(names=tuple(dict.fromkeys((*known.names, *names))))
        self._selection.images[descriptor.digest] = known
        return known

    def _image(self, descriptor: Descriptor, names: tuple[str, ...]) -> IncomingImage:
        raw = self._document(descriptor)
        what = f"manifest {descriptor.digest}"
        manifest = Manifest.parse(raw, what, descriptor.media_type or None, self._bounds)
        if not manifest.is_image:
            kind = manifest.artifact_type or manifest.config.media_type
            raise ManifestError(what, f"is no container image, but an artifact of type {kind or 'unknown'}")
        config_raw = self._document(manifest.config)
        config = ImageConfig.parse(config_raw, f"config {manifest.config.digest}", self._bounds)
        if len(config.diff_ids) != len(manifest.layers):
            counts = f"{len(manifest.layers)} layers in the manifest, {len(config.diff_ids)} diff IDs in the config"
            raise ManifestError(what, f"does not fit its config: {counts}")
        chain = chain_ids(config.diff_ids)
        layers = tuple(
            IncomingLayer(_layer_digest(layer, what), layer.size, diff_id, chain_id)
            for layer, diff_id, chain_id in zip(manifest.layers, config.diff_ids, chain, strict=True)
        )
        return IncomingImage(
            descriptor.digest,
            manifest.media_type,
            raw,
            manifest.config.digest,
            config_raw,
            layers,
            str(config.platform),
            config.created,
            tuple(dict.fromkeys(names)),
        )

    def _document(self, descriptor: Descriptor) -> bytes:
        """A manifest, index or config, whole and verified."""
        digest = descriptor.digest
        known = self._documents.get(digest)
        if known is not None:
            return verify(known, digest, descriptor.size)
        most = self._bounds.document
        if descriptor.size > most:
            why = f"has {descriptor.size} bytes; a document may have {most}"
            raise self._bounds.passed("document", str(digest), why)
        blob = self._source.open_blob(digest)
        try:
            data = _read_at_most(blob, most + 1)
        finally:
            blob.close()
        self._bytes += len(data)
        if self._bytes > self._limits.documents:
            why = f"has more than {self._limits.documents} bytes of manifests and configs"
            raise LimitError(self._source.what, why, raising("documents"))
        self._documents[digest] = verify(data, digest, descriptor.size)
        return data

    def _require_depth(self, what: str, depth: int) -> None:
        most = self._bounds.index_depth
        if depth > most:
            raise self._bounds.passed("index-depth", what, f"lies more than {most} indexes deep")

    def _is_index(self, descriptor: Descriptor, raw: bytes) -> bool:
        """By the announced type; where none is announced, by the document itself."""
        if is_index(descriptor.media_type):
            return True
        if is_manifest(descriptor.media_type):
            return False
        try:
            Index.parse(raw, str(descriptor.digest), bounds=self._bounds)
        except ManifestError:
            return False
        return True


def _read_at_most(blob: Reader, limit: int) -> bytes:
    parts: list[bytes] = []
    left = limit
    while left and (data := blob.read(min(left, CHUNK))):
        parts.append(data)
        left -= len(data)
    return b"".join(parts)


def _is_attestation(descriptor: Descriptor, manifest: Manifest) -> bool:
    """Whether a manifest at the top of a layout only says something about another one."""
    if descriptor.platform is not None and not descriptor.platform.is_known:
        return True
    return manifest.subject is not None and not manifest.is_image


def _is_image(entry: Descriptor) -> bool:
    return entry.platform is None or entry.platform.is_known


def _platform_of(image: IncomingImage) -> Platform:
    return ImageConfig.parse(image.config, bounds=STORED).platform


def _layer_digest(layer: Descriptor, what: str) -> Digest:
    if layer.media_type and not is_layer(layer.media_type):
        raise ManifestError(what, f"has a layer of the unknown type {layer.media_type}")
    return layer.digest
