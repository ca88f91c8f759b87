"""Keys, certificates, log entries and signatures, good ones and those of an attacker, made for each test."""

from __future__ import annotations

import base64
import datetime
import hashlib
import json
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from arstore.digest import Digest
from arstore.trust.keys import PublicKey, public_key
from arstore.trust.payload import COSIGN, Statement, write_statement
from arstore.trust.signature import SigstoreSignature
from arstore.trust.signing.private import PrivateKey, private_key

MANIFEST = Digest.of(b"a manifest")
NAME = "example.org/app:1"
NOW = datetime.datetime(2026, 6, 1, 12, tzinfo=datetime.UTC)
"""The time of all events: certificates are valid around it."""
ISSUER = "https://accounts.example.org"
EMAIL = "Builder@example.org"
STATEMENT = Statement(MANIFEST, NAME, "tests", 1_780_000_000)
PAYLOAD = write_statement(STATEMENT, COSIGN)
ISSUER_V1, ISSUER_V2 = "1.3.6.1.4.1.57264.1.1", "1.3.6.1.4.1.57264.1.8"


def base64_of(data: bytes) -> str:
    """*data* in base64."""
    return base64.b64encode(data).decode("ascii")


def new_key(kind: str = "ecdsa-p256") -> PrivateKey:
    """A key that signs."""
    kinds: dict[str, Any] = {
        "ecdsa-p256": lambda: ec.generate_private_key(ec.SECP256R1()),
        "ecdsa-p384": lambda: ec.generate_private_key(ec.SECP384R1()),
        "ed25519": ed25519.Ed25519PrivateKey.generate,
    }
    return private_key(kinds[kind](), kind)


class Signer(PrivateKey):
    """A key of any kind that `cryptography` has."""

    def sign(self, message: bytes) -> bytes:
        """The signature over *message* in the usual way for the kind of key."""
        if isinstance(self.key, rsa.RSAPrivateKey):
            return self.key.sign(message, padding.PKCS1v15(), hashes.SHA256())
        if isinstance(self.key, ed25519.Ed25519PrivateKey):
            return self.key.sign(message)
        return bytes(self.key.sign(message, ec.ECDSA(hashes.SHA256())))


def rsa_key(bits: int = 2048) -> rsa.RSAPrivateKey:
    """An RSA key; arstore verifies with RSA keys but does not sign with them."""
    return rsa.generate_private_key(65537, bits)


def public_of(key: Any) -> PublicKey:
    """The public half of a key of `cryptography`."""
    return public_key(key.public_key(), "key")


def signed(key: PrivateKey, payload: bytes = PAYLOAD, **parts: str) -> SigstoreSignature:
    """A sigstore signature of *payload*."""
    return SigstoreSignature(payload, base64_of(key.sign(payload)), **parts)


def entry(
    log: PrivateKey, signer: bytes, signature: bytes, payload: bytes, at: datetime.datetime = NOW, **odd: Any
) -> str:
    """A signed log entry for a signature; *signer* is PEM. *odd* replaces `body`, `payload` or `timestamp` parts."""
    body = {
        "apiVersion": odd.get("api_version", "0.0.1"),
        "kind": odd.get("kind", "hashedrekord"),
        "spec": {
            "data": {
                "hash": {"algorithm": odd.get("algorithm", "sha256"), "value": hashlib.sha256(payload).hexdigest()}
            },
            "signature": {"content": base64_of(signature), "publicKey": {"content": base64_of(signer)}},
        },
    }
    signed_part = {
        "body": base64_of(json.dumps(body).encode()),
        "integratedTime": int(at.timestamp()),
        "logIndex": 7,
        "logID": log.public.fingerprint,
    } | odd.get("signed", {})
    canonical = json.dumps(signed_part, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    promise = {"SignedEntryTimestamp": base64_of(log.sign(canonical)), "Payload": signed_part | odd.get("unsigned", {})}
    return json.dumps(promise | odd.get("more", {}))


def pem_of(certificate: x509.Certificate) -> str:
    """A certificate as PEM."""
    return certificate.public_bytes(serialization.Encoding.PEM).decode("ascii")


class Ca:
    """A CA; `issue` gives certificates for signers, `subordinate` other CAs."""

    def __init__(self, name: str = "root", parent: Ca | None = None, **options: Any) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self.parent = parent
        signer = parent or self
        builder = _builder(self.name, signer.name, self.key.public_key(), *_times(options, 3650))
        constraints = x509.BasicConstraints(options.get("ca", True), options.get("path_length"))
        if options.get("constrained", True):
            builder = builder.add_extension(constraints, critical=True)
        if "constraints" in options:
            builder = builder.add_extension(options["constraints"], critical=True)
        if "usage" in options:
            builder = builder.add_extension(_usage(**options["usage"]), critical=True)
        if "extended" in options:
            builder = builder.add_extension(x509.ExtendedKeyUsage(options["extended"]), critical=False)
        self.certificate = builder.sign(signer.key, hashes.SHA256())

    def subordinate(self, name: str = "intermediate", **options: Any) -> Ca:
        """Another CA below this one."""
        return Ca(name, self, **options)

    @property
    def pem(self) -> str:
        """The certificate as PEM."""
        return pem_of(self.certificate)

    @property
    def chain(self) -> str:
        """The certificates from this one up to the root, which is the last."""
        return self.pem + (self.parent.chain if self.parent else "")

    def issue(self, **options: Any) -> tuple[PrivateKey, str]:
        """A key, and the PEM of its certificate.

        Options: `names` (of the SAN; None for none), `critical`, `extended` (usages; None for none), `issuer` and
        `issuer_v2` (of OIDC, None for none), `from_`, `until`, `key`, `more` (extensions).
        """
        key = options.get("key") or ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name(options.get("subject", [x509.NameAttribute(NameOID.COMMON_NAME, "signer")]))
        builder = _builder(subject, self.name, key.public_key(), *_times(options, 0.01))
        names = options.get("names", [x509.RFC822Name(EMAIL)])
        if names is not None:
            builder = builder.add_extension(x509.SubjectAlternativeName(names), options.get("critical", False))
        extended = options.get("extended", [ExtendedKeyUsageOID.CODE_SIGNING])
        if extended is not None:
            builder = builder.add_extension(x509.ExtendedKeyUsage(extended), critical=False)
        for oid, value in ((ISSUER_V1, options.get("issuer", ISSUER)), (ISSUER_V2, options.get("issuer_v2", ISSUER))):
            if value is not None:
                data = value if isinstance(value, bytes) else value.encode()
                raw = data if oid == ISSUER_V1 or isinstance(value, bytes) else bytes([0x0C, len(data)]) + data
                builder = builder.add_extension(x509.UnrecognizedExtension(x509.ObjectIdentifier(oid), raw), False)
        for extension, critical in options.get("more", ()):
            builder = builder.add_extension(extension, critical)
        certificate = builder.sign(self.key, hashes.SHA256())
        return Signer(PublicKey("", b"", key.public_key()), key), pem_of(certificate)


def _times(options: dict[str, Any], days: float) -> tuple[datetime.datetime, datetime.datetime]:
    length = datetime.timedelta(days=days)
    return options.get("from_", NOW - length), options.get("until", NOW + length)


def _builder(
    subject: x509.Name, issuer: x509.Name, key: Any, start: datetime.datetime, end: datetime.datetime
) -> x509.CertificateBuilder:
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(key)
    return builder.serial_number(x509.random_serial_number()).not_valid_before(start).not_valid_after(end)


def _usage(**wanted: bool) -> x509.KeyUsage:
    names = (
        "digital_signature content_commitment key_encipherment data_encipherment key_agreement key_cert_sign crl_sign"
        " encipher_only decipher_only"
    )
    return x509.KeyUsage(**{name: wanted.get(name, False) for name in names.split()})
