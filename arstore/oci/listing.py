"""The common part of manifests and indexes: documents that list descriptors, with their original bytes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from arstore.digest import Digest
from arstore.errors import ManifestError
from arstore.oci.descriptor import Descriptor

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from arstore.oci.document import Fields


@dataclass(slots=True, frozen=True, kw_only=True)
class Listing:
    """The original bytes of a document, and its fields in image-spec besides the lists."""

    raw: bytes
    media_type: str
    annotations: Mapping[str, str] = field(default_factory=dict, hash=False)
    artifact_type: str = ""
    has_subject: bool = False
    """Whether this document refers to another document, as signatures and SBOMs do."""
    subject: Digest | None = None
    """The digest of that document; None if it is missing or invalid."""

    @property
    def digest(self) -> Digest:
        """The SHA-256 digest of the raw bytes."""
        return Digest.of(self.raw)

    @property
    def descriptor(self) -> Descriptor:
        """A descriptor that points to this document."""
        return Descriptor(self.media_type, self.digest, len(self.raw), artifact_type=self.artifact_type)


def read_common(fields: Fields) -> dict[str, Any]:
    """Return the attributes of a Listing that every document has. Raises ManifestError."""
    fields.refuse_variants(("artifactType", "subject", "annotations"))
    return {
        "annotations": fields.texts("annotations"),
        "artifact_type": fields.string("artifactType"),
        "has_subject": fields.has("subject"),
        "subject": _subject(fields),
    }


def _subject(fields: Fields) -> Digest | None:
    """Return the digest in `subject`. An invalid one is an error only for a reader that needs it."""
    try:
        subject = fields.child("subject")
        return None if subject is None else subject.digest("digest")
    except ManifestError:
        return None
