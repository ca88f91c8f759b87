"""Private keys: read from PKCS #8, used, and made.

ECDSA P-256 and P-384, and Ed25519. Signatures with ECDSA are over SHA-256 whatever the curve, because that is the one
that cosign and containers/image both take without being told; Ed25519 is the plain one for the same reason.

A passphrase comes as bytes; where from (a file, a terminal) is the caller's business, and never an argument of a
command, where everybody on the host can read it. `pkcs8` encrypts with it.
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
"""Kinds of keys that sign, by the names that users give them."""
LONGEST_PASSPHRASE = 1024
_PLAIN = {"PRIVATE KEY"}
_ENCRYPTED = {pkcs8.LABEL}


class PrivateKey(NamedTuple):
    """A key that signs, and its public half."""

    public: PublicKey
    key: Any
    """What `cryptography` made of it."""

    def sign(self, message: bytes) -> bytes:
        """The signature over *message*, as `PublicKey.verify` takes it."""
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.asymmetric import ec

        if self.public.kind == "Ed25519":
            return bytes(self.key.sign(message))
        return bytes(self.key.sign(message, ec.ECDSA(hashes.SHA256())))


def read_private_key(data: bytes, what: str, passphrase: Callable[[], bytes]) -> PrivateKey:
    """The private key in *data*: PEM of PKCS #8, plain or encrypted, or cosign's own file with the package PyNaCl.

    *passphrase* is called when the key is encrypted. Raises KeyFileError; *what* names the file in it.
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
        why = "is not a private key that can be read"
        raise KeyFileError(what, f"{why}, or the passphrase is wrong" if label in _ENCRYPTED else why) from error
    return private_key(key, what)


def private_key(key: Any, what: str) -> PrivateKey:  # noqa: ANN401 - whatever `cryptography` gives
    """The key object *key*, if it is of a kind that signs. Raises KeyFileError."""
    public = public_key(key.public_key(), what) if hasattr(key, "public_key") else None
    if public is None or public.kind not in KINDS.values():
        kind = "of another kind" if public is None else f"of the kind {public.kind}"
        raise KeyFileError(what, f"is a key {kind}; {', '.join(KINDS.values())} sign")
    return PrivateKey(public, key)


def make_private_key(kind: str) -> PrivateKey:
    """A new key of the *kind*, one of `KINDS`."""
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
    """The file of *key* in cosign's own form. Raises KeyFileError without PyNaCl."""
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
