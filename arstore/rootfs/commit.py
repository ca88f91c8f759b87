"""Commit: a container's upper directory becomes a layer, and with the layers below it an image.

    upper -> members (`upper`) -> tar -> diff ID -> compress -> digest -> a blob in an ingest -> Store.take

The tar exists only as a stream. The blob is taken in like any imported image: it is read again, which verifies it and
builds its tree; layer, config, manifest and name are published together or not at all. The descriptors of the lower
layers, the annotations and the kind of the manifest (OCI or Docker) are those of the base image.

The layer always has an entry for the root, because overlayfs shows the upper's root as `/`. So a container that changed
nothing gives an image with one more, nearly empty layer, as with podman and buildah. Equal content, options and
`created` give equal bytes.

Not here: whether a process runs in the container. A mounted container may change during the commit: if a file changed
while it was read, the commit fails (InUseError).
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from arstore.builtin import ExitStack, contextmanager
from arstore.dataclass import dataclass, field
from arstore.digest import CHUNK, Digest
from arstore.disk.staging import Ingest
from arstore.errors import BRING_BACK, MissingBlobError
from arstore.linux.files.sync import syncfs
from arstore.linux.files.writing import write_all
from arstore.mounts.table import MountState, MountTable
from arstore.oci import media_type as types
from arstore.oci.chain import child_chain_id
from arstore.oci.config import ImageConfig
from arstore.oci.descriptor import Descriptor
from arstore.oci.document import STORED, encode, parse
from arstore.oci.instruction import changed
from arstore.oci.manifest import Manifest
from arstore.oci.reference import parse_name
from arstore.oci.timestamp import rfc3339
from arstore.rootfs.upper import UpperChanges, unused_mount_points
from arstore.store.ingest.incoming import IncomingImage, IncomingLayer, Window
from arstore.store.progress import NoProgress
from arstore.tar.compression import Compression, compressor
from arstore.tar.entry import Kind
from arstore.tar.limits import OWN
from arstore.tar.writer import TarWriter
from arstore.trace import reached
from arstore.trees.merged_view import MergedView
from arstore.trees.needs import read_needs
from arstore.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from arstore.oci.instruction import Instruction
    from arstore.store.containers import Container
    from arstore.store.ingest.incoming import TakenImage
    from arstore.store.progress import Progress
    from arstore.store.store import Store, StoredImage
    from arstore.trees.metadata import SkippedEntries


@dataclass(slots=True, frozen=True)
class CommitOptions:
    """Options of the new image: *name*, *created* (seconds since the epoch), *author*, *message*.

    *mount_points* are the paths (bytes, relative to the root) where a runtime mounts something. What the runtime
    created there is left out of the layer if it is empty and the image does not have it.
    """

    name: str
    created: int
    compression: Compression = Compression.GZIP
    level: int | None = None
    author: str = ""
    message: str = ""
    changes: tuple[Instruction, ...] = ()
    mount_points: frozenset[bytes] = field(default_factory=frozenset)


class Committed(NamedTuple):
    """The new image in the store, and the sockets that were left out."""

    image: TakenImage
    sockets: SkippedEntries


def commit(store: Store, container: Container, options: CommitOptions, progress: Progress | None = None) -> Committed:
    """Make an image of *container*, in which nothing runs, and publish it under its name.

    Raises InvalidReferenceError for the name, UsageError for a time that a document cannot hold, LimitError when the
    documents would be too large to read, NotFoundError when container or image were removed, InUseError, TarError,
    StoreDamagedError (see UpperChanges), and the errors of `Store.take` (SourceError, StoreError, HostError); the store
    is then as it was.
    """
    name = str(parse_name(options.name))
    created = rfc3339(options.created)
    progress = progress or NoProgress()
    image = store.find(container.record.image)
    base = store.incoming(image)
    store.clearance.make()
    with Ingest(store.directories) as spool:
        fd = spool.create()
        try:
            layer = _LayerBlob(fd, options, lambda count: progress.advance(container.id, count))
            progress.start(container.id, container.id, None)
            sockets = _write_layer(store, container, image, options, layer)
            reached("commit.layer-written")
            made = _image(base, container, options, layer, created, name)
            taken = store.take([made], [], layer, store.tree_forms(), NoProgress(), spool, limits=OWN)
            progress.finish(container.id)
        finally:
            os.close(fd)
    return Committed(taken[0], sockets)


def _write_layer(
    store: Store, container: Container, image: StoredImage, options: CommitOptions, layer: _LayerBlob
) -> SkippedEntries:
    """Write the members of the container's upper directory to *layer*; return the sockets that were left out."""
    container.verify_whole()
    upper = os.open(container.upper, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        if _is_mounted(store, container):
            # Write-back of recent changes may still fail, and a commit must not depend on such data.
            syncfs(upper)
        with image_view(store, image) as lower:
            changes = UpperChanges(upper, lower, unused_mount_points(upper, lower, options.mount_points))
            archive = TarWriter(layer.write)
            for entry in changes:
                archive.add(entry, changes.chunks() if entry.kind is Kind.FILE and entry.size else ())
            archive.close()
    finally:
        os.close(upper)
    layer.finish()
    # A removal deletes the record before the files. If the record still exists, the files were complete.
    store.containers.get(container.id)
    return changes.sockets


def _is_mounted(store: Store, container: Container) -> bool:
    return any(
        entry.record.container == container.id and entry.state is MountState.MOUNTED
        for entry in MountTable(store.directories).list()
    )


@contextmanager
def image_view(store: Store, image: StoredImage) -> Iterator[MergedView]:
    """Open a view of *image*'s root file system, without a mount, during the context.

    Raises the errors of `Store.stack` (StoreError and SourceError), and OSError.
    """
    keys = store.stack(image)
    inventory = store.inventory()
    with ExitStack() as stack:
        layers = []
        for key in keys:
            form, path = inventory.tree_place(key)
            fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            stack.callback(os.close, fd)
            layers.append((form, fd, frozenset(read_needs(path).implied)))
        yield MergedView(layers)


def _image(
    base: IncomingImage, container: Container, options: CommitOptions, layer: _LayerBlob, created: str, name: str
) -> IncomingImage:
    manifest = Manifest.parse(base.manifest, bounds=STORED)
    old = ImageConfig.parse(base.config, bounds=STORED)
    step = f"arstore commit {container.id}"
    config = old.with_layer(layer.diff_id, step, created, options.message, options.author)
    config = changed(_with_author(config, options.author), options.changes)
    media_types = types.DOCKER_LAYERS if types.is_docker(manifest.media_type) else types.OCI_LAYERS
    new = Descriptor(media_types[options.compression.value], layer.digest, layer.size)
    described = Descriptor(manifest.config.media_type, Digest.of(config), len(config))
    raw = Manifest.build(described, [*manifest.layers, new], manifest.annotations, manifest.media_type)
    # Documents that could not be read again are refused: these raise LimitError.
    ImageConfig.parse(config, bounds=STORED)
    Manifest.parse(raw, bounds=STORED)
    chain_id = child_chain_id(base.layers[-1].chain_id if base.layers else None, layer.diff_id)
    return IncomingImage(
        Digest.of(raw),
        manifest.media_type,
        raw,
        described.digest,
        config,
        (*base.layers, IncomingLayer(layer.digest, layer.size, layer.diff_id, chain_id)),
        base.platform,
        created,
        (name,),
    )


def _with_author(config: bytes, author: str) -> bytes:
    return encode(parse(config, "config", STORED) | {"author": author}) if author else config


class _LayerBlob:
    """A layer's blob while it is written to a file: takes tar, writes compressed bytes, and hashes both.

    `digest`, `diff_id` and `size` (of the blob, in bytes) are known after `finish`.
    """

    def __init__(self, fd: int, options: CommitOptions, report: Callable[[int], None]) -> None:
        self._fd = fd
        self._report = report
        self._compressor = compressor(self._keep, options.compression, options.level)
        self._buffer = bytearray()
        self.size = 0
        self.digest = self.diff_id = Digest.of(b"")
        self._stored = self.digest.new_hash()
        self._plain = self.digest.new_hash()

    def write(self, data: bytes | memoryview) -> None:
        """Add a piece of the tar. Raises OSError."""
        self._buffer += data
        if len(self._buffer) >= CHUNK:
            self._pass_on()

    def finish(self) -> None:
        """Write all bytes that are held back. Raises OSError."""
        self._pass_on()
        self._compressor.close()
        self.digest = Digest.finished("sha256", self._stored)
        self.diff_id = Digest.finished("sha256", self._plain)

    # A `BlobSource` of this one blob, for the intake; all other blobs are in the store.

    is_remote = False

    def place(self, digest: Digest) -> Window | None:
        """Return the position of the blob in its file; None for any other blob."""
        return Window(self._fd, 0, self.size) if digest == self.digest else None

    def require_blob(self, digest: Digest) -> None:
        """Raise MissingBlobError for any other blob."""
        if digest != self.digest:
            raise MissingBlobError(digest, "is missing from the store or damaged", BRING_BACK)

    def open_blob(self, digest: Digest) -> _StagedBlob:
        """Open the blob for reading. Raises MissingBlobError."""
        self.require_blob(digest)
        return _StagedBlob(self._fd, self.size)

    def _pass_on(self) -> None:
        data, self._buffer = bytes(self._buffer), bytearray()
        self._plain.update(data)
        self._compressor.write(data)
        self._report(len(data))

    def _keep(self, data: bytes | memoryview) -> None:
        self._stored.update(data)
        self.size += len(data)
        write_all(self._fd, data)


class _StagedBlob:
    """A `BlobReader` of a spooled file, read from its beginning whatever the descriptor's position."""

    def __init__(self, fd: int, size: int) -> None:
        self._fd = fd
        self._size = size
        self._at = 0

    def read(self, size: int = -1, /) -> bytes:
        """Return at most *size* bytes, b"" at the end."""
        left = self._size - self._at
        data = os.pread(self._fd, left if size < 0 else min(size, left), self._at)
        self._at += len(data)
        return data

    def close(self) -> None:
        """Do nothing: the creator closes the descriptor."""
