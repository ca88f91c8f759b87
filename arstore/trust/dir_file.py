"""Signatures as files of a `dir:` image and of a lookaside: `signature-N`.

A file with an OpenPGP message contains just the message. Others begin with NUL, the name of the form, and a newline:

    \\0sigstore-json\\n{"mimeType": TYPE, "payload": BASE64, "annotations": {NAME: TEXT, ...}}

Source: containers/image's signature-protocols.md, and its `internal/signature`. There is no form for bundles: other
tools refuse an image with a file in a form that they do not know, so bundles are not written.
"""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

from arstore.errors import LimitError, ManifestError, SignatureError
from arstore.oci.document import Fields, encode, parse, shown
from arstore.trust import cosign
from arstore.trust.keys import decoded
from arstore.trust.openpgp.verify import check_form
from arstore.trust.payload import BOUNDS
from arstore.trust.signature import LARGEST, Bundle, SigstoreSignature, SimpleSignature

if TYPE_CHECKING:
    from collections.abc import Iterable

    from arstore.trust.signature import Signature

_WHAT = "signature file"
_SIGSTORE, _SIMPLE = b"sigstore-json", b"simple-signing"
_LONGEST_FORM = 64


def read_file(data: bytes) -> SimpleSignature | SigstoreSignature:
    """The signature in a file with this content. Raises SignatureError."""
    if len(data) > LARGEST:
        raise SignatureError(_WHAT, f"has {len(data)} bytes; at most {LARGEST} are allowed")
    if data[:1] != b"\0":
        check_form(data)
        return SimpleSignature(data)
    form, newline, rest = data[1:].partition(b"\n")
    if newline and form == _SIMPLE:
        check_form(rest)
        return SimpleSignature(rest)
    if not newline or form != _SIGSTORE:
        name = shown(form[:_LONGEST_FORM].decode("ascii", "replace"))
        raise SignatureError(_WHAT, f"has the unknown form {name!r}")
    try:
        return _sigstore(Fields(parse(rest, _WHAT, BOUNDS), _WHAT))
    except (ManifestError, LimitError) as error:
        raise SignatureError(_WHAT, error.why) from error


def read_files(files: Iterable[bytes]) -> list[Signature]:
    """The signatures in the *files* of one image. Attestations, which have the same form, are skipped.

    Raises SignatureError for a file of any other form: a list is read completely or not at all.
    """
    return [read_file(data) for data in files if not _is_attestation(data)]


def write_file(signature: SimpleSignature | SigstoreSignature | Bundle) -> bytes:
    """The content of the file with *signature*. Raises SignatureError for a bundle."""
    if isinstance(signature, SimpleSignature):
        return signature.blob
    if isinstance(signature, Bundle):
        raise SignatureError("bundle", "cannot be written as a file of an image: other tools would refuse the image")
    document = {
        "mimeType": cosign.PAYLOAD,
        "payload": base64.b64encode(signature.payload).decode("ascii"),
        "annotations": cosign.annotations_of(signature),
    }
    return b"\0" + _SIGSTORE + b"\n" + encode(document)


def _is_attestation(data: bytes) -> bool:
    head = b"\0" + _SIGSTORE + b"\n"
    if not data.startswith(head) or len(data) > LARGEST:
        return False
    try:
        media_type = parse(data[len(head) :], _WHAT, BOUNDS).get("mimeType")
    except (ManifestError, LimitError):
        return False
    return isinstance(media_type, str) and media_type not in ("", cosign.PAYLOAD)


def _sigstore(fields: Fields) -> SigstoreSignature:
    media_type = fields.string("mimeType", required=True)
    if media_type != cosign.PAYLOAD:
        raise SignatureError(_WHAT, f"has the unknown type {shown(media_type)}")
    payload = decoded(fields.string("payload", required=True), f"{_WHAT}: payload", LARGEST)
    found = fields.texts("annotations").get
    return SigstoreSignature(
        payload,
        found(cosign.SIGNATURE, ""),
        found(cosign.CERTIFICATE, ""),
        found(cosign.CHAIN, ""),
        found(cosign.REKOR, ""),
    )
