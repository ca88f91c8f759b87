"""Base of all media without a network: a container of members, images listed once, and closing.

Not in scope: where images and blobs are in a medium; `layout`, `dir` and `docker_archive` know one medium each.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from arstore.errors import MissingBlobError
from arstore.oci.document import BOUNDS, Bounds
from arstore.tar.limits import DEFAULT_LIMITS, Limits
from arstore.transport.facts import Facts
from arstore.transport.media.directory import Directory
from arstore.transport.media.members import Members
from arstore.transport.names import EVERYTHING, Choice, Claims, chosen, named

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType
    from typing import Self

    from arstore.digest import Digest
    from arstore.oci.descriptor import Descriptor
    from arstore.transport.media.blob import Bytes, Extent
    from arstore.transport.source import BlobReader, SourceImage, Window

Container = Directory | Members
"""A container of named files: a directory, or an archive's table."""


class Medium(ABC):
    """An `ImageSource` over a container, which it owns.

    *file_name* is the name that an image without a name may take ("" for none), *choice* the images that the user asked
    for, *bounds* the bounds of one document, *limits* the limits for all of them. *facts* are those of another medium
    over the same container.
    """

    def __init__(
        self,
        container: Container,
        file_name: str = "",
        choice: Choice = EVERYTHING,
        bounds: Bounds = BOUNDS,
        limits: Limits = DEFAULT_LIMITS,
        facts: Facts | None = None,
    ) -> None:
        self.what = container.what
        self.facts = facts or Facts(self.what, limits, bounds, container.stored)
        """Facts about the documents, shared with later readers."""
        self._bounds = bounds
        self._container = container
        self._file_name = file_name
        self._choice = choice
        self._images: tuple[SourceImage, ...] | None = None

    @abstractmethod
    def claims(self) -> Claims:
        """The images as the medium lists them, each with the names that it gets there."""

    @abstractmethod
    def find(self, digest: Digest) -> Extent | Bytes | None:
        """The blob *digest*, or None if the medium does not have it; in an archive, this opens nothing."""

    def images(self) -> Sequence[SourceImage]:
        """The images in the medium's own order, or only the one that the user asked for.

        Raises ManifestError, LimitError, UnsafePathError, TruncatedError, MissingBlobError, NotFoundError.
        """
        if self._images is None:
            claims = list(self.claims())
            found = chosen(named(claims, self._file_name), self.choose(claims), self.what)
            if self._choice == EVERYTHING:
                found = tuple(image for image in found if not self.is_attachment(image))
            self._images = found
        return self._images

    def is_attachment(self, image: SourceImage) -> bool:
        """Whether an entry belongs to another one in this medium, and is not an image itself."""
        del image
        return False

    def choose(self, claims: Claims) -> Choice:
        """The user's choice in terms of the claimed names; a medium may have its own syntax."""
        return self._choice

    @property
    @abstractmethod
    def transport(self) -> str:
        """The name of the transport."""

    @property
    def is_remote(self) -> bool:
        """Always False: blobs are files, or parts of files."""
        return False

    @property
    def in_directory(self) -> bool:
        """Whether its files are in a directory, not in an archive."""
        return isinstance(self._container, Directory)

    def place(self, digest: Digest) -> Window | None:
        """Where the blob is in the archive, or in a spool file; None in a directory, whose files are not open.

        Raises UnsafePathError if anything but a regular file has its name.
        """
        blob = None if self.in_directory else self.find(digest)
        return None if blob is None else blob.window()

    def require_blob(self, digest: Digest) -> None:
        """Check that the blob is there. Raises MissingBlobError, UnsafePathError."""
        self.open_blob(digest).close()

    def open_manifest(self, descriptor: Descriptor) -> BlobReader:
        """The blob with the descriptor's digest: media keep manifests and blobs in one place.

        Raises MissingBlobError, UnsafePathError.
        """
        return self.open_blob(descriptor.digest)

    def open_blob(self, digest: Digest) -> BlobReader:
        """The blob with this digest, unverified.

        Raises MissingBlobError, and UnsafePathError if anything but a regular file has its name.
        """
        blob = self.find(digest)
        if blob is None:
            raise self.missing(f"blob {digest}")
        return blob

    def missing(self, name: str) -> MissingBlobError:
        """The error for the missing *name*, with the possible reason."""
        return MissingBlobError(self.what, f"does not hold the {name}", "" if self.complete else _CUT)

    @property
    def complete(self) -> bool:
        """False for an archive without its end mark, which may be truncated."""
        return not isinstance(self._container, Members) or self._container.complete

    def close(self) -> None:
        """Close everything that the medium opened."""
        self._container.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


_CUT = "the archive has no end mark, so it may be truncated"
