"""Decrypt the encrypted layers of images: find them and their keys, decrypt them to a spool, and make new manifests."""

from __future__ import annotations

from typing import TYPE_CHECKING

from arstore.dataclass import replace
from arstore.digest import CHUNK, Digest
from arstore.errors import DecryptionError
from arstore.oci.descriptor import Descriptor
from arstore.oci.document import shown
from arstore.oci.index import Index
from arstore.oci.manifest import Manifest
from arstore.oci.media_type import decrypted_type, is_docker, is_encrypted
from arstore.oci.platform import recorded
from arstore.store.progress import NoProgress
from arstore.transport.decryption.spooling import Spooling, Unlocked
from arstore.transport.embedded import BlobsBeside
from arstore.transport.export import conversion
from arstore.transport.export.content import Contents
from arstore.transport.export.transfer import transfer
from arstore.transport.media.bounds import bounds_of
from arstore.trust.encryption import lock as locks
from arstore.trust.encryption.unwrapping import content_keys

if TYPE_CHECKING:
    from collections.abc import Iterable

    from arstore.store.ingest.incoming import BlobSource, IncomingImage, IncomingIndex
    from arstore.store.progress import Progress
    from arstore.tar.limits import Limits
    from arstore.transport.decryption.keys import DecryptionKeys
    from arstore.transport.selection.taking import Selection
    from arstore.transport.source import Spool


def locked_layers(image: IncomingImage, limits: Limits) -> list[Descriptor]:
    """The encrypted layers of *image*, bottom first. Raises ManifestError, LimitError."""
    return [layer for layer in _manifest(image, limits).layers if is_encrypted(layer.media_type)]


class Opening:
    """Decrypts layers of images; `blobs` then has them, in addition to the blobs of *source*."""

    def __init__(self, source: BlobSource, spool: Spool, limits: Limits) -> None:
        self._source = source
        self._spool = spool
        self._limits = limits
        self.blobs = BlobsBeside(source)

    def run(self, selection: Selection, keys: DecryptionKeys, progress: Progress | None, *, verify: bool) -> None:
        """Decrypt the encrypted images in *selection*, and replace them by their decrypted versions.

        See `plain_blobs` for *verify* and for the errors.
        """
        images = [image for digest, image in selection.images.items() if digest in selection.encrypted]
        layers = _unlocked([_checked(image, self._limits) for image in images], keys)
        sink = Spooling(layers, self.blobs, self._spool, self._limits)
        transfer(
            Contents(self._source, self._limits), sink, [one.layer for one in layers.values()], progress or NoProgress()
        )
        plain = sink.taken()
        opened = {image.digest: self._plain(image, plain) for image in images}
        if verify:
            self._verify([opened[image.digest] for image in images], set(plain.values()))
        for old, new in opened.items():
            keys.tell(f"image {old} was decrypted; without encryption it is {new.digest}")
        _replace(selection, opened, self._limits)

    def _plain(self, image: IncomingImage, plain: dict[Digest, Digest]) -> IncomingImage:
        """The image with a manifest that names the decrypted layers."""
        manifest = _manifest(image, self._limits)
        layers = [
            _decrypted(one, plain[one.digest]) if is_encrypted(one.media_type) else one for one in manifest.layers
        ]
        _, raw = conversion.manifest(manifest, manifest.config, layers, conversion.OCI)
        incoming = [was._replace(digest=one.digest) for was, one in zip(image.layers, layers, strict=True)]
        return image._replace(digest=Digest.of(raw), manifest=raw, layers=tuple(incoming))

    def _verify(self, images: Iterable[IncomingImage], plain: set[Digest]) -> None:
        """Decompress the decrypted layers, which compares them with their diff IDs."""
        contents = Contents(self.blobs, self._limits)
        seen = set()
        for image in images:
            descriptors = _manifest(image, self._limits).layers
            for layer, descriptor in zip(image.layers, descriptors, strict=True):
                if layer.digest in plain and (layer.digest, layer.diff_id) not in seen:
                    seen.add((layer.digest, layer.diff_id))
                    with contents.tar(descriptor, layer.diff_id) as tar:
                        while tar.read(CHUNK):
                            pass

    def __enter__(self) -> Opening:
        return self

    def __exit__(self, *_: object) -> None:
        self.blobs.close()


def _manifest(image: IncomingImage, limits: Limits) -> Manifest:
    return Manifest.parse(image.manifest, f"manifest {image.digest}", image.media_type, bounds_of(limits))


def _checked(image: IncomingImage, limits: Limits) -> list[Descriptor]:
    """The encrypted layers of an image, which may be decrypted. Raises DecryptionError, ConversionError."""
    manifest = _manifest(image, limits)
    if is_docker(manifest.media_type):
        raise DecryptionError(f"manifest {image.digest}", "is in Docker's format, which lacks encrypted layers")
    conversion.require_free(manifest)
    layers = [layer for layer in manifest.layers if is_encrypted(layer.media_type)]
    for layer in layers:
        if not decrypted_type(layer.media_type):
            why = f"is encrypted, but has the unknown media type {shown(layer.media_type)}"
            raise DecryptionError(f"layer {layer.digest}", why)
    return layers


def _unlocked(images: Iterable[list[Descriptor]], keys: DecryptionKeys) -> dict[Digest, Unlocked]:
    """Return the key of each layer. Raises DecryptionError, KeyFileError."""
    named: dict[str, tuple[Descriptor, locks.Lock]] = {}
    for layers in images:
        for layer in layers:
            name = f"layer {layer.digest}"
            lock = locks.Lock.read(layer.annotations, name)
            known = named.setdefault(name, (layer, lock))
            if known[1] != lock:
                # One blob with different recipients: each set of annotations must give the key.
                named[f"{name} (as {len(named)})"] = (layer, lock)
    found: dict[Digest, Unlocked] = {}
    for name, key in content_keys({name: lock for name, (_, lock) in named.items()}, keys.words).items():
        layer = named[name][0]
        if found.setdefault(layer.digest, Unlocked(layer, key)).key != key:
            raise DecryptionError(f"layer {layer.digest}", "has two different keys, so its annotations are wrong")
    return found


def _decrypted(layer: Descriptor, digest: Digest) -> Descriptor:
    """Return the descriptor of the layer without encryption."""
    notes = locks.without(layer.annotations)
    media_type = decrypted_type(layer.media_type)
    return replace(layer, media_type=media_type, digest=digest, annotations=notes, urls=(), data=None)


def _replace(selection: Selection, opened: dict[Digest, IncomingImage], limits: Limits) -> None:
    """Replace the encrypted images, and the indexes that list them, by their decrypted versions."""
    images: dict[str, IncomingImage] = {}
    written: dict[Digest, Descriptor] = {}
    for digest, old in selection.images.items():
        image = opened.get(old.digest, old)
        written[old.digest] = _described(image)
        known = images.get(image.digest)
        # Two images may have differed only in their encryption.
        names = image.names if known is None else (*known.names, *image.names)
        images[image.digest] = image._replace(names=tuple(dict.fromkeys(names)))
        selection.encrypted.discard(Digest(digest))
    indexes: dict[str, IncomingIndex] = {}
    for index in selection.indexes.values():
        new = _index(index, written, limits)
        written[index.digest] = Descriptor(new.media_type, new.digest, len(new.document))
        indexes[new.digest] = new
    selection.images, selection.indexes = images, indexes
    selection.decrypted |= {old: new.digest for old, new in written.items() if old != new.digest}


def _described(image: IncomingImage) -> Descriptor:
    platform = recorded(image.platform)
    known = platform if platform.is_known else None
    return Descriptor(image.media_type, image.digest, len(image.manifest), platform=known)


def _index(index: IncomingIndex, written: dict[Digest, Descriptor], limits: Limits) -> IncomingIndex:
    """The index with the decrypted images; unchanged if none of its images was decrypted."""
    if all(written[digest].digest == digest for digest in index.manifests):
        return index
    old = Index.parse(index.document, f"index {index.digest}", index.media_type, bounds_of(limits))
    media_type, raw = conversion.index(old, written, conversion.format_of(index.media_type))
    members = tuple(dict.fromkeys(written[digest].digest for digest in index.manifests))
    return index._replace(digest=Digest.of(raw), media_type=media_type, document=raw, manifests=members)
