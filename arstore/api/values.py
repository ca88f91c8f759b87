"""The values of the library: frozen data classes without a connection to a store. They can be compared and pickled.

Sizes are in bytes, digests are strings (`sha256:…`), times are RFC 3339 strings in UTC.
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

    `digest` is the digest of the manifest. `size` is the sum of the stored blobs in bytes; `DiskUsage` has the usage on
    disk. `platform` is `os/architecture[/variant]`, "" for an index. `created` is the time in the image's config,
    `imported` the time of the import into this store. `layers` are digests of blobs, bottom first. `manifests` are the
    digests of an index's images, as far as they are in the store; empty for an image. `store` is the root of the
    additional store that has the image, "" for the store itself.
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
        """Whether this is an index, not an image."""
        return not self.config


@frozen
class Layer:
    """A layer of an image.

    `size` is the size of the uncompressed tar, `compressed_size` that of the stored blob, both in bytes.
    """

    digest: str
    diff_id: str
    chain_id: str
    size: int
    compressed_size: int


@frozen
class ImageDetails:
    """An image with the contents of its documents.

    `layers` are bottom first. `manifest` and `config` are the documents byte for byte. `env` has strings `NAME=VALUE`,
    `volumes` are paths, `exposed_ports` are strings such as `80/tcp`. `left_out` lists parts of the config that cannot
    be used, with the reason.
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
class Tagged:
    """The result of `tag`: a name as stored, its image's digest, and `was`, the image that had it before, or ""."""

    name: str
    digest: str
    was: str = ""


@frozen
class Untagged:
    """The result of `untag`: the name, the digest of its image, and the names that the image still has."""

    name: str
    digest: str
    names_left: tuple[str, ...]


@frozen
class Unpacked:
    """The result of `unpack`: numbers of `layers` and entries (`members`), and the `size` of all file content in bytes.

    `exact` is False if this user could not set all metadata; `left_out` then has the numbers of entries without their
    `owners`, `devices` and `attributes`. `lost` is a sentence about attributes that could not be set, or "".
    """

    digest: str
    path: str
    layers: int
    members: int
    size: int
    exact: bool
    left_out: Mapping[str, int]
    lost: str = ""


@frozen
class Ended:
    """The end of a container.

    `status` is the exit status of its command, or 128 + N if signal N ended it. `oom_killed` is True if the kernel
    killed one of its processes because memory ran out.
    """

    status: int
    oom_killed: bool = False


@frozen
class Loaded:
    """The result of `load`.

    `image` and `names` are the pipeline's, `container` is the id of its container. `images` were imported from its
    output. `kept` are paths below the images directory that stayed there. `set_aside` is the directory with the files
    of an earlier failed run, or "". `ran` is False if the last run had succeeded and only its images had to be
    imported; `status` is then None. `oom_killed` is True if the kernel killed a process of the pipeline because memory
    ran out. `seconds` has the duration of each part: `import`, `run`, `leavings`.
    """

    image: str
    names: tuple[str, ...]
    ran: bool
    status: int | None
    images: tuple[ImportedImage, ...]
    kept: tuple[str, ...]
    set_aside: str
    seconds: Mapping[str, float]
    container: str = ""
    oom_killed: bool = False


@frozen
class Removal:
    """The result of `remove`, or its plan: names, and digests and chain IDs of all content removed with them.

    `containers` are the ids of the containers that were stopped and removed. `freed` is in bytes on disk. A plan has it
    by kind of content in `parts`; the store's own records change by at most `bound` bytes besides.
    """

    untagged: tuple[str, ...]
    images: tuple[str, ...]
    layers: tuple[str, ...]
    blobs: tuple[str, ...]
    trees: tuple[str, ...]
    freed: int
    attachments: tuple[str, ...]
    containers: tuple[str, ...]
    parts: Mapping[str, int]
    bound: int = 0


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


@frozen
class Garbage:
    """Unused content that a plan would remove, or that was removed.

    The fields are digests of images, attachments, blobs and trees; chain IDs of layers; ids of containers, leases and
    mounts; names of orphaned files, and of unfinished work below the root (`ingests`) and the runroot (`leftovers`).
    `bytes` is the size on disk.
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
    """A plan for `Store.apply`, valid as long as the program runs; `parts` has its bytes by kind of content.

    The store's own records change by at most `bound` bytes besides. `basis` is internal.
    """

    garbage: Garbage
    basis: object
    parts: Mapping[str, int]
    bound: int = 0

    @property
    def bytes(self) -> int:
        """Bytes on disk that the plan would free."""
        return self.garbage.bytes


@frozen
class Finding:
    """A finding of `check`.

    `kind` is a word such as `blob-digest`; docs/cli.md lists them under `check`. A `harmless` finding is clutter.
    `images` are the digests of the affected images, `names` their names, in the same order.
    """

    kind: str
    what: str
    why: str
    harmless: bool
    repaired: bool
    images: tuple[str, ...]
    names: tuple[tuple[str, ...], ...]


@frozen
class CheckReport:
    """The findings of `check`, and the number of bytes that it read. `ok` if no damage is left."""

    findings: tuple[Finding, ...]
    bytes: int

    @property
    def ok(self) -> bool:
        """Whether every finding is harmless or repaired."""
        return all(finding.harmless or finding.repaired for finding in self.findings)


@frozen
class CopiedLayer:
    """A layer of a copied image. `digest` and `compressed_size` (in bytes) are those at the destination."""

    digest: str
    diff_id: str
    chain_id: str
    compressed_size: int


@frozen
class CopiedImage:
    """A copied image or index; `digest` is the one at the destination, `manifests` are those of an index's images.

    `config` is the digest of the config, "" for an index, and `layers` are bottom first.
    """

    digest: str
    names: tuple[str, ...]
    media_type: str
    platform: str
    manifests: tuple[str, ...] = ()
    config: str = ""
    layers: tuple[CopiedLayer, ...] = ()


@frozen
class Copied:
    """The result of `copy`. Iteration yields its images.

    `sparse` is the number of listed entries of indexes whose images were not copied; `dropped` is the number of entries
    that a converted index no longer has. `encrypted` layers were copied without decryption. `attached` is the number of
    signatures, attestations and SBOMs that were copied; those in `left` were not, because the medium cannot hold them
    or their image was converted.
    """

    images: tuple[CopiedImage, ...]
    skipped: tuple[Skipped, ...] = ()
    skipped_count: int = 0
    sparse: int = 0
    dropped: int = 0
    encrypted: int = 0
    attached: int = 0
    left: int = 0

    def __iter__(self) -> Iterator[CopiedImage]:
        return iter(self.images)

    def __len__(self) -> int:
        return len(self.images)
