"""Private keys in every accepted form, and signatures by them."""

import os
import stat
import subprocess

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448
from support import peers
from support.signing import MANIFEST, new_key, rsa_key

from arstore.errors import ConflictError, InvalidReferenceError, KeyFileError, NotFoundError
from arstore.trust.keys import LARGEST_KEY, pem_of, read_public_key
from arstore.trust.signing import cosign_key, key_files, pkcs8
from arstore.trust.signing.private import KINDS, cosign_pem, make_private_key, private_pem, read_private_key
from arstore.trust.signing.sign import sign_bundle, sign_image
from arstore.trust.sigstore.bundle import Attested, verify_bundle
from arstore.trust.sigstore.verify import verify_with_keys

_PEM, _PKCS8 = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
_PLAIN = serialization.NoEncryption()


def _never():
    raise AssertionError("no passphrase is needed")


@pytest.mark.parametrize("kind", KINDS)
def test_a_key_of_each_kind_signs(kind):
    key = make_private_key(kind)
    assert key.public.kind == KINDS[kind]
    found = verify_with_keys(sign_image(key, MANIFEST, "example.org/app:1"), [key.public])
    assert (found.digest, found.reference) == (MANIFEST, "example.org/app:1")
    assert verify_bundle(sign_bundle(key, MANIFEST), [key.public]) == Attested((MANIFEST,))


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_of_each_kind_reads_the_same(kind):
    key = make_private_key(kind)
    assert read_private_key(private_pem(key, None), "key", _never).public.der == key.public.der
    assert read_private_key(private_pem(key, b"secret"), "key", lambda: b"secret").public.der == key.public.der


def test_openssl_reads_it_and_writes_what_we_read(tmp_path):
    peers.need("openssl")
    key = make_private_key("ecdsa-p256")
    path = tmp_path / "key"
    path.write_bytes(private_pem(key, b"secret"))
    done = subprocess.run(
        ["openssl", "pkey", "-in", path, "-passin", "pass:secret", "-pubout"], capture_output=True, check=True
    )
    assert done.stdout == key.public.pem()
    done = subprocess.run(
        ["openssl", "pkcs8", "-topk8", "-in", path, "-passin", "pass:secret", "-passout", "pass:x", "-scrypt"],
        capture_output=True,
        check=True,
    )
    assert read_private_key(done.stdout, "key", lambda: b"x").public.der == key.public.der


def test_the_file_takes_as_much_work_as_it_says():
    pem = pkcs8.encrypted_pem(b"x" * 100, b"secret")
    assert pkcs8.ROUNDS >= 600_000
    assert pkcs8.ROUNDS.to_bytes(3, "big") in __import__("base64").b64decode(b"".join(pem.splitlines()[1:-1]))


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda key: private_pem(key, b"other"), "passphrase is wrong"),
        (lambda key: b"", "0 PEM blocks"),
        (lambda key: private_pem(key, None) * 2, "2 PEM blocks"),
        (lambda key: key.public.pem(), "PUBLIC KEY, not a private key"),
        (lambda key: private_pem(key, None)[:60] + b"\n-----END PRIVATE KEY-----", "readable"),
        (lambda key: b" " * (LARGEST_KEY + 1), "64|bytes"),
        (
            lambda key: key.key.private_bytes(_PEM, serialization.PrivateFormat.TraditionalOpenSSL, _PLAIN),
            "openssl pkcs8 -topk8",
        ),
        (lambda key: rsa_key().private_bytes(_PEM, _PKCS8, _PLAIN), "of the kind RSA"),
        (lambda key: ed448.Ed448PrivateKey.generate().private_bytes(_PEM, _PKCS8, _PLAIN), "not an ECDSA"),
        (lambda key: ec.generate_private_key(ec.SECP521R1()).private_bytes(_PEM, _PKCS8, _PLAIN), "ECDSA P-521"),
        (lambda key: ec.generate_private_key(ec.SECP256K1()).private_bytes(_PEM, _PKCS8, _PLAIN), "secp256k1"),
    ],
)
def test_files_that_are_not_taken(make, why):
    with pytest.raises(KeyFileError, match=why):
        read_private_key(make(new_key()), "key", lambda: b"secret")


@pytest.mark.parametrize("passphrase", [b"", b"x" * 1025])
def test_passphrases_that_are_not_taken(passphrase):
    with pytest.raises(KeyFileError, match="passphrase"):
        private_pem(new_key(), passphrase)
    with pytest.raises(KeyFileError, match="passphrase"):
        read_private_key(private_pem(new_key(), b"secret"), "key", lambda: passphrase)


def test_cosigns_files_take_pynacl(monkeypatch):
    monkeypatch.setattr(cosign_key.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(KeyFileError, match=r"PyNaCl.*import-key-pair"):
        read_private_key(pem_of(cosign_key.LABEL, b"{}"), "key", _never)
    with pytest.raises(KeyFileError, match="PyNaCl"):
        cosign_pem(new_key(), b"secret")


def test_cosigns_files_with_pynacl():
    pytest.importorskip("nacl")
    key = new_key()
    pem = cosign_pem(key, b"secret")
    assert read_private_key(pem, "key", lambda: b"secret").public.der == key.public.der
    with pytest.raises(KeyFileError, match="passphrase is wrong"):
        read_private_key(pem, "key", lambda: b"other")
    greedy = pem_of(
        cosign_key.LABEL,
        b'{"kdf":{"name":"scrypt","params":{"N":1073741824,"r":8,"p":1},"salt":"AA=="},'
        b'"cipher":{"name":"nacl/secretbox","nonce":"AA=="},"ciphertext":"AA=="}',
    )
    with pytest.raises(KeyFileError, match="more work"):
        read_private_key(greedy, "key", lambda: b"secret")


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("example.org/app", InvalidReferenceError),
        ("Example.org/App:1", InvalidReferenceError),
        (f"example.org/app@sha256:{'0' * 64}", InvalidReferenceError),
    ],
)
def test_names_that_say_too_little_are_not_signed(name, error):
    with pytest.raises(error):
        sign_image(new_key(), MANIFEST, name)


def test_a_name_with_the_right_digest_is_signed():
    key = new_key()
    found = verify_with_keys(sign_image(key, MANIFEST, f"busybox@{MANIFEST}"), [key.public])
    assert found.reference == f"docker.io/library/busybox@{MANIFEST}"


def test_a_pair_is_written_with_its_modes(tmp_path):
    umask = os.umask(0o377)
    try:
        paths = key_files.write_pair(str(tmp_path / "a"), b"private", b"public")
    finally:
        os.umask(umask)
    assert [stat.S_IMODE(os.stat(path).st_mode) for path in paths] == [0o600, 0o644]
    assert key_files.read_key_file(paths[0]) == b"private"


@pytest.mark.parametrize("ending", [".key", ".pub"])
def test_a_pair_replaces_nothing(tmp_path, ending):
    there = tmp_path / f"a{ending}"
    there.write_text("precious")
    with pytest.raises(ConflictError, match=f"a{ending}: the file exists already"):
        key_files.write_pair(str(tmp_path / "a"), b"private", b"public")
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {f"a{ending}": "precious"}


def test_a_pair_follows_no_symlink(tmp_path):
    (tmp_path / "a.key").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ConflictError):
        key_files.write_pair(str(tmp_path / "a"), b"private", b"public")
    assert not (tmp_path / "elsewhere").exists()


def test_files_that_are_none_are_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    for path in (tmp_path / "fifo", tmp_path, "/dev/zero"):
        with pytest.raises(KeyFileError, match="regular file"):
            key_files.read_key_file(str(path))
    with pytest.raises(NotFoundError):
        key_files.read_key_file(str(tmp_path / "nothing"))
    (tmp_path / "large").write_bytes(bytes(LARGEST_KEY + 1))
    with pytest.raises(KeyFileError, match="more than"):
        key_files.read_key_file(str(tmp_path / "large"))


@pytest.mark.parametrize(
    ("content", "expected"), [(b"secret", b"secret"), (b"secret\n", b"secret"), (b" a b \r\nmore", b" a b ")]
)
def test_the_first_line_of_a_file_is_the_passphrase(tmp_path, content, expected):
    (tmp_path / "file").write_bytes(content)
    assert key_files.read_passphrase_file(str(tmp_path / "file")) == expected


@pytest.mark.parametrize("content", [b"", b"\n", b"x" * 1025])
def test_files_without_a_passphrase(tmp_path, content):
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(KeyFileError, match="first line"):
        key_files.read_passphrase_file(str(tmp_path / "file"))


def test_a_public_key_is_what_verifies():
    key = new_key()
    assert read_public_key(key.public.pem(), "key").der == key.public.der
