"""The Protocol that every medium implements to be read from.

A source lists images by descriptor and opens blobs by digest. It verifies nothing: `copy` does, whatever the medium.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from arstore.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

    from arstore.digest import Digest
    from arstore.oci.descriptor import Descriptor, Flawed


class SourceImage(NamedTuple):
    """One entry as the medium lists it: of a manifest, an index, or anything else.

    `names` are canonical, perhaps none; several entries may bring one name. `fallback` is the name after the file, for
    an image that brings none: it has it already when no other entry may be such an image.
    """

    descriptor: Descriptor | Flawed
    names: tuple[str, ...] = ()
    fallback: str = ""


class BlobReader(Protocol):
    """An open blob: a stream, and where it lies in a file if it lies there as it is."""

    def read(self, size: int = -1, /) -> bytes:
        """At most *size* bytes, b"" at the end."""

    def window(self) -> tuple[int, int, int] | None:
        """`(fd, offset, length)` when the bytes stand unaltered in an open regular file, for the kernel to copy or
        share."""

    def close(self) -> None:
        """Release it."""


class Spool(Protocol):
    """A place inside the store for blobs of a stream that cannot be read twice; gone with its ingest."""

    def create(self) -> int:
        """A descriptor, open for reading and writing, of a new nameless or private file on the store's file system."""


class ImageSource(Protocol):
    """A medium that holds images. Closing it, or leaving its context, releases all that it opened."""

    what: str
    """The medium as the user named it, for messages."""

    @property
    def complete(self) -> bool:
        """False when the medium may have been cut short, so that what is not there may have been there once."""

    def images(self) -> Sequence[SourceImage]:
        """The entries in the medium's own order.

        Raises UnknownFormatError, ManifestError, TruncatedError, LimitError.
        """

    def open_blob(self, digest: Digest) -> BlobReader:
        """The blob of this digest, unverified; several may be open, and read from several threads, at once.

        Raises MissingBlobError.
        """

    def __enter__(self) -> ImageSource: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...
