"""Make and read the manifests that carry signatures in registries and layouts.

    SIGNATURE MANIFEST (cosign's SIGNATURE_SPEC.md), tag `sha256-HEX.sig` in the image's repository:
        config   an image config whose diff_ids are the payloads' digests
        layers   one payload each, with the signature, the certificate, ... in annotations
    BUNDLE MANIFEST (cosign 3), a referrer of the image:
        subject  the image; config empty; one layer, the bundle

An OpenPGP message is carried as described in `oci.simple_signing`.

A `Carrier` is a manifest with its blobs: a transport moves them without looking into them. Reading works in the other
direction: the manifest says which blobs to fetch (`Slot`), and a slot with its blob makes a signature. When a signature
is added, existing ones are kept unchanged, together with annotations that are not known here.
Not in scope: whether a signature is valid.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from arstore.digest import Digest, verify
from arstore.errors import ArstoreError, LimitError, ManifestError, SignatureError
from arstore.oci import attachment
from arstore.oci.attachment import BUNDLE, OPENPGP
from arstore.oci.descriptor import Descriptor
from arstore.oci.document import Fields, encode, parse
from arstore.oci.media_type import OCI_MANIFEST
from arstore.oci.simple_signing import SIMPLE_SIGNING
from arstore.trust.payload import BOUNDS
from arstore.trust.signature import LARGEST, MOST, Bundle, SigstoreSignature, SimpleSignature
from arstore.trust.sigstore.bundle import SIGNED
from arstore.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

    from arstore.trust.signature import Signature

MANIFEST = OCI_MANIFEST
PAYLOAD = SIMPLE_SIGNING
SIGNATURE = "dev.cosignproject.cosign/signature"
CERTIFICATE = "dev.sigstore.cosign/certificate"
CHAIN = "dev.sigstore.cosign/chain"
REKOR = "dev.sigstore.cosign/bundle"
_CONTENT = "dev.sigstore.bundle.content"
_PREDICATE = "dev.sigstore.bundle.predicateType"
_WHAT = "signature manifest"


class Carrier(NamedTuple):
    """A manifest, and the content of every blob that it names."""

    manifest: bytes
    blobs: tuple[bytes, ...]

    @property
    def digest(self) -> Digest:
        """The digest of the manifest."""
        return Digest.of(self.manifest)


class Slot(NamedTuple):
    """A layer of a manifest that carries signatures: the digest and size of its blob, and its annotations."""

    media_type: str
    digest: Digest
    size: int
    annotations: dict[str, str]


def tag_of(manifest: Digest) -> str:
    """The tag for the signatures of the image *manifest*."""
    return attachment.tag_of(manifest, "sig")


def annotations_of(signature: SigstoreSignature) -> dict[str, str]:
    """The parts of *signature* other than its payload, by their annotation names."""
    named = {
        SIGNATURE: signature.signature,
        CERTIFICATE: signature.certificate,
        CHAIN: signature.chain,
        REKOR: signature.rekor,
    }
    return {name: text for name, text in named.items() if text}


def carry(signatures: Sequence[SigstoreSignature]) -> Carrier:
    """The signature manifest with *signatures*, at least one; duplicates are left out."""
    return _united([_layer(one) for one in signatures], [one.payload for one in signatures])


def add(manifest: bytes, signature: SigstoreSignature) -> Carrier:
    """Add *signature* to the signature *manifest*. The result does not contain the blobs that are there already.

    A signature that is there already is not added again. Raises SignatureError for anything but a signature manifest,
    and for one that is full.
    """
    fields = _read(manifest)
    slots = read_slots(manifest)
    new = _layer(signature)
    try:
        layers = [Descriptor.read(layer) for layer in fields.objects("layers")]
    except (ManifestError, LimitError) as error:
        raise SignatureError(_WHAT, error.why) from error
    if attachment.is_among(new, layers):
        return Carrier(manifest, ())
    if len(slots) >= MOST:
        raise SignatureError(_WHAT, f"has {len(slots)} signatures; readers stop after {MOST}")
    made = _united([*layers, new], [signature.payload])
    # Annotations of the manifest are kept.
    return Carrier(encode({**fields.values, **parse(made.manifest, _WHAT, BOUNDS)}), made.blobs)


def read_slots(manifest: bytes) -> tuple[Slot, ...]:
    """The layers with payloads in a signature *manifest*; layers of other types are skipped.

    Raises SignatureError for anything but an OCI manifest, and for more than `MOST` signatures.
    """
    return _slots(manifest, (PAYLOAD,))


def read_bundle_slots(manifest: bytes) -> tuple[Slot, ...]:
    """The bundles in the *manifest* of a referrer; empty if it carries something else. Raises SignatureError."""
    return _slots(manifest, (BUNDLE,))


def slots_of(manifest: bytes) -> tuple[Slot, ...]:
    """The signatures of all supported forms in the *manifest* of an attachment. Raises SignatureError."""
    return _slots(manifest, (PAYLOAD, BUNDLE, OPENPGP))


def signature_in(slot: Slot, blob: bytes) -> Signature:
    """The signature that *slot* describes, with the content *blob*.

    Raises SignatureError if *blob* is not the described one.
    """
    try:
        verify(blob, slot.digest, slot.size, "signature")
    except ArstoreError as error:
        raise SignatureError("signature", error.why) from error
    if slot.media_type == BUNDLE:
        return Bundle(blob)
    if slot.media_type == OPENPGP:
        return SimpleSignature(blob)
    found = slot.annotations.get
    return SigstoreSignature(blob, found(SIGNATURE, ""), found(CERTIFICATE, ""), found(CHAIN, ""), found(REKOR, ""))


def carry_bundle(bundle: Bundle, subject_type: str, subject: bytes, created: str = "") -> Carrier:
    """The manifest that attaches *bundle* to the manifest *subject*, of the media type *subject_type*, as a referrer.

    *created* is an RFC 3339 time for the annotation of that name.
    """
    annotations = {_CONTENT: "dsse-envelope", _PREDICATE: SIGNED}
    if created:
        annotations["org.opencontainers.image.created"] = created
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "artifactType": BUNDLE,
        "config": _descriptor(attachment.EMPTY_TYPE, attachment.EMPTY),
        "layers": [_descriptor(BUNDLE, bundle.raw)],
        "subject": _descriptor(subject_type, subject),
        "annotations": annotations,
    }
    return Carrier(encode(manifest), (attachment.EMPTY, bundle.raw))


def _layer(signature: SigstoreSignature) -> Descriptor:
    payload = signature.payload
    return Descriptor(PAYLOAD, Digest.of(payload), len(payload), annotations_of(signature))


def _united(layers: Sequence[Descriptor], payloads: Sequence[bytes]) -> Carrier:
    made = attachment.united(layers)
    return Carrier(made.manifest, (made.config, *payloads))


def _descriptor(media_type: str, content: bytes) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": str(Digest.of(content)), "size": len(content)}


def _read(manifest: bytes) -> Fields:
    try:
        fields = Fields(parse(manifest, _WHAT, BOUNDS), _WHAT)
        fields.refuse_variants(("schemaVersion", "mediaType", "config", "layers", "manifests", "subject"))
        media_type = fields.string("mediaType") or MANIFEST
    except (ManifestError, LimitError) as error:
        raise SignatureError(_WHAT, error.why) from error
    if media_type != MANIFEST or fields.values.get("schemaVersion") != 2 or "manifests" in fields.values:
        raise SignatureError(_WHAT, "is not an OCI image manifest")
    if not isinstance(fields.values.get("layers"), list):
        raise SignatureError(_WHAT, "has no layers")
    return fields


def _slots(manifest: bytes, media_types: Sequence[str]) -> tuple[Slot, ...]:
    fields = _read(manifest)
    try:
        found = [_slot(layer) for layer in fields.objects("layers") if layer.string("mediaType") in media_types]
    except (ManifestError, LimitError) as error:
        raise SignatureError(_WHAT, error.why) from error
    if len(found) > MOST:
        raise SignatureError(_WHAT, f"has {len(found)} signatures; at most {MOST} are allowed")
    return tuple(found)


def _slot(layer: Fields) -> Slot:
    size = layer.integer("size")
    if size > LARGEST:
        raise layer.error("size", f"is {size}; a signature may have at most {LARGEST} bytes")
    return Slot(layer.string("mediaType"), layer.digest("digest"), size, layer.texts("annotations"))
