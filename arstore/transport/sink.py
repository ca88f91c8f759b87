"""The Protocol that every medium implements to be written to.

`export` decides what comes and in which order, reads every byte and verifies it. A sink only puts bytes in their place:

    begin
    holds? -> writer -> finish(digest)        a blob: a layer or a config
    put_manifest                              a manifest or an index, after all that it points to
    begin_attachments -> put_attachment       what belongs to these, after its blobs; or put_signature
    publish                                   the names, last and at once

What is not published is not there for others: a directory keeps its old `index.json`, a file keeps its old content, a
registry has no new tag. Leaving the context before `publish` takes away what can be taken away.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from arstore.digest import Digest
from arstore.oci.descriptor import Descriptor
from arstore.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import TracebackType

    from arstore.store.ingest.incoming import BlobReader


ALL, SIGNATURES = "all", "signatures"
"""Which attachments a medium holds."""


class LostBlobsError(Exception):
    """A medium has lost blobs that `holds` had reported: the copy has to start again at `holds`."""


class SinkTraits(NamedTuple):
    """What a medium can hold.

    `plain_layers`: only layers without compression. `indexes`: indexes, and so several platforms of one image. `many`:
    more than one image. `names`: names of images. `in_order`: blobs are written one after the other, and before the
    first byte of one its size has to be known (`sized`). `manifests`: manifests are kept byte for byte. `takes`: it
    reads blobs itself (`take`), perhaps more than once. `encrypted`: layers may be encrypted; who reads the medium has
    manifests that say so. `attachments`: ALL, or only simple SIGNATURES, or "" for none. `lookaside`: OpenPGP messages
    go to a place beside it (`put_signature`).
    """

    plain_layers: bool = False
    indexes: bool = True
    many: bool = True
    names: bool = True
    in_order: bool = False
    sized: bool = False
    manifests: bool = True
    takes: bool = False
    encrypted: bool = True
    attachments: str = ""
    lookaside: bool = False


class OutgoingLayer(NamedTuple):
    """A layer as it was written: what describes it there, and the digest of its tar."""

    descriptor: Descriptor
    diff_id: Digest


class OutgoingImage(NamedTuple):
    """An image or an index as it was written.

    An index has neither config nor layers, but `members`: those of its images and indexes that were written.
    """

    descriptor: Descriptor
    names: tuple[str, ...] = ()
    config: bytes = b""
    config_digest: Digest | None = None
    layers: tuple[OutgoingLayer, ...] = ()
    members: tuple[Digest, ...] = ()


class OutgoingAttachment(NamedTuple):
    """A manifest `raw` that belongs to the manifest `subject`, by its own word or by a tag with the suffix `tag`."""

    subject: Digest
    descriptor: Descriptor
    raw: bytes
    tag: str = ""


class BlobWriter(Protocol):
    """A blob on its way into a medium."""

    def write(self, data: bytes | memoryview, /) -> object:
        """Add bytes. Raises OSError, and the errors of the medium."""

    def finish(self, digest: Digest, size: int) -> None:
        """Keep what was written, *size* bytes, as the blob with this digest. Raises as `write`."""

    def close(self) -> None:
        """Let go; what was not finished is dropped."""


class BlobSink(Protocol):
    """The part of a medium that takes blobs."""

    what: str
    """The medium as the user named it, for messages."""
    traits: SinkTraits

    def holds(self, descriptor: Descriptor) -> bool:
        """Whether the medium has this blob or manifest already, whole."""

    def writer(self, descriptor: Descriptor, *, known: bool = True) -> BlobWriter:
        """Begin a layer or a config. Unless *known*, digest and size of *descriptor* say nothing yet."""

    def take(self, descriptor: Descriptor, opened: Callable[[], BlobReader], tell: Callable[[int], object]) -> None:
        """Take a blob that *opened* opens from its start, verify it, and *tell* of its bytes; for one that `takes`."""


class ImageSink(BlobSink, Protocol):
    """A medium that images are written to. Leaving its context releases all that it opened."""

    def begin(self, tops: Sequence[Descriptor]) -> None:
        """Hear what is to be listed, should nothing have to be changed; empty when that is not known."""

    def put_manifest(self, descriptor: Descriptor, raw: bytes) -> None:
        """Take a manifest or an index; all that it points to is there, as far as it comes at all."""

    def begin_attachments(self, some: Sequence[OutgoingAttachment]) -> Sequence[OutgoingAttachment]:
        """Hear which attachments come, all at once; those that the medium does not have yet. For one that takes ALL."""

    def put_attachment(self, attachment: OutgoingAttachment) -> None:
        """Take an attachment; its blobs are there."""

    def put_signature(self, subject: Digest, data: bytes) -> None:
        """Take a signature of *subject* as a file; for a medium that holds SIGNATURES."""

    def publish(self, images: Sequence[OutgoingImage], tops: Sequence[OutgoingImage]) -> None:
        """Make the copy visible: *tops* are what is listed, with its names; *images* are all images, once each.

        Raises LostBlobsError, once, for a medium that has lost some of it meanwhile.
        """

    def __enter__(self) -> ImageSink: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


def put_blob(sink: BlobSink, content: bytes) -> None:
    """Write a blob that was made here, unless *sink* has it. Raises the errors of the sink."""
    descriptor = Descriptor("", Digest.of(content), len(content))
    if sink.holds(descriptor):
        return
    writer = sink.writer(descriptor)
    try:
        writer.write(content)
        writer.finish(descriptor.digest, descriptor.size)
    finally:
        writer.close()
