"""Image manifests, of OCI (image-spec manifest.md) and of Docker's schema 2.

The original bytes are kept, and passed on unchanged. Not in scope: whether config and layers match each other, which
needs their content.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from arstore.digest import Digest
from arstore.errors import ManifestError
from arstore.oci import media_type as types
from arstore.oci.descriptor import Descriptor
from arstore.oci.document import BOUNDS, Bounds, Fields, encode, parse
from arstore.oci.listing import Listing, read_common

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any


@dataclass(slots=True, frozen=True, kw_only=True)
class Manifest(Listing):
    """One image for one platform: its config, and its layers, bottom first."""

    config: Descriptor
    layers: tuple[Descriptor, ...]

    @classmethod
    def parse(cls, raw: bytes, what: str = "", media_type: str | None = None, bounds: Bounds = BOUNDS) -> Manifest:
        """Read *raw*; *media_type* is the type in its descriptor, if there is one.

        Raises ManifestError, also for an index or a document of two kinds, and LimitError.
        """
        what = what or f"manifest {Digest.of(raw)}"
        return cls.of(parse(raw, what, bounds), raw, what, media_type, bounds)

    @classmethod
    def of(
        cls, document: dict[str, Any], raw: bytes, what: str, media_type: str | None = None, bounds: Bounds = BOUNDS
    ) -> Manifest:
        """Do the same for *raw* that has already been parsed to *document*."""
        own_type = types.document_type(document, media_type, what)
        if not types.is_manifest(own_type):
            raise ManifestError(what, "is an index, not a manifest")
        fields = Fields(document, what)
        common = read_common(fields)
        config = fields.child("config")
        if config is None:
            raise fields.error("config", "is missing")
        layers = fields.objects("layers")
        if len(layers) > bounds.layers:
            raise bounds.passed("layers", what, f"has {len(layers)} layers; the limit is {bounds.layers}")
        return cls(
            raw=raw,
            media_type=own_type,
            config=Descriptor.read(config),
            layers=tuple(Descriptor.read(layer) for layer in layers),
            **common,
        )

    @staticmethod
    def build(
        config: Descriptor,
        layers: Iterable[Descriptor],
        annotations: Mapping[str, str] | None = None,
        media_type: str = types.OCI_MANIFEST,
    ) -> bytes:
        """Return the bytes of a manifest; equal arguments give equal bytes.

        Docker's schema 2 does not have annotations: with its *media_type* they are left out, on descriptors too.
        """
        docker = types.is_docker(media_type)
        document: dict[str, Any] = {
            "schemaVersion": 2,
            "mediaType": media_type,
            "config": _written(config, docker),
            "layers": [_written(layer, docker) for layer in layers],
        }
        if annotations and not docker:
            document["annotations"] = dict(annotations)
        return encode(document)

    @property
    def is_image(self) -> bool:
        """Whether config and layers have the types of a root file system, so that it is not an artifact."""
        return not types.artifact_type(
            self.config.media_type, [layer.media_type for layer in self.layers], self.artifact_type
        )


def artifact_of(document: dict[str, Any]) -> str:
    """Return the type of artifact of the manifest *document*, "" for an image, from media types alone.

    Other errors in the document are left to `Manifest.parse`, which is used for images.
    """
    layers = document.get("layers")
    return types.artifact_type(
        _type_of(document.get("config")),
        [_type_of(layer) for layer in layers] if isinstance(layers, list) else [],
        _text_or_empty(document.get("artifactType")),
    )


def _type_of(descriptor: object) -> str:
    return _text_or_empty(descriptor.get("mediaType")) if isinstance(descriptor, dict) else ""


def _text_or_empty(value: object) -> str:
    return value if isinstance(value, str) else ""


def _written(descriptor: Descriptor, docker: bool) -> dict[str, Any]:
    return (descriptor.with_annotations({}) if docker else descriptor).to_json()
