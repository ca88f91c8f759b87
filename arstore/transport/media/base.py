"""What every medium without a network has in common: a container of members, images listed once, and closing.

Not in scope: where images and blobs stand in a medium; `layout`, `dir` and `docker_archive` know one medium each.
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
"""What holds files by name: a directory, or an archive's table."""


class Medium(ABC):
    """An `ImageSource` over a container, which it owns.

    *file_name* is what an image without a name may be named after ("" when nothing is), *choice* which of the images
    the user asked for, *bounds* what its documents may have, *limits* what all of them may cost. *facts* are those of
    another medium over the same container.
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
        """What is known of the documents, for whoever reads them next."""
        self._bounds = bounds
        self._container = container
        self._file_name = file_name
        self._choice = choice
        self._images: tuple[SourceImage, ...] | None = None

    @abstractmethod
    def claims(self) -> Claims:
        """The images as the medium lists them, each with the names claimed for it there."""

    @abstractmethod
    def find(self, digest: Digest) -> Extent | Bytes | None:
        """The blob *digest*, or None when the medium has none; in an archive this opens nothing."""

    def images(self) -> Sequence[SourceImage]:
        """The images in the medium's own order, or the one that the user asked for.

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
        """What the user asked for, in terms of the names claimed; a medium may have its own way to say it."""
        return self._choice

    @property
    @abstractmethod
    def transport(self) -> str:
        """The name of the transport."""

    @property
    def is_remote(self) -> bool:
        """False: blobs are files, or parts of one."""
        return False

    @property
    def in_directory(self) -> bool:
        """Whether its files are in a directory, not in an archive."""
        return isinstance(self._container, Directory)

    def place(self, digest: Digest) -> Window | None:
        """Where the blob lies in the archive, or in a spool file; None in a directory, whose files are not open.

        Raises UnsafePathError when something other than a regular file has its name.
        """
        blob = None if self.in_directory else self.find(digest)
        return None if blob is None else blob.window()

    def require_blob(self, digest: Digest) -> None:
        """Raise as `open_blob`."""
        self.open_blob(digest).close()

    def open_manifest(self, descriptor: Descriptor) -> BlobReader:
        """The blob of the descriptor's digest: media keep manifests and blobs in one place. Raises as `open_blob`."""
        return self.open_blob(descriptor.digest)

    def open_blob(self, digest: Digest) -> BlobReader:
        """The blob of this digest, unverified.

        Raises MissingBlobError, UnsafePathError when something other than a regular file has its name.
        """
        blob = self.find(digest)
        if blob is None:
            raise self.missing(f"blob {digest}")
        return blob

    def missing(self, name: str) -> MissingBlobError:
        """The error that says that *name* is not here, and why that may be."""
        return MissingBlobError(self.what, f"does not hold the {name}", "" if self.complete else _CUT)

    @property
    def complete(self) -> bool:
        """False for an archive without its end mark, which may have been cut short."""
        return not isinstance(self._container, Members) or self._container.complete

    def close(self) -> None:
        """Release all that the medium opened."""
        self._container.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


_CUT = "the archive has no end mark, so it may have been cut short"
