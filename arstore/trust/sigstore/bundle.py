"""Sigstore bundles, version 0.3, as cosign 3 makes them with a key: read, verified and written.

    {"mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
     "verificationMaterial": {"publicKey": {"hint": HINT}, ...},
     "dsseEnvelope": {"payload": BASE64, "payloadType": "application/vnd.in-toto+json",
                      "signatures": [{"sig": BASE64}]}}

The payload is an in-toto statement: digests, and a claim about them. The signature is over the "pre-authentication
encoding" of type and payload (DSSE, protocol.md). **A bundle does not name a repository**: a user with write access to
a registry can attach the signature of one image under another name of it. So it is never accepted for a name that a
policy requires.

The statement's type decides its meaning: cosign's own says "this is signed"; any other type (provenance, SBOM) says
something else, perhaps that the image is bad. Only cosign's is accepted.

Refused by name: bundles with a certificate (their time and identity need a log and Fulcio, which are checked for the
older form only), bundles with the signature of a blob instead of a statement, and other versions. Log entries and
timestamps in a bundle are ignored, because the key is trusted, not the log.
"""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

from arstore.digest import Digest
from arstore.errors import InvalidReferenceError, LimitError, ManifestError, SignatureError
from arstore.oci.attachment import BUNDLE
from arstore.oci.document import Fields, encode, parse, shown
from arstore.trust.keys import decoded, verify_with_any
from arstore.trust.payload import BOUNDS
from arstore.trust.signature import LARGEST, Bundle
from arstore.values import NamedTuple
from arstore.workers.wire import answer

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from arstore.trust.keys import PublicKey

MEDIA_TYPE = BUNDLE
_MEDIA_TYPES = (MEDIA_TYPE, "application/vnd.dev.sigstore.bundle+json;version=0.3")
IN_TOTO = "application/vnd.in-toto+json"
_STATEMENTS = ("https://in-toto.io/Statement/v1", "https://in-toto.io/Statement/v0.1")
SIGNED = "https://sigstore.dev/cosign/sign/v1"
"""The predicate of a statement that only says that its subjects are signed."""
_MOST_SUBJECTS = 10_000
_WHAT = "bundle"


@answer
class Attested(NamedTuple):
    """The statement that each of `subjects` was signed: one for an image, many for a list of blobs."""

    subjects: tuple[Digest, ...]
    predicate: str = SIGNED


def verify_bundle(bundle: Bundle, keys: Sequence[PublicKey]) -> Attested:
    """The statement in *bundle* that one of *keys* signed. Raises SignatureError."""
    try:
        payload, signature = _envelope(bundle.raw)
        if not keys:
            raise SignatureError(_WHAT, "there is no key to verify it with")
        verify_with_any(keys, signature, authenticated(IN_TOTO, payload))
        return _attested(payload)
    except (ManifestError, LimitError) as error:
        raise SignatureError(_WHAT, error.why) from error


def make_bundle(attested: Attested, hint: str, sign: Callable[[bytes], bytes]) -> Bundle:
    """Make a bundle of *attested*: *sign* makes its signature, *hint* is `PublicKey.hint`."""
    payload = encode(
        {
            "_type": _STATEMENTS[0],
            "subject": [{"digest": {one.algorithm: one.hex}} for one in attested.subjects],
            "predicateType": attested.predicate,
            "predicate": {},
        }
    )
    signature = sign(authenticated(IN_TOTO, payload))
    envelope = {"payload": _base64(payload), "payloadType": IN_TOTO, "signatures": [{"sig": _base64(signature)}]}
    material = {"publicKey": {"hint": hint}}
    return Bundle(encode({"mediaType": MEDIA_TYPE, "verificationMaterial": material, "dsseEnvelope": envelope}))


def authenticated(kind: str, body: bytes) -> bytes:
    """The bytes to sign for *body* of the media type *kind* (DSSE, "PAE")."""
    name = kind.encode("utf-8")
    return b"DSSEv1 %d %b %d %b" % (len(name), name, len(body), body)


def _envelope(raw: bytes) -> tuple[bytes, bytes]:
    """The payload and the signature in a bundle."""
    fields = Fields(parse(raw, _WHAT, BOUNDS), _WHAT)
    known = ("mediaType", "verificationMaterial", "dsseEnvelope", "messageSignature")
    _refuse_unknown(fields, known)
    media_type = fields.string("mediaType", required=True)
    if media_type not in _MEDIA_TYPES:
        raise SignatureError(_WHAT, f"has the media type {shown(media_type)}; only version 0.3 is supported")
    _check_material(fields)
    if "messageSignature" in fields.values:
        raise SignatureError(_WHAT, "is the signature of a blob, not of a statement about an image")
    envelope = fields.required_child("dsseEnvelope")
    _refuse_unknown(envelope, ("payload", "payloadType", "signatures"))
    kind = envelope.string("payloadType", required=True)
    if kind != IN_TOTO:
        raise SignatureError(_WHAT, f"has a payload of the type {shown(kind)}, not {IN_TOTO}")
    signatures = envelope.objects("signatures")
    if len(signatures) != 1:
        raise SignatureError(_WHAT, f"has {len(signatures)} signatures; it must have exactly one")
    _refuse_unknown(signatures[0], ("sig", "keyid"))
    payload = decoded(envelope.string("payload", required=True), f"{_WHAT}: payload", LARGEST)
    return payload, decoded(signatures[0].string("sig", required=True), f"{_WHAT}: signature")


def _check_material(fields: Fields) -> None:
    material = fields.required_child("verificationMaterial")
    known = ("publicKey", "certificate", "x509CertificateChain", "tlogEntries", "timestampVerificationData")
    _refuse_unknown(material, known)
    if material.values.keys() & {"certificate", "x509CertificateChain"}:
        why = "was signed with a certificate; bundles are verified with keys only"
        raise SignatureError(_WHAT, why)
    _refuse_unknown(material.required_child("publicKey"), ("hint",))


def _attested(payload: bytes) -> Attested:
    fields = Fields(parse(payload, f"{_WHAT}: statement", BOUNDS), f"{_WHAT}: statement")
    fields.refuse_variants(("_type", "subject", "predicateType", "predicate"))
    kind = fields.string("_type", required=True)
    if kind not in _STATEMENTS:
        raise SignatureError(_WHAT, f"has a statement of the type {shown(kind)}")
    predicate = fields.string("predicateType", required=True)
    if predicate != SIGNED:
        raise SignatureError(_WHAT, f"has the predicate {shown(predicate)}, which is not a signature")
    subjects = fields.objects("subject")
    if not 0 < len(subjects) <= _MOST_SUBJECTS:
        raise SignatureError(_WHAT, f"is about {len(subjects)} subjects")
    return Attested(tuple(_digest(subject) for subject in subjects), predicate)


def _digest(subject: Fields) -> Digest:
    """The only digest of a subject: a second one could be that of something else."""
    digests = subject.required_child("digest").values
    if len(digests) != 1:
        raise SignatureError(_WHAT, f"has a subject with {len(digests)} digests; it must have exactly one")
    ((algorithm, value),) = digests.items()
    try:
        return Digest(f"{algorithm}:{value}")
    except InvalidReferenceError as error:
        raise SignatureError(_WHAT, f"has a subject whose digest is {error.why}") from error


def _refuse_unknown(fields: Fields, known: Sequence[str]) -> None:
    for name in fields.values:
        if name not in known:
            raise fields.error(name, "is an unknown field")


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")
