"""Wrong signatures and wrong keys."""

from __future__ import annotations

import base64
import hashlib

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, padding
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed, decode_dss_signature, encode_dss_signature
from support.signing import PAYLOAD, base64_of, new_key, public_of, rsa_key, signed
from trust.attacking.world import Attack

from arstore.trust.keys import read_public_key
from arstore.trust.signature import SigstoreSignature
from arstore.trust.sigstore.verify import verify_with_keys

_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
"""Of P-256's group."""


def _by(world, change):
    """Verify the good signature after *change* of its base64."""
    return world.by_key(world.good()._replace(signature=change(world.good().signature)))


def _rs(r, s):
    return lambda world: world.by_key(SigstoreSignature(PAYLOAD, base64_of(encode_dss_signature(r, s))))


def _raw(world):
    r, s = decode_dss_signature(world.key.sign(PAYLOAD))
    return world.by_key(SigstoreSignature(PAYLOAD, base64_of(r.to_bytes(32, "big") + s.to_bytes(32, "big"))))


def _hashed(name):
    def attempt(world):
        made = world.key.key.sign(PAYLOAD, ec.ECDSA(getattr(hashes, name)()))
        return world.by_key(SigstoreSignature(PAYLOAD, base64_of(made)))

    return attempt


def _rsa(sign):
    def attempt(_world):
        key = rsa_key()
        return verify_with_keys(SigstoreSignature(PAYLOAD, base64_of(sign(key))), [public_of(key)])

    return attempt


def _ed_of_hash(_world):
    key = new_key("ed25519")
    made = key.key.sign(hashlib.sha256(PAYLOAD).digest())
    return verify_with_keys(SigstoreSignature(PAYLOAD, base64_of(made)), [key.public])


def _file(make):
    return lambda world: read_public_key(make(world), "key")


def _pem(key):
    return key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


_PSS = padding.PSS(padding.MGF1(hashes.SHA256()), 32)
_SIGNATURES = {
    "by another key of the same kind": (lambda w: w.by_key(signed(w.other)), ""),
    "by a key of another kind": (lambda w: w.by_key(signed(new_key("ed25519"))), ""),
    "by RSA, where the key is of ECDSA": (
        lambda w: w.by_key(
            SigstoreSignature(PAYLOAD, base64_of(rsa_key().sign(PAYLOAD, padding.PKCS1v15(), hashes.SHA256())))
        ),
        "",
    ),
    "without a key that could have made it": (lambda w: verify_with_keys(w.good(), []), ""),
    "that is empty": (lambda w: _by(w, lambda text: ""), ""),
    "that is zero": (_rs(0, 0), "CVE-2022-21449"),
    "of r = 0": (_rs(0, 1), "CVE-2022-21449"),
    "of the group's order": (_rs(_ORDER, _ORDER), "CVE-2022-21449"),
    "of one": (_rs(1, 1), ""),
    "in the form of JSON web signatures": (_raw, ""),
    "with a trailing byte after its DER": (
        lambda w: _by(w, lambda text: base64_of(base64.b64decode(text) + b"\0")),
        "",
    ),
    "cut by a byte": (lambda w: _by(w, lambda text: base64_of(base64.b64decode(text)[:-1])), ""),
    "with a newline in its base64": (lambda w: _by(w, lambda text: text[:8] + "\n" + text[8:]), ""),
    "without the end of its base64": (lambda w: _by(w, lambda text: text.rstrip("=")[:-1]), ""),
    "in base64 of another alphabet": (lambda w: _by(w, lambda text: "-_" + text[2:]), ""),
    "in base64 with bits that do not count": (
        lambda w: w.by_key(w.good()._replace(signature="MEUCIQ=="[:-3] + "R==")),
        "",
    ),
    "of 1 MiB": (lambda w: _by(w, lambda text: "A" * (1 << 20)), ""),
    "over SHA-1": (_hashed("SHA1"), ""),
    "over MD5": (_hashed("MD5"), ""),
    "over SHA-512 with P-256": (_hashed("SHA512"), ""),
    "of RSA with PSS": (_rsa(lambda key: key.sign(PAYLOAD, _PSS, hashes.SHA256())), ""),
    "of RSA with SHA-1": (_rsa(lambda key: key.sign(PAYLOAD, padding.PKCS1v15(), hashes.SHA1())), ""),
    "of RSA without a message": (_rsa(lambda key: bytes(256)), "CVE-2006-4339 (its kind)"),
    "of Ed25519 over a hash": (_ed_of_hash, ""),
    "over the hash instead of the payload": (
        lambda w: w.by_key(
            SigstoreSignature(
                hashlib.sha256(PAYLOAD).digest(),
                base64_of(w.key.key.sign(hashlib.sha256(PAYLOAD).digest(), ec.ECDSA(Prehashed(hashes.SHA256())))),
            )
        ),
        "",
    ),
}
_FILES = {
    "that is empty": (_file(lambda w: b""), ""),
    "with two keys": (_file(lambda w: w.other.public.pem() + w.key.public.pem()), ""),
    "with a private key": (
        _file(
            lambda w: w.key.key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        ),
        "",
    ),
    "with a certificate": (_file(lambda w: w.root.pem.encode()), ""),
    "of the curve secp256k1": (_file(lambda w: _pem(ec.generate_private_key(ec.SECP256K1()).public_key())), ""),
    "of the curve P-224": (_file(lambda w: _pem(ec.generate_private_key(ec.SECP224R1()).public_key())), ""),
    "of RSA with 1024 bits": (_file(lambda w: _pem(rsa_key(1024).public_key())), ""),
    "of DSA": (_file(lambda w: _pem(dsa.generate_private_key(1024).public_key())), ""),
    "cut in its middle": (_file(lambda w: w.key.public.pem()[:90]), ""),
    "with ten thousand beginnings": (_file(lambda w: b"-----BEGIN PUBLIC KEY-----\n" * 2000), "quadratic time"),
    "of 1 MiB": (_file(lambda w: w.key.public.pem() + b"\n" * (1 << 20)), ""),
    "that is not a key": (_file(lambda w: b"ssh-ed25519 AAAA"), ""),
    "with a point that is not on its curve": (
        _file(lambda w: w.key.public.der[:-2] + b"\0\0"),
        "CVE-2020-0601 (its kind)",
    ),
    "of a log, that is not of ECDSA": (lambda w: w.logged(log=new_key("ed25519")), ""),
}
ATTACKS = [Attack("signature", name, attempt, known) for name, (attempt, known) in _SIGNATURES.items()]
ATTACKS += [Attack("key file", name, attempt, known) for name, (attempt, known) in _FILES.items()]
