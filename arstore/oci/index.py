"""Indexes (image-spec image-index.md, Docker's manifest list) and the marker file of a layout (image-layout.md).

An index lists manifests, further indexes and anything else. The caller follows them, with a limit on depth.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from arstore.digest import Digest
from arstore.errors import ManifestError
from arstore.oci import media_type as types
from arstore.oci.descriptor import Descriptor, Flawed, entry_at
from arstore.oci.document import BOUNDS, Bounds, Fields, encode, parse
from arstore.oci.listing import Listing, read_common

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any


@dataclass(slots=True, frozen=True, kw_only=True)
class Index(Listing):
    """A list of images: one for each platform, or all images of a layout.

    `entries` may have any media type, and may be invalid: image-spec makes readers ignore unknown entries.
    """

    entries: tuple[Descriptor | Flawed, ...]

    @property
    def manifests(self) -> tuple[Descriptor, ...]:
        """The valid entries."""
        return tuple(entry for entry in self.entries if isinstance(entry, Descriptor))

    @classmethod
    def parse(cls, raw: bytes, what: str = "", media_type: str | None = None, bounds: Bounds = BOUNDS) -> Index:
        """Read *raw*; *media_type* is the type in its descriptor, if there is one.

        Raises ManifestError, also for a manifest or a document of two kinds, and LimitError.
        """
        what = what or f"index {Digest.of(raw)}"
        return cls.of(parse(raw, what, bounds), raw, what, media_type, bounds)

    @classmethod
    def of(
        cls, document: dict[str, Any], raw: bytes, what: str, media_type: str | None = None, bounds: Bounds = BOUNDS
    ) -> Index:
        """Do the same for *raw* that has already been parsed to *document*."""
        own_type = types.document_type(document, media_type, what)
        if not types.is_index(own_type):
            raise ManifestError(what, "is a manifest, not an index")
        fields = Fields(document, what)
        common = read_common(fields)
        manifests = fields.places("manifests")
        if len(manifests) > bounds.manifests:
            why = f"lists {len(manifests)} manifests; the limit is {bounds.manifests}"
            raise bounds.passed("manifests", what, why)
        return cls(
            raw=raw,
            media_type=own_type,
            entries=tuple(entry_at(value, what, path) for value, path in manifests),
            **common,
        )

    @staticmethod
    def build(
        manifests: Iterable[Descriptor],
        annotations: Mapping[str, str] | None = None,
        media_type: str = types.OCI_INDEX,
    ) -> bytes:
        """Return the bytes of an index; equal arguments give equal bytes. A Docker list gets no annotations."""
        document: dict[str, Any] = {
            "schemaVersion": 2,
            "mediaType": media_type,
            "manifests": [manifest.to_json() for manifest in manifests],
        }
        if annotations and not types.is_docker(media_type):
            document["annotations"] = dict(annotations)
        return encode(document)
