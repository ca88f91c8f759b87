"""Simple signatures, as files of a `dir:` or of lookaside servers, and as manifests that can be attached.

A file contains either an OpenPGP message or a sigstore signature (containers/image: docs/signature-protocols.md):

    \\0sigstore-json\\n{"mimeType": TYPE, "payload": BASE64, "annotations": {...}}

All sigstore signatures become one manifest, in the form that cosign uses for the tag `.sig`: each is a layer of type
TYPE with the payload as its content, and the annotations. Each OpenPGP message becomes one manifest: its `artifactType`
and the type of its only layer, the message, are OPENPGP; its config is empty; its `subject` is the signed image. So the
same signatures always give the same manifests. Not in scope: whether a signature is valid.
"""

from __future__ import annotations

import json
from base64 import b64encode
from binascii import Error, a2b_base64
from typing import TYPE_CHECKING

from arstore.digest import Digest
from arstore.errors import ManifestError
from arstore.oci.attachment import EMPTY, EMPTY_DIGEST, EMPTY_TYPE, OPENPGP, united
from arstore.oci.descriptor import Descriptor
from arstore.oci.document import BOUNDS, Bounds, Fields, encode, parse
from arstore.oci.media_type import OCI_MANIFEST
from arstore.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from arstore.oci.manifest import Manifest

SIMPLE_SIGNING = "application/vnd.dev.cosign.simplesigning.v1+json"
"""The type of the payload of a cosign signature."""

_ESCAPED_BY_GO = {ord(character): f"\\u{ord(character):04x}" for character in "<>&\u2028\u2029"}
_SIGSTORE = b"\0sigstore-json\n"


class Wrapped(NamedTuple):
    """A manifest made from signatures, with its blobs; `suffix` is that of its tag, "" if it has a subject."""

    manifest: bytes
    blobs: Mapping[Digest, bytes]
    suffix: str


def wrapped(files: Sequence[bytes], subject: Descriptor, what: str = "", bounds: Bounds = BOUNDS) -> list[Wrapped]:
    """Return the manifests of the signatures in *files* of the image *subject*.

    Raises ManifestError for a file of an unknown form, LimitError beyond *bounds*.
    """
    found = []
    layers: list[Descriptor] = []
    contents: dict[Digest, bytes] = {}
    for number, data in enumerate(files, 1):
        name = f"{what}: signature {number}" if what else f"signature {number}"
        if data.startswith(_SIGSTORE):
            layer, payload = _layer(data[len(_SIGSTORE) :], name, bounds)
            layers.append(layer)
            contents[layer.digest] = payload
        elif data and not data.startswith(b"\0"):
            found.append(_wrapped_message(data, subject))
        else:
            raise ManifestError(name, "is neither an OpenPGP message nor a sigstore signature")
    if layers:
        made = united(layers)
        found.append(Wrapped(made.manifest, {**contents, Digest.of(made.config): made.config}, "sig"))
    return list({one.manifest: one for one in found}.values())


def unwrapped(manifest: Manifest, read: Callable[[Descriptor], bytes]) -> list[bytes] | None:
    """Return the files of the signatures in *manifest*; None if it has something else.

    *read* returns a blob. Raises the errors of *read*.
    """
    if manifest.artifact_type == OPENPGP and [layer.media_type for layer in manifest.layers] == [OPENPGP]:
        return [read(manifest.layers[0])]
    if not is_sigstore(manifest):
        return None
    return [_file(layer, read(layer)) for layer in manifest.layers]


def is_sigstore(manifest: Manifest) -> bool:
    """Whether all layers of *manifest* are signatures in the form that cosign uses for the tag `.sig`."""
    return bool(manifest.layers) and all(layer.media_type == SIMPLE_SIGNING for layer in manifest.layers)


def is_simple_signature(manifest: Manifest) -> bool:
    """Whether `unwrapped` returns files."""
    return manifest.artifact_type == OPENPGP or is_sigstore(manifest)


def _wrapped_message(data: bytes, subject: Descriptor) -> Wrapped:
    digest = Digest.of(data)
    document = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "artifactType": OPENPGP,
        "config": Descriptor(EMPTY_TYPE, EMPTY_DIGEST, len(EMPTY)).to_json(),
        "layers": [Descriptor(OPENPGP, digest, len(data)).to_json()],
        "subject": Descriptor(subject.media_type, subject.digest, subject.size).to_json(),
    }
    return Wrapped(encode(document), {digest: data, EMPTY_DIGEST: EMPTY}, "")


def _layer(data: bytes, what: str, bounds: Bounds) -> tuple[Descriptor, bytes]:
    fields = Fields(parse(data, what, bounds), what)
    fields.refuse_variants(("mimeType", "payload", "annotations"))
    try:
        payload = a2b_base64(fields.string("payload", required=True), strict_mode=True)
    except (Error, ValueError) as error:
        raise fields.error("payload", "is not base64") from error
    media_type = fields.string("mimeType", required=True)
    return Descriptor(media_type, Digest.of(payload), len(payload), fields.texts("annotations")), payload


def _file(layer: Descriptor, payload: bytes) -> bytes:
    """Return a signature's file, byte for byte as containers/image writes it."""
    members = {
        "mimeType": layer.media_type,
        "payload": b64encode(payload).decode(),
        "annotations": dict(sorted(layer.annotations.items())),
    }
    text = json.dumps(members, separators=(",", ":"), ensure_ascii=False)
    return _SIGSTORE + text.translate(_ESCAPED_BY_GO).encode()
