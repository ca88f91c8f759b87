"""An OCI image layout: `index.json` and `blobs/<algorithm>/<hex>`, in a directory or in an archive.

Format: OCI image-spec, image-layout.md. Names come from the annotations of the descriptors in `index.json`. The file
`oci-layout` only marks a layout: `index.json` alone is enough, and the content of `oci-layout` does not matter. Nested
indexes are left to `selection`.

Documents that are read to find names are read by `Documents`, which verifies each.
"""

from __future__ import annotations

from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING

from arstore.digest import Digest, is_digest
from arstore.errors import ArstoreError, UnknownFormatError
from arstore.oci.descriptor import REF_NAME, Descriptor, Flawed
from arstore.oci.document import BOUNDS, Bounds
from arstore.oci.index import Index
from arstore.oci.media_type import OCI_MANIFEST, may_be_image
from arstore.tar.limits import DEFAULT_LIMITS, Limits
from arstore.transport.attached_entries import AttachedEntries
from arstore.transport.documents import Documents
from arstore.transport.media.base import Container, Medium
from arstore.transport.media.directory import Directory
from arstore.transport.names import EVERYTHING, Choice, Claims, annotated

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from arstore.oci.manifest import Manifest
    from arstore.transport.facts import Facts
    from arstore.transport.media.blob import Bytes, Extent
    from arstore.transport.source import Attached, SourceImage

MAX_LOOKED_INTO = 1000
"""Manifests and indexes that are read at most for one descriptor of `index.json`, and blobs that it does not list."""


def is_layout(container: Container) -> bool:
    """Whether *container* has `index.json`. Raises UnsafePathError if that is an unsafe link."""
    _has(container, "oci-layout")
    return _has(container, "index.json")


def blob_path(digest: Digest) -> str:
    """Path of a blob in a layout."""
    return f"blobs/{digest.algorithm}/{digest.hex}"


class Layout(Medium):
    """The source of a layout."""

    def __init__(
        self,
        container: Container,
        file_name: str = "",
        choice: Choice = EVERYTHING,
        bounds: Bounds = BOUNDS,
        limits: Limits = DEFAULT_LIMITS,
        facts: Facts | None = None,
    ) -> None:
        super().__init__(container, file_name, choice, bounds, limits, facts)
        self.documents = Documents(self, limits, self.facts)
        """The documents under `blobs/`."""
        self._entries: Sequence[Descriptor | Flawed] | None = None
        self._attached: AttachedEntries | None = None
        self._looks: dict[tuple[Digest, str, int], tuple[Sequence[Descriptor | Flawed], Manifest | None]] = {}

    @property
    def transport(self) -> str:
        """`oci` for a directory, `oci-archive` for an archive."""
        return "oci" if isinstance(self._container, Directory) else "oci-archive"

    def claims(self) -> Claims:
        """The entries of `index.json`, and a nested one if the user asked for its digest."""
        return self.with_chosen([(entry, self.names_of(entry)) for entry in self.entries()])

    def with_chosen(self, claims: Claims) -> Claims:
        """*claims*, and the nested entry that the user asked for by its digest, if it is not among them."""
        wanted = self._choice.digest
        if wanted is not None and wanted not in {entry.digest for entry, _ in claims}:
            below = (inner for outer, _ in claims for inner, _ in self.below(outer))
            return claims + [(inner, ()) for inner in below if inner.digest == wanted][:1]
        return claims

    def entries(self) -> Sequence[Descriptor | Flawed]:
        """The entries of `index.json`. Raises UnknownFormatError, ManifestError, LimitError, UnsafePathError."""
        if self._entries is None:
            bounds = self._bounds.of_listing()
            data = self._container.read("index.json", bounds)
            if data is None:
                raise UnknownFormatError(self.what, "is not an OCI image layout: it has no index.json")
            self._entries = Index.parse(data, f"{self.what}: index.json", bounds=bounds).entries
        return self._entries

    def attachments(self, subject: Digest) -> Sequence[Attached]:
        """The attachments of *subject* in `index.json`. Raises UnknownFormatError, ManifestError, LimitError."""
        return self._attached_entries().of(subject)

    def is_attachment(self, image: SourceImage) -> bool:
        """Whether *image* belongs to a manifest in this layout.

        Raises UnknownFormatError, ManifestError, LimitError, UnsafePathError.
        """
        return self._attached_entries().has(image, self._is_here)

    def _is_here(self, digest: Digest) -> bool:
        with suppress(ArstoreError):
            blob = self.find(digest)
            if blob is not None:
                blob.close()
                return True
        return False

    def _attached_entries(self) -> AttachedEntries:
        if self._attached is None:
            self._attached = AttachedEntries(self.entries(), self.documents, self._unlisted)
        return self._attached

    def _unlisted(self) -> Iterator[Descriptor]:
        """Those of the first blobs that begin as a JSON document does."""
        for name in self._container.names_in("blobs/sha256")[:MAX_LOOKED_INTO]:
            digest = f"sha256:{name}"
            if not is_digest(digest):
                continue
            with suppress(ArstoreError):
                blob = self._container.open(blob_path(Digest(digest)))
                if blob is None:
                    continue
                try:
                    size, begin = blob.length, blob.read(1)
                finally:
                    blob.close()
                if begin == b"{":
                    yield Descriptor(OCI_MANIFEST, Digest(digest), size)

    def choose(self, claims: Claims) -> Choice:
        """The user's choice; a name may also be a whole `ref.name` annotation, like umoci's tags."""
        for entry, names in reversed(claims):
            if self._choice.name and entry.annotations.get(REF_NAME) == self._choice.name:
                if not names and isinstance(entry, Descriptor):
                    return Choice(digest=entry.digest)
                return Choice(name=names[-1]) if names else self._choice
        return self._choice

    def find(self, digest: Digest) -> Extent | Bytes | None:
        """The blob at its path under `blobs/`; None if it is not there."""
        return self._container.open(blob_path(digest))

    def names_of(self, entry: Descriptor | Flawed) -> Sequence[str]:
        """Return the names that the annotations of *entry* give to its image."""
        note = annotated(entry, self._file_name)
        return [note] if note else []

    def below(self, top: Descriptor | Flawed) -> Iterator[tuple[Descriptor, Manifest | None]]:
        """Yield *top* and all descriptors under it with their manifests, each digest once.

        The manifest is None for an index, and for a document that is missing or malformed. Raises LimitError after too
        many steps.
        """
        todo: deque[tuple[Descriptor | Flawed, int]] = deque([(top, 0)])
        seen: set[str] = set()
        for _ in range(MAX_LOOKED_INTO):
            if not todo:
                return
            entry, depth = todo.popleft()
            self.facts.work.visit()
            if isinstance(entry, Flawed) or not may_be_image(entry.media_type) or entry.digest in seen:
                continue
            seen.add(entry.digest)
            inner, manifest = self._look_into(entry)
            yield entry, manifest
            if depth < self._bounds.index_depth:
                todo += [(each, depth + 1) for each in inner[: max(MAX_LOOKED_INTO - len(todo), 0)]]

    def _look_into(self, descriptor: Descriptor) -> tuple[Sequence[Descriptor | Flawed], Manifest | None]:
        key = (descriptor.digest, descriptor.media_type, descriptor.size)
        known = self._looks.get(key)
        if known is None:
            known = self._looks[key] = self._look(descriptor)
        return known

    def _look(self, descriptor: Descriptor) -> tuple[Sequence[Descriptor | Flawed], Manifest | None]:
        # `selection` reports what is wrong with a document, for the images that are taken. Here, a faulty document has
        # no names.
        try:
            if self.documents.nature(descriptor).is_index:
                return self.documents.index(descriptor).entries, None
            return (), self.documents.manifest(descriptor)
        except ArstoreError:
            return (), None


def _has(container: Container, name: str) -> bool:
    blob = container.open(name)
    if blob is None:
        return False
    blob.close()
    return True
