"""Convert the documents of an image between the formats: manifests and indexes of OCI, and of Docker's schema 2.

The formats differ in media types, and Docker's has no annotations. Sources: image-spec manifest.md and image-index.md;
Docker's image manifest version 2, schema 2. A config is the same bytes in both.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from arstore.dataclass import replace
from arstore.errors import ConversionError, DecryptionError
from arstore.oci import media_type as types
from arstore.oci.index import Index
from arstore.oci.manifest import Manifest
from arstore.tar.compression import Compression

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from arstore.digest import Digest
    from arstore.oci.descriptor import Descriptor

OCI, DOCKER = "oci", "v2s2"
"""The formats that a user can request."""
FORMATS = (OCI, DOCKER)

_OF_THE_BYTES = ("io.github.containers.zstd-chunked.", "containerd.io/snapshot/stargz/", "io.containers.estargz.")
"""Prefixes of annotations that give positions in a layer's compressed bytes."""
_FOREIGN = {
    OCI: {"none": types.OCI_FOREIGN, "gzip": types.OCI_FOREIGN_GZIP, "zstd": types.OCI_FOREIGN_ZSTD},
    DOCKER: {"none": types.DOCKER_FOREIGN, "gzip": types.DOCKER_FOREIGN_GZIP},
}
_LAYERS = {OCI: types.OCI_LAYERS, DOCKER: {"none": types.DOCKER_LAYER, "gzip": types.DOCKER_LAYER_GZIP}}


def format_of(media_type: str) -> str:
    """The format of a manifest or an index of this type."""
    return DOCKER if types.is_docker(media_type) else OCI


def compression_of(layer: Descriptor) -> Compression | None:
    """The compression in the media type of *layer*; None for a type that does not give it."""
    claimed = types.LAYER_COMPRESSIONS.get(layer.media_type)
    return None if claimed is None else Compression(claimed)


def can_hold(form: str, compression: Compression) -> bool:
    """Whether a manifest of this format may have layers with this compression: Docker's has no zstd."""
    return compression.value in _LAYERS[form]


def layer_type(layer: Descriptor, compression: Compression, form: str) -> str:
    """The media type of *layer* with this compression in a manifest of this format."""
    is_foreign = layer.media_type in {*_FOREIGN[OCI].values(), *_FOREIGN[DOCKER].values()}
    table = (_FOREIGN if is_foreign else _LAYERS)[form]
    return table[compression.value]


def config_type(form: str) -> str:
    """The media type of an image's config in a manifest of this format."""
    return types.DOCKER_CONFIG if form == DOCKER else types.OCI_CONFIG


def require_free(old: Manifest) -> None:
    """Raise ConversionError for a manifest with a subject: its digest is what signatures or descriptions refer to."""
    if old.has_subject:
        why = "refers to another manifest, and after a conversion the reference would be wrong"
        raise ConversionError(f"manifest {old.digest}", why, "copy it without a conversion")


def manifest(old: Manifest, config: Descriptor, layers: Sequence[Descriptor], form: str) -> tuple[str, bytes]:
    """The media type and the bytes of *old* with these parts, in this format. Raises ConversionError."""
    require_free(old)
    media_type = types.DOCKER_MANIFEST if form == DOCKER else types.OCI_MANIFEST
    return media_type, Manifest.build(config, layers, old.annotations, media_type)


def require_unlocked(layer: Descriptor, form: str, compression: Compression | None) -> None:
    """Raise DecryptionError for an encrypted *layer* that this format or compression would require to decrypt."""
    if form == DOCKER:
        raise locked(f"layer {layer.digest}", "Docker's format does not support encrypted layers")
    if compression is not None:
        raise locked(f"layer {layer.digest}", "it cannot be recompressed without decryption")


def locked(what: str, why: str) -> DecryptionError:
    """The error for encrypted layers of *what* that cannot be copied unchanged, with the reason *why*."""
    return DecryptionError(what, f"is encrypted, and {why}", "decrypt it with --decryption-key KEYFILE")


def recompressed(layer: Descriptor, media_type: str, digest: Digest, size: int) -> Descriptor:
    """*layer* with new bytes: without the annotations that describe the old ones."""
    notes = {key: value for key, value in layer.annotations.items() if not key.startswith(_OF_THE_BYTES)}
    return replace(layer, media_type=media_type, digest=digest, size=size, annotations=notes, urls=(), data=None)


def index(old: Index, written: Mapping[Digest, Descriptor], form: str) -> tuple[str, bytes]:
    """The media type and the bytes of *old* in this format, with the entries *written*, keyed by their old digests.

    An entry without a platform gets its image's platform, which a Docker list requires.
    """
    entries = []
    for entry in old.manifests:
        new = written.get(entry.digest)
        if new is not None:
            platform = entry.platform or new.platform
            entries.append(
                replace(
                    entry, media_type=new.media_type, digest=new.digest, size=new.size, platform=platform, data=None
                )
            )
    media_type = types.DOCKER_LIST if form == DOCKER else types.OCI_INDEX
    if form == DOCKER:
        entries = [replace(entry, annotations={}, artifact_type="") for entry in entries]
    return media_type, Index.build(entries, old.annotations, media_type)
