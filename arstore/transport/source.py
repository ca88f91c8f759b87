"""The Protocol of media that images are read from.

A source lists images by descriptor and opens blobs by digest. It verifies nothing: `copy` does, for every medium.

Where each method is called, so that a source may be on a network:

* In the importing process: everything but `open_blob` of layers. Only `open_manifest` and `open_blob` read content.
  `place` does no I/O at all. No process is forked while a blob is open here.
* In a worker, before it drops its privileges: `open_blob` of the layers of a source that is not remote. Each layer is
  opened once; up to 64 small layers are open at a time. They are read later, when nothing can be opened any more.
* In a fetching process: `open_blob` of the layers of a remote source, and all reading of them. Each layer is opened,
  read to its end and closed before the next one. The process is forked for these layers, has no capabilities, opens
  only the files that name resolution and TLS need, starts no programs, and may open sockets (`confinement.fetching`).
  It sends what it reads through a pipe to the worker, which opens nothing. So:

  - The fetching process must not use a connection that the importing process has open. Credentials, CA certificates
    and modules are loaded before the first fetch, by the source's method `prepare_fetching` if it has one.
  - Retries and ranges belong in `read`. The caller sees one stream.
  - At most one byte more than the layer's size is requested, and memory holds one read.
  - If an earlier import left the beginning of a blob, a source with a method `open_rest` is asked for the rest.
  - An error ends the import and is printed unchanged: an ArstoreError, or an OSError.

A source that may have attachments (signatures, attestations: `oci.attachment`) has a method
`attachments(subject: Digest) -> Sequence[Attached]`, called in the importing process: see `attached_to`. Its answer is
not trusted: `selection.attached` opens each manifest with `open_manifest` and checks it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from arstore.builtin import Protocol
from arstore.store.ingest.incoming import BlobReader, BlobSource, Window
from arstore.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import TracebackType

    from arstore.digest import Digest
    from arstore.oci.descriptor import Descriptor, Flawed

__all__ = ["Attached", "BlobReader", "ImageSource", "SourceImage", "Spool", "Window", "attached_to"]


class SourceImage(NamedTuple):
    """An entry as the medium lists it: of a manifest, an index, or anything else.

    `names` are canonical, and may be empty; several entries may bring one name. `fallback` is a name made from
    the file's name, for an image that brings none; it is in `names` already if no other entry may be such an image.
    """

    descriptor: Descriptor | Flawed
    names: tuple[str, ...] = ()
    fallback: str = ""


class Attached(NamedTuple):
    """A manifest that a source lists as an attachment, unverified; `tag` is the suffix of its tag, "" for none."""

    descriptor: Descriptor
    tag: str = ""


def attached_to(source: ImageSource, subject: Digest) -> Sequence[Attached]:
    """Ask *source* for the attachments of the manifest *subject*; empty if the source does not have that method.

    A remote source needs requests for it. Raises the errors of the source.
    """
    listed: Callable[[Digest], Sequence[Attached]] | None = getattr(source, "attachments", None)
    return listed(subject) if listed is not None else ()


class Spool(Protocol):
    """A place inside the store for blobs of a stream that cannot be read twice; removed with its ingest."""

    def create(self) -> int:
        """A descriptor, open for reading and writing, of a new nameless or private file on the store's file system."""

    def relieve(self, lacking: int) -> int:
        """Free *lacking* bytes on that file system, if this is possible, and return how many were freed."""


class ImageSource(BlobSource, Protocol):
    """A medium that holds images. Closing it, or leaving its context, releases everything that it opened."""

    what: str
    """The medium as the user named it, for messages."""

    @property
    def transport(self) -> str:
        """The name of the transport, as policies use it: `oci`, `oci-archive`, `docker-archive`, `dir`, `docker`..."""

    @property
    def complete(self) -> bool:
        """False if the medium may be truncated, so that a missing blob may have been in the rest."""

    def images(self) -> Sequence[SourceImage]:
        """The entries in the medium's own order.

        Raises UnknownFormatError, ManifestError, TruncatedError, LimitError.
        """

    @property
    def is_remote(self) -> bool:
        """Whether `open_blob` needs a connection; a separate process fetches the layers then."""

    def place(self, digest: Digest) -> Window | None:
        """Where the blob is, unaltered, in a file that is open already; None if it is not in one, or not there.

        Opens nothing and sends no request.
        """

    def require_blob(self, digest: Digest) -> None:
        """Check, as cheaply as possible and without reading it, that the blob is there.

        Raises MissingBlobError, UnsafePathError.
        """

    def open_manifest(self, descriptor: Descriptor) -> BlobReader:
        """The manifest or index that *descriptor* points to, unverified. A config is opened as a blob instead.

        Raises MissingBlobError.
        """

    def open_blob(self, digest: Digest) -> BlobReader:
        """The blob with this digest, unverified. Several may be open, and read from several threads, at once.

        Raises MissingBlobError.
        """

    def __enter__(self) -> ImageSource: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...
