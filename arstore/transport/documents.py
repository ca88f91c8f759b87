"""Read the documents of a source (manifests, indexes, configs) once, verify them, and classify them by content.

Content that a descriptor embeds (`data`, image-spec descriptor.md) replaces a blob that is not there; like a blob, it
must have the descriptor's digest. Not in scope: the meaning of documents (`facts`), and which of them are wanted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from arstore.builtin import Protocol
from arstore.digest import CHUNK, Digest, verify
from arstore.errors import ArstoreError, DigestMismatchError, MissingBlobError
from arstore.oci.descriptor import Flawed
from arstore.transport.facts import Facts

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from arstore.digest import Reader
    from arstore.oci.descriptor import Descriptor
    from arstore.oci.index import Index
    from arstore.oci.manifest import Manifest
    from arstore.tar.limits import Limits
    from arstore.transport.facts import ConfigFacts, Nature
    from arstore.transport.source import BlobReader, ImageSource
    from arstore.transport.work import Work


class Admitting(Protocol):
    """Decides which images are accepted; implemented by `admission.gate`."""

    def listed(self, index: Descriptor, entries: Sequence[Descriptor | Flawed]) -> None:
        """Take note of the documents that a verified index lists."""

    def admit(self, entry: Descriptor, documents: Documents) -> None:
        """Accept the image of a verified manifest. Raises RejectedError, PolicyError."""


class Documents:
    """Reads the documents of *source* within *limits*, and holds them until their images are published.

    *facts* has what is known about them already, and receives the rest.
    """

    def __init__(
        self, source: ImageSource, limits: Limits, facts: Facts | None = None, gate: Admitting | None = None
    ) -> None:
        """Without a *gate*, every image is accepted."""
        self._source = source
        self._gate = gate
        self._facts = facts or Facts(source.what, limits)
        self._trouble: dict[tuple[Digest, int, bytes | None], ArstoreError] = {}
        self._bad: dict[Digest, ArstoreError] = {}
        self._here: dict[Digest, bool] = {}
        self.embedded: dict[Digest, bytes] = {}
        """Verified content of blobs that are not there."""

    @property
    def work(self) -> Work:
        """The work on the source so far."""
        return self._facts.work

    def get(self, entry: Descriptor | Flawed) -> bytes:
        """A whole manifest or index, verified.

        Raises ManifestError for a flawed entry, MissingBlobError, DigestMismatchError, SizeMismatchError,
        TruncatedError, LimitError.
        """
        if isinstance(entry, Flawed):
            raise entry.error.with_traceback(None)
        return self._get(entry, lambda: self._source.open_manifest(entry))

    def config(self, descriptor: Descriptor) -> bytes:
        """A whole config, verified; a source holds it as a blob.

        Raises MissingBlobError, DigestMismatchError, SizeMismatchError, TruncatedError, LimitError.
        """
        return self._get(descriptor, lambda: self._source.open_blob(descriptor.digest))

    def _get(self, entry: Descriptor, opened: Callable[[], BlobReader]) -> bytes:
        known = self._facts.raw(entry.digest)
        if known is None:
            # A second request for the same document gets the same answer without reading anything.
            key = (entry.digest, entry.size, entry.data)
            trouble = self._trouble.get(key)
            if trouble is not None:
                raise trouble.with_traceback(None)
            try:
                return self._verified(entry, opened)
            except ArstoreError as error:
                self._trouble[key] = error
                raise
        return _of_size(known, entry)

    def _verified(self, entry: Descriptor, opened: Callable[[], BlobReader]) -> bytes:
        digest, bounds = entry.digest, self._facts.bounds
        if entry.size > bounds.document:
            why = f"has {entry.size} bytes; a document may have at most {bounds.document}"
            raise bounds.passed("document", str(digest), why)
        if digest in self._bad:
            raise self._bad[digest].with_traceback(None)
        data, is_embedded = _read_descriptor(entry, opened, bounds.document + 1)
        try:
            # Only this descriptor gives the wrong size; a descriptor with another size need not read the blob again.
            verify(data, digest)
        except DigestMismatchError as error:
            if not is_embedded:
                self._bad[digest] = error
            return verify(data, digest, entry.size)
        return _of_size(self._facts.keep(digest, data), entry)

    def nature(self, entry: Descriptor | Flawed) -> Nature:
        """The kind of document *entry* points to; its media type and the document itself must agree.

        Raises SourceError: the errors of `get`, and ManifestError for a document of two kinds or of neither.
        """
        self.get(entry)
        return self._facts.nature(Digest(entry.digest), entry.media_type)

    def manifest(self, entry: Descriptor) -> Manifest:
        """The parsed manifest *entry*. Raises SourceError, as `nature` does."""
        self.get(entry)
        return self._facts.manifest(entry.digest, entry.media_type)

    def index(self, entry: Descriptor) -> Index:
        """The parsed index *entry*. Raises SourceError, as `nature` does."""
        self.get(entry)
        found = self._facts.index(entry.digest, entry.media_type)
        if self._gate is not None:
            self._gate.listed(entry, found.entries)
        return found

    def admit(self, entry: Descriptor) -> None:
        """Ask the gate about the image before anything that the manifest *entry* names is used.

        Raises RejectedError, PolicyError, and the errors of `get`.
        """
        if self._gate is not None:
            self.get(entry)
            self._gate.admit(entry, self)

    def config_facts(self, descriptor: Descriptor) -> ConfigFacts:
        """The facts in a config. Raises ManifestError, and the errors of `config`."""
        self.config(descriptor)
        return self._facts.config(descriptor.digest)

    def refer(self, image: Digest, count: int) -> None:
        """Count the layers that *image* names. Raises LimitError."""
        self._facts.refer(image, count)

    def is_foreign(self, entry: Descriptor | Flawed) -> bool:
        """Whether *entry* is certainly not an image: it has no media type, and its content is not an image's document.

        False if the document is missing. Raises the errors of `get` except MissingBlobError.
        """
        if isinstance(entry, Flawed) or entry.media_type:
            return False
        try:
            self.get(entry)
        except MissingBlobError:
            return False
        return self._facts.is_foreign(entry.digest)

    def embed(self, descriptor: Descriptor) -> None:
        """Use the content that *descriptor* embeds for a blob that is not there.

        Raises DigestMismatchError, SizeMismatchError, TruncatedError when the content is not that of the blob.
        """
        digest, data = descriptor.digest, descriptor.data
        if data is not None and digest not in self.embedded and not self._is_here(digest):
            what = f"the data in the descriptor of {digest}"
            self.embedded[digest] = verify(data, digest, descriptor.size, what)

    def require_blob(self, digest: Digest) -> None:
        """Check that a layer's blob is there, or embedded; the source is asked once. Raises MissingBlobError."""
        if digest not in self.embedded and not self._here.get(digest):
            self._source.require_blob(digest)
            self._here[digest] = True

    def _is_here(self, digest: Digest) -> bool:
        known = self._here.get(digest)
        if known is None:
            try:
                self._source.require_blob(digest)
                known = True
            except MissingBlobError:
                known = False
            self._here[digest] = known
        return known


def _of_size(data: bytes, entry: Descriptor) -> bytes:
    """Check the size of *data*. Its digest was checked before: hashing it again for each mention in a small archive
    could take hours.
    """
    return data if len(data) == entry.size else verify(data, entry.digest, entry.size)


def _read_descriptor(descriptor: Descriptor, opened: Callable[[], BlobReader], most: int) -> tuple[bytes, bool]:
    """The content, and whether the descriptor embeds it. Reads at most *most* bytes."""
    try:
        blob = opened()
    except MissingBlobError:
        if descriptor.data is None:
            raise
        return descriptor.data, True
    try:
        return _read_at_most(blob, most), False
    finally:
        blob.close()


def _read_at_most(blob: Reader, limit: int) -> bytes:
    parts: list[bytes] = []
    left = limit
    while left and (data := blob.read(min(left, CHUNK))):
        parts.append(data)
        left -= len(data)
    return b"".join(parts)
