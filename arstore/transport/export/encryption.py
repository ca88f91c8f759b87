"""Encrypt layers while they are copied: the recipients, the layers to encrypt, and the resulting blobs.

    the blob, or its tar recompressed ─▶ encrypt, HMAC ─▶ sink        annotations are known after the last byte

Source: ocicrypt and skopeo's `--encryption-key` and `--encrypt-layer`. Keys and nonces are random, so the same layer
has another digest in each copy. Within one copy it is encrypted once, however many images have it.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from arstore.digest import CHUNK
from arstore.errors import ConversionError, UsageError
from arstore.oci.media_type import decrypted_type, encrypted_type, is_encrypted
from arstore.transport.export import conversion
from arstore.transport.export.content import Contents, compressed
from arstore.trust.encryption.cipher import Encrypting
from arstore.trust.encryption.recipients import Recipients

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from arstore.digest import Digest, Reader
    from arstore.oci.descriptor import Descriptor
    from arstore.oci.manifest import Manifest
    from arstore.store.ingest.incoming import IncomingLayer
    from arstore.tar.compression import Compression
    from arstore.transport.sink import SinkTraits


class Encryption:
    """Encrypts layers for *recipients*: those at *indexes* (0 is the first, -1 the last), or all of them."""

    def __init__(self, recipients: Recipients, indexes: Sequence[int] = ()) -> None:
        self._recipients = recipients
        self._indexes = tuple(indexes)

    @classmethod
    def named(cls, keys: Sequence[str], indexes: Sequence[int]) -> Encryption:
        """Parse `--encryption-key` and `--encrypt-layer`. Raises UsageError, KeyFileError."""
        return cls(Recipients.named(keys), indexes)

    def require_place(self, what: str, traits: SinkTraits, form: str) -> None:
        """Raise ConversionError if the medium *what*, or a manifest of this *form*, cannot hold encrypted layers."""
        if not traits.encrypted:
            raise ConversionError(what, "cannot hold encrypted layers", "copy to an OCI archive")
        if form == conversion.DOCKER:
            raise ConversionError(what, "Docker's format does not support encrypted layers", "leave out --format")

    def chosen(self, manifest: Manifest) -> list[tuple[Descriptor, bool]]:
        """The layers of *manifest*, and whether each is to be encrypted; layers that are encrypted already stay so.

        Raises UsageError for an index without a layer, ConversionError for a layer of a type that cannot be encrypted.
        """
        count = len(manifest.layers)
        for index in self._indexes:
            if not -count <= index < count:
                why = f"there is no layer with this number: {manifest.digest.short} has {count}"
                raise UsageError(f"--encrypt-layer {index}", why, "0 is the first layer, -1 the last")
        wanted = {index % count for index in self._indexes} if self._indexes else set(range(count))
        found = []
        for position, layer in enumerate(manifest.layers):
            encrypts = position in wanted and not is_encrypted(layer.media_type)
            if encrypts and not decrypted_type(encrypted_type(layer.media_type)):
                raise ConversionError(f"layer {layer.digest}", "has a media type that cannot be encrypted")
            found.append((layer, encrypts))
        return found

    @contextmanager
    def begun(
        self, contents: Contents, layer: IncomingLayer, old: Descriptor, target: Compression | None, level: int | None
    ) -> Iterator[EncryptedLayer]:
        """Encrypt a layer: its blob unchanged, or with *target* its tar in that compression.

        Raises the errors of `Contents` while it is read.
        """
        if target is None:
            with contents.blob(old) as blob:
                yield EncryptedLayer(_pieces(blob), self._recipients, old.digest)
        else:
            with contents.tar(old, layer.diff_id) as tar:
                yield EncryptedLayer(compressed(tar, target, level), self._recipients, old.digest)


class EncryptedLayer:
    """A layer that is encrypted while `pieces` are taken; call `described` after the last one."""

    def __init__(self, plain: Iterator[bytes], recipients: Recipients, digest: Digest) -> None:
        self._cipher = Encrypting()
        self._recipients = recipients
        self._digest = digest
        self.pieces = map(self._cipher.update, plain)

    def described(self, made: Descriptor) -> Descriptor:
        """*made*, the descriptor of the pieces, with the annotations that hold the keys for the recipients."""
        return made.with_annotations(self._recipients.annotations(self._cipher, self._digest))


def _pieces(blob: Reader) -> Iterator[bytes]:
    while data := blob.read(CHUNK):
        yield data
