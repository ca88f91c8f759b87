"""Copy images to a sink: layers, configs, manifests, indexes, and the names last.

Documents and digests are kept unless the user asks for another format or compression, or the medium cannot hold the
image as it is. In that case, layers are converted first, and the documents that list them follow; everything else stays
unchanged. An index that lists more than was copied is also kept unchanged.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING

from arstore.digest import Digest, verify
from arstore.errors import ConversionError, ManifestError, MissingBlobError, SizeMismatchError, UsageError
from arstore.linux.files.writing import write_all
from arstore.oci.descriptor import Descriptor
from arstore.oci.index import Index
from arstore.oci.manifest import Manifest
from arstore.oci.media_type import OCI_LAYER, encrypted_type, is_docker, is_encrypted, is_index
from arstore.oci.platform import Platform, recorded
from arstore.store.progress import NoProgress
from arstore.tar.compression import Compression
from arstore.transport.export.options import Exported, ExportOptions
from arstore.transport.media.bounds import bounds_of
from arstore.transport.sink import LostBlobsError, OutgoingImage, OutgoingLayer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from arstore.digest import Reader
    from arstore.store.ingest.incoming import IncomingImage, IncomingIndex, IncomingLayer
    from arstore.store.progress import Progress
    from arstore.transport.export.content import Contents
    from arstore.transport.selection.taking import Selection
    from arstore.transport.signing.signer import Signer
    from arstore.transport.sink import ImageSink
    from arstore.transport.source import ImageSource, Spool

    TarSize = Callable[[IncomingLayer], int | None]


@dataclass(slots=True)
class _Written:
    """Objects that were written so far, by their digests in the source."""

    images: dict[Digest, OutgoingImage] = field(default_factory=dict)
    indexes: dict[Digest, OutgoingImage] = field(default_factory=dict)
    layers: dict[tuple[Digest, Digest, Compression | None], Descriptor] = field(default_factory=dict)
    encrypted: dict[tuple[Digest, Digest, Compression | None], Descriptor] = field(default_factory=dict)
    locked: set[Digest] = field(default_factory=set)
    sparse: int = 0
    dropped: int = 0
    documents: dict[Digest, tuple[Descriptor, bytes]] = field(default_factory=dict)

    def of(self, digest: Digest) -> OutgoingImage:
        """The copy of the image or the index with this digest."""
        return self.indexes.get(digest) or self.images[digest]

    def unchanged(self) -> list[Digest]:
        """The images and indexes that kept their digests."""
        return [digest for digest, descriptor in self.descriptors().items() if descriptor.digest == digest]

    def descriptors(self) -> dict[Digest, Descriptor]:
        """The new descriptor of each image and index."""
        return {digest: one.descriptor for digest, one in {**self.images, **self.indexes}.items()}


class Export:
    """One copy from *source* to *sink*. *spool* holds a layer whose size must be known before it is written."""

    def __init__(
        self,
        source: ImageSource,
        contents: Contents,
        sink: ImageSink,
        spool: Spool,
        options: ExportOptions,
        progress: Progress | None = None,
        tar_size: TarSize = lambda _layer: None,
    ) -> None:
        self._source = source
        self._contents = contents
        self._sink = sink
        self._spool = spool
        self._options = options
        self._progress = progress or NoProgress()
        self._tar_size = tar_size
        self._bounds = bounds_of(options.limits)
        self._written = _Written()
        self._signed: set[Digest] = set()

    def run(self, selection: Selection) -> Exported:
        """Copy everything that was selected, and make it visible at the end.

        Raises UsageError if the medium cannot hold so much, ConversionError, and the errors of `Contents` and of the
        sink.
        """

        from arstore.transport.export.attaching import is_signature, signed_digests

        listed = {digest for index in selection.indexes.values() for digest in index.manifests}
        self._require_room(selection, listed)
        self._require_changes(selection)
        if self._options.remove_signatures:
            selection.attachments = [one for one in selection.attachments if not is_signature(one)]
        # A signed attachment is not among them: attachments travel as they are.
        here = selection.images.keys() | selection.indexes.keys()
        signed = self._signed = signed_digests(selection.attachments) & here
        if signed and (self._options.converts or not self._sink.traits.manifests):
            raise self._breaks_signature(min(signed))
        self._sink.begin(() if self._options.converts else _tops(selection, listed))
        try:
            return self._bring(selection, listed)
        except LostBlobsError:
            self._written = _Written()
            return self._bring(selection, listed)

    def _bring(self, selection: Selection, listed: set[Digest]) -> Exported:
        """Write what the sink does not hold, and make it visible. Raises LostBlobsError, and the errors of `run`."""

        from arstore.transport.export.transfer import transfer

        transfer(self._contents, self._sink, list(self._as_they_are(selection)), self._progress)
        for image in selection.images.values():
            self._written.images[image.digest] = self._image(image)
        for index in selection.indexes.values():
            self._written.indexes[index.digest] = self._index(index)
        named = [(one.digest, one.names) for one in selection.indexes.values()]
        named += [(one.digest, one.names) for one in selection.images.values()]
        tops = tuple(self._written.of(digest) for digest, names in named if digest not in listed or names)
        images = tuple(self._written.images.values())
        if changed := self._signed - set(self._written.unchanged()):
            raise self._breaks_signature(min(changed))
        attached, left = self._attachments(selection)
        if self._options.signer is not None:
            attached += self._sign(self._options.signer, tops)
        self._sink.publish(images, tops)
        counts = (self._written.sparse, self._written.dropped, len(self._written.locked), attached, left)
        return Exported(tops, images, *counts)

    def _breaks_signature(self, digest: Digest) -> ConversionError:
        why = f"{digest} is signed, and the copy would have another digest"
        return ConversionError(self._sink.what, why, "leave the signatures behind with --remove-signatures")

    def _put_manifest(self, descriptor: Descriptor, raw: bytes) -> None:
        self._sink.put_manifest(descriptor, raw)
        if self._options.signer is not None:
            self._written.documents[descriptor.digest] = (descriptor, raw)

    def _sign(self, signer: Signer, tops: Sequence[OutgoingImage]) -> int:
        """Sign everything that is listed, and the images of an index under the names of the index."""
        # Imported here: few copies are signed.
        from arstore.transport.export.signing import sign_copies

        below = {one.descriptor.digest: one.members for one in self._written.indexes.values()}
        return sign_copies(signer, self._sink, tops, below, self._written.documents)

    def _attachments(self, selection: Selection) -> tuple[int, int]:
        from arstore.transport.export.attaching import carry

        if not selection.attachments:
            return 0, 0
        unchanged = self._written.unchanged() if self._sink.traits.manifests else []
        some = (selection.attachments, unchanged, self._progress, self._bounds)
        return carry(self._contents, self._sink, *some)

    def _require_room(self, selection: Selection, listed: set[Digest]) -> None:
        from arstore.transport.export import conversion

        traits, what = self._sink.traits, self._sink.what
        count = sum(digest not in listed for digest in (*selection.indexes, *selection.images))
        if not traits.many and count != 1:
            raise UsageError(what, f"holds one image, but {count} are to be copied", "name one of them")
        if not traits.indexes and selection.indexes:
            why = "cannot hold an index of several platforms"
            raise UsageError(what, why, "choose one with --platform, or write an oci-archive")
        if not traits.manifests and self._options.preserve_digests:
            raise ConversionError(what, "cannot hold a manifest, so the image's digest would change")
        if not traits.manifests and self._options.form:
            raise ConversionError(what, "cannot hold a manifest, so a format cannot be chosen")
        if traits.plain_layers and self._options.compression not in {None, Compression.NONE}:
            raise ConversionError(what, "can hold only uncompressed layers")
        if self._options.encryption is not None:
            self._options.encryption.require_place(what, traits, self._options.form)
        if selection.encrypted and not traits.encrypted:
            raise conversion.locked(f"image {min(selection.encrypted)}", f"{what} cannot hold encrypted layers")

    def _require_changes(self, selection: Selection) -> None:
        """Check before anything is copied that all necessary changes are allowed. Raises ConversionError."""

        from arstore.transport.export import conversion

        if not self._sink.traits.manifests:
            return
        for image in selection.images.values():
            manifest = self._manifest(image)
            form = self._form(manifest)
            if form != conversion.format_of(manifest.media_type) or any(
                chosen or self._target(layer, form) is not None for layer, chosen in self._chosen(manifest)
            ):
                self._refuse_change(f"manifest {image.digest}")
                conversion.require_free(manifest)
        for index in selection.indexes.values():
            if self._wanted_form not in {"", conversion.format_of(index.media_type)}:
                self._refuse_change(f"index {index.digest}")

    # --- layers -----------------------------------------------------------------------------------------------------

    def _as_they_are(self, selection: Selection) -> Iterator[Descriptor]:
        """The layers whose bytes do not change."""
        if self._sink.traits.plain_layers:
            return
        for image in selection.images.values():
            manifest = self._manifest(image)
            for layer, chosen in self._chosen(manifest):
                if not chosen and self._target(layer, self._form(manifest)) is None:
                    yield layer

    def _chosen(self, manifest: Manifest) -> list[tuple[Descriptor, bool]]:
        """The layers, and whether each is to be encrypted. Raises UsageError for a layer that does not exist."""
        if self._options.encryption is None:
            return [(layer, False) for layer in manifest.layers]
        return self._options.encryption.chosen(manifest)

    def _target(self, layer: Descriptor, form: str) -> Compression | None:
        """The new compression of *layer*; None if its bytes do not change."""

        from arstore.transport.export import conversion

        if is_encrypted(layer.media_type):
            conversion.require_unlocked(layer, form, self._options.compression)
            return None
        have = conversion.compression_of(layer)
        want = self._options.compression or have
        if want is None:
            # An unregistered type may stay if its manifest does.
            if form == conversion.DOCKER and not is_docker(layer.media_type):
                return Compression.GZIP
            return None
        if not conversion.can_hold(form, want):
            if self._options.compression is not None:
                raise ConversionError(f"layer {layer.digest}", f"cannot be {want.value} in Docker's format")
            want = Compression.GZIP
        return None if want is have else want

    def _layer(self, layer: IncomingLayer, old: Descriptor, form: str, encrypts: bool) -> Descriptor:
        """Write the layer to the sink if needed, and return its new descriptor."""

        from arstore.transport.export import conversion

        if self._sink.traits.plain_layers:
            return self._plain(layer, old)
        target = self._target(old, form)
        if encrypts:
            return self._locked(layer, old, target)
        if is_encrypted(old.media_type):
            self._written.locked.add(old.digest)
        if target is None:
            have = conversion.compression_of(old)
            same = have is None or form == conversion.format_of(old.media_type)
            return old if same or have is None else replace(old, media_type=conversion.layer_type(old, have, form))
        key = (old.digest, layer.diff_id, target)
        known = self._written.layers.get(key)
        if known is None:
            known = self._written.layers[key] = self._compressed(layer, old, target)
        media_type = conversion.layer_type(old, target, form)
        return conversion.recompressed(old, media_type, known.digest, known.size)

    def _plain(self, layer: IncomingLayer, old: Descriptor) -> Descriptor:
        """Write the layer's tar under its diff ID."""
        key = (layer.diff_id, layer.diff_id, None)
        known = self._written.layers.get(key)
        if known is None:
            known = self._written.layers[key] = self._write_plain(layer, old)
        return known

    def _write_plain(self, layer: IncomingLayer, old: Descriptor) -> Descriptor:
        digest = layer.diff_id
        size = self._tar_size(layer)
        self._progress.start(digest, digest.short, size)
        tell = partial(self._progress.advance, digest)
        with self._contents.tar(old, digest) as tar:
            if size is None and self._sink.traits.sized:
                size = self._through_spool(tar, tell, digest)
            else:
                size = self._write(tar, Descriptor(OCI_LAYER, digest, size or 0), size, tell)
        self._progress.finish(digest)
        return Descriptor(OCI_LAYER, digest, size)

    def _write(self, tar: Reader, descriptor: Descriptor, size: int | None, tell: Callable[[int], object]) -> int:
        from arstore.transport.export.transfer import pump

        writer = self._sink.writer(descriptor, known=size is not None)
        try:
            count = pump(tar, writer.write, tell)
            if size not in {None, count}:
                raise SizeMismatchError(f"layer {descriptor.digest}", f"has {count} bytes, but {size} were recorded")
            writer.finish(descriptor.digest, count)
        finally:
            writer.close()
        return count

    def _through_spool(self, tar: Reader, tell: Callable[[int], object], digest: Digest) -> int:
        """Write a tar of unknown size to a sink that must know the size first."""

        from arstore.transport.export.transfer import pump, put

        with _Spooled(self._spool) as spooled:
            size = pump(tar, spooled.write, tell)
            put(self._sink, Descriptor(OCI_LAYER, digest, size), spooled.rewound(), lambda _count: None)
        return size

    def _compressed(self, layer: IncomingLayer, old: Descriptor, target: Compression) -> Descriptor:
        """Write the layer in another compression."""

        from arstore.transport.export.content import compressed

        if self._options.preserve_digests:
            why = f"would have to be recompressed ({target.value}), which changes its digest"
            raise ConversionError(f"layer {old.digest}", why)
        self._progress.start(layer.diff_id, layer.diff_id.short, None)
        with self._contents.tar(old, layer.diff_id) as tar:
            made = self._written_new(compressed(tar, target, self._options.level), layer)
        self._progress.finish(layer.diff_id)
        return made

    def _locked(self, layer: IncomingLayer, old: Descriptor, target: Compression | None) -> Descriptor:
        """Write the layer encrypted, in the compression *target*, or in its own."""

        from arstore.transport.export import conversion

        assert self._options.encryption is not None, "there are no recipients"
        key = (old.digest, layer.diff_id, target)
        known = self._written.encrypted.get(key)
        if known is None:
            self._progress.start(layer.diff_id, layer.diff_id.short, None)
            with self._options.encryption.begun(self._contents, layer, old, target, self._options.level) as encrypting:
                made = self._written_new(encrypting.pieces, layer)
                known = self._written.encrypted[key] = encrypting.described(made)
            self._progress.finish(layer.diff_id)
        kept = conversion.compression_of(old) if target is None else target
        media_type = old.media_type if kept is None else conversion.layer_type(old, kept, conversion.OCI)
        new = conversion.recompressed(old, encrypted_type(media_type), known.digest, known.size)
        return new.with_annotations({**new.annotations, **known.annotations})

    def _written_new(self, pieces: Iterable[bytes], layer: IncomingLayer) -> Descriptor:
        """Write a blob that is made on the way; return its descriptor."""

        from arstore.transport.export.transfer import put

        if self._sink.traits.sized:
            with _Spooled(self._spool) as spooled:
                made = _pour(pieces, spooled.write)
                if not self._sink.holds(made):
                    put(self._sink, made, spooled.rewound(), lambda _count: None)
            return made
        writer = self._sink.writer(Descriptor(OCI_LAYER, layer.diff_id, 0), known=False)
        try:
            made = _pour(pieces, writer.write)
            if not self._sink.holds(made):
                writer.finish(made.digest, made.size)
        finally:
            writer.close()
        return made

    # --- documents --------------------------------------------------------------------------------------------------

    def _manifest(self, image: IncomingImage) -> Manifest:
        return Manifest.parse(image.manifest, f"manifest {image.digest}", image.media_type, self._bounds)

    @property
    def _wanted_form(self) -> str:
        """The format for all documents; "" if each keeps its own. Docker's has no encrypted layers."""

        from arstore.transport.export import conversion

        return self._options.form or (conversion.OCI if self._options.encryption is not None else "")

    def _form(self, manifest: Manifest) -> str:
        from arstore.transport.export import conversion

        return self._wanted_form or conversion.format_of(manifest.media_type)

    def _image(self, image: IncomingImage) -> OutgoingImage:
        """Write an image to the sink, but not its names."""

        from arstore.transport.export import conversion

        old = self._manifest(image)
        form = self._form(old)
        layers = [
            self._layer(layer, was, form, encrypts)
            for layer, (was, encrypts) in zip(image.layers, self._chosen(old), strict=True)
        ]
        config = old.config
        if form != conversion.format_of(old.media_type):
            config = replace(config, media_type=conversion.config_type(form), data=None)
        if not self._sink.traits.manifests:
            config = Descriptor(conversion.config_type(conversion.OCI), Digest.of(image.config), len(image.config))
        self._put_config(config, image.config)
        made = [OutgoingLayer(one, layer.diff_id) for one, layer in zip(layers, image.layers, strict=True)]
        descriptor = Descriptor(image.media_type, image.digest, len(image.manifest), platform=_platform(image))
        raw = image.manifest
        if self._sink.traits.manifests and (tuple(layers), config) != (old.layers, old.config):
            self._refuse_change(f"manifest {image.digest}")
            media_type, raw = conversion.manifest(old, config, layers, form)
            descriptor = replace(descriptor, media_type=media_type, digest=Digest.of(raw), size=len(raw))
        self._put_manifest(descriptor, raw)
        return OutgoingImage(descriptor, image.names, image.config, config.digest, tuple(made))

    def _put_config(self, descriptor: Descriptor, raw: bytes) -> None:
        if not self._sink.holds(descriptor):
            writer = self._sink.writer(descriptor)
            try:
                writer.write(raw)
                writer.finish(descriptor.digest, len(raw))
            finally:
                writer.close()

    def _index(self, index: IncomingIndex) -> OutgoingImage:
        """Write an index to the sink; its images are there already."""

        from arstore.transport.export import conversion

        old = Index.parse(index.document, f"index {index.digest}", index.media_type, self._bounds)
        written = self._written.descriptors()
        form = self._wanted_form or conversion.format_of(old.media_type)
        changed = any(written[digest].digest != digest for digest in index.manifests)
        raw, media_type = index.document, index.media_type
        if changed or form != conversion.format_of(old.media_type):
            self._refuse_change(f"index {index.digest}")
            media_type, raw = conversion.index(old, written, form)
        elif self._options.every:
            for entry in old.manifests:
                if entry.digest not in written:
                    self._artifact(entry)
        absent = sum(entry.digest not in written for entry in old.entries)
        if raw is index.document:
            self._written.sparse += absent
        else:
            self._written.dropped += absent
        descriptor = Descriptor(media_type, Digest.of(raw, index.digest.algorithm), len(raw))
        self._put_manifest(descriptor, raw)
        return OutgoingImage(descriptor, index.names, members=tuple(written[d].digest for d in index.manifests))

    def _refuse_change(self, what: str) -> None:
        if self._options.preserve_digests:
            raise ConversionError(what, "would have to be changed, and so would its digest")

    def _artifact(self, entry: Descriptor) -> None:
        """Copy a manifest that is not an image, such as an attestation, with its blobs, if the source has all of it.

        Raises the errors of `Contents` for content that is there but damaged.
        """

        from arstore.transport.export.transfer import transfer

        if is_index(entry.media_type) or entry.size > self._bounds.document:
            return
        try:
            reader = self._source.open_manifest(entry)
            try:
                raw = verify(reader.read(entry.size + 1), entry.digest, entry.size)
            finally:
                reader.close()
            blobs = self._parts(entry, raw)
            for blob in blobs:
                self._source.require_blob(blob.digest)
        except MissingBlobError:
            return
        transfer(self._contents, self._sink, blobs, self._progress)
        self._put_manifest(entry, raw)
        self._written.sparse -= 1

    def _parts(self, entry: Descriptor, raw: bytes) -> list[Descriptor]:
        """The blobs that the manifest *raw* points to; none for other documents, which an index may list as well."""
        try:
            manifest = Manifest.parse(raw, f"manifest {entry.digest}", entry.media_type or None, self._bounds)
        except ManifestError:
            return []
        return [manifest.config, *manifest.layers]


def _pour(pieces: Iterable[bytes], write: Callable[[bytes], object]) -> Descriptor:
    """Write a blob piece by piece; return its descriptor."""
    hasher = Digest.of(b"").new_hash()
    size = 0
    for piece in pieces:
        hasher.update(piece)
        size += len(piece)
        write(piece)
    return Descriptor(OCI_LAYER, Digest.finished("sha256", hasher), size)


def _tops(selection: Selection, listed: set[Digest]) -> list[Descriptor]:
    """The descriptors to list, as they are in the source."""
    indexes = [Descriptor(one.media_type, one.digest, len(one.document)) for one in selection.indexes.values()]
    images = [Descriptor(one.media_type, one.digest, len(one.manifest)) for one in selection.images.values()]
    return [one for one in (*indexes, *images) if one.digest not in listed]


class _Spooled:
    """A file that is written once and read once."""

    def __init__(self, spool: Spool) -> None:
        self._fd = spool.create()

    def write(self, data: bytes | memoryview) -> None:
        """Add bytes. Raises OSError."""
        write_all(self._fd, data)

    def rewound(self) -> Reader:
        """The content of the file, from its beginning."""
        os.lseek(self._fd, 0, os.SEEK_SET)
        return open(self._fd, "rb", buffering=0, closefd=False)

    def __enter__(self) -> _Spooled:
        return self

    def __exit__(self, *_: object) -> None:
        os.ftruncate(self._fd, 0)
        os.close(self._fd)


def _platform(image: IncomingImage) -> Platform | None:
    platform = recorded(image.platform)
    return platform if platform.is_known else None
