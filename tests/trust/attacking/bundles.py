"""Bundles that say less than they seem to, or were not made with the trusted key."""

from __future__ import annotations

import base64
import json

from support.signing import MANIFEST, base64_of
from trust.attacking.world import Attack

from arstore.digest import Digest
from arstore.trust.signature import LARGEST, Bundle
from arstore.trust.signing.sign import sign_bundle
from arstore.trust.sigstore.bundle import IN_TOTO, SIGNED, authenticated, verify_bundle

_KIND = "bundle"
_STATEMENT = {
    "_type": "https://in-toto.io/Statement/v1",
    "subject": [{"digest": {"sha256": MANIFEST.hex}}],
    "predicateType": SIGNED,
    "predicate": {},
}


def _says(**members):
    """A bundle of the trusted key with the good statement, some of its *members* replaced; None removes one."""

    def attempt(world):
        statement = {name: value for name, value in (_STATEMENT | members).items() if value is not None}
        return _signed(world, json.dumps(statement).encode())

    return attempt


def _signed(world, payload, kind=IN_TOTO, said=None):
    made = world.key.sign(authenticated(kind, payload) if said is None else said)
    envelope = {"payload": base64_of(payload), "payloadType": kind, "signatures": [{"sig": base64_of(made)}]}
    document = json.loads(sign_bundle(world.key, MANIFEST).raw) | {"dsseEnvelope": envelope}
    return verify_bundle(Bundle(json.dumps(document).encode()), [world.key.public])


def _changed(change):
    """The good bundle with its document changed by *change*."""

    def attempt(world):
        document = json.loads(sign_bundle(world.key, MANIFEST).raw)
        return verify_bundle(Bundle(json.dumps(change(document) or document).encode()), [world.key.public])

    return attempt


def _raw(change):
    return lambda world: verify_bundle(Bundle(change(sign_bundle(world.key, MANIFEST).raw)), [world.key.public])


def _with(*path, value):
    def change(document):
        place = document
        for key in path[:-1]:
            place = place[key]
        place[path[-1]] = value

    return _changed(change)


def _payload(change):
    def attempt(document):
        found = json.loads(base64.b64decode(document["dsseEnvelope"]["payload"]))
        change(found)
        document["dsseEnvelope"]["payload"] = base64_of(json.dumps(found).encode())

    return _changed(attempt)


def _without_envelope(document):
    return {
        "mediaType": document["mediaType"],
        "verificationMaterial": document["verificationMaterial"],
        "messageSignature": {
            "messageDigest": {"algorithm": "SHA2_256", "digest": base64_of(bytes(32))},
            "signature": "",
        },
    }


def _both(document):
    return document | {"messageSignature": {}}


_SIGNATURE = ("dsseEnvelope", "signatures")
_BUNDLES = {
    "by another key": (lambda w: verify_bundle(sign_bundle(w.other, MANIFEST), [w.key.public]), ""),
    "by another key that names the trusted one": (
        lambda w: verify_bundle(sign_bundle(w.other._replace(public=w.key.public), MANIFEST), [w.key.public]),
        "",
    ),
    "without a key to verify it": (lambda w: verify_bundle(sign_bundle(w.key, MANIFEST), []), ""),
    "about another image than was signed": (
        _payload(lambda found: found.update(subject=[{"digest": {"sha256": Digest.of(b"evil").hex}}])),
        "",
    ),
    "about one image more than was signed": (
        _payload(lambda found: found["subject"].append({"digest": {"sha256": Digest.of(b"evil").hex}})),
        "",
    ),
    "that is an attestation of provenance": (
        _says(predicateType="https://slsa.dev/provenance/v1"),
        "a statement of another type",
    ),
    "that is an inventory": (_says(predicateType="https://spdx.dev/Document"), "a statement of another type"),
    "that is a report of faults": (
        _says(predicateType="https://cosign.sigstore.dev/attestation/vuln/v1"),
        "a statement of another type",
    ),
    "without a predicate type": (_says(predicateType=None), ""),
    "with a statement of another type": (_says(_type="https://in-toto.io/Statement/v9"), ""),
    "without a subject": (_says(subject=[]), ""),
    "with a subject of null": (_says(subject=None), ""),
    "with a subject without a digest": (_says(subject=[{"name": "x"}]), ""),
    "with a subject of SHA-1": (_says(subject=[{"digest": {"sha1": "0" * 40}}]), ""),
    "with a subject of two digests": (_says(subject=[{"digest": {"sha256": MANIFEST.hex, "sha512": "0" * 128}}]), ""),
    "with a digest in capitals": (_says(subject=[{"digest": {"sha256": MANIFEST.hex.upper()}}]), ""),
    "with a digest that is a path": (_says(subject=[{"digest": {"sha256": "../../etc/passwd"}}]), "CVE-2024-3727"),
    "with a digest that is a number": (_says(subject=[{"digest": {"sha256": 7}}]), ""),
    "with both `Subject` and `subject`": (_says(Subject=[{"digest": {"sha256": "0" * 64}}]), ""),
    "with ten thousand and one subjects": (_says(subject=[{"digest": {"sha256": MANIFEST.hex}}] * 10_001), ""),
    "with a statement that is a list": (lambda w: _signed(w, b"[]"), ""),
    "with a payload of another type": (lambda w: _signed(w, json.dumps(_STATEMENT).encode(), "text/plain"), ""),
    "signed without its type": (
        lambda w: _signed(w, json.dumps(_STATEMENT).encode(), said=json.dumps(_STATEMENT).encode()),
        "",
    ),
    "signed with another type": (
        lambda w: _signed(
            w, json.dumps(_STATEMENT).encode(), said=authenticated("text/plain", json.dumps(_STATEMENT).encode())
        ),
        "",
    ),
    "with two signatures": (
        lambda w: _changed(lambda d: d["dsseEnvelope"]["signatures"].append({"sig": "AAAA"}))(w),
        "",
    ),
    "with the good signature twice": (
        lambda w: _changed(lambda d: d["dsseEnvelope"]["signatures"].extend(d["dsseEnvelope"]["signatures"][:1]))(w),
        "",
    ),
    "without a signature": (_with(*_SIGNATURE, value=[]), ""),
    "with an empty signature": (_with(*_SIGNATURE, value=[{"sig": ""}]), ""),
    "with a payload that is not base64": (_with("dsseEnvelope", "payload", value="{}"), ""),
    "with a payload of null": (_with("dsseEnvelope", "payload", value=None), ""),
    "of version 0.1": (_with("mediaType", value="application/vnd.dev.sigstore.bundle+json;version=0.1"), ""),
    "of version 0.2": (_with("mediaType", value="application/vnd.dev.sigstore.bundle+json;version=0.2"), ""),
    "of version 0.4": (_with("mediaType", value="application/vnd.dev.sigstore.bundle.v0.4+json"), ""),
    "without a type": (_with("mediaType", value=None), ""),
    "with a certificate": (_with("verificationMaterial", value={"certificate": {"rawBytes": ""}}), ""),
    "with a certificate and a key": (_with("verificationMaterial", "certificate", value={"rawBytes": ""}), ""),
    "with a chain of certificates": (_with("verificationMaterial", value={"x509CertificateChain": {}}), ""),
    "without a key": (_with("verificationMaterial", value={}), ""),
    "with a key in it": (_with("verificationMaterial", "publicKey", "rawBytes", value="AAAA"), ""),
    "of a blob": (_changed(_without_envelope), ""),
    "of a blob and of a statement": (_changed(_both), ""),
    "with an unknown member": (_with("more", value=1), ""),
    "with its envelope twice": (
        _raw(lambda raw: raw.replace(b'{"dsseEnvelope":', b'{"dsseEnvelope":{},"dsseEnvelope":')),
        "",
    ),
    "with trailing data": (_raw(lambda raw: raw + b"{}"), ""),
    "cut by a byte": (_raw(lambda raw: raw[:-1]), ""),
    "with a byte order mark": (_raw(lambda raw: b"\xef\xbb\xbf" + raw), ""),
    "nested a million deep": (_raw(lambda raw: b'{"a":' * 1_000_000), ""),
    "of more than 4 MiB": (_raw(lambda raw: raw + b" " * LARGEST), ""),
    "that is empty": (_raw(lambda raw: b""), ""),
}
ATTACKS = [Attack(_KIND, name, attempt, known) for name, (attempt, known) in _BUNDLES.items()]
