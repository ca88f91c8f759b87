"""Descriptors: how one piece of content points to another (image-spec descriptor.md).

Not in scope: the content. The optional `data` member (the content embedded) is not used, so that bytes always come
from one place.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from arstore.oci.document import Fields
from arstore.oci.platform import Platform

if TYPE_CHECKING:
    from collections.abc import Mapping

    from arstore.digest import Digest

REF_NAME = "org.opencontainers.image.ref.name"
"""The annotation that holds an image's name or tag in an index."""
CONTAINERD_NAME = "io.containerd.image.name"
"""The annotation that holds an image's full name, written by containerd and Docker 25 and later."""

_FIELDS = ("mediaType", "digest", "size", "urls", "annotations", "data", "platform", "artifactType")
_MEDIA_TYPE = re.compile(r"[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,126}/[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,126}")


@dataclass(slots=True, frozen=True)
class Descriptor:
    """A typed, sized and verified pointer. `platform` is None where the descriptor names none."""

    media_type: str
    digest: Digest
    size: int
    annotations: Mapping[str, str] = field(default_factory=dict, hash=False)
    platform: Platform | None = None
    urls: tuple[str, ...] = ()
    artifact_type: str = ""

    @classmethod
    def parse(cls, value: object, where: str) -> Descriptor:
        """Read a JSON object; *where* names it in errors. Raises ManifestError."""
        return cls.read(Fields.of(value, where))

    @classmethod
    def read(cls, fields: Fields) -> Descriptor:
        """Read the members of a JSON object. Raises ManifestError."""
        fields.refuse_variants(_FIELDS)
        media_type = fields.string("mediaType", required=True)
        if _MEDIA_TYPE.fullmatch(media_type) is None:
            raise fields.error("mediaType", "is no media type")
        platform = fields.child("platform")
        return cls(
            media_type=media_type,
            digest=fields.digest("digest"),
            size=fields.integer("size"),
            annotations=fields.string_map("annotations"),
            platform=None if platform is None else Platform.read(platform),
            urls=fields.strings("urls"),
            artifact_type=fields.string("artifactType"),
        )

    def to_json(self) -> dict[str, Any]:
        """The JSON object, without members that are empty."""
        members: dict[str, Any] = {"mediaType": self.media_type, "digest": str(self.digest), "size": self.size}
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
        """The same pointer with these annotations in place of its own."""
        return replace(self, annotations=dict(annotations))
