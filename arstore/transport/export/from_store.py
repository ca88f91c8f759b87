"""The store as a source: some of its images, as they are at one moment.

They are leased while they are read, so removals by other processes do not matter. Layers whose trees keep the tar (the
index form) need not be decompressed.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from arstore.builtin import contextmanager, nullcontext, suppress
from arstore.digest import Digest
from arstore.errors import BRING_BACK, MissingBlobError, StoreDamagedError
from arstore.oci.descriptor import Descriptor
from arstore.store.collect.lease import some_leased
from arstore.transport.media.blob import Extent, OpenFile
from arstore.transport.source import Attached, SourceImage
from arstore.trees.forms import TAR

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from types import TracebackType

    from arstore.store.ingest.incoming import IncomingLayer
    from arstore.store.store import Store, StoredImage


class StoreSource:
    """The images that the user named in *store*, each with the names for the copy."""

    complete = True
    transport = "store"
    is_remote = False
    has_what_it_lists = True
    """A recorded blob that is missing is damage, so it is not passed over."""

    def __init__(self, store: Store, wanted: Sequence[tuple[StoredImage, tuple[str, ...]]]) -> None:
        self.what = store.directories.root
        self._store = store
        self._wanted = wanted

    def images(self) -> Sequence[SourceImage]:
        """The images in the order in which they were named. Raises MissingBlobError."""
        found = []
        for image, names in self._wanted:
            size = self._size(image.digest)
            found.append(SourceImage(Descriptor(image.record.media_type, image.digest, size), names))
        return found

    def attachments(self, subject: Digest) -> Sequence[Attached]:
        """The attachments of *subject* that the store has."""
        with self._store.graph.read() as snapshot:
            found = snapshot.attachments_of(subject)
        return [
            Attached(Descriptor(one.media_type, Digest(digest), one.size, artifact_type=one.artifact_type), one.tag)
            for digest, one in found
        ]

    def place(self, digest: Digest) -> None:
        """Always None: no file is open."""
        del digest

    def require_blob(self, digest: Digest) -> None:
        """Raise MissingBlobError if the blob's file is missing."""
        self._size(digest)

    def open_manifest(self, descriptor: Descriptor) -> Extent:
        """A manifest or an index: a blob like any other. Raises MissingBlobError."""
        return self.open_blob(descriptor.digest)

    def open_blob(self, digest: Digest) -> Extent:
        """A blob's file. Raises MissingBlobError, OSError."""
        try:
            return _opened(self._store.blob_path(digest), str(digest))
        except FileNotFoundError:
            raise MissingBlobError(digest, "its file is missing from the store", BRING_BACK) from None

    def open_tar(self, diff_id: Digest) -> Extent | None:
        """The tar of the layer with this diff ID, if a tree keeps it."""
        with suppress(StoreDamagedError, OSError):
            form, path = self._store.inventory().tree_place(diff_id)
            if form.properties.keeps_tar:
                return _opened(f"{path}/{TAR}", f"the tar of layer {diff_id}")
        return None

    def tar_size(self, layer: IncomingLayer) -> int | None:
        """Size in bytes of a layer's tar; None if the graph does not know the layer."""
        for graph in dict.fromkeys(self._store.graph_of(image) for image, _ in self._wanted):
            with graph.read() as snapshot:
                known = snapshot.layer(layer.chain_id)
            if known is not None:
                return known.size
        return None

    def _size(self, digest: str) -> int:
        try:
            return os.stat(self._store.blob_path(digest)).st_size
        except FileNotFoundError:
            raise MissingBlobError(digest, "its file is missing from the store", BRING_BACK) from None

    def __enter__(self) -> StoreSource:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Do nothing: no file is open."""


@contextmanager
def store_source(store: Store, texts: Sequence[str], names: Sequence[str] | None = None) -> Iterator[StoreSource]:
    """The images that *texts* name in *store*, leased while the context is open.

    An image that was named by a digest keeps all its names; *names*, if given, replace the names of all images. Raises
    the errors of `Store.find`.
    """
    wanted: dict[str, tuple[StoredImage, tuple[str, ...]]] = {}
    for text in texts:
        image = store.find(text)
        own = tuple(names) if names is not None else ((image.called,) if image.called else image.names)
        known = wanted.get(image.digest)
        wanted[image.digest] = (image, own if known is None else tuple(dict.fromkeys((*known[1], *own))))
    leased = [digest for digest, (image, _) in wanted.items() if image.home is None]
    with some_leased(store.graph, leased, "copy") if leased else nullcontext():
        yield StoreSource(store, list(wanted.values()))


def _opened(path: str, what: str) -> Extent:
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    return Extent(OpenFile(fd), 0, os.fstat(fd).st_size, what, owned=True)
