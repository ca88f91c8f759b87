"""Results of imports."""

from __future__ import annotations

from typing import TYPE_CHECKING

from arstore.values import frozen

if TYPE_CHECKING:
    from collections.abc import Iterator

    from arstore.api.values.images import Image


@frozen
class ImportedLayer:
    """A layer of an imported image; `reused` if the store already had it. Sizes as in `Layer`."""

    digest: str
    diff_id: str
    chain_id: str
    size: int
    compressed_size: int
    reused: bool


@frozen
class ImportedImage:
    """An imported image, which may have been in the store already.

    `dropped_xattrs` is the number of extended attributes that could not be kept. `names` are the names given to it.
    `attachments` are the digests of the signatures, attestations and SBOMs that were imported with it.
    """

    digest: str
    names: tuple[str, ...]
    platform: str
    config: str
    layers: tuple[ImportedLayer, ...]
    dropped_xattrs: int
    attachments: tuple[str, ...] = ()


@frozen
class Skipped:
    """An entry of a source that was not imported, and the reason `why`. Missing fields of the entry are ""."""

    digest: str
    media_type: str
    name: str
    why: str

    @property
    def label(self) -> str:
        """The entry's name and digest."""
        digest = self.digest or "an entry without a digest"
        return f"{self.name} ({digest})" if self.name else digest


@frozen
class MovedName:
    """A name that has moved from the image with digest `was` to the one with `digest`."""

    name: str
    was: str
    digest: str


@frozen
class Imported:
    """The result of an import. Iteration yields its images.

    `skipped` has the first 100 entries that were not imported, `skipped_count` is the number of all. `cleared` is the
    size on disk of leftovers of killed processes that this import removed, in bytes. `indexes` are the indexes of the
    store that list these images, if all platforms were imported. `mountable` is False if layer trees were not built,
    and `obstacle` says why; `unpack` needs none.
    """

    images: tuple[ImportedImage, ...]
    skipped: tuple[Skipped, ...] = ()
    skipped_count: int = 0
    moved: tuple[MovedName, ...] = ()
    cleared: int = 0
    indexes: tuple[Image, ...] = ()
    mountable: bool = True
    obstacle: str = ""

    def __iter__(self) -> Iterator[ImportedImage]:
        return iter(self.images)

    def __len__(self) -> int:
        return len(self.images)


@frozen
class Committed:
    """The result of `Containers.commit`: the image, and the number of sockets, which it cannot have.

    `socket_paths` has the first of them. `moved` and `cleared` are as in `Imported`.
    """

    image: ImportedImage
    sockets: int = 0
    socket_paths: tuple[str, ...] = ()
    moved: tuple[MovedName, ...] = ()
    cleared: int = 0
