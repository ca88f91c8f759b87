"""Attachments: manifests that belong to another manifest, such as signatures, attestations and lists of software.

There are two ways to declare that:

* the field `subject` of the manifest (image-spec manifest.md; listed by distribution-spec, "Listing Referrers"),
* a tag made of the subject's digest and a suffix, `sha256-HEX.sig`, `.att` or `.sbom` (cosign's "tag-based discovery").

In an image layout, a tag is the annotation `org.opencontainers.image.ref.name`. `cosign save` does not write it;
instead the annotation `kind` marks which entry is the image, and which are its signatures and attestations. Not in
scope: the content of an attachment, and whether to trust it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from arstore.digest import Digest, is_digest
from arstore.oci.descriptor import REF_NAME, Descriptor
from arstore.oci.document import encode
from arstore.oci.manifest import Manifest
from arstore.oci.media_type import OCI_CONFIG, is_config
from arstore.pattern import pattern
from arstore.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

SUFFIXES = ("sig", "att", "sbom")
"""The suffixes of cosign's tags, without the dot: signatures, attestations, a list of software."""
UNITED = ("sig", "att")
"""The suffixes whose tag has one manifest for all attachments, with a layer for each."""

OPENPGP = "application/vnd.arstore.signature.openpgp.v1"
"""The type of an OpenPGP message that is attached to an image (`simple_signing`)."""
BUNDLE = "application/vnd.dev.sigstore.bundle.v0.3+json"
"""The type of a sigstore bundle, cosign 3's form of a signature."""
NOTATION = "application/vnd.cncf.notary.signature"
"""The type of Notation's signatures."""

MOST = 128
"""Maximum number of attachments of one subject, and of signatures in a `dir:`: the limit of containers/image."""

KIND = "kind"
"""The annotation that marks entries in a layout written by `cosign save`."""
KIND_OF_IMAGE, KIND_OF_INDEX = "dev.cosignproject.cosign/image", "dev.cosignproject.cosign/imageIndex"
KINDS: Mapping[str, str] = {"sig": "dev.cosignproject.cosign/sigs", "att": "dev.cosignproject.cosign/atts"}
"""Values of KIND, by the suffix of the tag that the entry would have in a registry."""

EMPTY = b"{}"
EMPTY_TYPE = "application/vnd.oci.empty.v1+json"
"""The empty content, and its type (image-spec manifest.md, "Guidance for an Empty Descriptor")."""
EMPTY_DIGEST = Digest("sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a")

_TAG = pattern(r"(sha256-[0-9a-f]{64}|sha512-[0-9a-f]{64,128})(?:\.(sig|att|sbom))?")
_NO_TIME = "0001-01-01T00:00:00Z"


class Tag(NamedTuple):
    """A tag of attachments; `subject` is None if the tag does not contain a complete digest.

    Without a `suffix`, it is the tag of an index of referrers, each of which names its subject itself.
    """

    subject: Digest | None
    suffix: str


def parse_tag(text: str) -> Tag | None:
    """Read the tag *text*; None for any other tag. A name before the tag is ignored."""
    match = _TAG.fullmatch(text.rpartition(":")[2])
    if match is None:
        return None
    digest = match[1].replace("-", ":", 1)
    return Tag(Digest(digest) if is_digest(digest) else None, match[2] or "")


def tag_of(subject: Digest, suffix: str) -> str:
    """Return the tag of the attachments of *subject* with this suffix."""
    return f"{subject.algorithm}-{subject.hex}.{suffix}"


def tag_in(annotations: Mapping[str, str]) -> Tag | None:
    """Read the tag in the annotations of a layout's entry; None for any other tag."""
    return parse_tag(annotations.get(REF_NAME, ""))


def blobs_of(manifest: Manifest) -> list[Descriptor]:
    """Return the blobs of an attachment besides its manifest, each digest once: config and layers."""
    found: dict[Digest, Descriptor] = {}
    for blob in (manifest.config, *manifest.layers):
        found.setdefault(blob.digest, blob)
    return list(found.values())


def type_of(manifest: Manifest) -> str:
    """Return the type of artifact that lists show: the manifest's, else its config's (image-spec manifest.md).

    A manifest with an image's config, such as cosign's signatures, has the type of its first layer.
    """
    if manifest.artifact_type or not is_config(manifest.config.media_type) or not manifest.layers:
        return manifest.artifact_type or manifest.config.media_type
    return manifest.layers[0].media_type


class United(NamedTuple):
    """A manifest that combines several, and its config."""

    manifest: bytes
    config: bytes


def united(every: Iterable[Descriptor]) -> United:
    """Return one manifest with the layers *every*, each once, in order, as a tag of cosign needs it.

    Layers are different if their digests or their annotations differ: one payload may be signed with many keys.
    """
    layers: list[Descriptor] = []
    for layer in every:
        if not is_among(layer, layers):
            layers.append(layer)
    config = encode(
        {
            "architecture": "",
            "config": {},
            "created": _NO_TIME,
            "history": [{"created": _NO_TIME} for _ in layers],
            "os": "",
            "rootfs": {"diff_ids": [str(layer.digest) for layer in layers], "type": "layers"},
        }
    )
    raw = Manifest.build(Descriptor(OCI_CONFIG, Digest.of(config), len(config)), layers)
    return United(raw, config)


def is_among(layer: Descriptor, layers: Sequence[Descriptor]) -> bool:
    """Whether *layers* contains one with the same digest and the same annotations."""
    return any(one.digest == layer.digest and dict(one.annotations) == dict(layer.annotations) for one in layers)
