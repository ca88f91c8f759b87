"""What is brought to the store: images whose documents have been verified, and whose layers are still to come."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from arstore.errors import BRING_BACK, MissingBlobError
from arstore.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import NoReturn

    from arstore.digest import Digest


class Window(NamedTuple):
    """Bytes that lie unaltered in an open regular file: *length* of them from *offset* on.

    *fd* is valid until the source is closed.
    """

    fd: int
    offset: int
    length: int


class BlobReader(Protocol):
    """An open blob."""

    def read(self, size: int = -1, /) -> bytes:
        """At most *size* bytes, b"" at the end."""

    def close(self) -> None:
        """Release it."""


class BlobSource(Protocol):
    """What blobs are read from; nothing in it is verified. `ImageSource` is one, and says how each method is used."""

    @property
    def is_remote(self) -> bool:
        """Whether opening a blob takes a connection."""

    def place(self, digest: Digest) -> Window | None:
        """Where the blob lies in a file that is open already; opens nothing."""

    def require_blob(self, digest: Digest) -> None:
        """Raise MissingBlobError when the blob is not there; read nothing of it."""

    def open_blob(self, digest: Digest) -> BlobReader:
        """Open the blob. Raises MissingBlobError."""


def rest_opener(source: BlobSource) -> Callable[[Digest, int], BlobReader] | None:
    """What opens a blob of *source* from some byte on; None for a source that can open whole ones only.

    It is the method `open_rest(digest, offset)`, which a remote source may have: what is before is not transferred.
    """
    return getattr(source, "open_rest", None)


def prepare_fetching(source: BlobSource) -> None:
    """Let *source* load what a process needs that is to fetch blobs, and may open no files.

    A remote source may have a method of that name. Raises the errors of the source.
    """
    prepare: Callable[[], None] | None = getattr(source, "prepare_fetching", None)
    if prepare is not None:
        prepare()


class NoBlobs:
    """The `BlobSource` of work on what the store has already."""

    is_remote = False

    def place(self, _digest: Digest, /) -> None:
        """None: there is no file."""

    def require_blob(self, digest: Digest, /) -> NoReturn:
        """Raise MissingBlobError."""
        raise MissingBlobError(digest, "is missing from the store or damaged", BRING_BACK)

    def open_blob(self, digest: Digest, /) -> NoReturn:
        """Raise MissingBlobError."""
        self.require_blob(digest)


class IncomingLayer(NamedTuple):
    """A layer as manifest and config announce it; `size` counts the blob's bytes."""

    digest: Digest
    size: int
    diff_id: Digest
    chain_id: Digest


class IncomingImage(NamedTuple):
    """An image: its manifest and config byte for byte, both verified, and its layers, bottom first."""

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
    """An index that is kept whole, with those of its images that come along."""

    digest: Digest
    media_type: str
    document: bytes
    manifests: tuple[Digest, ...]
    names: tuple[str, ...] = ()


class IncomingBlob(NamedTuple):
    """A blob that is kept as it is, whatever it holds; `size` in bytes."""

    digest: Digest
    size: int


class IncomingAttachment(NamedTuple):
    """A manifest that belongs to the manifest `subject` (`oci.attachment`): byte for byte, and verified.

    Its config and its layers are among `blobs`, each once. They are never unpacked. `tag` is the suffix of the tag by
    which it belongs there, "" where its own field says so.
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
    """A layer that is in the store now; `reused` when nothing of it had to be read.

    `dropped` counts its extended attributes that its tree does not have, which nobody knows while it has no tree.
    """

    digest: str
    diff_id: str
    chain_id: str
    size: int
    compressed_size: int
    reused: bool
    dropped: int = 0


class TakenImage(NamedTuple):
    """An image that is in the store now; `denied` is why it has no trees, in the kernel's words, if that is why.

    `attachments` are the digests of what came in and is attached to it.
    """

    digest: str
    config: str
    names: tuple[str, ...]
    platform: str
    layers: tuple[TakenLayer, ...]
    denied: str = ""
    attachments: tuple[str, ...] = ()
