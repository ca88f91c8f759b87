"""The documents of a source (manifests, indexes, configs): read once, verified, and told apart by their content.

Content that a descriptor embeds (`data`, image-spec descriptor.md) takes the place of a blob that is not there; like a
blob it has to have the descriptor's digest. Not in scope: what documents say (`facts`), and which are wanted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

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
    """Decides which images are believed: `admission.gate` is one."""

    def listed(self, index: Descriptor, entries: Sequence[Descriptor | Flawed]) -> None:
        """Hear which documents a verified index lists."""

    def admit(self, entry: Descriptor, documents: Documents) -> None:
        """Let the image of a verified manifest in. Raises RejectedError, PolicyError."""


class Documents:
    """Reads the documents of *source*, and holds them until their images are published; *limits* bound them.

    *facts* has what is known of them already, and learns the rest.
    """

    def __init__(
        self, source: ImageSource, limits: Limits, facts: Facts | None = None, gate: Admitting | None = None
    ) -> None:
        """Without a *gate*, every image is believed."""
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
        """A whole config, verified: to a source it is a blob. Raises as `get`."""
        return self._get(descriptor, lambda: self._source.open_blob(descriptor.digest))

    def _get(self, entry: Descriptor, opened: Callable[[], BlobReader]) -> bytes:
        known = self._facts.raw(entry.digest)
        if known is None:
            # Whoever asks again gets the same answer, and nothing is read for it.
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
            why = f"has {entry.size} bytes; a document may have {bounds.document}"
            raise bounds.passed("document", str(digest), why)
        if digest in self._bad:
            raise self._bad[digest].with_traceback(None)
        data, is_embedded = _read_descriptor(entry, opened, bounds.document + 1)
        try:
            # Its size is announced by this descriptor alone: for another one, nothing need be read again.
            verify(data, digest)
        except DigestMismatchError as error:
            if not is_embedded:
                self._bad[digest] = error
            return verify(data, digest, entry.size)
        return _of_size(self._facts.keep(digest, data), entry)

    def nature(self, entry: Descriptor | Flawed) -> Nature:
        """What *entry* points to, by its media type and the document itself, which must agree.

        Raises as `get`, and ManifestError for a document of two kinds or of none.
        """
        self.get(entry)
        return self._facts.nature(Digest(entry.digest), entry.media_type)

    def manifest(self, entry: Descriptor) -> Manifest:
        """What the manifest *entry* lists. Raises as `nature`."""
        self.get(entry)
        return self._facts.manifest(entry.digest, entry.media_type)

    def index(self, entry: Descriptor) -> Index:
        """What the index *entry* lists. Raises as `nature`."""
        self.get(entry)
        found = self._facts.index(entry.digest, entry.media_type)
        if self._gate is not None:
            self._gate.listed(entry, found.entries)
        return found

    def admit(self, entry: Descriptor) -> None:
        """Ask the gate before anything that the manifest *entry* names is believed.

        Raises RejectedError, PolicyError, and the errors of `get`.
        """
        if self._gate is not None:
            self.get(entry)
            self._gate.admit(entry, self)

    def config_facts(self, descriptor: Descriptor) -> ConfigFacts:
        """What a config says. Raises as `config`, and ManifestError."""
        self.config(descriptor)
        return self._facts.config(descriptor.digest)

    def refer(self, image: Digest, count: int) -> None:
        """Count the layers that *image* names. Raises LimitError."""
        self._facts.refer(image, count)

    def is_foreign(self, entry: Descriptor | Flawed) -> bool:
        """Whether nothing says that *entry* is an image: it has no type, and its content is no document of an image.

        False for what is not there. Raises as `get`, but no MissingBlobError.
        """
        if isinstance(entry, Flawed) or entry.media_type:
            return False
        try:
            self.get(entry)
        except MissingBlobError:
            return False
        return self._facts.is_foreign(entry.digest)

    def embed(self, descriptor: Descriptor) -> None:
        """Let the content that *descriptor* embeds stand for a blob that is not there.

        Raises DigestMismatchError, SizeMismatchError, TruncatedError when it is not that blob's.
        """
        digest, data = descriptor.digest, descriptor.data
        if data is not None and digest not in self.embedded and not self._is_here(digest):
            what = f"the data in the descriptor of {digest}"
            self.embedded[digest] = verify(data, digest, descriptor.size, what)

    def require_blob(self, digest: Digest) -> None:
        """Make sure that a layer's blob is there, or embedded; a source is asked once. Raises MissingBlobError."""
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
    """*data*, whose digest fits: hashed again for each mention, small archives would cost hours."""
    return data if len(data) == entry.size else verify(data, entry.digest, entry.size)


def _read_descriptor(descriptor: Descriptor, opened: Callable[[], BlobReader], most: int) -> tuple[bytes, bool]:
    """The content, and whether the descriptor embeds it."""
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
