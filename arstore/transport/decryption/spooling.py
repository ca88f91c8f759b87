"""Write decrypted layers to files of a spool."""

from __future__ import annotations

import os
from threading import Lock as Mutex
from typing import TYPE_CHECKING

from arstore.digest import Digest
from arstore.disk.free_space import Room
from arstore.transport.sink import SinkTraits
from arstore.trust.encryption.cipher import Decrypting
from arstore.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

    from arstore.oci.descriptor import Descriptor
    from arstore.store.ingest.incoming import BlobReader
    from arstore.tar.limits import Limits
    from arstore.transport.embedded import BlobsBeside
    from arstore.transport.media.blob import OpenFile
    from arstore.transport.source import Spool
    from arstore.trust.encryption.options import ContentKey

_FILES = 128
"""Layers that each get a file, which a store can keep as it is; more layers share one file, and are copied from it."""


class Unlocked(NamedTuple):
    """An encrypted layer, and the key that decrypts it."""

    layer: Descriptor
    key: ContentKey


class Spooling:
    """A `BlobSink` for encrypted layers; it writes them decrypted to files of a spool."""

    what = "the spool"
    traits = SinkTraits()

    def __init__(self, layers: dict[Digest, Unlocked], blobs: BlobsBeside, spool: Spool, limits: Limits) -> None:
        self._layers = layers
        self._blobs = blobs
        self._limits = limits
        self._mutex = Mutex()
        self._done: dict[Digest, Digest] = {}
        self._places: dict[Digest, tuple[OpenFile, int]] = {}
        largest = sorted(layers, key=lambda digest: layers[digest].layer.size, reverse=True)
        shared: OpenFile | None = None
        offset = 0
        for count, digest in enumerate(largest):
            if count < _FILES:
                self._places[digest] = blobs.file(spool.create()), 0
                continue
            shared = shared or blobs.file(spool.create())
            self._places[digest] = shared, offset
            offset += layers[digest].layer.size

    def holds(self, _descriptor: Descriptor) -> bool:
        """Always False: each layer is decrypted once."""
        return False

    def writer(self, descriptor: Descriptor, *, known: bool = True) -> _Writer:
        """Begin to decrypt one layer; several threads may do so at once."""
        file, offset = self._places[descriptor.digest]
        assert known, "the size of the layer is not known"
        return _Writer(self._layers[descriptor.digest], file, offset, self._limits, self._finished)

    def _finished(self, layer: Descriptor, plain: Digest) -> None:
        with self._mutex:
            self._done[layer.digest] = plain

    def taken(self) -> dict[Digest, Digest]:
        """Add all decrypted layers to the blobs; return the digests of the plaintexts by those of the layers."""
        for digest, plain in self._done.items():
            file, offset = self._places[digest]
            self._blobs.add(plain, file, offset, self._layers[digest].layer.size)
        return self._done

    def take(self, _descriptor: Descriptor, _opened: Callable[[], BlobReader], _tell: Callable[[int], object]) -> None:
        """Do nothing: this sink has a `writer`."""


class _Writer:
    """One layer that is being decrypted to the spool."""

    def __init__(
        self,
        unlocked: Unlocked,
        file: OpenFile,
        offset: int,
        limits: Limits,
        finished: Callable[[Descriptor, Digest], None],
    ) -> None:
        self._layer = unlocked.layer
        self._what = f"layer {self._layer.digest}"
        self._cipher = Decrypting(unlocked.key)
        self._file = file
        self._at = offset
        self._end = offset + self._layer.size
        self._hash = Digest.of(b"").new_hash()
        self._room = Room(file.fd, limits, self._what, self._layer.size)
        self._room.check()
        self._finished = finished

    def write(self, data: bytes | memoryview) -> None:
        """Decrypt a piece of the blob. Raises NoSpaceError, OSError."""
        # A blob that is too long is reported by its reader, after the last byte.
        plain = memoryview(self._cipher.update(data))[: self._end - self._at]
        self._hash.update(plain)
        while plain:
            count = os.pwrite(self._file.fd, plain, self._at)
            self._at += count
            plain = plain[count:]
        self._room.came(len(data))
        self._room.note(len(data))

    def finish(self, _digest: Digest, _size: int) -> None:
        """Accept the layer if its HMAC is right. Raises DecryptionError."""
        self._cipher.verify(self._what)
        self._finished(self._layer, Digest.finished("sha256", self._hash))

    def close(self) -> None:
        """Do nothing: an unfinished layer is dropped with its file."""
