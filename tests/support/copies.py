"""Copies of images to every kind of file and directory, and reading them again.

    target = copies.target("docker-archive-pipe", tmp_path)
    copies.copy(source, target)
    assert copies.read(target.reference) == ...

A thread reads a target that is a pipe, and writes the data to a file.
"""

from __future__ import annotations

import os
import shutil
import tarfile
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Thread
from typing import TYPE_CHECKING, NamedTuple

from support import images

from arstore.transport.detect import open_source
from arstore.transport.export.content import Contents
from arstore.transport.export.copying import export_reference
from arstore.transport.export.options import ExportOptions
from arstore.transport.export.spool import TemporarySpool
from arstore.transport.selection.selector import Selector, Wanted
from arstore.transport.sinks.destination import destination_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from arstore.oci.descriptor import Descriptor
    from arstore.transport.export.options import Exported
    from arstore.transport.sink import ImageSink
    from arstore.transport.sinks.destination import Destination

FILES = ("oci-archive", "docker-archive", "docker-oci-archive")
DIRECTORIES = ("oci", "dir")
PIPES = tuple(f"{kind}-pipe" for kind in FILES)
KINDS = (*FILES, *PIPES, *DIRECTORIES)
"""Every kind of target."""
MANIFESTS = tuple(kind for kind in KINDS if not kind.startswith("docker-archive"))
"""Kinds that keep manifests as they are."""


@dataclass(frozen=True)
class Target:
    """A place of one of KINDS; `path` is its final path."""

    kind: str
    path: Path
    ref_name: str = ""

    @property
    def is_pipe(self) -> bool:
        return self.kind in PIPES

    @property
    def reference(self) -> str:
        """The reference by which it is read."""
        transport = self.kind.removesuffix("-pipe")
        # The hybrid has no transport; we read it as an OCI archive.
        return f"{'oci-archive' if transport == 'docker-oci-archive' else transport}:{self.path}"

    @contextmanager
    def destination(self) -> Iterator[Destination]:
        """The destination to write to; the output of a pipe is in `path` afterwards."""
        place = destination_of(str(self.path), self.kind.removesuffix("-pipe"))._replace(ref_name=self.ref_name)
        if not self.is_pipe:
            yield place
            return
        reading, writing = os.pipe()
        thread = Thread(target=_drain, args=(reading, self.path))
        thread.start()
        try:
            yield place._replace(path=f"/dev/fd/{writing}")
        finally:
            os.close(writing)
            thread.join()

    @contextmanager
    def opened(self) -> Iterator[ImageSink]:
        """Its sink, entered."""
        with self.destination() as place, place.open() as sink:
            yield sink


def _drain(reading: int, path: Path) -> None:
    with os.fdopen(reading, "rb") as source, path.open("wb") as file:
        shutil.copyfileobj(source, file)


def target(kind: str, directory: Path, name: str = "copy") -> Target:
    """A target of this kind in *directory*."""
    return Target(kind, directory / name)


def copy(
    source: str | Path, to: Target, options: ExportOptions | None = None, wanted: Wanted | None = None, name: str = ""
) -> Exported:
    """Copy everything that *source* lists, without a store."""
    wanted = wanted or Wanted()
    with to.destination() as place:
        place = place._replace(name=name)
        return export_reference(str(source), place, wanted, options or ExportOptions(every=wanted.every))


class Image(NamedTuple):
    """An image as it was read, all of it verified."""

    digest: str
    media_type: str
    config: bytes
    layers: tuple[tuple[str, str, str], ...]
    """For each its digest, its media type, and its diff ID."""
    names: tuple[str, ...]

    @property
    def diff_ids(self) -> list[str]:
        return [diff_id for _, _, diff_id in self.layers]


class Read(NamedTuple):
    """Everything on a medium."""

    images: dict[str, Image]
    indexes: dict[str, tuple[bytes, tuple[str, ...]]]
    """Documents and names by digest."""

    @property
    def one(self) -> Image:
        (image,) = self.images.values()
        return image


def read(reference: str | Path, *, every: bool = False) -> Read:
    """Read a medium by our own sources; every layer's blob and its tar are verified."""
    with open_source(str(reference), TemporarySpool()) as source:
        selection = Selector(source, Wanted(every=every)).select()
        found = {}
        for image in selection.images.values():
            manifest = _manifest(image.manifest)
            contents = Contents(source, ExportOptions().limits)
            layers = []
            for layer, incoming in zip(manifest.layers, image.layers, strict=True):
                _verify(contents, layer, incoming.diff_id)
                layers.append((str(layer.digest), layer.media_type, str(incoming.diff_id)))
            found[str(image.digest)] = Image(
                str(image.digest), image.media_type, image.config, tuple(layers), image.names
            )
        indexes = {str(one.digest): (one.document, one.names) for one in selection.indexes.values()}
        return Read(found, indexes)


def _manifest(raw: bytes):
    from arstore.oci.manifest import Manifest

    return Manifest.parse(raw)


def _verify(contents: Contents, layer: Descriptor, diff_id: str) -> None:
    with contents.blob(layer) as reader:
        while reader.read(1 << 20):
            pass
    with contents.tar(layer, diff_id) as reader:
        while reader.read(1 << 20):
            pass


def expected(picture: images.Picture) -> Image:
    """The expected result of reading *picture*, on a medium that keeps manifests."""
    described = [layer.descriptor(picture.docker) for layer in picture.layers]
    layers = tuple(
        (one["digest"], one["mediaType"], layer.diff_id) for one, layer in zip(described, picture.layers, strict=True)
    )
    return Image(picture.digest, picture.media_type, picture.config, layers, picture.names)


def everything(directory: Path) -> dict[str, bytes]:
    """All regular files below *directory*, with their content."""
    return {str(path.relative_to(directory)): path.read_bytes() for path in directory.rglob("*") if path.is_file()}


def members(path: Path) -> dict[str, bytes | str | None]:
    """The members of an archive: content of files, targets of links, None for directories."""
    with tarfile.open(path) as archive:
        return {
            one.name: one.linkname if one.issym() else archive.extractfile(one).read() if one.isfile() else None
            for one in archive
        }
