"""Descriptors: how one document points to other content (image-spec descriptor.md).

A list of descriptors is read entry by entry. An invalid entry becomes a `Flawed`, which is an error only for a reader
that needs its content. Not in scope: the content.
"""

from __future__ import annotations

from binascii import Error, a2b_base64
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from arstore.errors import ManifestError
from arstore.oci.document import Fields, shown
from arstore.oci.platform import Platform
from arstore.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from arstore.digest import Digest

REF_NAME = "org.opencontainers.image.ref.name"
"""The annotation with an image's name or tag in an index."""
CONTAINERD_NAME = "io.containerd.image.name"
"""The annotation with an image's full name, written by containerd and Docker 25 and later."""
REFERENCE_TYPE = "vnd.docker.reference.type"
"""The annotation that distinguishes BuildKit's attestations from images."""

_FIELDS = ("mediaType", "digest", "size", "urls", "annotations", "data", "platform", "artifactType")


@dataclass(slots=True, frozen=True)
class Descriptor:
    """A pointer with a media type, a digest and a size.

    `media_type` is "" and `platform` None if the descriptor has none. `data` is the embedded content, unverified; None
    if it is missing or not base64.
    """

    media_type: str
    digest: Digest
    size: int
    annotations: Mapping[str, str] = field(default_factory=dict, hash=False)
    platform: Platform | None = None
    urls: tuple[str, ...] = ()
    artifact_type: str = ""
    data: bytes | None = field(default=None, repr=False, compare=False)

    @classmethod
    def parse(cls, value: object, where: str) -> Descriptor:
        """Read a JSON object; *where* names it in errors. Raises ManifestError."""
        return cls.read(Fields.of(value, where))

    @classmethod
    def read(cls, fields: Fields) -> Descriptor:
        """Read the members of a JSON object. Raises ManifestError."""
        fields.refuse_variants(_FIELDS)
        platform = fields.child("platform")
        return cls(
            media_type=fields.string("mediaType"),
            digest=fields.digest("digest"),
            size=fields.integer("size"),
            annotations=fields.texts("annotations"),
            platform=None if platform is None else Platform.read(platform),
            urls=fields.strings("urls"),
            artifact_type=fields.string("artifactType"),
            data=_data(fields.values.get("data")),
        )

    def to_json(self) -> dict[str, Any]:
        """Return the JSON object, without empty members."""
        members: dict[str, Any] = {"mediaType": self.media_type, "digest": str(self.digest), "size": self.size}
        if not self.media_type:
            del members["mediaType"]
        if self.annotations:
            members["annotations"] = dict(self.annotations)
        if self.platform is not None:
            members["platform"] = self.platform.to_json()
        if self.urls:
            members["urls"] = list(self.urls)
        if self.artifact_type:
            members["artifactType"] = self.artifact_type
        return members

    def with_annotations(self, annotations: Mapping[str, str]) -> Descriptor:
        """Return the same pointer with these annotations instead."""
        return replace(self, annotations=dict(annotations))


class Flawed(NamedTuple):
    """An invalid descriptor, with the error for a reader that needs it; the other members as far as they are readable.

    `digest` is the text in the document, for messages.
    """

    media_type: str
    digest: str
    annotations: Mapping[str, str]
    platform: Platform | None
    error: ManifestError

    @property
    def why(self) -> str:
        """The reason shown to users if the entry is skipped."""
        return f"a malformed entry ({self.error.why})"


def entry_at(value: object, what: str, path: str) -> Descriptor | Flawed:
    """Read one entry of a list, of any type. Raises ManifestError only as `listed` does."""
    try:
        fields = Fields.of(value, what, path)
    except ManifestError as error:
        return Flawed("", "", {}, None, error)
    return listed(fields)


def listed(fields: Fields) -> Descriptor | Flawed:
    """Read one entry of a list that is an object.

    Raises ManifestError only for fields in another letter case, because readers would disagree about the entry.
    """
    fields.refuse_variants(_FIELDS)
    try:
        return Descriptor.read(fields)
    except ManifestError as error:
        return Flawed(
            _text_field(fields, "mediaType"),
            _text_field(fields, "digest"),
            fields.texts("annotations"),
            _platform(fields),
            error,
        )


def _text_field(fields: Fields, key: str) -> str:
    value = fields.values.get(key)
    return shown(value) if isinstance(value, str) else ""


def _platform(fields: Fields) -> Platform | None:
    try:
        platform = fields.child("platform")
        return None if platform is None else Platform.read(platform)
    except ManifestError:
        return None


def _data(value: object) -> bytes | None:
    if not isinstance(value, str):
        return None
    try:
        return a2b_base64(value, strict_mode=True)
    except (Error, ValueError):
        return None
