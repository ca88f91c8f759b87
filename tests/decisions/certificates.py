"""Signatures that skopeo and cosign cannot make: other keys, certificates, entries of a log, bad payloads.

Keys exist as long as this process. Everything is in the form that other tools read; no code of arstore is used.
"""

from __future__ import annotations

import base64
import hashlib
import json
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier

EMAIL = "signer@example.com"
HOST = "signer.example.com"
ISSUER = "https://login.example.com/oauth"
_OIDC = ObjectIdentifier("1.3.6.1.4.1.57264.1.1")
_LONG = timedelta(days=36500)
_START = datetime(2025, 1, 1, tzinfo=UTC)
_PAYLOAD = "application/vnd.dev.cosign.simplesigning.v1+json"


@cache
def private(name: str) -> Any:
    """The private key of this name; the beginning of the name selects the algorithm, P-256 by default."""
    if name == "p384":
        return ec.generate_private_key(ec.SECP384R1())
    if name == "rsa":
        return rsa.generate_private_key(65537, 2048)
    if name == "ed25519":
        return ed25519.Ed25519PrivateKey.generate()
    return ec.generate_private_key(ec.SECP256R1())


def public(name: str) -> bytes:
    """The public key as PEM."""
    key: bytes = private(name).public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return key


def files() -> dict[str, bytes]:
    """Every public key and certificate that a policy may name."""
    keys = {f"{name}.pub": public(name) for name in ("p256", "p384", "rsa", "ed25519", "rekor", "rekor-other")}
    roots = {name: authority(name)[1] for name in ("pki", "pki-other", "fulcio")}
    return {
        **keys,
        **{f"{name}-roots.pem": one.public_bytes(Encoding.PEM) for name, one in roots.items()},
        "pki-between.pem": between()[1].public_bytes(Encoding.PEM),
        "pki-both.pem": roots["pki-other"].public_bytes(Encoding.PEM) + roots["pki"].public_bytes(Encoding.PEM),
    }


@cache
def authority(name: str) -> tuple[Any, x509.Certificate]:
    """Make a root authority."""
    key = private(f"{name}-ca")
    return key, _certificate(name, key.public_key(), name, key, is_ca=True)


@cache
def between() -> tuple[Any, x509.Certificate]:
    """Make an authority below the root `pki`."""
    key = private("between-ca")
    return key, _certificate("between", key.public_key(), "pki", authority("pki")[0], is_ca=True)


def _certificate(
    name: str,
    key: Any,
    issuer: str,
    signer: Any,
    *,
    is_ca: bool = False,
    start: datetime = _START,
    long: timedelta = _LONG,
) -> x509.Certificate:
    def named(text: str) -> x509.Name:
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])

    builder = x509.CertificateBuilder().subject_name(named(name)).issuer_name(named(issuer)).public_key(key)
    builder = builder.serial_number(x509.random_serial_number()).not_valid_before(start).not_valid_after(start + long)
    builder = builder.add_extension(x509.BasicConstraints(is_ca, None), critical=True)
    usage = dict.fromkeys(
        (
            "content_commitment",
            "key_encipherment",
            "data_encipherment",
            "key_agreement",
            "encipher_only",
            "decipher_only",
        ),
        False,
    )
    usage |= {"digital_signature": not is_ca, "key_cert_sign": is_ca, "crl_sign": is_ca}
    builder = builder.add_extension(x509.KeyUsage(**usage), critical=True)
    if not is_ca:
        names = [x509.RFC822Name(EMAIL), x509.DNSName(HOST)] if issuer != "fulcio" else [x509.RFC822Name(EMAIL)]
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=issuer == "fulcio")
        builder = builder.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CODE_SIGNING]), critical=False)
        if issuer == "fulcio":
            builder = builder.add_extension(x509.UnrecognizedExtension(_OIDC, ISSUER.encode()), critical=False)
    return builder.sign(signer, hashes.SHA256())


@cache
def leaf(kind: str) -> tuple[Any, x509.Certificate]:
    """Make a signer's certificate: `pki`, `pki-expired`, `pki-between`, `fulcio` (valid for ten minutes)."""
    key = private(f"{kind}-leaf")
    if kind == "pki-expired":
        return key, _certificate("leaf", key.public_key(), "pki", authority("pki")[0], long=timedelta(days=1))
    if kind == "pki-between":
        return key, _certificate("leaf", key.public_key(), "between", between()[0])
    if kind.startswith("fulcio"):
        signer = authority("fulcio")[0]
        return key, _certificate("leaf", key.public_key(), "fulcio", signer, long=timedelta(minutes=10))
    return key, _certificate("leaf", key.public_key(), "pki", authority("pki")[0])


def payload(digest: str, name: str, kind: str = "") -> bytes:
    """The signed payload; *kind* makes it one that every reader must refuse."""
    critical: dict[str, Any] = {
        "identity": {"docker-reference": name},
        "image": {"docker-manifest-digest": digest},
        "type": "atomic container signature" if kind == "wrong-type" else "cosign container image signature",
    }
    if kind == "extra-critical":
        critical["valid-until"] = 1
    text = json.dumps({"critical": critical, "optional": None})
    if kind == "duplicate-critical":
        text = text[:-1] + ', "optional": {}}'
    return text.encode()


def signed(digest: str, key: str, name: str) -> bytes:
    """The file of a signature by the key or certificate *key*."""
    data = payload(digest, name, key)
    notes: dict[str, str] = {}
    if key.startswith(("pki", "fulcio")):
        holder, certificate = leaf(key)
        pem = certificate.public_bytes(Encoding.PEM)
        notes["dev.sigstore.cosign/certificate"] = pem.decode()
    else:
        plain = key in ("p256", "p384", "rsa", "ed25519")
        holder, pem = private(key if plain else "p256"), public(key if plain else "p256")
    made = _sign(holder, data)
    if key != "no-signature-text":
        notes["dev.cosignproject.cosign/signature"] = base64.b64encode(made).decode()
    if key.startswith(("fulcio", "logged")):
        about = data + b" " if key == "logged-other" else data
        notes["dev.sigstore.cosign/bundle"] = entry(
            about, made, pem, _START + timedelta(minutes=60 * key.endswith("late") + 5)
        )
    kind = "application/vnd.example.attestation" if key == "attestation" else _PAYLOAD
    document = {"mimeType": kind, "payload": base64.b64encode(data).decode(), "annotations": notes}
    return b"\0sigstore-json\n" + json.dumps(document).encode()


def entry(data: bytes, made: bytes, pem: bytes, at: datetime) -> str:
    """The entry of the log `rekor` for a signature of *data*."""
    body = _canonical(
        {
            "apiVersion": "0.0.1",
            "kind": "hashedrekord",
            "spec": {
                "data": {"hash": {"algorithm": "sha256", "value": hashlib.sha256(data).hexdigest()}},
                "signature": {
                    "content": base64.b64encode(made).decode(),
                    "publicKey": {"content": base64.b64encode(pem).decode()},
                },
            },
        }
    )
    logged = {
        "body": base64.b64encode(body).decode(),
        "integratedTime": int(at.timestamp()),
        "logID": hashlib.sha256(public("rekor")).hexdigest(),
        "logIndex": 7,
    }
    promise = base64.b64encode(_sign(private("rekor"), _canonical(logged))).decode()
    return json.dumps({"SignedEntryTimestamp": promise, "Payload": logged})


def _canonical(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def _sign(key: Any, data: bytes) -> bytes:
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return key.sign(data)
    if isinstance(key, rsa.RSAPrivateKey):
        return key.sign(data, padding.PKCS1v15(), hashes.SHA256())
    made: bytes = key.sign(data, ec.ECDSA(hashes.SHA256()))
    return made
