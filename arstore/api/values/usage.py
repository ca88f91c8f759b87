"""Disk usage."""

from __future__ import annotations

from typing import TYPE_CHECKING

from arstore.values import frozen

if TYPE_CHECKING:
    from collections.abc import Mapping


@frozen
class ImageUsage:
    """Disk usage of an image's blobs and trees in bytes: `unique` is freed with it; other images also use `shared`."""

    digest: str
    names: tuple[str, ...]
    size: int
    unique: int
    shared: int


@frozen
class DiskUsage:
    """Disk usage of the store in bytes, as du(1) counts it; `total` is the sum of all parts except `reclaimable`.

    `orphans` is the usage of files without a record. `strays` are those orphans that do not belong to a store at all,
    by name below the root. `reclaimable` is the number of bytes that `gc` would free.
    """

    total: int
    blobs: int
    trees: int
    containers: int
    volumes: int
    metadata: int
    ingest: int
    orphans: int
    reclaimable: int
    images: tuple[ImageUsage, ...]
    strays: Mapping[str, int]
