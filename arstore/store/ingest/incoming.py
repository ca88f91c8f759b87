"""Input of an import: images whose documents have been verified, and whose layers are still to be read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from arstore.builtin import Protocol
from arstore.errors import BRING_BACK, MissingBlobError
from arstore.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import NoReturn

    from arstore.digest import Digest


class Window(NamedTuple):
    """A range of an open regular file that holds bytes unaltered: *length* bytes from *offset* on.

    *fd* is valid until the source is closed.
    """

    fd: int
    offset: int
    length: int


class BlobReader(Protocol):
    """An open blob."""

    def read(self, size: int = -1, /) -> bytes:
        """Return at most *size* bytes, b"" at the end."""

    def close(self) -> None:
        """Release its resources."""


class BlobSource(Protocol):
    """Where blobs are read from; nothing is verified. See `ImageSource`, which implements it, for the use of each."""

    @property
    def is_remote(self) -> bool:
        """Whether opening a blob needs a connection."""

    def place(self, digest: Digest) -> Window | None:
        """Return the range of an already open file that holds the blob, or None; open nothing."""

    def require_blob(self, digest: Digest) -> None:
        """Check that the blob exists, without reading it. Raises MissingBlobError."""

    def open_blob(self, digest: Digest) -> BlobReader:
        """Open the blob. Raises MissingBlobError."""


def rest_opener(source: BlobSource) -> Callable[[Digest, int], BlobReader] | None:
    """Return a function that opens a blob of *source* from a given byte on; None if it can open only whole blobs.

    This is the method `open_rest(digest, offset)` of some remote sources, which does not transfer the bytes before.
    """
    return getattr(source, "open_rest", None)


def prepare_fetching(source: BlobSource) -> None:
    """Let *source* load everything that a fetching process, which may not open files, will need.

    Some remote sources have a method of that name. Raises the errors of the source.
    """
    prepare: Callable[[], None] | None = getattr(source, "prepare_fetching", None)
    if prepare is not None:
        prepare()


class NoBlobs:
    """The `BlobSource` for work on content that is already in the store."""

    is_remote = False

    def place(self, _digest: Digest, /) -> None:
        """Return None: no file has the blob."""

    def require_blob(self, digest: Digest, /) -> NoReturn:
        """Raise MissingBlobError."""
        raise MissingBlobError(digest, "is missing from the store or damaged", BRING_BACK)

    def open_blob(self, digest: Digest, /) -> NoReturn:
        """Raise MissingBlobError."""
        self.require_blob(digest)


class IncomingLayer(NamedTuple):
    """A layer as declared by manifest and config; `size` is the blob's size in bytes."""

    digest: Digest
    size: int
    diff_id: Digest
    chain_id: Digest


class IncomingImage(NamedTuple):
    """An image: the verified bytes of manifest and config, and its layers, bottom first."""

    digest: Digest
    media_type: str
    manifest: bytes
    config_digest: Digest
    config: bytes
    layers: tuple[IncomingLayer, ...]
    platform: str
    created: str
    names: tuple[str, ...] = ()

    @property
    def top(self) -> str:
        """The chain ID of the top layer; "" for an image without layers."""
        return self.layers[-1].chain_id if self.layers else ""


class IncomingIndex(NamedTuple):
    """An index that is kept whole, with those of its images that are imported too."""

    digest: Digest
    media_type: str
    document: bytes
    manifests: tuple[Digest, ...]
    names: tuple[str, ...] = ()


class IncomingBlob(NamedTuple):
    """A blob that is kept as it is, whatever its content; `size` in bytes."""

    digest: Digest
    size: int


class IncomingAttachment(NamedTuple):
    """A verified manifest that belongs to the manifest `subject` (`oci.attachment`).

    Its config and its layers are among `blobs`, each once, and are never unpacked. `tag` is the suffix of the tag that
    names its subject, "" if its own field does.
    """

    subject: Digest
    digest: Digest
    media_type: str
    manifest: bytes
    artifact_type: str
    blobs: tuple[IncomingBlob, ...]
    tag: str = ""

    @property
    def size(self) -> int:
        """Bytes of the manifest and its blobs."""
        return len(self.manifest) + sum(blob.size for blob in self.blobs)


class TakenLayer(NamedTuple):
    """A layer that is now in the store; `reused` if nothing had to be read.

    `dropped` counts its extended attributes that its tree lacks; unknown, and 0, while it has no tree.
    """

    digest: str
    diff_id: str
    chain_id: str
    size: int
    compressed_size: int
    reused: bool
    dropped: int = 0


class TakenImage(NamedTuple):
    """An image that is now in the store; `denied` is the kernel's reason why its trees could not be built, or "".

    `attachments` are the digests of its attachments that were imported.
    """

    digest: str
    config: str
    names: tuple[str, ...]
    platform: str
    layers: tuple[TakenLayer, ...]
    denied: str = ""
    attachments: tuple[str, ...] = ()
