"""Write a docker-archive, as `docker save` did up to version 24, and as podman and skopeo do.

    <diff id>.tar             each layer, without compression
    <config digest>.json
    <layer id>/VERSION        1.0
    <layer id>/layer.tar      a link to ../<diff id>.tar
    <layer id>/json
    manifest.json
    repositories

The format does not hold manifests. So its readers make one, and the image's digest changes; the config stays the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from arstore.digest import Digest
from arstore.oci.media_type import is_config
from arstore.transport.sink import SinkTraits
from arstore.transport.sinks.archive import ArchiveFile
from arstore.transport.sinks.docker_documents import DockerItem, legacy_layers, listing, repositories
from arstore.transport.sinks.files import FileSink

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

    from arstore.oci.descriptor import Descriptor
    from arstore.transport.sink import OutgoingImage
    from arstore.transport.sinks.archive import MemberWriter

_VERSION = b"1.0"
_MOST = 64
"""Digits of a digest in a member's name: the header may be written last, so it must fit in one block."""


class DockerArchiveSink(FileSink):
    """A docker-archive at *path*, which may be `-`."""

    def __init__(self, path: str) -> None:
        """Open the archive. Raises ConflictError, OSError."""
        super().__init__()
        self._archive = ArchiveFile(path)
        self.what = self._archive.what
        self.traits = SinkTraits(
            plain_layers=True,
            indexes=False,
            in_order=True,
            sized=not self._archive.is_seekable,
            manifests=False,
            encrypted=False,
        )
        self._held: set[Digest] = set()

    def holds(self, descriptor: Descriptor) -> bool:
        """Whether the archive has the blob by now."""
        return descriptor.digest in self._held

    def writer(self, descriptor: Descriptor, *, known: bool = True) -> MemberWriter:
        """Begin a layer, whose digest is its diff ID, or a config. Raises OSError."""
        named = _config_name if is_config(descriptor.media_type) else _layer_name

        def finished(digest: Digest) -> str:
            self._held.add(digest)
            return named(digest)

        digest, size = (descriptor.digest, descriptor.size) if known else (None, None)
        return self._archive.begin(finished, digest, size)

    def put_manifest(self, descriptor: Descriptor, raw: bytes) -> None:
        """Do nothing: the format does not hold manifests."""

    def publish(self, images: Sequence[OutgoingImage], tops: Sequence[OutgoingImage]) -> None:
        """Write the lists of images, and end the archive. Raises OSError."""
        del images
        items: dict[str, DockerItem] = {}
        written: set[str] = set()
        for image in tops:
            layers = legacy_layers(image)
            for layer, content in zip(layers, image.layers, strict=True):
                if layer.id not in written:
                    written.add(layer.id)
                    self._archive.directory(layer.id)
                    self._archive.add(f"{layer.id}/VERSION", _VERSION)
                    self._archive.link(f"{layer.id}/layer.tar", f"../{_layer_name(content.diff_id)}")
                    self._archive.add(f"{layer.id}/json", layer.document)
            config = _config_name(image.config_digest or Digest.of(image.config))
            paths = tuple(_layer_name(content.diff_id) for content in image.layers)
            known = items.get(config)
            names = image.names if known is None else (*known.names, *image.names)
            items[config] = DockerItem(config, names, paths, layers[-1].id if layers else "")
        self._archive.add("manifest.json", listing(list(items.values())))
        self._archive.add("repositories", repositories(list(items.values())))
        self._archive.finish()

    def __enter__(self) -> DockerArchiveSink:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._archive.__exit__(kind, error, trace)


def _layer_name(diff_id: Digest) -> str:
    return f"{diff_id.hex[:_MOST]}.tar"


def _config_name(digest: Digest) -> str:
    return f"{digest.hex[:_MOST]}.json"
