"""Key files: every form that ocicrypt accepts, and other files that a user may name."""

from __future__ import annotations

import json
import os
from datetime import datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from support import encryption as made
from support.encryption import ec_key, rsa_key

from arstore.errors import KeyFileError, UsageError
from arstore.trust.encryption import jwe
from arstore.trust.encryption.key_file import (
    KeyWord,
    parse_decryption,
    parse_encryption,
    read_private,
    read_recipient,
)

KEYS = [rsa_key(), *(ec_key(curve) for curve in made.CURVES)]
FORMS = (PrivateFormat.PKCS8, PrivateFormat.TraditionalOpenSSL)


def number(value):
    return made.text(value.to_bytes((value.bit_length() + 7) // 8 or 1, "big"))


def private_jwk(key):
    if isinstance(key, ec.EllipticCurvePrivateKey):
        size = (key.curve.key_size + 7) // 8
        return {**made.jwk(key.public_key()), "d": made.text(key.private_numbers().private_value.to_bytes(size, "big"))}
    own = key.private_numbers()
    names = {"p": own.p, "q": own.q, "d": own.d, "dp": own.dmp1, "dq": own.dmq1, "qi": own.iqmp}
    return {**public_jwk(key), **{name: number(value) for name, value in names.items()}}


def public_jwk(key):
    if isinstance(key, ec.EllipticCurvePrivateKey):
        return made.jwk(key.public_key())
    numbers = key.public_key().public_numbers()
    return {"kty": "RSA", "n": number(numbers.n), "e": number(numbers.e)}


def certificate(key):
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "box")])
    began = datetime(2026, 1, 1)
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, began, began + timedelta(days=1))
    return builder.sign(key, hashes.SHA256())


def same(one, other):
    return one.private_numbers() == other.private_numbers()


@pytest.mark.parametrize("key", KEYS)
def test_private_keys_without_a_passphrase(tmp_path, key):
    path = tmp_path / "key"
    for form in FORMS:
        for encoding in (Encoding.PEM, Encoding.DER):
            path.write_bytes(key.private_bytes(encoding, form, NoEncryption()))
            assert same(read_private(KeyWord(str(path))), key)
    path.write_text(json.dumps(private_jwk(key)))
    assert same(read_private(KeyWord(str(path))), key)
    (tmp_path / "word").write_bytes(b"not needed")
    path.write_bytes(made.private_pem(key))
    assert same(read_private(KeyWord(str(path), str(tmp_path / "word"))), key)


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("end", [b"", b"\n", b"\r\n"])
def test_private_keys_with_a_passphrase(tmp_path, key, form, end):
    path, word = tmp_path / "key", tmp_path / "word"
    path.write_bytes(made.private_pem(key, b"sec ret", form))
    word.write_bytes(b"sec ret" + end)
    assert same(read_private(KeyWord(str(path), str(word))), key)
    with open(word, "rb") as file:
        assert same(read_private(KeyWord(str(path), passphrase_fd=file.fileno())), key)
    with pytest.raises(KeyFileError, match=r"protected by a passphrase; write .*:file="):
        read_private(KeyWord(str(path)))
    word.write_bytes(b"wrong" + end)
    with pytest.raises(KeyFileError, match="cannot be opened with that passphrase"):
        read_private(KeyWord(str(path), str(word)))


@pytest.mark.parametrize("key", KEYS)
def test_public_keys(tmp_path, key):
    path = tmp_path / "key"
    is_rsa = isinstance(key, rsa.RSAPrivateKey)
    spki = [key.public_key().public_bytes(e, PublicFormat.SubjectPublicKeyInfo) for e in (Encoding.PEM, Encoding.DER)]
    signed = [certificate(key).public_bytes(encoding) for encoding in (Encoding.PEM, Encoding.DER)]
    for content in (*spki, *signed, json.dumps(public_jwk(key)).encode()):
        path.write_bytes(content)
        found = read_recipient(str(path))
        assert found.key.public_numbers() == key.public_key().public_numbers()
        assert found.algorithm == (jwe.RSA_OAEP if is_rsa else jwe.ECDH_256)
    named = jwe.RSA_OAEP_256 if is_rsa else "ECDH-ES+A128KW"
    path.write_text(json.dumps({**public_jwk(key), "alg": named}))
    assert read_recipient(str(path)).algorithm == named
    raw = jwe.sealed(b"x", [read_recipient(str(path))])
    assert jwe.opened(jwe.read(raw, "layer"), key, "layer") == b"x"


PGP = b"-----BEGIN PGP PRIVATE KEY BLOCK-----\n\nxxxx\n-----END PGP PRIVATE KEY BLOCK-----\n"
ED = ed25519.Ed25519PrivateKey.generate()
KOBLITZ = ec.generate_private_key(ec.SECP256K1())
NO_PRIVATE = [
    (b"", "is empty"),
    (b" \n\n", "is empty"),
    (b"x" * 300_000, "has 300000 bytes"),
    (b"not a key", "is not a private key in PEM, DER or JWK"),
    (PGP, "is an OpenPGP key"),
    (certificate(rsa_key()).public_bytes(Encoding.PEM), "is a certificate, but must be a private key"),
    (made.public_pem(rsa_key()), "is a public key, but must be a private key"),
    (b"pkcs11:\n  uri: pkcs11:token=x\n", "names a key in hardware"),
    (made.private_pem(ED), "a type that JWE cannot decrypt with"),
    (made.private_pem(KOBLITZ), "a type that JWE cannot decrypt with"),
    (made.private_pem(rsa_key())[:200], "is not a private key"),
    (b"{}", "kty: is neither RSA nor EC"),
    (json.dumps(public_jwk(rsa_key())).encode(), "p: is missing"),
    (json.dumps(public_jwk(ec_key())).encode(), "d: is missing"),
    (json.dumps({**private_jwk(ec_key()), "d": "AQ"}).encode(), "do not fit together"),
    (json.dumps({**private_jwk(rsa_key()), "p": "AQ"}).encode(), "do not fit together"),
    (b'{"kty":"RSA","kty":"EC"}', "twice"),
    (b'{"kty":"oct","k":"AAAA"}', "kty: is neither RSA nor EC"),
    (b'{"kty":' + b"[" * 100, "nested"),
]
NO_PUBLIC = [
    (b"", "is empty"),
    (b"not a key", "is not a public key or certificate"),
    (made.private_pem(rsa_key()), "is a private key, but must be a public key; extract it with `openssl pkey -pubout`"),
    (json.dumps(private_jwk(rsa_key())).encode(), "part of a private key"),
    (made.public_pem(rsa_key(0, 1024)), "1024 bits, which is too short"),
    (made.public_pem(ED), "a type that JWE cannot encrypt for"),
    (made.public_pem(KOBLITZ), "a type that JWE cannot encrypt for"),
    (json.dumps({**public_jwk(rsa_key()), "alg": "RSA1_5"}).encode(), "does not fit it"),
    (json.dumps({**public_jwk(ec_key()), "alg": "RSA-OAEP"}).encode(), "does not fit it"),
    (json.dumps({**public_jwk(ec_key()), "x": number(5)}).encode(), "has 1 bytes"),
    (b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "is not a public key or certificate"),
]


@pytest.mark.parametrize(("content", "why"), NO_PRIVATE, ids=range(len(NO_PRIVATE)))
def test_files_that_are_no_private_key(tmp_path, content, why):
    path = tmp_path / "key"
    path.write_bytes(content)
    with pytest.raises(KeyFileError, match=why) as error:
        read_private(KeyWord(str(path)))
    assert error.value.what == str(path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(("content", "why"), NO_PUBLIC, ids=range(len(NO_PUBLIC)))
def test_files_that_are_no_public_key(tmp_path, content, why):
    path = tmp_path / "key"
    path.write_bytes(content)
    with pytest.raises(KeyFileError, match=why):
        read_recipient(str(path))


@pytest.mark.parametrize("read", [lambda path: read_private(KeyWord(path)), read_recipient])
def test_what_is_no_regular_file_is_never_waited_for(tmp_path, read):
    os.mkfifo(tmp_path / "fifo")
    places = {
        str(tmp_path / "fifo"): "is not a regular file",
        "/dev/zero": "is not a regular file",
        str(tmp_path): "is a directory",
        str(tmp_path / "none"): "no such file",
    }
    for path, why in places.items():
        with pytest.raises(KeyFileError, match=why):
            read(path)


def test_places_of_a_passphrase_that_have_none(tmp_path):
    path = tmp_path / "key"
    path.write_bytes(made.private_pem(rsa_key(), b"x"))
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "empty").write_bytes(b"")
    (tmp_path / "line").write_bytes(b"\n")
    (tmp_path / "long").write_bytes(b"x" * 2000)
    for name, why in {"fifo": "not a regular", "empty": "is empty", "line": "is empty", "long": "2000 bytes"}.items():
        with pytest.raises(KeyFileError, match=why):
            read_private(KeyWord(str(path), str(tmp_path / name)))
    with pytest.raises(KeyFileError, match="descriptor 987"):
        read_private(KeyWord(str(path), passphrase_fd=987))
    with open(tmp_path / "long", "rb") as file, pytest.raises(KeyFileError, match="more than 1024"):
        read_private(KeyWord(str(path), passphrase_fd=file.fileno()))


def test_what_is_typed_for_a_private_key(tmp_path):
    assert parse_decryption("a/key.pem") == KeyWord("a/key.pem")
    assert parse_decryption("key:file=a/b") == KeyWord("key", "a/b")
    assert parse_decryption("key:fd=7") == KeyWord("key", passphrase_fd=7)
    odd = tmp_path / "a:b"
    odd.write_bytes(b"x")
    assert parse_decryption(str(odd)) == KeyWord(str(odd))
    assert parse_decryption(f"{odd}:file=c") == KeyWord(str(odd), "c")
    assert parse_decryption("pgp") == KeyWord("pgp")


@pytest.mark.parametrize("word", ["pass=geheim", "geheim", "fd=geheim", "fd=-1", "fd=", "file=", "fd=99999999999"])
def test_a_passphrase_on_the_command_line_is_refused_and_not_repeated(word):
    with pytest.raises(UsageError) as error:
        parse_decryption(f"key.pem:{word}")
    assert "geheim" not in str(error.value)
    assert "key.pem:file=PASSPHRASEFILE" in str(error.value)


@pytest.mark.parametrize("scheme", ["pgp", "pkcs7", "pkcs11", "provider"])
def test_other_schemes_are_refused_by_name(scheme):
    with pytest.raises(UsageError, match=f"{scheme} is not supported"):
        parse_encryption(f"{scheme}:me@example.com")
    with pytest.raises(UsageError, match=f"{scheme} is not supported"):
        parse_decryption(f"{scheme}:x")


@pytest.mark.parametrize("text", ["key.pub", "jwe:", "JWE:key.pub", ""])
def test_what_does_not_say_what_a_public_key_is_for(text):
    with pytest.raises(UsageError, match="jwe:PUBLICKEYFILE"):
        parse_encryption(text)
    assert parse_encryption("jwe:a:b") == "a:b"


def test_messages_have_one_line(tmp_path):
    odd = tmp_path / "two\nlines"
    for act in (
        lambda: parse_encryption("a\nb"),
        lambda: parse_encryption("pgp:a\nb"),
        lambda: parse_decryption("a\nb:c\nd"),
        lambda: read_private(KeyWord(str(odd))),
        lambda: read_recipient(str(odd)),
    ):
        with pytest.raises((UsageError, KeyFileError)) as error:
            act()
        assert "\n" not in str(error.value)
    odd.write_bytes(b"{}")
    for read in (lambda path: read_private(KeyWord(path)), read_recipient):
        with pytest.raises(KeyFileError) as error:
            read(str(odd))
        assert "\n" not in str(error.value)
