"""Signatures as files: what a `dir:` has as `signature-N`, and a lookaside server at its addresses.

A file holds an OpenPGP message as it is, or a zero byte, the name of a format, a newline and the signature
(containers/image, internal/signature/signature.go). Two formats are known: `simple-signing`, an OpenPGP message again,
and `sigstore-json`, `{"mimeType": TYPE, "payload": BASE64, "annotations": {NAME: TEXT}}` as cosign's manifests have
these. Not in scope: whether a signature is good, and where files are.
"""

from __future__ import annotations

from binascii import Error, a2b_base64

from arstore.errors import LimitError, ManifestError, SignatureError
from arstore.oci.document import Bounds, Fields, parse, shown
from arstore.trust.signature import LARGEST, Signature, SigstoreSignature, SimpleSignature

LARGEST_FILE = 2 * LARGEST
"""Bytes of a file: base64 and annotations around a signature of the largest size."""
PAYLOAD = "application/vnd.dev.cosign.simplesigning.v1+json"
"""The type of a payload that is a signature of an image; others are attestations and the like."""

_BOUNDS = Bounds(document=LARGEST_FILE, json_depth=4)
_SIGSTORE = {
    "dev.cosignproject.cosign/signature": "signature",
    "dev.sigstore.cosign/certificate": "certificate",
    "dev.sigstore.cosign/chain": "chain",
    "dev.sigstore.cosign/bundle": "rekor",
}


def read(data: bytes, what: str) -> Signature | None:
    """The signature in a file; None for one that sigstore's tools attach and that is no signature.

    *what* names the file. Raises SignatureError.
    """
    if len(data) > LARGEST_FILE:
        raise SignatureError(what, f"has more than {LARGEST_FILE} bytes")
    if data[:1] != b"\0":
        # Whatever has no other form; who verifies it refuses what is no message.
        return SimpleSignature(data)
    name, newline, rest = data[1:].partition(b"\n")
    if newline and name == b"simple-signing":
        return SimpleSignature(rest)
    if newline and name == b"sigstore-json":
        return _sigstore(rest, what)
    raise SignatureError(what, f"has the form {shown(repr(name))}, which is not known")


def _sigstore(data: bytes, what: str) -> SigstoreSignature | None:
    try:
        fields = Fields(parse(data, what, _BOUNDS), what)
        fields.refuse_variants(("mimeType", "payload", "annotations"))
        if fields.string("mimeType") != PAYLOAD:
            return None
        payload = a2b_base64(fields.string("payload"), strict_mode=True)
    except (ManifestError, LimitError) as error:
        raise SignatureError(what, error.why) from error
    except (Error, ValueError) as error:
        raise SignatureError(what, "payload: is not base64") from error
    notes = fields.texts("annotations")
    return SigstoreSignature(payload, **{member: notes.get(name, "") for name, member in _SIGSTORE.items()})
