"""The values of the library: frozen data classes that hold no store open and can be kept, compared and pickled.

Sizes are in bytes, digests are text (`sha256:…`), times are RFC 3339 text in UTC.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from arstore.values import frozen

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any


@frozen
class Image:
    """An image of the store, or an index of images.

    `digest` is that of its manifest. `size` is the sum of its blobs as stored, in bytes; what it takes on disk is in
    `DiskUsage`. `platform` is `os/architecture[/variant]`, "" for an index. `created` is as the image says it,
    `imported` when it came into this store. `layers` are digests of blobs, bottom first. `manifests` are the digests
    of an index's images, those of them that are in the store; empty for an image. `store` is the root of the
    additional store that has the image, "" for one of the store itself.
    """

    digest: str
    names: tuple[str, ...]
    media_type: str
    platform: str
    created: str
    imported: str
    size: int
    config: str
    layers: tuple[str, ...]
    manifests: tuple[str, ...] = ()
    store: str = ""

    @property
    def is_index(self) -> bool:
        """Whether this is an index of images, and not an image."""
        return not self.config


@frozen
class Layer:
    """A layer of an image.

    `size` counts the bytes of the uncompressed tar, `compressed_size` those of the blob as stored.
    """

    digest: str
    diff_id: str
    chain_id: str
    size: int
    compressed_size: int


@frozen
class ImageDetails:
    """An image with what its documents say.

    `layers` are bottom first. `manifest` and `config` are the documents byte for byte. `env` holds `NAME=VALUE`;
    `volumes` are paths, `exposed_ports` texts such as `80/tcp`. `left_out` names parts of the config that cannot be
    used, with the reason.
    """

    image: Image
    layers: tuple[Layer, ...]
    manifest: bytes
    config: bytes
    author: str
    user: str
    env: tuple[str, ...]
    entrypoint: tuple[str, ...]
    cmd: tuple[str, ...]
    working_dir: str
    volumes: tuple[str, ...]
    exposed_ports: tuple[str, ...]
    stop_signal: str
    labels: Mapping[str, str]
    healthcheck: Mapping[str, Any] | None
    left_out: tuple[str, ...]


@frozen
class ImportedLayer:
    """A layer of an image that came in; `reused` when the store had it. Sizes as in `Layer`."""

    digest: str
    diff_id: str
    chain_id: str
    size: int
    compressed_size: int
    reused: bool


@frozen
class ImportedImage:
    """An image that an import brought, or found in the store already.

    `dropped_xattrs` counts the extended attributes that could not be kept. `names` are those that it came with.
    """

    digest: str
    names: tuple[str, ...]
    platform: str
    config: str
    layers: tuple[ImportedLayer, ...]
    dropped_xattrs: int


@frozen
class Skipped:
    """An entry of a source that was not imported, and why. "" for what the entry does not have."""

    digest: str
    media_type: str
    name: str
    why: str


@frozen
class MovedName:
    """A name that stood for the image with digest `was`, and stands for the one with `digest` now."""

    name: str
    was: str
    digest: str


@frozen
class Imported:
    """The result of an import. Iterating over it gives its images.

    `skipped` has the first 100 entries that were not imported, `skipped_count` is the number of all. `cleared` counts
    the bytes on disk that killed processes had left in the store and that this import removed.
    """

    images: tuple[ImportedImage, ...]
    skipped: tuple[Skipped, ...] = ()
    skipped_count: int = 0
    moved: tuple[MovedName, ...] = ()
    cleared: int = 0

    def __iter__(self) -> Iterator[ImportedImage]:
        return iter(self.images)

    def __len__(self) -> int:
        return len(self.images)


@frozen
class Unpacked:
    """The result of `unpack`: layers, entries, bytes of file content.

    `exact` is False when this user may not set everything; `left_out` then counts the entries without their owner,
    device or attribute.
    """

    path: str
    layers: int
    members: int
    size: int
    exact: bool
    left_out: Mapping[str, int]


@frozen
class Ended:
    """How a container ended.

    `status` is the exit status of its command, 128 + N when signal N ended it. `oom_killed` when the kernel killed one
    of its processes for want of memory.
    """

    status: int
    oom_killed: bool = False


@frozen
class Loaded:
    """The result of `load`.

    `image` and `names` are the pipeline's. `images` were imported from what it left. `kept` are paths below the images
    directory that stayed there. `ran` is False when the last run had ended well and only its images were left to
    import; `status` is then None. `seconds` has the duration of each part: `import`, `run`, `leavings`.
    """

    image: str
    names: tuple[str, ...]
    ran: bool
    status: int | None
    images: tuple[ImportedImage, ...]
    kept: tuple[str, ...]
    set_aside: str
    seconds: Mapping[str, float]


@frozen
class Removal:
    """The result of `remove`, or its plan: names, then digests and chain IDs of everything that went with them.

    `freed` is in bytes on disk.
    """

    untagged: tuple[str, ...]
    images: tuple[str, ...]
    layers: tuple[str, ...]
    blobs: tuple[str, ...]
    trees: tuple[str, ...]
    freed: int


@frozen
class ImageUsage:
    """Bytes on disk of an image's blobs and trees: `unique` would be freed with it, `shared` other images need too."""

    digest: str
    names: tuple[str, ...]
    size: int
    unique: int
    shared: int


@frozen
class DiskUsage:
    """The bytes that the store takes on disk, as du(1) counts them; `total` is the sum of all but `reclaimable`.

    `orphans` belong to nothing that the store knows; `strays` are those of them that are not the store's own files, by
    name below the root. `reclaimable` is what `gc` would free.
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


@frozen
class Garbage:
    """Everything that a plan would remove, or that was removed, because nothing needs it.

    Digests of images, attachments, blobs and trees, chain IDs of layers, ids of containers, leases and mounts, names of
    orphaned files, of unfinished work below the root (`ingests`) and below the runroot (`leftovers`). `bytes` on disk.
    """

    images: tuple[str, ...]
    attachments: tuple[str, ...]
    layers: tuple[str, ...]
    blobs: tuple[str, ...]
    trees: tuple[str, ...]
    orphans: tuple[str, ...]
    containers: tuple[str, ...]
    ingests: tuple[str, ...]
    leases: tuple[str, ...]
    mounts: tuple[str, ...]
    leftovers: tuple[str, ...]
    bytes: int


@frozen
class GcPlan:
    """A plan for `Store.apply`. `basis` belongs to the collector; it may be kept as long as the program runs."""

    garbage: Garbage
    basis: object

    @property
    def bytes(self) -> int:
        """Bytes on disk that would be freed."""
        return self.garbage.bytes


@frozen
class Finding:
    """One thing that `check` found.

    `kind` is a word such as `blob-digest`; docs/cli.md lists them under `check`. A `harmless` finding is clutter.
    `images` are the digests of the images that need it.
    """

    kind: str
    what: str
    why: str
    harmless: bool
    repaired: bool
    images: tuple[str, ...]


@frozen
class CheckReport:
    """The findings of `check`, and how many bytes it read. `ok` when no damage is left."""

    findings: tuple[Finding, ...]
    bytes: int

    @property
    def ok(self) -> bool:
        """Whether every finding is harmless or repaired."""
        return all(finding.harmless or finding.repaired for finding in self.findings)


@frozen
class CopiedImage:
    """An image or index as `copy` wrote it: `digest` is that at the destination, `manifests` those of an index."""

    digest: str
    names: tuple[str, ...]
    media_type: str
    platform: str
    manifests: tuple[str, ...] = ()


@frozen
class Copied:
    """The result of `copy`. Iterating over it gives its images.

    `sparse` counts entries of indexes that are listed and did not come, `dropped` those that a converted index lost.
    """

    images: tuple[CopiedImage, ...]
    skipped: tuple[Skipped, ...] = ()
    skipped_count: int = 0
    sparse: int = 0
    dropped: int = 0

    def __iter__(self) -> Iterator[CopiedImage]:
        return iter(self.images)

    def __len__(self) -> int:
        return len(self.images)
