"""Media types, and the kind of a JSON document.

Sources: image-spec media-types.md; Docker's image manifest version 2, schema 2. A document that one reader would take
for a manifest and another for an index (CVE-2021-41190) is refused here, and so is Docker's schema 1. The compression
of a layer is not decided here: the media type is only a claim, and the content decides.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from arstore.errors import ManifestError
from arstore.oci.document import Fields, shown

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any, Literal

    Kind = Literal["manifest", "index"]


OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar"
OCI_LAYER_GZIP = "application/vnd.oci.image.layer.v1.tar+gzip"
OCI_LAYER_ZSTD = "application/vnd.oci.image.layer.v1.tar+zstd"
OCI_FOREIGN = "application/vnd.oci.image.layer.nondistributable.v1.tar"
OCI_FOREIGN_GZIP = "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip"
OCI_FOREIGN_ZSTD = "application/vnd.oci.image.layer.nondistributable.v1.tar+zstd"

DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar"
DOCKER_LAYER_GZIP = "application/vnd.docker.image.rootfs.diff.tar.gzip"
DOCKER_LAYER_ZSTD = "application/vnd.docker.image.rootfs.diff.tar.zstd"
DOCKER_FOREIGN = "application/vnd.docker.image.rootfs.foreign.diff.tar"
DOCKER_FOREIGN_GZIP = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"

DOCKER_SCHEMA1 = "application/vnd.docker.distribution.manifest.v1+json"
DOCKER_SCHEMA1_SIGNED = "application/vnd.docker.distribution.manifest.v1+prettyjws"

MANIFESTS = frozenset({OCI_MANIFEST, DOCKER_MANIFEST})
INDEXES = frozenset({OCI_INDEX, DOCKER_LIST})
CONFIGS = frozenset({OCI_CONFIG, DOCKER_CONFIG})
_DEFAULTED = frozenset({"", "application/octet-stream", "application/json", "text/html"})
"""Types that early registries gave to image configs; Docker accepts them too, together with file system layers."""
_SCHEMA1 = frozenset({DOCKER_SCHEMA1, DOCKER_SCHEMA1_SIGNED})

LAYER_COMPRESSIONS: Mapping[str, str] = {
    OCI_LAYER: "none", OCI_LAYER_GZIP: "gzip", OCI_LAYER_ZSTD: "zstd",
    OCI_FOREIGN: "none", OCI_FOREIGN_GZIP: "gzip", OCI_FOREIGN_ZSTD: "zstd",
    DOCKER_LAYER: "none", DOCKER_LAYER_GZIP: "gzip", DOCKER_LAYER_ZSTD: "zstd",
    DOCKER_FOREIGN: "none", DOCKER_FOREIGN_GZIP: "gzip",
}  # fmt: skip
"""Every type of a file system layer, with the compression that it claims: `none`, `gzip` or `zstd`."""

OCI_LAYERS: Mapping[str, str] = {"none": OCI_LAYER, "gzip": OCI_LAYER_GZIP, "zstd": OCI_LAYER_ZSTD}
"""The OCI type of a layer by its compression."""
DOCKER_LAYERS: Mapping[str, str] = {"none": DOCKER_LAYER, "gzip": DOCKER_LAYER_GZIP, "zstd": DOCKER_LAYER_ZSTD}
"""The Docker type of a layer by its compression."""

ENCRYPTED = "+encrypted"
"""The suffix of an encrypted layer's type, after the type of the decrypted layer (ocicrypt, spec/spec.go)."""

_COMPRESSED = (f"{OCI_LAYER}+", f"{OCI_FOREIGN}+", f"{DOCKER_LAYER}.", f"{DOCKER_FOREIGN}.")
_MARKS = ("schemaVersion", "mediaType", "config", "layers", "manifests", "fsLayers")
_FOLDED_MARKS = frozenset(map(str.casefold, _MARKS))


def is_manifest(media_type: str) -> bool:
    """Whether the type is that of an image manifest, of OCI or of Docker's schema 2."""
    return media_type in MANIFESTS


def is_index(media_type: str) -> bool:
    """Whether the type is that of an OCI index or a Docker manifest list."""
    return media_type in INDEXES


def may_be_image(media_type: str) -> bool:
    """Whether an entry of this type ("" for none) may be an image; entries of other types are not."""
    return not media_type or media_type in MANIFESTS or media_type in INDEXES or media_type in _SCHEMA1


def is_config(media_type: str) -> bool:
    """Whether the type is that of an image config, and not of an artifact."""
    return media_type in CONFIGS


def is_layer(media_type: str) -> bool:
    """Whether the type is that of a file system layer, including foreign layers and unregistered compressions."""
    return media_type in LAYER_COMPRESSIONS or media_type.startswith(_COMPRESSED)


def is_encrypted(media_type: str) -> bool:
    """Whether the type is that of an encrypted layer."""
    return media_type.endswith(ENCRYPTED)


def encrypted_type(media_type: str) -> str:
    """Return the type of a layer of this type after encryption."""
    return media_type + ENCRYPTED


def decrypted_type(media_type: str) -> str:
    """Return the type of an encrypted layer after decryption; "" if that is not a layer's type."""
    plain = media_type.removesuffix(ENCRYPTED)
    return plain if plain != media_type and plain in LAYER_COMPRESSIONS else ""


def artifact_type(config: str, layers: Sequence[str], announced: str = "") -> str:
    """Return the type of a manifest's artifact; "" for an image.

    *config* and *layers* are media types, "" if missing; *announced* is the manifest's `artifactType`. A manifest is an
    image if its config has an image's type and at least one of its layers is a file system layer. A signature of cosign
    has an image's config, and is recognised by its layers.
    """
    known = is_config(config) or (config in _DEFAULTED and any(map(is_layer, layers)))
    if not known and (config or announced):
        return announced or config
    foreign = [one for one in layers if one and not is_layer(one)]
    if foreign and len(foreign) == len(layers):
        return announced or foreign[0]
    return ""


def is_foreign(document: dict[str, Any]) -> bool:
    """Whether no reader would take *document*, without other type information, for a manifest or an index."""
    own = document.get("mediaType")
    marks = {"config", "layers", "manifests", "fslayers"}
    return not (isinstance(own, str) and own and may_be_image(own)) and marks.isdisjoint(map(str.casefold, document))


def is_docker(media_type: str) -> bool:
    """Whether the type is one of Docker's."""
    return media_type.startswith("application/vnd.docker.")


def is_mark(key: str) -> bool:
    """Whether `document_type` looks at the member *key* of a document, in any letter case."""
    return key.casefold() in _FOLDED_MARKS


def document_type(document: dict[str, Any], announced: str | None = None, what: str = "") -> str:
    """Return the media type of *document*: its own, else *announced*, else OCI's for its shape.

    Raises ManifestError for a document of two kinds or of an unknown kind, and for Docker's schema 1.
    """
    fields = Fields(document, what)
    fields.refuse_variants(_MARKS)
    own = fields.string("mediaType")
    _refuse_schema1(document, own, what)
    version = fields.integer("schemaVersion", default=2)
    if version != 2:
        raise fields.error("schemaVersion", f"is {version}; only 2 is supported")
    shape = _shape(document, what)
    for source, claimed in (("its mediaType", own), ("its descriptor", announced or "")):
        if claimed and _kind_of(claimed, what) != shape:
            raise ManifestError(what, f"has the fields of {_article(shape)}, but {source} says {shown(claimed)}")
    return own or announced or (OCI_MANIFEST if shape == "manifest" else OCI_INDEX)


def _refuse_schema1(document: dict[str, Any], own: str, what: str) -> None:
    if own in _SCHEMA1 or "fsLayers" in document or document.get("schemaVersion") == 1:
        raise ManifestError(
            what, "is a manifest of Docker's schema 1, which is obsolete", "save the image again with a current tool"
        )


def _shape(document: dict[str, Any], what: str) -> Kind:
    # A field counts even if it is null, because other readers decide by presence too.
    manifest = "config" in document or "layers" in document
    index = "manifests" in document
    if manifest and index:
        raise ManifestError(what, "has the fields of both a manifest and an index, so readers would disagree about it")
    if not manifest and not index:
        raise ManifestError(what, "is neither an image manifest nor an index: it has no config, layers or manifests")
    return "manifest" if manifest else "index"


def _kind_of(media_type: str, what: str) -> Kind:
    if media_type in MANIFESTS:
        return "manifest"
    if media_type in INDEXES:
        return "index"
    if media_type in _SCHEMA1:
        _refuse_schema1({}, media_type, what)
    raise ManifestError(what, f"has the media type {shown(media_type)}, which is neither a manifest's nor an index's")


def _article(kind: Kind) -> str:
    return "an index" if kind == "index" else "a manifest"
