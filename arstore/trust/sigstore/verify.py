"""The three ways to verify a sigstore signature, as a policy's `sigstoreSigned` asks for them.

Each returns what was signed, read only after it was verified. That the statement is about the image at hand, and gives
it a name that is accepted, is for the caller to check.

Where a certificate decides, the time matters: Fulcio's are valid for minutes, so the log has to say when the signature
was there; a private PKI's are valid now or not at all. As in containers/image, neither the timestamp that Fulcio's
certificate transparency log has signed nor an inclusion proof is looked at: a log's promise is what is trusted here.
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
    """Certificates that name `email`, as `issuer` knows it, below one of the `roots`."""

    roots: x509.Roots
    issuer: str
    email: str


class Pki(NamedTuple):
    """Certificates that name `email`, `hostname`, or both where both are given, below one of the `roots`."""

    roots: x509.Roots
    email: str = ""
    hostname: str = ""


def verify_with_keys(
    signature: SigstoreSignature, keys: Sequence[PublicKey], log: Sequence[PublicKey] = ()
) -> Statement:
    """The statement that one of *keys* signed; with keys of a *log*, one of these has to have taken it in.

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
    """The statement that the owner of a certificate of Fulcio's signed, while it was valid by what the *log* says.

    Raises SignatureError.
    """
    from cryptography.hazmat.primitives.serialization import Encoding

    made = _decoded(signature)
    if not (log and trusted.issuer and trusted.email):
        raise SignatureError("signature", "a log's key, an issuer and an e-mail address are needed to verify it")
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
    """The statement that the owner of a certificate signed that is valid now. Raises SignatureError."""
    made = _decoded(signature)
    if not (trusted.email or trusted.hostname):
        raise SignatureError("signature", "an e-mail address or a host is needed to verify it")
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
        raise SignatureError("signature payload", f"has {len(signature.payload)} bytes, {LARGEST} are allowed")
    if not signature.signature:
        raise SignatureError("signature", "is empty")
    return decoded(signature.signature, "signature")


def _promise(signature: SigstoreSignature) -> str:
    if not signature.rekor:
        raise SignatureError("signature", "no log took it in: it has no signed entry timestamp of Rekor")
    return signature.rekor


def _certificate(signature: SigstoreSignature) -> Certificate:
    if not signature.certificate:
        raise SignatureError("signature", "brings no certificate")
    return x509.read_certificate(signature.certificate)


def _check_email(leaf: Certificate, email: str) -> None:
    found = x509.emails_of(leaf)
    if email not in found:
        names = ", ".join(map(shown, found[:3])) or "no e-mail address"
        raise SignatureError("certificate", f"names {names}, not {email}")
