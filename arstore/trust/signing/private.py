"""Private keys: read them from PKCS #8, sign with them, and make new ones.

Supported are ECDSA P-256 and P-384, and Ed25519. ECDSA signatures are over SHA-256 for every curve, because cosign and
containers/image both accept that by default; Ed25519 is the plain variant for the same reason.

A passphrase comes as bytes. The caller gets it from a file or a terminal, never from a command's arguments, which every
user of the host can read. `pkcs8` encrypts with it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from arstore.errors import KeyFileError
from arstore.oci.document import shown
from arstore.trust.keys import LARGEST_KEY, PublicKey, blocks, pem_of, public_key
from arstore.trust.signing import cosign_key, pkcs8
from arstore.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

KINDS = {"ecdsa-p256": "ECDSA P-256", "ecdsa-p384": "ECDSA P-384", "ed25519": "Ed25519"}
"""Kinds of keys that can sign, by the names that users give."""
LONGEST_PASSPHRASE = 1024
_PLAIN = {"PRIVATE KEY"}
_ENCRYPTED = {pkcs8.LABEL}


class PrivateKey(NamedTuple):
    """A private key, and its public half."""

    public: PublicKey
    key: Any
    """The key object of `cryptography`."""

    def sign(self, message: bytes) -> bytes:
        """The signature over *message*, in the form that `PublicKey.verify` accepts."""
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.asymmetric import ec

        if self.public.kind == "Ed25519":
            return bytes(self.key.sign(message))
        return bytes(self.key.sign(message, ec.ECDSA(hashes.SHA256())))


def read_private_key(data: bytes, what: str, passphrase: Callable[[], bytes]) -> PrivateKey:
    """The private key in *data*: PEM of PKCS #8, plain or encrypted, or with the package PyNaCl cosign's own file.

    *passphrase* is called if the key is encrypted. Raises KeyFileError, in which *what* names the file.
    """
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import serialization

    if len(data) > LARGEST_KEY:
        raise KeyFileError(what, f"has {len(data)} bytes; a key file has {LARGEST_KEY} at most")
    label, text = _block(data, what)
    try:
        if label in cosign_key.LABELS:
            key = serialization.load_der_private_key(cosign_key.opened(text, what, passphrase), None)
        elif label in _ENCRYPTED:
            key = serialization.load_pem_private_key(text, _checked(passphrase(), what))
        else:
            key = serialization.load_pem_private_key(text, None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        why = "is not a readable private key"
        raise KeyFileError(what, f"{why}, or the passphrase is wrong" if label in _ENCRYPTED else why) from error
    return private_key(key, what)


def private_key(key: Any, what: str) -> PrivateKey:  # noqa: ANN401 - whatever `cryptography` gives
    """The key object *key* if its kind can sign. Raises KeyFileError."""
    public = public_key(key.public_key(), what) if hasattr(key, "public_key") else None
    if public is None or public.kind not in KINDS.values():
        kind = "of another kind" if public is None else f"of the kind {public.kind}"
        raise KeyFileError(what, f"is a key {kind}; supported for signing are {', '.join(KINDS.values())}")
    return PrivateKey(public, key)


def make_private_key(kind: str) -> PrivateKey:
    """Make a new key of the *kind*, one of `KINDS`."""
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519

    if kind == "ed25519":
        return private_key(ed25519.Ed25519PrivateKey.generate(), kind)
    curve = ec.SECP384R1() if kind == "ecdsa-p384" else ec.SECP256R1()
    return private_key(ec.generate_private_key(curve), kind)


def private_pem(key: PrivateKey, passphrase: bytes | None) -> bytes:
    """The PEM file of *key*, encrypted unless *passphrase* is None. Raises KeyFileError for an empty one."""
    der = _der(key)
    if passphrase is None:
        return pem_of("PRIVATE KEY", der)
    return pkcs8.encrypted_pem(der, _checked(passphrase, "passphrase"))


def cosign_pem(key: PrivateKey, passphrase: bytes) -> bytes:
    """The key file of *key* in cosign's own form. Raises KeyFileError without PyNaCl."""
    return cosign_key.sealed(_der(key), _checked(passphrase, "passphrase"))


def _der(key: PrivateKey) -> bytes:
    from cryptography.hazmat.primitives import serialization

    plain = serialization.NoEncryption()
    return bytes(key.key.private_bytes(serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, plain))


def _block(data: bytes, what: str) -> tuple[str, bytes]:
    found = blocks(data)
    if len(found) != 1:
        raise KeyFileError(what, f"holds {len(found)} PEM blocks, not one private key")
    label, text = found[0]
    if label not in _PLAIN | _ENCRYPTED | cosign_key.LABELS:
        hint = "`openssl pkcs8 -topk8` converts other private keys" if "PRIVATE" in label else ""
        raise KeyFileError(what, f"holds a {shown(label)}, not a private key in PKCS #8", hint)
    return label, text + b"\n"


def _checked(passphrase: bytes, what: str) -> bytes:
    if not passphrase:
        raise KeyFileError(what, "the passphrase is empty")
    if len(passphrase) > LONGEST_PASSPHRASE:
        raise KeyFileError(what, f"the passphrase is longer than {LONGEST_PASSPHRASE} bytes")
    return passphrase
