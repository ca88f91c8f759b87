"""The documents of a source (manifests, indexes, configs): read once, verified, and told apart by their content.

Content that a descriptor embeds (`data`, image-spec descriptor.md) takes the place of a blob that is not there; like a
blob it has to have the descriptor's digest. Not in scope: which documents are wanted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from arstore.digest import CHUNK, verify
from arstore.errors import ArstoreError, LimitError, ManifestError, MissingBlobError
from arstore.oci.descriptor import Flawed
from arstore.oci.document import is_json, parse, parse_value
from arstore.oci.manifest import artifact_of
from arstore.oci.media_type import document_type, is_foreign, is_index
from arstore.tar.limits import Limits, raising
from arstore.transport.media.bounds import bounds_of
from arstore.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

    from arstore.digest import Digest, Reader
    from arstore.oci.descriptor import Descriptor
    from arstore.transport.source import BlobReader, ImageSource


class Nature(NamedTuple):
    """What a document is: an index, or a manifest of an image, or of an `artifact` of that type."""

    is_index: bool = False
    artifact: str = ""


class Documents:
    """Reads the documents of *source*, and holds them until their images are published; *limits* bound them."""

    def __init__(self, source: ImageSource, limits: Limits) -> None:
        self._source = source
        self._limits = limits
        self._bounds = bounds_of(limits)
        self._held: dict[Digest, bytes] = {}
        self._natures: dict[tuple[str, str], Nature] = {}
        self._foreign: dict[Digest, bool] = {}
        self._trouble: dict[tuple[str, int], ArstoreError] = {}
        self._bytes = 0
        self.embedded: dict[Digest, bytes] = {}
        """Verified content of blobs that are not there."""

    def get(self, entry: Descriptor | Flawed) -> bytes:
        """A whole manifest or index, verified.

        Raises ManifestError for a flawed entry, MissingBlobError, DigestMismatchError, SizeMismatchError,
        TruncatedError, LimitError.
        """
        if isinstance(entry, Flawed):
            raise entry.error
        return self._get(entry, lambda: self._source.open_manifest(entry))

    def config(self, descriptor: Descriptor) -> bytes:
        """A whole config, verified: to a source it is a blob. Raises as `get`."""
        return self._get(descriptor, lambda: self._source.open_blob(descriptor.digest))

    def _get(self, entry: Descriptor, opened: Callable[[], BlobReader]) -> bytes:
        digest = entry.digest
        known = self._held.get(digest)
        if known is not None:
            # The digest fits already; hashed again for each mention, small archives would cost hours.
            return known if len(known) == entry.size else verify(known, digest, entry.size)
        trouble = self._trouble.get((str(digest), entry.size))
        if trouble is not None:
            raise trouble
        try:
            return self._verified(entry, opened)
        except ArstoreError as error:
            # Whoever asks again gets the same answer, and nothing is read for it.
            self._trouble[digest, entry.size] = error
            raise

    def _verified(self, entry: Descriptor, opened: Callable[[], BlobReader]) -> bytes:
        digest = entry.digest
        most = self._bounds.document
        if entry.size > most:
            why = f"has {entry.size} bytes; a document may have {most}"
            raise self._bounds.passed("document", str(digest), why)
        data = _read_descriptor(entry, opened, most + 1)
        self._bytes += len(data)
        if self._bytes > self._limits.documents:
            why = f"has more than {self._limits.documents} bytes of manifests and configs"
            raise LimitError(self._source.what, why, raising("documents"))
        self._held[digest] = verify(data, digest, entry.size)
        return data

    def nature(self, entry: Descriptor | Flawed) -> Nature:
        """What *entry* points to, by its media type and the document itself, which must agree.

        Raises as `get`, and ManifestError for a document of two kinds or of none.
        """
        raw = self.get(entry)
        key = (str(entry.digest), entry.media_type)
        known = self._natures.get(key)
        if known is None:
            what = f"{'index' if is_index(entry.media_type) else 'manifest'} {entry.digest}"
            document = parse(raw, what, self._bounds)
            index = is_index(document_type(document, entry.media_type or None, what))
            known = Nature(is_index=True) if index else Nature(artifact=artifact_of(document))
            self._natures[key] = known
        return known

    def is_foreign(self, entry: Descriptor | Flawed) -> bool:
        """Whether nothing says that *entry* is an image: it has no type, and its content is no document of an image.

        False for what is not there. Raises as `get`, but no MissingBlobError.
        """
        if isinstance(entry, Flawed) or entry.media_type:
            return False
        known = self._foreign.get(entry.digest)
        if known is None:
            try:
                raw = self.get(entry)
            except MissingBlobError:
                return False
            known = self._foreign[entry.digest] = self._is_no_document(raw, f"blob {entry.digest}")
        return known

    def _is_no_document(self, raw: bytes, what: str) -> bool:
        try:
            value = parse_value(raw, what, self._bounds)
        except ManifestError:
            # What is JSON for another reader, such as one that takes a key twice, may be an image for that one.
            return not is_json(raw, what, self._bounds)
        return not isinstance(value, dict) or is_foreign(value)

    def embed(self, descriptor: Descriptor) -> None:
        """Let the content that *descriptor* embeds stand for a blob that is not there.

        Raises DigestMismatchError, SizeMismatchError, TruncatedError when it is not that blob's.
        """
        digest, data = descriptor.digest, descriptor.data
        if data is not None and digest not in self.embedded and not self._is_here(digest):
            what = f"the data in the descriptor of {digest}"
            self.embedded[digest] = verify(data, digest, descriptor.size, what)

    def _is_here(self, digest: Digest) -> bool:
        try:
            self._source.require_blob(digest)
        except MissingBlobError:
            return False
        return True


def _read_descriptor(descriptor: Descriptor, opened: Callable[[], BlobReader], most: int) -> bytes:
    try:
        blob = opened()
    except MissingBlobError:
        if descriptor.data is None:
            raise
        return descriptor.data
    try:
        return _read_at_most(blob, most)
    finally:
        blob.close()


def _read_at_most(blob: Reader, limit: int) -> bytes:
    parts: list[bytes] = []
    left = limit
    while left and (data := blob.read(min(left, CHUNK))):
        parts.append(data)
        left -= len(data)
    return b"".join(parts)
