"""Public keys, and verification of signatures with them.

The kinds and algorithms are those that cosign and containers/image agree on:

    ECDSA P-256                SHA-256                    DER
    ECDSA P-384, P-521         SHA-256; or SHA-384, SHA-512 as cosign 3 signs with such keys
    RSA, 2048 to 8192 bits     PKCS #1 v1.5, SHA-256      (both refuse PSS with a plain key)
    Ed25519                    the message itself         (`cryptography` lacks Ed25519ph, which cosign 3 uses)

Any other key is refused when it is read, not when a signature is found, so that its user learns of it at once.
`cryptography` is imported inside the functions, so importing this module is cheap.
Not in scope: private keys (`signing/`), certificates (`sigstore/x509`).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from typing import TYPE_CHECKING, Any

from arstore.errors import KeyFileError, SignatureError
from arstore.oci.document import shown
from arstore.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

LARGEST_KEY = 64 << 10
"""Bytes of a file with one key, at most."""
_RSA_BITS = range(2048, 8193)
_LARGEST_EXPONENT = 1 << 33
_BEGIN, _DASHES = b"-----BEGIN ", b"-----"
_LABEL = re.compile(rb"[A-Z0-9 ]{1,64}")
_BASE64 = re.compile(r"[A-Za-z0-9+/]*={0,2}")


class PublicKey(NamedTuple):
    """A key of `kind` (`ECDSA P-256`, `RSA`, `Ed25519`, ...): its SubjectPublicKeyInfo as DER, and the object."""

    kind: str
    der: bytes
    key: Any
    """The key object of `cryptography`."""

    @property
    def fingerprint(self) -> str:
        """The SHA-256 of the DER, in hexadecimal."""
        return hashlib.sha256(self.der).hexdigest()

    @property
    def hint(self) -> str:
        """The SHA-256 of the DER in base64, by which bundles name a key."""
        return base64.b64encode(hashlib.sha256(self.der).digest()).decode("ascii")

    def pem(self) -> bytes:
        """The key as a PEM file."""
        return pem_of("PUBLIC KEY", self.der)

    def verify(self, signature: bytes, message: bytes) -> None:
        """Check that *signature* over *message* was made with this key. Raises SignatureError."""
        if not any(self._matches(signature, message, name) for name in _hashes(self.kind)):
            why = f"was not made with the key {self.fingerprint[:12]} ({self.kind})"
            hint = "cosign 3 uses another algorithm with such keys (Ed25519ph)" if self.kind == "Ed25519" else ""
            raise SignatureError("signature", why, hint)

    def _matches(self, signature: bytes, message: bytes, name: str) -> bool:
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric import ec, padding

        digest = _hash(name)
        try:
            if self.kind == "Ed25519":
                self.key.verify(signature, message)
            elif self.kind == "RSA":
                self.key.verify(signature, message, padding.PKCS1v15(), digest)
            else:
                self.key.verify(signature, message, ec.ECDSA(digest))
        except (InvalidSignature, ValueError, TypeError):
            return False
        return True


def read_public_key(data: bytes, what: str) -> PublicKey:
    """The only public key in *data*: PEM (`PUBLIC KEY` or `RSA PUBLIC KEY`), or DER. *what* names it in errors.

    Raises KeyFileError.
    """
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import serialization

    if len(data) > LARGEST_KEY:
        raise KeyFileError(what, f"has {len(data)} bytes; a key file has {LARGEST_KEY} at most")
    try:
        if _BEGIN in data:
            key = serialization.load_pem_public_key(_block(data, what))
        else:
            key = serialization.load_der_public_key(data)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise KeyFileError(what, "is not a readable public key") from error
    return public_key(key, what)


def public_key(key: Any, what: str) -> PublicKey:  # noqa: ANN401 - whatever `cryptography` gives
    """The key object *key* if its kind is supported. Raises KeyFileError."""
    from cryptography.hazmat.primitives import serialization

    kind = _kind(key, what)
    der = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return PublicKey(kind, der, key)


def verify_with_any(keys: Sequence[PublicKey], signature: bytes, message: bytes) -> PublicKey:
    """The key among *keys* that made *signature* over *message*. Raises SignatureError if none did."""
    for key in keys:
        try:
            key.verify(signature, message)
        except SignatureError:
            continue
        return key
    if len(keys) == 1:
        keys[0].verify(signature, message)
    raise SignatureError("signature", f"was not made with any of the {len(keys)} keys")


def decoded(text: str, what: str, most: int = LARGEST_KEY) -> bytes:
    """Decode *text*, padded base64 without line breaks, to at most *most* bytes. Raises SignatureError."""
    if len(text) > most * 4 // 3 + 4:
        raise SignatureError(what, f"has {len(text)} characters of base64; at most {most} bytes are allowed")
    if not _BASE64.fullmatch(text):
        raise SignatureError(what, "is not base64")
    try:
        found = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise SignatureError(what, "is not base64") from error
    # Only one text is allowed for the same bytes: tools that compare texts would see two different signatures.
    if base64.b64encode(found).decode("ascii") != text:
        raise SignatureError(what, "is not canonical base64")
    return found


def pem_of(label: str, der: bytes) -> bytes:
    """*der* as PEM with the label *label*."""
    lines = base64.encodebytes(der).replace(b"\n", b"")
    body = b"\n".join(lines[at : at + 64] for at in range(0, len(lines), 64))
    return b"-----BEGIN %b-----\n%b\n-----END %b-----\n" % (label.encode(), body, label.encode())


def blocks(data: bytes) -> list[tuple[str, bytes]]:
    """The PEM blocks in *data*, up to the first one without an end: the label, and the whole text of each."""
    found = []
    at = 0
    # Not a regular expression: with ten thousand beginnings, it would search for the end of each one again.
    while (start := data.find(_BEGIN, at)) >= 0:
        head = data.find(_DASHES, start + len(_BEGIN))
        label = data[start + len(_BEGIN) : head]
        if head < 0 or not _LABEL.fullmatch(label):
            break
        mark = b"-----END " + label + _DASHES
        end = data.find(mark, head + len(_DASHES))
        if end < 0:
            break
        at = end + len(mark)
        found.append((label.decode("ascii"), data[start:at]))
    return found


def _block(data: bytes, what: str) -> bytes:
    found = blocks(data)
    if len(found) != 1 or data.count(_BEGIN) != 1:
        raise KeyFileError(what, f"holds {data.count(_BEGIN)} PEM blocks, not one key")
    label, text = found[0]
    if "PRIVATE" in label:
        raise KeyFileError(what, "holds a private key, but a public key is needed")
    if label not in {"PUBLIC KEY", "RSA PUBLIC KEY"}:
        raise KeyFileError(what, f"holds a {shown(label)}, not a public key")
    return text + b"\n"


def _kind(key: object, what: str) -> str:
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

    if isinstance(key, ed25519.Ed25519PublicKey):
        return "Ed25519"
    if isinstance(key, ec.EllipticCurvePublicKey):
        name = {"secp256r1": "P-256", "secp384r1": "P-384", "secp521r1": "P-521"}.get(key.curve.name)
        if name is None:
            raise KeyFileError(what, f"has the curve {shown(key.curve.name)}; supported are P-256, P-384 and P-521")
        return f"ECDSA {name}"
    if isinstance(key, rsa.RSAPublicKey):
        if key.key_size not in _RSA_BITS or key.public_numbers().e > _LARGEST_EXPONENT:
            raise KeyFileError(what, f"is an RSA key of {key.key_size} bits; supported are 2048 to 8192 bits")
        return "RSA"
    raise KeyFileError(what, "is not an ECDSA, RSA or Ed25519 key")


def _hashes(kind: str) -> tuple[str, ...]:
    return {"ECDSA P-384": ("SHA256", "SHA384"), "ECDSA P-521": ("SHA256", "SHA512")}.get(kind, ("SHA256",))


def _hash(name: str) -> Any:  # noqa: ANN401 - the common base of hash algorithms has no useful type
    from cryptography.hazmat.primitives import hashes

    return getattr(hashes, name)()
