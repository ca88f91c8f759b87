"""Key files as users name them: `FILE[:file=FILE|:fd=NUMBER]` to decrypt, `jwe:FILE` to encrypt.

Forms of a file, as ocicrypt accepts them (utils/utils.go): PEM or DER (PKCS #8, PKCS #1, SEC 1; SPKI, or a
certificate), or JWK. A passphrase comes from a file or a descriptor. A passphrase on the command line (`pass=`), which
every user of the host can read, is refused. A file is read whole: anything but a regular file is refused at once.
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

from arstore.errors import KeyFileError, LimitError, ManifestError, UsageError, reason
from arstore.linux.files.reading import read_file
from arstore.oci.document import Bounds, Fields, parse, shown
from arstore.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

    from arstore.trust.encryption.jwk import PrivateKey, PublicKey

_LONGEST = 256 << 10
"""Bytes of a key file, at most; an RSA key of 16384 bits has 13 thousand as PEM."""
_LONGEST_PASSPHRASE = 1024
_LEAST_RSA = 2048
"""Bits of an RSA key that a layer is encrypted for, at least."""
_JWK = Bounds(document=_LONGEST, json_depth=6)
_OTHERS = ("pgp", "pkcs7", "pkcs11", "provider")
"""Schemes that ocicrypt supports besides JWE."""
_ONLY = "arstore supports only JWE"


def _shown(text: str) -> str:
    """A path, or the user's text, shortened to one line for messages."""
    return shown(text, 4096)


def _places(path: str) -> str:
    """A hint how to give the passphrase of the key in *path*."""
    return f"write {_shown(path)}:file=PASSPHRASEFILE or {_shown(path)}:fd=NUMBER"


class KeyWord(NamedTuple):
    """A private key as the user named it: its file, and the file or the descriptor of its passphrase."""

    path: str
    passphrase_path: str = ""
    passphrase_fd: int = -1


class Recipient(NamedTuple):
    """A public key to encrypt for, and the JWE algorithm to use with it."""

    key: PublicKey
    algorithm: str


def parse_decryption(text: str) -> KeyWord:
    """Parse the value of `--decryption-key`. Raises UsageError, which never shows a passphrase in *text*."""
    option = "--decryption-key"
    scheme = text.partition(":")[0]
    if scheme in _OTHERS and text != scheme:
        raise UsageError(f"{option} {scheme}:…", f"{scheme} is not supported", _ONLY)
    path, colon, word = text.rpartition(":")
    if not colon or os.path.lexists(text):
        path, word = text, ""
    if not path:
        raise UsageError(option, "does not name a file", "write --decryption-key KEYFILE")
    if not word:
        return KeyWord(path)
    kind, _, value = word.partition("=")
    if kind == "file" and value:
        return KeyWord(path, passphrase_path=value)
    if kind == "fd" and value.isascii() and value.isdigit() and len(value) < 8:
        return KeyWord(path, passphrase_fd=int(value))
    why = "a passphrase on the command line can be read by every user of this host"
    raise UsageError(f"{option} {_shown(path)}:…", why, _places(path))


def parse_encryption(text: str) -> str:
    """The file in the value of `--encryption-key`. Raises UsageError."""
    scheme, _, path = text.partition(":")
    if scheme in _OTHERS:
        raise UsageError(f"--encryption-key {_shown(text)}", f"{scheme} is not supported", _ONLY)
    if scheme != "jwe" or not path:
        raise UsageError(
            f"--encryption-key {_shown(text)}", "does not say what the key is for", "write jwe:PUBLICKEYFILE"
        )
    return path


def read_private(word: KeyWord) -> PrivateKey:
    """Read the private key. Raises KeyFileError."""
    data = _content(word.path)
    passphrase = _passphrase(word)
    if data.lstrip().startswith(b"{"):
        from arstore.trust.encryption import jwk

        with _key_file():
            return _usable_private(word.path, jwk.private_key(_json(word.path, data)))
    return _usable_private(word.path, _loaded_private(word.path, data, passphrase))


def read_recipient(path: str) -> Recipient:
    """Read the public key in the file *path*. Raises KeyFileError."""
    from arstore.trust.encryption import jwe, jwk

    data = _content(path)
    wanted = ""
    if data.lstrip().startswith(b"{"):
        with _key_file():
            fields = _json(path, data)
            key: object = jwk.public_key(fields)
            wanted = fields.string("alg")
    else:
        key = _loaded_public(path, data)
    from cryptography.hazmat.primitives.asymmetric import ec, rsa

    if isinstance(key, rsa.RSAPublicKey):
        if key.key_size < _LEAST_RSA:
            raise KeyFileError(_shown(path), f"is an RSA key of {key.key_size} bits, which is too short to encrypt for")
        fitting = [jwe.RSA_OAEP, jwe.RSA_OAEP_256]
        chosen = wanted or jwe.RSA_OAEP
    elif isinstance(key, ec.EllipticCurvePublicKey) and jwk.curve_name(key.curve):
        fitting = [name for name in jwe.ALGORITHMS if name.startswith("ECDH-ES+")]
        chosen = wanted or jwe.ECDH_256
    else:
        raise KeyFileError(_shown(path), "is a key of a type that JWE cannot encrypt for", _TYPES)
    if chosen not in fitting:
        raise KeyFileError(_shown(path), f"names an algorithm that does not fit it; use one of {', '.join(fitting)}")
    return Recipient(key, chosen)


_TYPES = "use RSA, or an elliptic curve (P-256, P-384, P-521)"


def _content(path: str, most: int = _LONGEST) -> bytes:
    try:
        if os.path.isdir(path):
            raise KeyFileError(_shown(path), "is a directory, but must be a file")
        size = os.stat(path).st_size
        data = b"" if size > most else read_file(path)
    except OSError as error:
        raise KeyFileError(_shown(path), f"cannot be read: {reason(error)}") from error
    if size > most or len(data) > most:
        raise KeyFileError(_shown(path), f"has {max(size, len(data))} bytes; a file of this kind has {most} at most")
    if not data.strip():
        raise KeyFileError(_shown(path), "is empty")
    return data


def _passphrase(word: KeyWord) -> bytes | None:
    """The passphrase without the end of its line; None if the user did not say where it is."""
    if word.passphrase_path:
        data = _content(word.passphrase_path, _LONGEST_PASSPHRASE)
    elif word.passphrase_fd >= 0:
        what = f"descriptor {word.passphrase_fd}"
        try:
            data = _from_descriptor(word.passphrase_fd)
        except OSError as error:
            raise KeyFileError(what, f"cannot be read: {reason(error)}") from error
        if len(data) > _LONGEST_PASSPHRASE:
            raise KeyFileError(what, f"has more than {_LONGEST_PASSPHRASE} bytes")
    else:
        return None
    data = data.removesuffix(b"\n").removesuffix(b"\r")
    if not data:
        raise KeyFileError(
            _shown(word.passphrase_path) or f"descriptor {word.passphrase_fd}", "the passphrase is empty"
        )
    return data


def _from_descriptor(fd: int) -> bytes:
    data = b""
    while len(data) <= _LONGEST_PASSPHRASE and (piece := os.read(fd, _LONGEST_PASSPHRASE + 1)):
        data += piece
    return data


@contextmanager
def _key_file() -> Iterator[None]:
    """Convert errors in a JWK to errors of its file."""
    try:
        yield
    except (ManifestError, LimitError) as error:
        raise KeyFileError(_shown(error.what), error.why) from error


def _json(path: str, data: bytes) -> Fields:
    return Fields(parse(data, path, _JWK), path)


def _loaded_private(path: str, data: bytes, passphrase: bytes | None) -> object:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_der_private_key, load_pem_private_key

    load = load_pem_private_key if b"-----BEGIN " in data else load_der_private_key
    try:
        try:
            return load(data, passphrase)
        except TypeError:
            if passphrase is None:
                why = "is protected by a passphrase"
                raise KeyFileError(_shown(path), why, _places(path)) from None
            # The key is not encrypted.
            return load(data, None)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise KeyFileError(_shown(path), _why_no_private(data, passphrase)) from error


def _why_no_private(data: bytes, passphrase: bytes | None) -> str:
    if b"-----BEGIN PGP " in data or data[:1] in {b"\x95", b"\xc5", b"\x94"}:
        return f"is an OpenPGP key, and {_ONLY}"
    if b"-----BEGIN CERTIFICATE" in data:
        return "is a certificate, but must be a private key"
    if b"-----BEGIN PUBLIC KEY" in data or b"-----BEGIN RSA PUBLIC KEY" in data:
        return "is a public key, but must be a private key"
    if b"pkcs11:" in data:
        return f"names a key in hardware (PKCS #11), and {_ONLY}"
    if passphrase is not None:
        return "cannot be opened with that passphrase, or is not a private key"
    return "is not a private key in PEM, DER or JWK"


def _usable_private(path: str, key: object) -> PrivateKey:
    from cryptography.hazmat.primitives.asymmetric import ec, rsa

    from arstore.trust.encryption.jwk import curve_name

    if isinstance(key, rsa.RSAPrivateKey):
        return key
    if isinstance(key, ec.EllipticCurvePrivateKey) and curve_name(key.curve):
        return key
    raise KeyFileError(_shown(path), "is a key of a type that JWE cannot decrypt with", _TYPES)


def _loaded_public(path: str, data: bytes) -> object:
    from cryptography import x509
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_der_public_key, load_pem_public_key

    try:
        if b"-----BEGIN CERTIFICATE" in data:
            return x509.load_pem_x509_certificate(data).public_key()
        if b"-----BEGIN " in data:
            if b"PRIVATE KEY-----" in data:
                why, hint = "is a private key, but must be a public key", "extract it with `openssl pkey -pubout`"
                raise KeyFileError(_shown(path), why, hint)
            return load_pem_public_key(data)
        try:
            return load_der_public_key(data)
        except ValueError:
            return x509.load_der_x509_certificate(data).public_key()
    except (ValueError, UnsupportedAlgorithm, x509.InvalidVersion) as error:
        raise KeyFileError(_shown(path), "is not a public key or certificate in PEM, DER or JWK") from error
