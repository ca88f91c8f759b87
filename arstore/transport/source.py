"""The Protocol that every medium implements to be read from.

A source lists images by descriptor and opens blobs by digest. It verifies nothing: `copy` does, whatever the medium.

Where each method is called, so that a source may be a network:

* In the importing process: everything but `open_blob` of layers. No method but `open_manifest` and `open_blob` reads
  content. `place` does no I/O at all. No process is forked while a blob is open here.
* In a worker, before it gives up its rights: `open_blob` of the layers of a source that is not remote. Each layer is
  opened once; of small layers, up to 64 are open at a time. They are read later, when nothing can be opened any more.
* In a fetching process: `open_blob` of the layers of a remote source, and all reading of them. One layer after the
  other is opened, read to its end and closed. The process is forked for these layers, has no capabilities, opens no
  files but those that name resolution and TLS need, starts no programs, and may open sockets (`confinement.fetching`).
  It sends what it reads through a pipe to the worker, which opens nothing. So:

  - A connection that the importing process has open must not be used there. Credentials, CA certificates and modules
    are loaded before: by `prepare_fetching`, if the source has that method, which is called before the first fetch.
  - Retries and ranges belong into `read`. Whoever reads sees one stream.
  - At most one byte more than the layer's size is asked for, and memory holds one read.
  - A source with a method `open_rest` is asked for the rest of a blob of which an earlier import has the beginning.
  - An error ends the import, and is printed as it is: an ArstoreError, or an OSError.

A source that may know manifests that belong to others (signatures, attestations: `oci.attachment`) has a method
`attachments(subject: Digest) -> Sequence[Attached]`, called in the importing process: see `attached_to`. What it lists
is a claim like all else: `selection.attached` opens each with `open_manifest` and looks for itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from arstore.store.ingest.incoming import BlobReader, BlobSource, Window
from arstore.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import TracebackType

    from arstore.digest import Digest
    from arstore.oci.descriptor import Descriptor, Flawed

__all__ = ["Attached", "BlobReader", "ImageSource", "SourceImage", "Spool", "Window", "attached_to"]


class SourceImage(NamedTuple):
    """One entry as the medium lists it: of a manifest, an index, or anything else.

    `names` are canonical, perhaps none; several entries may bring one name. `fallback` is the name after the file, for
    an image that brings none: it has it already when no other entry may be such an image.
    """

    descriptor: Descriptor | Flawed
    names: tuple[str, ...] = ()
    fallback: str = ""


class Attached(NamedTuple):
    """A manifest that a source says belongs to another one, unverified; `tag` is the suffix of its tag, "" for none."""

    descriptor: Descriptor
    tag: str = ""


def attached_to(source: ImageSource, subject: Digest) -> Sequence[Attached]:
    """Ask *source* for the attachments of the manifest *subject*; a source without that method has none.

    Asking a remote source costs requests. Raises the errors of the source.
    """
    listed: Callable[[Digest], Sequence[Attached]] | None = getattr(source, "attachments", None)
    return listed(subject) if listed is not None else ()


class Spool(Protocol):
    """A place inside the store for blobs of a stream that cannot be read twice; gone with its ingest."""

    def create(self) -> int:
        """A descriptor, open for reading and writing, of a new nameless or private file on the store's file system."""


class ImageSource(BlobSource, Protocol):
    """A medium that holds images. Closing it, or leaving its context, releases all that it opened."""

    what: str
    """The medium as the user named it, for messages."""

    @property
    def transport(self) -> str:
        """The name of the transport, as policies have it: `oci`, `oci-archive`, `docker-archive`, `dir`, `docker`..."""

    @property
    def complete(self) -> bool:
        """False when the medium may have been cut short, so that what is not there may have been there once."""

    def images(self) -> Sequence[SourceImage]:
        """The entries in the medium's own order.

        Raises UnknownFormatError, ManifestError, TruncatedError, LimitError.
        """

    @property
    def is_remote(self) -> bool:
        """Whether `open_blob` takes a connection: layers are then fetched by a process of their own."""

    def place(self, digest: Digest) -> Window | None:
        """Where the blob lies, unaltered, in a file that is open already; None where it does not, or is not there.

        Opens nothing and asks nobody.
        """

    def require_blob(self, digest: Digest) -> None:
        """Make sure, as cheaply as can be, that the blob is there; nothing of it is read.

        Raises MissingBlobError, UnsafePathError.
        """

    def open_manifest(self, descriptor: Descriptor) -> BlobReader:
        """The manifest or index that *descriptor* points to, unverified. Its config is a blob.

        Raises MissingBlobError.
        """

    def open_blob(self, digest: Digest) -> BlobReader:
        """The blob of this digest, unverified; several may be open, and read from several threads, at once.

        Raises MissingBlobError.
        """

    def __enter__(self) -> ImageSource: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...
