"""Targets that read the encryption metadata of an image, and key files.

A JWE and annotations have JSON in base64 in JSON, which no mutation survives. So inputs have the inner documents
unencoded, between NULs, and the targets encode them.
"""

from __future__ import annotations

import json
from base64 import b64encode, urlsafe_b64decode, urlsafe_b64encode
from functools import cache
from typing import TYPE_CHECKING, Any

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from arstore.trust.encryption import jwe
from arstore.trust.encryption.jwk import to_base64url, to_json
from arstore.trust.encryption.key_file import KeyWord, parse_decryption, parse_encryption, read_private, read_recipient
from arstore.trust.encryption.lock import PREFIX, Lock, build
from arstore.trust.encryption.options import KEY, MAC, NONCE, Public, content_key, private
from arstore.trust.encryption.unwrapping import Trials, described, unlocked
from fuzzing import mutators
from fuzzing.target import Target, scratch

if TYPE_CHECKING:
    from collections.abc import Callable

_DIGEST = "sha256:" + "ab" * 32
_SCALAR = 0x1234567890ABCDEF1234567890ABCDEF


@cache
def _keys() -> tuple[ec.EllipticCurvePrivateKey, ...]:
    curves = (ec.SECP256R1(), ec.SECP384R1(), ec.SECP521R1())
    return tuple(ec.derive_private_key(_SCALAR, curve) for curve in curves)


def read_jwe(data: bytes) -> None:
    """Read a protected header, a NUL, the other members; and try a key of each curve."""
    message = jwe.read(_composed(data), "layer")
    assert 1 <= len(message.recipients) <= 256
    assert set(message.algorithms) <= set(jwe.ALGORITHMS)
    opened = [jwe.opened(message, key, "layer") for key in _keys()]
    assert all(one is None or len(one) < 9000 for one in opened)


def read_lock(data: bytes) -> None:
    """Read public options, a NUL, private options, a NUL, the keys of an annotation, and open the layer with them."""
    public, _, rest = data.partition(b"\0")
    inner, _, keys = rest.partition(b"\0")
    notes = {f"{PREFIX}pubopts": b64encode(public).decode(), f"{PREFIX}keys.jwe": keys.decode("utf-8", "replace")}
    if len(data) % 5 == 0:
        notes[f"{PREFIX}pubopts"] = public.decode("utf-8", "replace")
        notes[f"{PREFIX}keys.provider.x"] = "x"
    found = content_key(inner, Public.parse(public, "layer"), "layer")
    assert (len(found.key), len(found.nonce), len(found.mac)) == (KEY, NONCE, MAC)
    lock = Lock.read(notes, "layer")
    assert len(lock.jwes) <= 64
    described(notes, "layer")
    unlocked(lock, _keys(), "layer", Trials(100))


def read_key(data: bytes) -> None:
    """Read a key file as a private and as a public key, and as a user's argument for a key."""
    which, data = data[:1], data[1:]
    if which == b"t":
        text = data.decode("utf-8", "surrogateescape")
        for parse in (parse_decryption, parse_encryption):
            parse(text)
        return
    files = scratch("key")
    files.put("key", data)
    if which == b"r":
        read_recipient(f"{files.path}/key")
    else:
        files.put("word", b"secret\n")
        word = KeyWord(f"{files.path}/key", f"{files.path}/word" if which == b"e" else "")
        assert read_private(word) is not None


def _composed(data: bytes) -> bytes:
    protected, _, outer = data.partition(b"\0")
    try:
        members = json.loads(outer)
    except (ValueError, RecursionError):
        return outer
    if not isinstance(members, dict) or len(data) % 7 == 0:
        return outer
    text = urlsafe_b64encode(protected).rstrip(b"=").decode()
    return json.dumps({**members, "protected": text}).encode("utf-8", "replace")


def _decomposed(raw: bytes) -> bytes:
    members = json.loads(raw)
    text = members.pop("protected")
    return urlsafe_b64decode(text + "=" * (-len(text) % 4)) + b"\0" + json.dumps(members).encode()


def _messages() -> list[bytes]:
    recipients = [(key.public_key(), jwe.ECDH_256) for key in _keys()]
    plain = private(b"k" * KEY, b"n" * NONCE, _DIGEST)  # type: ignore[arg-type]
    made = [jwe.sealed(plain, some) for some in (recipients[:1], recipients[1:2], recipients[2:], recipients)]
    return [_decomposed(raw) + (b" " if not len(_decomposed(raw)) % 7 else b"") for raw in made]


def _locks() -> list[bytes]:
    recipients = [(key.public_key(), jwe.ECDH_256) for key in _keys()[:1]]
    plain = private(b"k" * KEY, b"n" * NONCE, _DIGEST)  # type: ignore[arg-type]
    notes = build(jwe.sealed(plain, recipients), b"m" * MAC)
    keys = notes[f"{PREFIX}keys.jwe"].encode()
    public = Public.build(b"m" * MAC)
    nonced = public.replace(b'"cipheroptions":{}', b'"cipheroptions":{"nonce":"' + b64encode(b"n" * NONCE) + b'"}')
    return [b"\0".join((one, plain, some)) for one in (public, nonced) for some in (keys, keys + b"," + keys)]


def _files() -> list[bytes]:
    key = _keys()[0]
    made = [
        key.private_bytes(encoding, form, NoEncryption())
        for encoding in (Encoding.PEM, Encoding.DER)
        for form in (PrivateFormat.PKCS8, PrivateFormat.TraditionalOpenSSL)
    ]
    spki = [key.public_key().public_bytes(e, PublicFormat.SubjectPublicKeyInfo) for e in (Encoding.PEM, Encoding.DER)]
    public = to_json(key.public_key())
    own: dict[str, Any] = {**public, "d": to_base64url(_SCALAR.to_bytes(32, "big"))}
    jwks = [b"p" + json.dumps(own).encode(), b"r" + json.dumps({**public, "alg": jwe.ECDH_256}).encode()]
    typed = [b"tkey.pem:file=word", b"tkey.pem:fd=3", b"tjwe:key.pub", b"tpgp:me@example.com", b"tkey.pem:pass=x"]
    return [*(b"p" + one for one in made), *(b"e" + one for one in made), *(b"r" + one for one in spki), *jwks, *typed]


def _target(
    name: str, run: Callable[[bytes], object], seeds: Callable[[], list[bytes]], longest: int, words: tuple[str, ...]
) -> Target:
    return Target(name, run, seeds, longest, mutators.document, words=tuple(word.encode() for word in words))


_HEADERS = (
    '"alg":"dir"', '"alg":"none"', '"alg":"PBES2-HS256+A128KW","p2c":2000000000,"p2s":"AAAA"', '"alg":"RSA-OAEP"',
    '"alg":"ECDH-ES"', '"enc":"A128CBC-HS256"', '"zip":"DEF"', '"crit":["x"]', '"crv":"P-521"', '"kty":"RSA"',
    '"apu":"AA"', '"kid":""', '"recipients":[]', '"unprotected":{}', '"aad":"AA"', '"d":"AA"', '"n":"AQAB","e":"AQAB"',
)  # fmt: skip

TARGETS = (
    _target("jwe", read_jwe, _messages, 2048, _HEADERS),
    _target("lock", read_lock, _locks, 2560, ('"cipher":"AES_256_CTR_HMAC_SHA256"', '"cipheroptions":{"nonce":""}', ",",
        '"symkey":', '"hmac":', '"CIPHER":')),
    _target("key-file", read_key, _files, 2048, (*_HEADERS, "-----BEGIN PRIVATE KEY-----",
        "-----BEGIN CERTIFICATE-----", "-----BEGIN PGP PRIVATE KEY BLOCK-----", "pkcs11:", ":file=", ":fd=")),
)  # fmt: skip
