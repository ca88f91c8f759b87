"""Public keys of every accepted kind, in every form, and signatures that other tools make with them."""

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding
from support.signing import rsa_key

from arstore.errors import SignatureError
from arstore.trust.keys import decoded, pem_of, public_key, read_public_key, verify_with_any

_MESSAGE = b"a message"
_ECDSA = {"P-256": ec.SECP256R1, "P-384": ec.SECP384R1, "P-521": ec.SECP521R1}


@pytest.mark.parametrize(
    ("curve", "name"),
    [("P-256", "SHA256"), ("P-384", "SHA256"), ("P-384", "SHA384"), ("P-521", "SHA256"), ("P-521", "SHA512")],
)
def test_ecdsa_with_the_hashes_that_cosign_and_skopeo_take(curve, name):
    key = ec.generate_private_key(_ECDSA[curve]())
    public = public_key(key.public_key(), "key")
    assert public.kind == f"ECDSA {curve}"
    public.verify(key.sign(_MESSAGE, ec.ECDSA(getattr(hashes, name)())), _MESSAGE)


def test_rsa_and_ed25519():
    key = rsa_key()
    public_key(key.public_key(), "key").verify(key.sign(_MESSAGE, padding.PKCS1v15(), hashes.SHA256()), _MESSAGE)
    other = ed25519.Ed25519PrivateKey.generate()
    public_key(other.public_key(), "key").verify(other.sign(_MESSAGE), _MESSAGE)


def test_every_form_of_a_key_is_the_same_key():
    key = rsa_key().public_key()
    spki = serialization.PublicFormat.SubjectPublicKeyInfo
    forms = [
        key.public_bytes(serialization.Encoding.PEM, spki),
        key.public_bytes(serialization.Encoding.DER, spki),
        key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.PKCS1),
        b"some words before\n" + key.public_bytes(serialization.Encoding.PEM, spki) + b"and after\n",
    ]
    found = [read_public_key(form, "key") for form in forms]
    assert {one.der for one in found} == {forms[1]}
    assert found[0].pem() == forms[0]
    assert len(found[0].fingerprint) == 64
    assert len(decoded(found[0].hint, "hint")) == 32


def test_the_key_that_signed_is_found_among_others():
    keys = [ed25519.Ed25519PrivateKey.generate() for _ in range(3)]
    public = [public_key(one.public_key(), "key") for one in keys]
    made = keys[1].sign(_MESSAGE)
    assert verify_with_any(public, made, _MESSAGE) is public[1]
    with pytest.raises(SignatureError, match="not made with any of the 2 keys"):
        verify_with_any([public[0], public[2]], made, _MESSAGE)
    with pytest.raises(SignatureError, match="Ed25519ph"):
        verify_with_any([public[0]], made, _MESSAGE)


@pytest.mark.parametrize("size", [0, 1, 47, 48, 49, 5000])
def test_pem_is_that_of_other_tools(size):
    text = pem_of("X", bytes(size)).decode()
    lines = text.splitlines()
    assert (lines[0], lines[-1]) == ("-----BEGIN X-----", "-----END X-----")
    assert all(len(line) == 64 for line in lines[1:-2])
