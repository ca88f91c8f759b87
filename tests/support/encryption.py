"""Encrypted layers and JWEs for tests, made by `cryptography` alone, with any fault that a test asks for.

Nothing here imports arstore: the expected values of a test must not come from the tested code.
"""

from __future__ import annotations

import hmac
import json
import os
from base64 import b64encode, urlsafe_b64encode
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING, Any

from cryptography.hazmat.primitives import hashes, keywrap
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CTR
from cryptography.hazmat.primitives.kdf.concatkdf import ConcatKDFHash
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from support import images

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

PREFIX = "org.opencontainers.image.enc."
JWE, PUBLIC = f"{PREFIX}keys.jwe", f"{PREFIX}pubopts"
CURVES = {"P-256": ec.SECP256R1(), "P-384": ec.SECP384R1(), "P-521": ec.SECP521R1()}

Key = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey
Edit = "Callable[[dict[str, Any]], Any]"


def nothing(_document: dict[str, Any]) -> None:
    """Change nothing."""


def rsa_key(which: int = 0, bits: int = 2048) -> rsa.RSAPrivateKey:
    """A private key, the same for each *which*."""
    return _rsa(which, bits)


def ec_key(curve: str = "P-256", which: int = 0) -> ec.EllipticCurvePrivateKey:
    """A private key on *curve*, the same for each *which*."""
    return _ec(curve, which)


@cache
def _rsa(_which: int, bits: int) -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, bits)


@cache
def _ec(curve: str, _which: int) -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(CURVES[curve])


def text(data: bytes) -> str:
    """Base64url without padding."""
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def jwk(key: ec.EllipticCurvePublicKey) -> dict[str, str]:
    """A public key as JSON."""
    size = (key.curve.key_size + 7) // 8
    name = next(name for name, curve in CURVES.items() if curve.name == key.curve.name)
    numbers = key.public_numbers()
    x, y = (text(number.to_bytes(size, "big")) for number in (numbers.x, numbers.y))
    return {"kty": "EC", "crv": name, "x": x, "y": y}


def private_pem(key: Any, passphrase: bytes = b"", form: PrivateFormat = PrivateFormat.PKCS8) -> bytes:
    """A private key as a file."""
    protection = BestAvailableEncryption(passphrase) if passphrase else NoEncryption()
    return key.private_bytes(Encoding.PEM, form, protection)


def public_pem(key: Any) -> bytes:
    """The public key of a private one, as a file."""
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def write(directory: Path, name: str, key: Any) -> tuple[Path, Path]:
    """Files of a key in *directory*: the private one, and the public one."""
    private, public = directory / f"{name}.pem", directory / f"{name}.pub"
    private.write_bytes(private_pem(key))
    public.write_bytes(public_pem(key))
    return private, public


def jwe(
    plaintext: bytes,
    *keys: Key,
    header: Callable[[dict[str, Any]], Any] = nothing,
    members: Callable[[dict[str, Any]], Any] = nothing,
    parties: tuple[bytes, bytes] = (b"", b""),
    oaep: hashes.HashAlgorithm | None = None,
) -> bytes:
    """A JWE for these keys; *header* may change the protected header, *members* the whole, before they are encoded."""
    content, iv = os.urandom(32), os.urandom(12)
    wrapped = [_wrap(content, key, parties, oaep or hashes.SHA1()) for key in keys]
    protected: dict[str, Any] = {"enc": "A256GCM", **(wrapped[0][0] if len(keys) == 1 else {})}
    header(protected)
    shown = text(json.dumps(protected).encode())
    output = AESGCM(content).encrypt(iv, plaintext, shown.encode())
    made: dict[str, Any] = {
        "protected": shown, "iv": text(iv), "ciphertext": text(output[:-16]), "tag": text(output[-16:]),
        "encrypted_key": text(wrapped[0][1]),
    }  # fmt: skip
    if len(keys) > 1:
        made["recipients"] = [{"header": one, "encrypted_key": text(key)} for one, key in wrapped]
    members(made)
    return json.dumps(made).encode()


def _wrap(
    content: bytes, key: Key, parties: tuple[bytes, bytes], oaep: hashes.HashAlgorithm
) -> tuple[dict[str, Any], bytes]:
    if isinstance(key, rsa.RSAPrivateKey):
        name = "RSA-OAEP" if oaep.name == "sha1" else "RSA-OAEP-256"
        return {"alg": name}, key.public_key().encrypt(content, padding.OAEP(padding.MGF1(oaep), oaep, None))
    name, size = "ECDH-ES+A256KW", 32
    ephemeral = ec.generate_private_key(key.curve)
    shared = ephemeral.exchange(ec.ECDH(), key.public_key())
    fields = [name.encode(), *parties]
    info = b"".join(len(one).to_bytes(4, "big") + one for one in fields) + (size * 8).to_bytes(4, "big")
    kek = ConcatKDFHash(hashes.SHA256(), size, info).derive(shared)
    named = {key: text(value) for key, value in zip(("apu", "apv"), parties, strict=True) if value}
    header: dict[str, Any] = {"alg": name, "epk": jwk(ephemeral.public_key()), **named}
    return header, keywrap.aes_key_wrap(kek, content)


class Locked:
    """The parts of a layer's encryption: to be changed, and then put together with `annotations`."""

    def __init__(self, plain: bytes) -> None:
        self.key, self.nonce = os.urandom(32), os.urandom(16)
        self.blob = encrypted(plain, self.key, self.nonce)
        mac = hmac.digest(self.key, self.blob, "sha256")
        self.public: dict[str, Any] = {
            "cipher": "AES_256_CTR_HMAC_SHA256", "hmac": b64encode(mac).decode(), "cipheroptions": {}
        }  # fmt: skip
        self.private: dict[str, Any] = {
            "symkey": b64encode(self.key).decode(),
            "digest": images.sha256(plain),
            "cipheroptions": {"nonce": b64encode(self.nonce).decode()},
        }
        self.more: dict[str, str] = {}

    def annotations(self, *keys: Key, **edits: Any) -> dict[str, str]:
        """The annotations for the owners of these keys; *edits* as `jwe` takes them."""
        wrapped = jwe(json.dumps(self.private).encode(), *keys, **edits)
        public = b64encode(json.dumps(self.public).encode()).decode()
        return {JWE: b64encode(wrapped).decode(), PUBLIC: public, **self.more}


def encrypted(plain: bytes, key: bytes, nonce: bytes) -> bytes:
    """AES-256 in counter mode."""
    return Cipher(AES(key), CTR(nonce)).encryptor().update(plain)


def picture(
    plain: images.Picture,
    *keys: Key,
    edit: Callable[[Locked], Any] = lambda _locked: None,
    edit_notes: Callable[[dict[str, str]], Any] = nothing,
    which: tuple[int, ...] | None = None,
    edit_manifest: Callable[[dict[str, Any]], Any] = nothing,
    **edits: Any,
) -> images.Picture:
    """*plain* with its layers (or those at *which*) encrypted for these keys, with the faults of the edits."""
    layers, notes = [], {}
    for position, layer in enumerate(plain.layers):
        if which is not None and position not in which:
            layers.append(layer)
            continue
        locked = Locked(layer.blob)
        edit(locked)
        notes[position] = locked.annotations(*keys, **edits)
        edit_notes(notes[position])
        layers.append(replace(layer, blob=locked.blob))

    def change(manifest: dict[str, Any]) -> None:
        for position, some in notes.items():
            manifest["layers"][position]["mediaType"] += "+encrypted"
            manifest["layers"][position]["annotations"] = some
        edit_manifest(manifest)

    architecture = json.loads(plain.config)["architecture"]
    return images.image(
        *layers,
        names=plain.names,
        docker=plain.docker,
        architecture=architecture,
        edit_config=lambda config: config.update(json.loads(plain.config)),
        edit_manifest=change,
    )
