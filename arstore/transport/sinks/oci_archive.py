"""Write an OCI image layout as a tar archive, optionally one that is also a docker-archive.

    oci-layout
    blobs/sha256/<hex>        in the order: layers, configs, manifests, indexes; then what is attached
    manifest.json             with *docker*, as Docker 25 and later write: readers of either form take it
    repositories
    index.json

The docker-archive lists the images in the blobs that are there already, by their names. Its layers may be compressed;
docker, podman and skopeo all read that.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from arstore.digest import Digest
from arstore.store.layout import INDEX, LAYOUT, LAYOUT_DOCUMENT
from arstore.transport.sink import ALL, SinkTraits
from arstore.transport.sinks.archive import ArchiveFile
from arstore.transport.sinks.docker_documents import DockerItem, listing, repositories
from arstore.transport.sinks.files import FileSink
from arstore.transport.sinks.layout import entries, merged_index

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

    from arstore.oci.descriptor import Descriptor
    from arstore.transport.sink import OutgoingImage
    from arstore.transport.sinks.archive import MemberWriter


class OciArchiveSink(FileSink):
    """A layout in the archive at *path*, which may be `-`; *ref_name* is the user's reference, if any."""

    def __init__(self, path: str, ref_name: str = "", *, docker: bool = False) -> None:
        """Open the archive. Raises ConflictError, OSError."""
        super().__init__()
        self._archive = ArchiveFile(path)
        self.what = self._archive.what
        sized = not self._archive.is_seekable
        self.traits = SinkTraits(many=not ref_name, in_order=True, sized=sized, encrypted=not docker, attachments=ALL)
        self._ref_name = ref_name
        self._docker = docker
        self._held: set[Digest] = set()
        self._has_begun = False

    def holds(self, descriptor: Descriptor) -> bool:
        """Whether the archive has the blob by now."""
        return descriptor.digest in self._held

    def writer(self, descriptor: Descriptor, *, known: bool = True) -> MemberWriter:
        """Begin a blob. Raises OSError."""
        self._begin()
        digest, size = (descriptor.digest, descriptor.size) if known else (None, None)
        return self._archive.begin(self._place, digest, size)

    def put_manifest(self, descriptor: Descriptor, raw: bytes) -> None:
        """Store a manifest: a blob like any other. Raises OSError."""
        if not self.holds(descriptor):
            self._begin()
            self._archive.add(self._place(descriptor.digest), raw)

    def publish(self, images: Sequence[OutgoingImage], tops: Sequence[OutgoingImage]) -> None:
        """Write the lists of images, and end the archive. Raises OSError."""
        self._begin()
        if self._docker:
            items = _docker_items(images, tops)
            self._archive.add("manifest.json", listing(items))
            self._archive.add("repositories", repositories(items))
        self._archive.add(INDEX, merged_index({}, entries(tops, self._ref_name, self.attached)))
        self._archive.finish()

    def _begin(self) -> None:
        if self._has_begun:
            return
        self._has_begun = True
        self._archive.add(LAYOUT, LAYOUT_DOCUMENT)
        self._archive.directory("blobs")
        self._archive.directory("blobs/sha256")

    def _place(self, digest: Digest) -> str:
        self._held.add(digest)
        return _blob(digest)

    def __enter__(self) -> OciArchiveSink:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._archive.__exit__(kind, error, trace)


def _docker_items(images: Sequence[OutgoingImage], tops: Sequence[OutgoingImage]) -> list[DockerItem]:
    """The images for docker's readers: one for each name; the first image of an index."""
    by_digest = {image.descriptor.digest: image for image in images}
    items = []
    for top in tops:
        found = (by_digest[digest] for digest in (top.descriptor.digest, *top.members) if digest in by_digest)
        image = next(found, None)
        if image is not None:
            layers = tuple(_blob(layer.descriptor.digest) for layer in image.layers)
            # Docker 25 and later use the top layer's digest as its id, since layers have no directories.
            last = image.layers[-1].descriptor.digest.hex if image.layers else ""
            config = image.config_digest or Digest.of(image.config)
            items.append(DockerItem(_blob(config), top.names, layers, last))
    return items


def _blob(digest: Digest) -> str:
    return f"blobs/{digest.algorithm}/{digest.hex}"
