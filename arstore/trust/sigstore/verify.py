"""The three ways to verify a sigstore signature for a policy's `sigstoreSigned`.

Each returns the signed statement, which is parsed only after it was verified. The caller must check that the statement
is about the image at hand, and gives it an accepted name.

With certificates, the time matters. Fulcio's are valid for minutes, so the log must confirm when the signature existed;
those of a private PKI must be valid now. As in containers/image, neither the timestamp signed by Fulcio's certificate
transparency log nor an inclusion proof is checked: the log's promise is trusted here.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from arstore.errors import SignatureError
from arstore.oci.document import shown
from arstore.trust.keys import decoded, verify_with_any
from arstore.trust.payload import COSIGN, Statement, read_statement
from arstore.trust.signature import LARGEST
from arstore.trust.sigstore import rekor, x509
from arstore.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cryptography.x509 import Certificate

    from arstore.trust.keys import PublicKey
    from arstore.trust.signature import SigstoreSignature


class Fulcio(NamedTuple):
    """Certificates that name `email`, confirmed by `issuer`, under one of the `roots`."""

    roots: x509.Roots
    issuer: str
    email: str


class Pki(NamedTuple):
    """Certificates that name `email`, `hostname`, or both if both are given, under one of the `roots`."""

    roots: x509.Roots
    email: str = ""
    hostname: str = ""


def verify_with_keys(
    signature: SigstoreSignature, keys: Sequence[PublicKey], log: Sequence[PublicKey] = ()
) -> Statement:
    """The statement that one of *keys* signed; if keys of a *log* are given, the log must have recorded the signature.

    Raises SignatureError.
    """
    made = _decoded(signature)
    if not keys:
        raise SignatureError("signature", "there is no key to verify it with")
    key = verify_with_any(keys, made, signature.payload)
    if log:
        rekor.verify_entry(_promise(signature), log, key.der, made, signature.payload)
    return read_statement(signature.payload, COSIGN)


def verify_with_fulcio(signature: SigstoreSignature, trusted: Fulcio, log: Sequence[PublicKey]) -> Statement:
    """The statement signed by the owner of a Fulcio certificate that was valid at the time that the *log* confirms.

    Raises SignatureError.
    """
    from cryptography.hazmat.primitives.serialization import Encoding

    made = _decoded(signature)
    if not (log and trusted.issuer and trusted.email):
        raise SignatureError("signature", "verifying it needs a log's key, an issuer and an e-mail address")
    leaf = _certificate(signature)
    der = leaf.public_bytes(Encoding.DER)
    at = rekor.verify_entry(_promise(signature), log, der, made, signature.payload)
    x509.must_sign_code(leaf)
    key = x509.verify_chain(leaf, x509.read_chain(signature.chain), trusted.roots, at)
    issuer = x509.oidc_issuer_of(leaf)
    if issuer != trusted.issuer:
        raise SignatureError("certificate", f"its identity comes from {shown(issuer)}, not from {trusted.issuer}")
    _check_email(leaf, trusted.email)
    key.verify(made, signature.payload)
    return read_statement(signature.payload, COSIGN)


def verify_with_pki(signature: SigstoreSignature, trusted: Pki, now: datetime | None = None) -> Statement:
    """The statement signed by the owner of a certificate that is valid now. Raises SignatureError."""
    made = _decoded(signature)
    if not (trusted.email or trusted.hostname):
        raise SignatureError("signature", "verifying it needs an e-mail address or a host")
    leaf = _certificate(signature)
    chain = x509.read_chain(signature.chain)
    key = x509.verify_chain(leaf, chain, trusted.roots, now or datetime.now(UTC))
    if trusted.email:
        _check_email(leaf, trusted.email)
    if trusted.hostname:
        x509.check_hostname(leaf, trusted.hostname)
    key.verify(made, signature.payload)
    return read_statement(signature.payload, COSIGN)


def _decoded(signature: SigstoreSignature) -> bytes:
    if len(signature.payload) > LARGEST:
        raise SignatureError("signature payload", f"has {len(signature.payload)} bytes; at most {LARGEST} are allowed")
    if not signature.signature:
        raise SignatureError("signature", "is empty")
    return decoded(signature.signature, "signature")


def _promise(signature: SigstoreSignature) -> str:
    if not signature.rekor:
        raise SignatureError("signature", "is not recorded in a log: it has no signed entry timestamp of Rekor")
    return signature.rekor


def _certificate(signature: SigstoreSignature) -> Certificate:
    if not signature.certificate:
        raise SignatureError("signature", "does not include a certificate")
    return x509.read_certificate(signature.certificate)


def _check_email(leaf: Certificate, email: str) -> None:
    found = x509.emails_of(leaf)
    if email not in found:
        names = ", ".join(map(shown, found[:3])) or "no e-mail address"
        raise SignatureError("certificate", f"names {names}, not {email}")
