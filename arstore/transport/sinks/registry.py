"""Push to a repository of a registry: blobs first, then manifests, children before their index, the tag last.

A blob that the registry has is not sent. One that it has in another repository of the same host is mounted from there.
If the tag already names this image, the push ends after one request. Distribution-spec, "Push".

Attachments are put before the tag of their image, so that a client that sees the tag also sees the signatures. Under a
tag of cosign's, one manifest has all signatures: the existing ones and the new ones are merged into it.
A registry may lose a blob between HEAD and the manifest, by garbage collection or because it did not do a mount. Then
the copy starts again, once, without mounts; blobs that the refusal names are sent whatever HEAD says (decision 60).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from arstore.digest import CHUNK, Digest
from arstore.errors import ConversionError, DigestMismatchError, RegistryAnswerError, TruncatedError
from arstore.oci.descriptor import Descriptor
from arstore.oci.media_type import is_manifest
from arstore.registry.access import Access
from arstore.registry.blobs import head_blob
from arstore.registry.manifests import LacksPartsError, head_manifest
from arstore.registry.repository import PUSH
from arstore.transport.sink import ALL, LostBlobsError, SinkTraits

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import IO

    from arstore.oci.docker_reference import DockerReference
    from arstore.registry.repository import Repository
    from arstore.store.ingest.incoming import BlobReader
    from arstore.transport.sink import OutgoingAttachment, OutgoingImage
    from arstore.transport.sinks.attached_there import AttachedThere

    MountFrom = Callable[[Digest], str]

_IN_MEMORY = 1 << 20
"""Size in bytes from which a blob that is made here is kept in a temporary file until its digest is known."""


class RegistrySink:
    """The destination *reference* in a registry. The sink owns *access*, and closes it.

    *mount_from* returns the path of a repository on the same host that may have a blob, "" for none.
    """

    traits = SinkTraits(many=False, names=False, takes=True, attachments=ALL, lookaside=True)

    def __init__(self, reference: DockerReference, access: Access, mount_from: MountFrom) -> None:
        """Find the repository. Raises RegistryBlockedError, RegistryConfigError."""
        self.what = f"docker://{reference}"
        self._reference = reference
        self._access = access
        self._repository = access.to_write(reference)
        self._mount_from = mount_from
        self._manifests: dict[Digest, tuple[str, bytes]] = {}
        self._begun: Sequence[Descriptor] | None = None
        self._is_current = False
        self._lost: frozenset[str] | None = None
        self._attached: AttachedThere | None = None

    @property
    def repository(self) -> Repository:
        """The repository that is written to."""
        return self._repository

    @property
    def is_current(self) -> bool:
        """Whether the tag already names the image that `begin` was called with."""
        return self._is_current

    def begin(self, tops: Sequence[Descriptor]) -> None:
        """Check whether the tag already names the image; the same question is asked once.

        Raises the errors of `head_manifest`.
        """
        tag = self._reference.tag
        if self._begun is not None and [one.digest for one in tops] == [one.digest for one in self._begun]:
            return
        self._begun, self._is_current = tops, False
        if len(tops) == 1 and tag and is_manifest(tops[0].media_type):
            # Not for an index: manifests that it lists may still be missing there.
            found = head_manifest(self._repository, tag, PUSH)
            self._is_current = found is not None and found.digest == tops[0].digest

    def holds(self, descriptor: Descriptor) -> bool:
        """Whether the repository has the blob. Raises the errors of `head_blob`."""
        if self._is_current and (self._attached is None or not self._attached.is_asked):
            return True
        if self._lost is not None and descriptor.digest in self._lost:
            return False
        size = head_blob(self._repository, descriptor.digest, PUSH)
        return size is not None and size in {-1, descriptor.size}

    def take(self, descriptor: Descriptor, opened: Callable[[], BlobReader], tell: Callable[[int], object]) -> None:
        """Mount or send the blob that *opened* opens from its start.

        Raises the errors of `upload`, and DigestMismatchError or TruncatedError if the blob has other content.
        """

        from arstore.registry.uploads import mount, upload

        other = self._mount_from(descriptor.digest) if self._lost is None else ""
        if other and mount(self._repository, descriptor.digest, other):
            tell(descriptor.size)
            return
        upload(self._repository, descriptor.digest, descriptor.size, _Checked(descriptor, opened, tell))

    def writer(self, descriptor: Descriptor, *, known: bool = True) -> _Kept:
        """Begin a blob that is made here: it is sent when its digest is known."""
        del descriptor, known
        return _Kept(self)

    def put_manifest(self, descriptor: Descriptor, raw: bytes) -> None:
        """Keep a manifest until all blobs are there."""
        self._manifests[descriptor.digest] = (descriptor.media_type, raw)

    def begin_attachments(self, some: Sequence[OutgoingAttachment]) -> Sequence[OutgoingAttachment]:
        """Those that the registry lacks, in its own list and under their tags. Raises the errors of `get_manifest`."""
        return self._attachments().missing(some)

    def put_attachment(self, attachment: OutgoingAttachment) -> None:
        """Keep an attachment until its image is there."""
        self._attachments().keep(attachment)

    def put_signature(self, subject: Digest, data: bytes) -> None:
        """Write a signature to the lookaside, where other tools look for OpenPGP messages.

        Raises RegistryConfigError, LimitError, HostError.
        """
        self._access.keep_signature(self._reference, subject, data)

    def publish_attachments(self) -> None:
        """Put the attachments of an image that was there already. Raises the errors of `AttachedThere.put`."""
        self._attachments().put(self)

    def publish(self, images: Sequence[OutgoingImage], tops: Sequence[OutgoingImage]) -> None:
        """Put the manifests, the one with the tag last.

        Raises ConversionError and the errors of `put_manifest`, except that LacksPartsError becomes LostBlobsError the
        first time, and RegistryAnswerError the second time.
        """
        del images
        (top,) = tops
        wanted, found = self._reference.digest, top.descriptor.digest
        if wanted not in {None, found}:
            raise ConversionError(self.what, f"the copied image has the digest {found}", "leave the digest out")
        try:
            self._put_all(found)
        except LacksPartsError as lack:
            if self._lost is None:
                self._lost = lack.refusal.named
                if self._attached is not None:
                    self._attached.forget()
                raise LostBlobsError from lack
            why = f"{lack.error.why}; the missing blobs were sent twice"
            raise RegistryAnswerError(lack.error.what, why) from lack

    def _attachments(self) -> AttachedThere:
        # Imported here: most pushes have none.
        from arstore.transport.sinks.attached_there import AttachedThere

        if self._attached is None:
            self._attached = AttachedThere(self._repository)
        return self._attached

    def _put_all(self, top: Digest) -> None:
        """Put manifests and attachments, and *top* last. If the image is there already, put attachments only."""
        if self._is_current:
            if self._attached is not None:
                self._attached.put(self)
            return

        from arstore.registry.referrers import put_referrer

        last = self._manifests.pop(top)
        for digest, (media_type, raw) in self._manifests.items():
            put_referrer(self._repository, digest, media_type, raw)
        if self._attached is not None:
            self._attached.put(self)
        put_referrer(self._repository, self._reference.tag or top, *last)

    def __enter__(self) -> RegistrySink:
        return self

    def __exit__(self, *_: object) -> None:
        self._access.close()


class _Checked:
    """A blob that is hashed while it is sent in consecutive pieces; a piece may be sent again."""

    def __init__(self, descriptor: Descriptor, opened: Callable[[], BlobReader], tell: Callable[[int], object]) -> None:
        self.descriptor = descriptor
        self._opened = opened
        self._tell = tell
        self._hash = descriptor.digest.new_hash()
        self._hashed = 0

    def at(self, offset: int) -> _Piece:
        """See `uploads.Blob`."""
        blob = self._opened()
        left = offset
        while left and (data := blob.read(min(left, CHUNK))):
            left -= len(data)
        return _Piece(self, blob, offset)

    def check(self, data: bytes, offset: int) -> None:
        """Hash *data*, the bytes at *offset*. Raises DigestMismatchError at the end."""
        digest, size = self.descriptor.digest, self.descriptor.size
        new = data[max(self._hashed - offset, 0) :]
        if offset > self._hashed or not new:
            return
        self._hash.update(new)
        self._hashed += len(new)
        self._tell(len(new))
        if self._hashed >= size:
            found = Digest.finished(digest.algorithm, self._hash)
            if found != digest:
                raise DigestMismatchError(digest, f"its content has the digest {found}")


class _Piece:
    """A blob from a given byte on."""

    def __init__(self, whole: _Checked, blob: BlobReader, offset: int) -> None:
        self._whole = whole
        self._blob = blob
        self._at = offset

    def read(self, size: int = -1, /) -> bytes:
        """At most *size* bytes. Raises DigestMismatchError with the last ones, TruncatedError."""
        data = self._blob.read(size)
        if not data and size:
            raise TruncatedError(self._whole.descriptor.digest, f"ends after {self._at} bytes")
        self._whole.check(data, self._at)
        self._at += len(data)
        return data

    def close(self) -> None:
        """Close the blob."""
        self._blob.close()


class _Kept:
    """A blob kept in memory, or in a temporary file once it is large, and sent when it is finished."""

    def __init__(self, sink: RegistrySink) -> None:
        import tempfile

        self._sink = sink
        self._file = tempfile.SpooledTemporaryFile(_IN_MEMORY)  # noqa: SIM115 - closed by close

    def write(self, data: bytes | memoryview, /) -> None:
        """Add bytes. Raises OSError."""
        self._file.write(data)

    def finish(self, digest: Digest, size: int) -> None:
        """Send the blob. Raises the errors of `upload`."""
        descriptor = Descriptor("", digest, size)
        self._sink.take(descriptor, self._again, lambda _count: None)

    def close(self) -> None:
        """Drop the content."""
        self._file.close()

    def _again(self) -> BlobReader:
        self._file.seek(0)
        return _Borrowed(self._file)


class _Borrowed:
    """A file that its user must not close."""

    def __init__(self, file: IO[bytes]) -> None:
        self.read = file.read

    def close(self) -> None:
        """Do nothing."""
