"""JWE in JSON, in the form that ocicrypt writes: a small plaintext that each of several recipients can decrypt.

    general    {"protected", "recipients": [{"header": {"alg", "epk"}, "encrypted_key"}, …], "iv", "ciphertext", "tag"}
    flattened  {"protected", "header"?, "encrypted_key", "iv", "ciphertext", "tag"}, for one recipient

Sources: RFC 7516 (5.1, 5.2, 7.2), RFC 7518 (4.3 RSA-OAEP, 4.6 ECDH-ES, 5.3 AES GCM); go-jose's crypter.go and
asymmetric.go for what ocicrypt accepts. The algorithm in the message is not trusted alone: it must be one of ALGORITHMS
and fit the type of the key. Refused by name, for the whole message: `dir`, passwords (PBES2), symmetric keys, RSA1_5,
direct agreement (ECDH-ES), an `enc` other than A256GCM, compression (`zip`), `crit`, duplicate parameters.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes, keywrap
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.concatkdf import ConcatKDFHash

from arstore.errors import DecryptionError, ManifestError
from arstore.oci.document import Bounds, Fields, encode, parse, shown
from arstore.trust.encryption.jwk import curve_name, ec_public, from_base64url, to_base64url, to_json
from arstore.trust.encryption.options import document
from arstore.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

    from arstore.trust.encryption.jwk import PrivateKey, PublicKey

RSA_OAEP, RSA_OAEP_256 = "RSA-OAEP", "RSA-OAEP-256"
ECDH_256 = "ECDH-ES+A256KW"
_WRAPS = {"ECDH-ES+A128KW": 16, "ECDH-ES+A192KW": 24, ECDH_256: 32}
"""Size in bytes of the key that wraps the content key, by algorithm."""
ALGORITHMS = (RSA_OAEP, RSA_OAEP_256, *_WRAPS)
"""Algorithms for wrapping a recipient's key: those that ocicrypt accepts."""
ENCRYPTION = "A256GCM"
_KEY, _IV, _TAG = 32, 12, 16

_BOUNDS = Bounds(document=256 << 10, json_depth=6)
_RECIPIENTS = 256
_PARTY = 256
"""Bytes of `apu` and `apv`, texts that name the two parties."""
_LONGEST = 8 << 10
"""Bytes of the plaintext, at most; a layer's options have two hundred."""
_MEMBERS = frozenset({"protected", "header", "recipients", "encrypted_key", "iv", "ciphertext", "tag"})
_RECIPIENT = frozenset({"header", "encrypted_key"})
_KNOWN = frozenset({"alg", "enc", "epk", "apu", "apv", "kid", "typ", "cty"})
"""Header parameters that are supported, or have no effect."""


class Wrapped(NamedTuple):
    """The content key for one recipient: its algorithm and the wrapped bytes."""

    algorithm: str
    key: bytes
    header: Fields


class Message(NamedTuple):
    """A JWE: its recipients, and the encrypted content for all of them."""

    recipients: tuple[Wrapped, ...]
    protected: bytes
    iv: bytes
    ciphertext: bytes
    tag: bytes

    @property
    def algorithms(self) -> tuple[str, ...]:
        """The algorithms of its recipients, without duplicates."""
        return tuple(dict.fromkeys(one.algorithm for one in self.recipients))


def read(raw: bytes, what: str) -> Message:
    """Parse a JWE of the layer *what*. Raises DecryptionError for anything that is not fully understood."""
    if not raw.lstrip().startswith(b"{"):
        raise DecryptionError(what, "its encryption is malformed: a wrapped key is not a JWE in JSON")
    fields = document(raw, what, "JWE", _BOUNDS)
    try:
        return _message(fields)
    except ManifestError as error:
        why = f"its encryption is malformed or of an unknown kind: {error.what}: {error.why}"
        raise DecryptionError(what, why) from error


def opened(message: Message, key: PrivateKey, what: str) -> bytes | None:
    """Decrypt the plaintext if *key* is a recipient's; return None otherwise.

    Raises DecryptionError for an ephemeral key that is not on the curve of *key*.
    """
    for one in message.recipients:
        content_key = _unwrapped(one, key, what)
        if content_key is None or len(content_key) != _KEY:
            continue
        try:
            return AESGCM(content_key).decrypt(message.iv, message.ciphertext + message.tag, message.protected)
        except InvalidTag:
            continue
    return None


def is_for(one: Wrapped, key: PrivateKey) -> bool:
    """Whether *key* has the type, size or curve that *one* was wrapped for; only these keys are tried."""
    if isinstance(key, rsa.RSAPrivateKey):
        return one.algorithm not in _WRAPS and len(one.key) == (key.key_size + 7) // 8
    return one.algorithm in _WRAPS and Fields(one.header.values["epk"], "").string("crv") == curve_name(key.curve)


def sealed(plaintext: bytes, recipients: Sequence[tuple[PublicKey, str]]) -> bytes:
    """Encrypt *plaintext* for these public keys, each with an algorithm that fits it; at least one.

    The members are where ocicrypt puts them: flattened for one recipient, with a protected header.
    """
    content_key, iv = os.urandom(_KEY), os.urandom(_IV)
    wrapped = [_wrap(content_key, key, algorithm) for key, algorithm in recipients]
    ((first, encrypted_key), *others) = wrapped
    header: dict[str, object] = {"enc": ENCRYPTION, **({} if others else first)}
    protected = to_base64url(encode(header))
    output = AESGCM(content_key).encrypt(iv, plaintext, protected.encode())
    members: dict[str, object] = {
        "protected": protected,
        "iv": to_base64url(iv),
        "ciphertext": to_base64url(output[:-_TAG]),
        "tag": to_base64url(output[-_TAG:]),
    }
    if others:
        members["recipients"] = [{"header": one, "encrypted_key": to_base64url(key)} for one, key in wrapped]
    else:
        members["encrypted_key"] = to_base64url(encrypted_key)
    return encode(members)


# --- reading --------------------------------------------------------------------------------------------------------


def _message(fields: Fields) -> Message:
    _refuse_others(fields, _MEMBERS)
    protected = fields.string("protected", required=True)
    shared = _header(from_base64url(fields, "protected", _BOUNDS.document))
    if shared.string("enc") != ENCRYPTION:
        # `enc` is authenticated only in the protected header.
        raise shared.error("enc", f"is {shown(shared.string('enc')) or 'missing'}; only {ENCRYPTION} is supported")
    if fields.has("recipients"):
        places = fields.objects("recipients")
        # go-jose writes the key of the first recipient twice, which RFC 7516 (7.2.1) does not allow.
        double = fields.has("encrypted_key") and places and fields.string("encrypted_key")
        if fields.has("header") or (double and double != places[0].string("encrypted_key")):
            raise fields.error("recipients", "is used together with members of a single recipient")
    else:
        places = [fields]
    if not 1 <= len(places) <= _RECIPIENTS:
        raise fields.error("recipients", f"there are {len(places)}, but 1 to {_RECIPIENTS} are allowed")
    if fields.has("recipients"):
        for place in places:
            _refuse_others(place, _RECIPIENT)
    iv, tag = from_base64url(fields, "iv", _IV), from_base64url(fields, "tag", _TAG)
    for key, data, size in (("iv", iv, _IV), ("tag", tag, _TAG)):
        if len(data) != size:
            raise fields.error(key, f"has {len(data)} bytes, but {size} are needed")
    recipients = tuple(_recipient(place, shared) for place in places)
    return Message(recipients, protected.encode(), iv, from_base64url(fields, "ciphertext", _LONGEST), tag)


def _header(raw: bytes) -> Fields:
    header = Fields(parse(raw, "protected header", _BOUNDS), "protected header")
    _refuse_parameters(header)
    return header


def _recipient(place: Fields, shared: Fields) -> Wrapped:
    own = place.child("header") or Fields({}, place.what)
    _refuse_parameters(own)
    for name in own.values.keys() & shared.values.keys():
        raise own.error(name, "occurs in two headers")
    header = Fields({**shared.values, **own.values}, own.what, own.path)
    if "enc" in own.values:
        raise own.error("enc", "must be in the protected header")
    algorithm = header.string("alg")
    if algorithm not in ALGORITHMS:
        why = f"is {shown(algorithm) or 'missing'}; supported are {', '.join(ALGORITHMS)}"
        raise header.error("alg", why)
    epk = header.child("epk")
    if algorithm in _WRAPS:
        if epk is None:
            raise header.error("epk", "is missing")
        epk.string("crv", required=True)
        for party in ("apu", "apv"):
            from_base64url(header, party, _PARTY, required=False)
    return Wrapped(algorithm, from_base64url(place, "encrypted_key"), header)


def _refuse_others(fields: Fields, known: frozenset[str]) -> None:
    for key in sorted(fields.values.keys() - known):
        raise fields.error(key, "is an unknown member")


def _refuse_parameters(header: Fields) -> None:
    for key in sorted(header.values.keys() - _KNOWN):
        why = {"zip": "compressed plaintexts are not supported", "crit": "critical parameters are not supported"}
        raise header.error(key, why.get(key, "is an unknown header parameter"))


# --- keys -----------------------------------------------------------------------------------------------------------


def _unwrapped(one: Wrapped, key: PrivateKey, what: str) -> bytes | None:
    """The content key if *key* is the one that *one* was wrapped for, else None."""
    if not is_for(one, key):
        return None
    try:
        if isinstance(key, rsa.RSAPrivateKey):
            return key.decrypt(one.key, _oaep(one.algorithm))
        epk = one.header.child("epk")
        assert epk is not None, "a header with ECDH-ES has an ephemeral key"
        shared = key.exchange(ec.ECDH(), ec_public(epk))
        return keywrap.aes_key_unwrap(_derived(one, shared), one.key)
    except ManifestError as error:
        raise DecryptionError(what, f"its encryption is malformed: {error.what}: {error.why}") from error
    except (ValueError, keywrap.InvalidUnwrap):
        return None


def _derived(one: Wrapped, shared: bytes) -> bytes:
    parties = [from_base64url(one.header, name, _PARTY, required=False) for name in ("apu", "apv")]
    return agreed(shared, one.algorithm, _WRAPS[one.algorithm], parties[0], parties[1])


def agreed(shared: bytes, algorithm: str, size: int, us: bytes = b"", them: bytes = b"") -> bytes:
    """The key of *size* bytes that both sides derive from their *shared* secret (RFC 7518, 4.6.2)."""
    parts = [len(part).to_bytes(4, "big") + part for part in (algorithm.encode(), us, them)]
    info = b"".join(parts) + (size * 8).to_bytes(4, "big")
    return ConcatKDFHash(hashes.SHA256(), size, info).derive(shared)


def _wrap(content_key: bytes, key: PublicKey, algorithm: str) -> tuple[dict[str, object], bytes]:
    """The recipient's header, and the content key for it."""
    if isinstance(key, rsa.RSAPublicKey):
        return {"alg": algorithm}, key.encrypt(content_key, _oaep(algorithm))
    ephemeral = ec.generate_private_key(key.curve)
    wrapping = agreed(ephemeral.exchange(ec.ECDH(), key), algorithm, _WRAPS[algorithm])
    header: dict[str, object] = {"alg": algorithm, "epk": to_json(ephemeral.public_key())}
    return header, keywrap.aes_key_wrap(wrapping, content_key)


def _oaep(algorithm: str) -> padding.OAEP:
    # In JWE, RSA-OAEP means SHA-1, and ocicrypt uses it. OAEP does not need a collision-resistant hash.
    used: hashes.HashAlgorithm = hashes.SHA256() if algorithm == RSA_OAEP_256 else hashes.SHA1()
    return padding.OAEP(padding.MGF1(used), used, None)
