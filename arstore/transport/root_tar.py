"""Import a plain tar of a root file system as an image with one layer, as `docker import` does.

    bytes -> a spool file in the store, hashed -> inflated once by a confined process, for the diff ID -> Store.take

If a layer may have the compression of the given file (none, gzip, zstd), the layer's blob is the file as it is. xz and
bzip2 have no media type, so such a tar is recompressed with gzip. The blob is then imported like that of any image: it
is verified, its tar is read under all limits, and its tree is built.

The config holds what is known about the image: its platform, its time, and what the user changes. Equal bytes, options
and `created` make an equal image.
"""

from __future__ import annotations

import os
import stat
from io import FileIO
from typing import TYPE_CHECKING

from arstore.dataclass import dataclass
from arstore.digest import CHUNK, Digest
from arstore.disk.free_space import Room
from arstore.disk.staging import Ingest
from arstore.errors import BRING_BACK, LimitError, MissingBlobError, UnknownFormatError, UsageError, from_os_error
from arstore.linux.files.writing import write_all
from arstore.oci import media_type as types
from arstore.oci.chain import child_chain_id
from arstore.oci.config import History, ImageConfig
from arstore.oci.descriptor import Descriptor
from arstore.oci.document import STORED
from arstore.oci.instruction import changed
from arstore.oci.manifest import Manifest
from arstore.oci.reference import parse_name
from arstore.oci.timestamp import rfc3339
from arstore.store.ingest.incoming import IncomingImage, IncomingLayer
from arstore.store.progress import NoProgress
from arstore.tar.compression import Compression
from arstore.tar.limits import DEFAULT_LIMITS, Limits, raising
from arstore.tar.peeking import head_of
from arstore.transport.export.content import compressed
from arstore.transport.location import STREAM, parse_location
from arstore.transport.media.blob import Extent, OpenFile
from arstore.transport.media.inflating import inflating
from arstore.transport.media.magic import HEAD, is_tar
from arstore.transport.media.stream import DescriptorReader
from arstore.transport.refusal import compression_of, no_archive

if TYPE_CHECKING:
    from collections.abc import Callable

    from arstore.digest import Reader
    from arstore.oci.instruction import Instruction
    from arstore.oci.platform import Platform
    from arstore.store.ingest.incoming import BlobReader, TakenImage, Window
    from arstore.store.progress import Progress
    from arstore.store.store import Store
    from arstore.transport.source import Spool

CREATED_BY = "arstore import --rootfs"
"""The layer's text in the history. The file's name is not in it: equal tars would become different images."""


@dataclass(slots=True, frozen=True)
class RootTarOptions:
    """Options of the new image: its *name*, its *platform*, and when it was *created* (seconds since the epoch)."""

    name: str
    platform: Platform
    created: int
    message: str = ""
    changes: tuple[Instruction, ...] = ()
    tree: str = ""
    limits: Limits = DEFAULT_LIMITS


def import_root_tar(store: Store, text: str, options: RootTarOptions, progress: Progress | None = None) -> TakenImage:
    """Import the tar that *text* names, a path or `-`, as an image.

    Raises InvalidReferenceError for the name, UsageError for a transport or a time that a config cannot hold,
    NotFoundError, UnknownFormatError for content that is not a tar, CompressionError, TruncatedError, LimitError,
    NoSpaceError, and the errors of `Store.take`; the store is unchanged then.
    """
    name = str(parse_name(options.name))
    created = rfc3339(options.created)
    progress = progress or NoProgress()
    store.clearance.make()
    with Ingest(store.directories) as spool:
        spool.relief = store.clearance.relieve
        with _Spooling(text, options.limits, progress) as spooling:
            blob = spooling.blob(spool)
        with blob:
            image = _image(blob, options, created, name)
            forms = store.tree_forms(options.tree)
            (taken,) = store.take([image], [], blob, forms, progress, spool, limits=options.limits)
    return taken


class _Spooling:
    """The source while it is read, once, into a file in the store."""

    def __init__(self, text: str, limits: Limits, progress: Progress) -> None:
        location = parse_location(text)
        if location.transport:
            raise UsageError(text, "names images, but --rootfs reads a tar of a root file system", "give its path")
        self.what = location.what
        self._limits = limits
        self._progress = progress
        self._file = FileIO(0, closefd=False) if location.path == STREAM else self._opened(location.path)

    def _opened(self, path: str) -> FileIO:
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOCTTY)
        except OSError as error:
            raise from_os_error(error, self.what) from error
        if stat.S_ISDIR(os.fstat(fd).st_mode):
            os.close(fd)
            raise UnknownFormatError(self.what, "is a directory, not a tar", "pack it with tar -C DIRECTORY -c .")
        return FileIO(fd)

    def blob(self, spool: Spool) -> _Blob:
        """The layer's blob, in *spool*.

        Raises UnknownFormatError, CompressionError, TruncatedError, LimitError, NoSpaceError.
        """
        source = DescriptorReader(self._file.fileno(), self.what)
        head = head_of(source, HEAD)
        compression = compression_of(head, self.what)
        if compression is Compression.NONE and not is_tar(head):
            raise no_archive(head, compression, self.what)
        given = _Blob(OpenFile(spool.create()), compression)
        try:
            self._copy(head, source, given, spool.relieve)
            if compression is Compression.NONE:
                given.diff_id = given.digest
                return given
            if compression.value in types.OCI_LAYERS:
                given.diff_id = self._diff_id(given, head)
                return given
            with given:
                return self._recompressed(given, head, spool)
        except BaseException:
            given.close()
            raise

    def _copy(self, head: bytes, source: Reader, blob: _Blob, relief: Callable[[int], int]) -> None:
        status = os.fstat(self._file.fileno())
        size = status.st_size if stat.S_ISREG(status.st_mode) else None
        room = Room(blob.file.fd, self._limits, self.what, size or 0, relief)
        room.check()
        # An archive that begins with its end mark is empty. Zeros without end after it come from a device of zeros.
        most = self._limits.inflated if any(head) else self._limits.trailing
        name = "inflated" if any(head) else "trailing"
        self._progress.start(self.what, self.what, size)
        data = head
        while data:
            blob.write(data)
            if blob.size > most:
                raise LimitError(self.what, f"has more than {most} bytes", raising(name))
            room.came(len(data) if size else 0)
            room.note(len(data))
            self._progress.advance(self.what, len(data))
            data = source.read(CHUNK)
        blob.finish()
        self._progress.finish(self.what)

    def _diff_id(self, blob: _Blob, head: bytes) -> Digest:
        hasher = blob.digest.new_hash()
        with inflating(blob.reader(), head, self.what, blob.compression, self._limits) as plain:
            start = self._begin(plain, blob.compression)
            hasher.update(start)
            while data := plain.read(CHUNK):
                hasher.update(data)
        return Digest.finished("sha256", hasher)

    def _recompressed(self, blob: _Blob, head: bytes, spool: Spool) -> _Blob:
        made = _Blob(OpenFile(spool.create()), Compression.GZIP)
        try:
            room = Room(made.file.fd, self._limits, self.what, relief=spool.relieve)
            with inflating(blob.reader(), head, self.what, blob.compression, self._limits) as plain:
                tar = _Hashed(self._begin(plain, blob.compression), plain)
                for piece in compressed(tar, Compression.GZIP, None):
                    made.write(piece)
                    room.note(len(piece))
            made.finish()
            made.diff_id = tar.digest()
        except BaseException:
            made.close()
            raise
        return made

    def _begin(self, plain: Reader, compression: Compression) -> bytes:
        start = head_of(plain, HEAD)
        if not is_tar(start):
            raise no_archive(start, compression, self.what)
        return start

    def __enter__(self) -> _Spooling:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()


class _Hashed:
    """A stream that computes a hash while it is read."""

    def __init__(self, start: bytes, rest: Reader) -> None:
        self._start = start
        self._rest = rest
        self._hash = Digest.of(b"").new_hash()

    def read(self, size: int = -1, /) -> bytes:
        """At most *size* bytes, b"" at the end."""
        data, self._start = self._start, b""
        data = data or self._rest.read(size)
        self._hash.update(data)
        return data

    def digest(self) -> Digest:
        """The digest of all bytes that were read."""
        return Digest.finished("sha256", self._hash)


class _Blob:
    """The layer's blob in a spool file, and its `BlobSource`; the digest is known after `finish`."""

    is_remote = False

    def __init__(self, file: OpenFile, compression: Compression) -> None:
        self.file = file
        self.compression = compression
        self.size = 0
        self.digest = self.diff_id = Digest.of(b"")
        self._hash = self.digest.new_hash()

    def write(self, data: bytes) -> None:
        """Add bytes. Raises OSError."""
        write_all(self.file.fd, data)
        self._hash.update(data)
        self.size += len(data)

    def finish(self) -> None:
        """Compute the digest."""
        self.digest = Digest.finished("sha256", self._hash)

    def reader(self) -> Extent:
        """The blob from its beginning."""
        return Extent(self.file, 0, self.size, f"layer {self.digest}")

    def place(self, digest: Digest) -> Window | None:
        """Where the blob is in its file; None for any other blob."""
        return self.reader().window() if digest == self.digest else None

    def require_blob(self, digest: Digest) -> None:
        """Raise MissingBlobError for any other blob."""
        if digest != self.digest:
            raise MissingBlobError(digest, "is missing from the store or damaged", BRING_BACK)

    def open_blob(self, digest: Digest) -> BlobReader:
        """The blob. Raises MissingBlobError for any other blob."""
        self.require_blob(digest)
        return self.reader()

    def close(self) -> None:
        """Close the file."""
        self.file.close()

    def __enter__(self) -> _Blob:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _image(blob: _Blob, options: RootTarOptions, created: str, name: str) -> IncomingImage:
    history = [History(created, CREATED_BY, comment=options.message)]
    config = ImageConfig.build(options.platform, [blob.diff_id], history=history, created=created)
    config = changed(config, options.changes)
    layer = Descriptor(types.OCI_LAYERS[blob.compression.value], blob.digest, blob.size)
    described = Descriptor(types.OCI_CONFIG, Digest.of(config), len(config))
    raw = Manifest.build(described, [layer])
    # Nothing is made that could not be read again: these raise LimitError.
    ImageConfig.parse(config, bounds=STORED)
    Manifest.parse(raw, bounds=STORED)
    chain_id = child_chain_id(None, blob.diff_id)
    layers = (IncomingLayer(blob.digest, blob.size, blob.diff_id, chain_id),)
    platform = str(options.platform)
    return IncomingImage(
        Digest.of(raw), types.OCI_MANIFEST, raw, described.digest, config, layers, platform, created, (name,)
    )
