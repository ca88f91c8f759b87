"""An OCI image layout: `index.json` and `blobs/<algorithm>/<hex>`, in a directory or in an archive.

Format: OCI image-spec, image-layout.md. Names come from the annotations of the descriptors in `index.json`. The file
`oci-layout` says only that this is a layout, so `index.json` alone makes one too, and nothing depends on what the file
holds. What a nested index holds is left to `selection`.

Nothing is verified here but the documents that are read to find names; `selection` verifies everything that it takes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from arstore.digest import verify
from arstore.errors import ArstoreError, UnknownFormatError
from arstore.oci.descriptor import REF_NAME, Descriptor, Flawed
from arstore.oci.document import parse
from arstore.oci.index import Index
from arstore.oci.manifest import Manifest
from arstore.oci.media_type import document_type, is_index, may_be_image
from arstore.transport.media.base import Container, Medium
from arstore.transport.names import Choice, Claims, annotated

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from arstore.digest import Digest
    from arstore.transport.media.blob import Bytes, Extent

MAX_LOOKED_INTO = 1000
"""Manifests and indexes that are looked into for one descriptor of `index.json`."""


def is_layout(container: Container) -> bool:
    """Whether *container* has the document that makes a layout. Raises UnsafePathError when a link stands for it."""
    _has(container, "oci-layout")
    return _has(container, "index.json")


class Layout(Medium):
    """The source of a layout."""

    def claims(self) -> Claims:
        """The entries of `index.json`, and a nested one when the user asked for its digest."""
        return self.with_chosen([(entry, self.names_of(entry)) for entry in self.entries()])

    def with_chosen(self, claims: Claims) -> Claims:
        """*claims*, and what stands below them when the user asked for it by its digest."""
        wanted = self._choice.digest
        if wanted is not None and wanted not in {entry.digest for entry, _ in claims}:
            below = (inner for outer, _ in claims for inner, _ in self.below(outer))
            return claims + [(inner, ()) for inner in below if inner.digest == wanted][:1]
        return claims

    def entries(self) -> Sequence[Descriptor | Flawed]:
        """The entries of `index.json`. Raises UnknownFormatError, ManifestError, LimitError, UnsafePathError."""
        bounds = self._bounds.of_listing()
        data = self._container.read("index.json", bounds)
        if data is None:
            raise UnknownFormatError(self.what, "is no OCI image layout: it has no index.json")
        return Index.parse(data, f"{self.what}: index.json", bounds=bounds).entries

    def choose(self, claims: Claims) -> Choice:
        """What the user asked for; a name may also be the whole of a `ref.name` annotation, as umoci's tags are."""
        for entry, names in reversed(claims):
            if self._choice.name and entry.annotations.get(REF_NAME) == self._choice.name:
                if not names and isinstance(entry, Descriptor):
                    return Choice(digest=entry.digest)
                return Choice(name=names[-1]) if names else self._choice
        return self._choice

    def find(self, digest: Digest) -> Extent | Bytes | None:
        """The blob in its place under `blobs/`."""
        return self._container.open(f"blobs/{digest.algorithm}/{digest.hex}")

    def names_of(self, entry: Descriptor | Flawed) -> Sequence[str]:
        """The names that *entry* brings."""
        note = annotated(entry, self._file_name)
        return [note] if note else []

    def below(self, top: Descriptor | Flawed) -> Iterator[tuple[Descriptor, Manifest | None]]:
        """*top* and all descriptors under it, with their manifests; an index, or what is absent or bad, has None."""
        todo = [(top, 0)]
        for _ in range(MAX_LOOKED_INTO):
            if not todo:
                return
            entry, depth = todo.pop(0)
            if isinstance(entry, Flawed) or not may_be_image(entry.media_type):
                continue
            inner, manifest = self._look_into(entry)
            yield entry, manifest
            if depth < self._bounds.index_depth:
                todo += [(each, depth + 1) for each in inner]

    def document(self, descriptor: Descriptor) -> bytes | None:
        """A verified document, None when it is not there. Raises as `Documents.get` does."""
        name = f"blobs/{descriptor.digest.algorithm}/{descriptor.digest.hex}"
        raw = self._container.read(name, self._bounds)
        raw = descriptor.data if raw is None else raw
        return None if raw is None else verify(raw, descriptor.digest, descriptor.size)

    def _look_into(self, descriptor: Descriptor) -> tuple[Sequence[Descriptor | Flawed], Manifest | None]:
        # What is wrong with a document is for `selection` to say, about the images that are taken; here it has no
        # names.
        what = str(descriptor.digest)
        try:
            raw = self.document(descriptor)
            if raw is None:
                return (), None
            announced = descriptor.media_type or document_type(parse(raw, what, self._bounds), what=what)
            if is_index(announced):
                return Index.parse(raw, what, bounds=self._bounds).entries, None
            return (), Manifest.parse(raw, what, announced, self._bounds)
        except ArstoreError:
            return (), None


def _has(container: Container, name: str) -> bool:
    blob = container.open(name)
    if blob is None:
        return False
    blob.close()
    return True
