"""cosign's own private key files; needs the package PyNaCl.

PEM of a JSON document: `kdf` scrypt with its parameters and salt, `cipher` nacl/secretbox with a nonce, `ciphertext` of
a PKCS #8 key. secretbox is XSalsa20-Poly1305, which `cryptography` does not have. The files are those of
go-securesystemslib's package `encrypted`.
"""

from __future__ import annotations

import base64
import importlib.util
import os
from typing import TYPE_CHECKING

from arstore.errors import KeyFileError, LimitError, ManifestError, SignatureError
from arstore.oci.document import Fields, encode, parse
from arstore.trust.keys import decoded, pem_of
from arstore.trust.payload import BOUNDS

if TYPE_CHECKING:
    from collections.abc import Callable

LABEL = "ENCRYPTED SIGSTORE PRIVATE KEY"
LABELS = frozenset({LABEL, "ENCRYPTED COSIGN PRIVATE KEY"})
_COST, _BLOCKS, _PARALLEL = 1 << 16, 8, 1
_MOST_MEMORY = 256 << 20
"""Bytes of memory that scrypt may use; cosign's parameters need 64 MiB."""
_KEY, _SALT, _NONCE = 32, 32, 24


def opened(pem: bytes, what: str, passphrase: Callable[[], bytes]) -> bytes:
    """The PKCS #8 key (DER) in cosign's key file. Raises KeyFileError, in which *what* names the file."""
    require(what)
    from nacl.exceptions import CryptoError
    from nacl.secret import SecretBox

    try:
        salt, cost, blocks, parallel, nonce, text = _parts(pem, what)
    except (ManifestError, LimitError, SignatureError) as error:
        raise KeyFileError(what, error.why) from error
    key = _derived(passphrase(), salt, cost, blocks, parallel)
    try:
        found: bytes = SecretBox(key).decrypt(text, nonce)
    except (CryptoError, ValueError, TypeError) as error:
        raise KeyFileError(what, "the passphrase is wrong, or the file is damaged") from error
    return found


def sealed(der: bytes, passphrase: bytes) -> bytes:
    """Encrypt the PKCS #8 key *der* as cosign's key file. Raises KeyFileError without PyNaCl."""
    require("key")
    from nacl.secret import SecretBox

    salt, nonce = os.urandom(_SALT), os.urandom(_NONCE)
    key = _derived(passphrase, salt, _COST, _BLOCKS, _PARALLEL)
    text = SecretBox(key).encrypt(der, nonce).ciphertext
    parameters = {"N": _COST, "r": _BLOCKS, "p": _PARALLEL}
    document = {
        "kdf": {"name": "scrypt", "params": parameters, "salt": _base64(salt)},
        "cipher": {"name": "nacl/secretbox", "nonce": _base64(nonce)},
        "ciphertext": _base64(text),
    }
    return pem_of(LABEL, encode(document))


def require(what: str) -> None:
    """Check that PyNaCl is installed. Raises KeyFileError about *what* otherwise."""
    if importlib.util.find_spec("nacl") is None:
        hint = (
            "run `pip install 'arstore[cosign-keys]'`, or sign with a key in PKCS #8, which `arstore keygen`"
            " makes and `cosign import-key-pair` reads"
        )
        raise KeyFileError(what, "cosign's own key files need the package PyNaCl", hint)


def _parts(pem: bytes, what: str) -> tuple[bytes, int, int, int, bytes, bytes]:
    lines = pem.decode("ascii", "replace").split()
    # The label contains blanks, so it is several words at both ends.
    words = len(LABEL.split()) + 1
    body = "".join(lines[words:-words])
    fields = Fields(parse(decoded(body, what), what, BOUNDS), what)
    kdf, cipher = fields.required_child("kdf"), fields.required_child("cipher")
    if (kdf.string("name"), cipher.string("name")) != ("scrypt", "nacl/secretbox"):
        raise KeyFileError(what, "is encrypted in an unknown way")
    parameters = kdf.required_child("params")
    cost, blocks, parallel = (parameters.integer(name) for name in ("N", "r", "p"))
    if cost < 2 or cost & (cost - 1) or not 1 <= parallel <= 16 or not 1 <= 128 * cost * blocks <= _MOST_MEMORY:
        raise KeyFileError(what, "needs more work to decrypt than is allowed")
    nonce = decoded(cipher.string("nonce", required=True), what)
    salt, text = decoded(kdf.string("salt", required=True), what), decoded(fields.string("ciphertext"), what)
    return salt, cost, blocks, parallel, nonce, text


def _derived(passphrase: bytes, salt: bytes, cost: int, blocks: int, parallel: int) -> bytes:
    from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

    return Scrypt(salt, _KEY, cost, blocks, parallel).derive(passphrase)


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")
