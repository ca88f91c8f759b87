"""A part of a store's disk usage, an image's share of it, and limits on how many are told apart: values only."""

from __future__ import annotations

from typing import TYPE_CHECKING

from arstore.values import NamedTuple, Slotted

if TYPE_CHECKING:
    from collections.abc import Iterable

    from arstore.maintenance.shares import ImageUsage


class Part(Slotted):
    """Something that takes *size* bytes. *key* is a digest or an id, *users* the number of images that need it.

    *kind* is one of: store, group, image, shared, unused, layer, documents, blob, directory, files, overhead,
    containers, container, volumes, volume, metadata, ingest, orphans, rest. *name* is as it was found, and may be
    hostile.
    """

    __match_args__ = ("kind", "name", "size", "parts", "key", "users", "count")
    __slots__ = __match_args__

    def __init__(
        self,
        kind: str,
        name: str,
        size: int,
        parts: list[Part] | None = None,
        key: str = "",
        users: int = 1,
        count: int = 0,
    ) -> None:
        self.kind = kind
        self.name = name
        self.size = size
        self.parts = [] if parts is None else parts
        self.key = key
        self.users = users
        self.count = count
        """How many things a part of the kind `rest` or `files` consists of, if that is known."""


class Limits(NamedTuple):
    """How many images and layers of each are told apart, and which share of the bytes a directory needs for that.

    All repositories are told apart, up to the number of images.
    """

    images: int = 1000
    ungrouped: int = 150
    """Images that are parts of the store itself; more are grouped by repository."""
    layers: int = 250
    shared: int = 2000
    share: float = 1 / 20_000
    of_layer: float = 1 / 300
    depth: int = 12
    names: int = 3_000_000
    """File names that are read in total, of the largest layers first."""


class ImagePart(NamedTuple):
    """An image: its usage, its name for people, its own bytes, and the shared layers that it needs.

    *needs* has positions in `Breakdown.shared`, with bytes; *others* is the rest of its shared bytes.
    """

    usage: ImageUsage
    title: str
    own: Part
    needs: tuple[tuple[int, int], ...]
    others: int

    @property
    def size(self) -> int:
        """Bytes of everything that it needs itself; the images of an index are parts for themselves."""
        return self.own.size + sum(size for _, size in self.needs) + self.others


class Breakdown(NamedTuple):
    """The whole store. *images* are the largest; *left_out* is how many more there are.

    *unread* counts layers whose directories were not read, because they have too many names.
    """

    root: Part
    images: tuple[ImagePart, ...]
    shared: tuple[Part, ...]
    left_out: int
    unread: int


def sorted_parts(parts: Iterable[Part]) -> list[Part]:
    """Return the parts, largest first; the rest comes last."""
    return sorted(parts, key=lambda part: (part.kind == "rest", -part.size, part.name, part.key))
