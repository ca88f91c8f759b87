"""An OCI image layout: `oci-layout`, `index.json` and `blobs/<algorithm>/<hex>`, in a directory or in an archive.

Format: OCI image-spec, image-layout.md. Names come from the annotations of the descriptors in `index.json`, those of
nested indexes included. An archive that Docker (25 and later) or containerd wrote holds a `manifest.json` beside the
layout: the names in it (`RepoTags`) count for the image that has the same config, and an annotation that only spells
such a name in another way is left out.

Nothing is verified here but the documents that are read to find names; `copy` verifies everything that it takes. What a
nested index holds is left to `copy` too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from arstore.digest import verify
from arstore.errors import ArstoreError, UnknownFormatError
from arstore.oci.descriptor import CONTAINERD_NAME, REF_NAME
from arstore.oci.document import BOUNDS, Bounds
from arstore.oci.index import Index, check_layout
from arstore.oci.manifest import Manifest
from arstore.oci.media_type import is_index
from arstore.transport.medium import Container, Medium
from arstore.transport.names import EVERYTHING, Choice, Claims, annotated, same_name

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from arstore.digest import Digest
    from arstore.oci.descriptor import Descriptor
    from arstore.transport.source import BlobReader

MAX_LOOKED_INTO = 1000
"""Manifests and indexes that are looked into for one descriptor of `index.json`."""


def is_layout(container: Container) -> bool:
    """Whether *container* has both documents of a layout."""
    return _has(container, "oci-layout") and _has(container, "index.json")


class Layout(Medium):
    """The source of a layout. *tags* gives names by config digest, from a `manifest.json` beside it."""

    def __init__(
        self,
        container: Container,
        file_name: str = "",
        choice: Choice = EVERYTHING,
        tags: Mapping[Digest, Sequence[str]] | None = None,
        bounds: Bounds = BOUNDS,
    ) -> None:
        super().__init__(container, file_name, choice, bounds)
        self._tags = tags or {}

    def claims(self) -> Claims:
        """The descriptors of `index.json`, and a nested one when the user asked for its digest."""
        check_layout(self._document("oci-layout", self._bounds), f"{self.what}: oci-layout")
        bounds = self._bounds.of_listing()
        index = Index.parse(self._document("index.json", bounds), f"{self.what}: index.json", bounds=bounds)
        descriptors = index.manifests
        claims: Claims = [(descriptor, self._names(descriptor)) for descriptor in descriptors]
        wanted = self._choice.digest
        if wanted is not None and wanted not in {descriptor.digest for descriptor in descriptors}:
            below = (inner for outer in descriptors for inner, _ in self._below(outer))
            claims += [(inner, ()) for inner in below if inner.digest == wanted][:1]
        return claims

    def choose(self, claims: Claims) -> Choice:
        """What the user asked for; a name may also be the whole of a `ref.name` annotation, as umoci's tags are."""
        for descriptor, names in reversed(claims):
            if self._choice.name and descriptor.annotations.get(REF_NAME) == self._choice.name:
                return Choice(name=names[-1]) if names else Choice(digest=descriptor.digest)
        return self._choice

    def find(self, digest: Digest) -> BlobReader | None:
        """The blob in its place under `blobs/`."""
        return self._container.open(f"blobs/{digest.algorithm}/{digest.hex}")

    def is_whole(self) -> bool:
        """Whether every descriptor of `index.json` has at least one image here with all of its blobs."""
        try:
            descriptors = [descriptor for descriptor, _ in self.claims()]
        except ArstoreError:
            return False
        return bool(descriptors) and all(
            any(manifest is not None and self._holds(manifest) for _, manifest in self._below(descriptor))
            for descriptor in descriptors
        )

    def _document(self, name: str, bounds: Bounds) -> bytes:
        data = self._container.read(name, bounds)
        if data is None:
            raise UnknownFormatError(self.what, f"is no OCI image layout: it has no {name}")
        return data

    def _names(self, descriptor: Descriptor) -> Sequence[str]:
        note = annotated(descriptor, self._file_name)
        tags = self._tags_of(descriptor)
        if not note or (tags and (same_name(note, tags) or _is_tag_only(descriptor))):
            return tags
        return [*tags, note]

    def _tags_of(self, descriptor: Descriptor) -> list[str]:
        if not self._tags:
            return []
        manifests = [manifest for _, manifest in self._below(descriptor) if manifest is not None]
        configs = dict.fromkeys(manifest.config.digest for manifest in manifests)
        return [name for config in configs for name in self._tags.get(config, ())]

    def _holds(self, manifest: Manifest) -> bool:
        return all(self._is_here(blob.digest) for blob in (manifest.config, *manifest.layers))

    def _is_here(self, digest: Digest) -> bool:
        blob = self.find(digest)
        if blob is None:
            return False
        blob.close()
        return True

    def _below(self, top: Descriptor) -> Iterator[tuple[Descriptor, Manifest | None]]:
        """*top* and all descriptors under it, with their manifests; an index, or what is absent or bad, has None."""
        todo = [(top, 0)]
        for _ in range(MAX_LOOKED_INTO):
            if not todo:
                return
            descriptor, depth = todo.pop(0)
            inner, manifest = self._look_into(descriptor)
            yield descriptor, manifest
            if depth < self._bounds.index_depth:
                todo += [(each, depth + 1) for each in inner]

    def _look_into(self, descriptor: Descriptor) -> tuple[Sequence[Descriptor], Manifest | None]:
        # What is wrong with a document is for `copy` to say, about the images that are taken; here it has no names.
        name = f"blobs/{descriptor.digest.algorithm}/{descriptor.digest.hex}"
        try:
            raw = self._container.read(name, self._bounds)
            if raw is None:
                return (), None
            verify(raw, descriptor.digest, descriptor.size)
            if is_index(descriptor.media_type):
                return Index.parse(raw, str(descriptor.digest), bounds=self._bounds).manifests, None
            return (), Manifest.parse(raw, str(descriptor.digest), descriptor.media_type, self._bounds)
        except ArstoreError:
            return (), None


def _is_tag_only(descriptor: Descriptor) -> bool:
    """Whether the annotations hold a word that could be a mere tag, and no full name."""
    word = descriptor.annotations.get(REF_NAME, "")
    return CONTAINERD_NAME not in descriptor.annotations and "/" not in word and ":" not in word


def _has(container: Container, name: str) -> bool:
    blob = container.open(name)
    if blob is None:
        return False
    blob.close()
    return True
