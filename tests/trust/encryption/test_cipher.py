"""The layer cipher: a vector of NIST, pieces of any size, and refusals by HMAC and options."""

from __future__ import annotations

import hmac
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from arstore.digest import Digest
from arstore.errors import DecryptionError
from arstore.trust.encryption.cipher import Decrypting, Encrypting
from arstore.trust.encryption.options import ContentKey, Public, content_key, private

KEY = bytes.fromhex("603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4")
NONCE = bytes.fromhex("f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff")
PLAIN = bytes.fromhex("6bc1bee22e409f96e93d7e117393172a")
BLOB = bytes.fromhex("601ec313775789a5b7a7f504bbf3d228")
"""NIST SP 800-38A, F.5.5, the first block."""


def test_the_vector_of_nist():
    cipher = Decrypting(ContentKey(KEY, NONCE, hmac.digest(KEY, BLOB, "sha256")))
    assert cipher.update(BLOB) == PLAIN
    cipher.verify("layer")


@settings(max_examples=60, deadline=None)
@given(st.lists(st.binary(max_size=100), max_size=8), st.integers(1, 50))
def test_what_was_encrypted_in_pieces_is_decrypted_in_others(pieces, size):
    encrypting = Encrypting()
    blob = b"".join(map(encrypting.update, pieces))
    decrypting = Decrypting(ContentKey(encrypting.key, encrypting.nonce, encrypting.mac()))
    parts = [decrypting.update(blob[start : start + size]) for start in range(0, len(blob), size)]
    decrypting.verify("layer")
    assert b"".join(parts) == b"".join(pieces)
    assert len(blob) == len(b"".join(pieces))


@settings(max_examples=60, deadline=None)
@given(st.binary(min_size=1, max_size=200), st.data())
def test_a_changed_bit_is_noticed(plain, data):
    encrypting = Encrypting()
    blob = bytearray(encrypting.update(plain))
    bit = data.draw(st.integers(0, len(blob) * 8 - 1))
    blob[bit // 8] ^= 1 << bit % 8
    decrypting = Decrypting(ContentKey(encrypting.key, encrypting.nonce, encrypting.mac()))
    decrypting.update(bytes(blob))
    with pytest.raises(DecryptionError, match="HMAC is wrong"):
        decrypting.verify("layer")


@pytest.mark.parametrize("change", [lambda blob: blob[:-1], lambda blob: blob + b"x", lambda _blob: b""])
def test_a_cut_or_longer_blob_is_noticed(change):
    encrypting = Encrypting()
    blob = encrypting.update(b"something")
    decrypting = Decrypting(ContentKey(encrypting.key, encrypting.nonce, encrypting.mac()))
    decrypting.update(change(blob))
    with pytest.raises(DecryptionError):
        decrypting.verify("layer")


def test_no_two_layers_have_one_key_or_one_nonce():
    made = [Encrypting() for _ in range(20)]
    assert len({one.key for one in made}) == len({one.nonce for one in made}) == 20


def test_options_are_read_as_they_were_built():
    digest = Digest.of(b"plain")
    public = Public.parse(Public.build(b"m" * 32), "layer")
    assert content_key(private(KEY, NONCE, digest), public, "layer") == ContentKey(KEY, NONCE, b"m" * 32)


def test_a_key_is_not_printed():
    assert KEY.hex() not in repr(ContentKey(KEY, NONCE, b""))
    assert repr(KEY) not in str(ContentKey(KEY, NONCE, b""))


def document(**changes):
    base = {"cipher": "AES_256_CTR_HMAC_SHA256", "hmac": "bQ" * 21 + "0=", "cipheroptions": {}}
    made = {**base, "hmac": "bW1tbW1tbW1tbW1tbW1tbW1tbW1tbW1tbW1tbW1tbW0=", **changes}
    return json.dumps({key: value for key, value in made.items() if value is not ...}).encode()


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        (b"", "is empty"),
        (b"[]", "a list"),
        (b"{", "not valid JSON"),
        (document(cipher="AES_256_GCM"), "encrypted with AES_256_GCM"),
        (document(cipher=...), "does not name its cipher"),
        (document(cipher=7), "not a string"),
        (document(hmac=...), "is missing"),
        (document(hmac="bW1t"), "has 3 bytes"),
        (document(hmac="!"), "is not base64"),
        (document(cipheroptions={"nonce": "bW1t"}), "has 3 bytes"),
        (document(cipheroptions=[]), "not an object"),
        (document(CIPHER="x"), "is spelt cipher"),
        (b'{"cipher":"x","cipher":"y"}', "twice"),
        (b" " * 20000 + document(), "bytes"),
        (b'{"a":' * 60 + b"1" + b"}" * 60, "nested"),
    ],
)
def test_public_options_that_are_refused(raw, why):
    with pytest.raises(DecryptionError, match=why):
        Public.parse(raw, "layer")


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        (b'{"symkey":"bW1t","cipheroptions":{"nonce":"bW1tbW1tbW1tbW1tbW1tbQ=="}}', "symkey: has 3 bytes"),
        (b'{"cipheroptions":{"nonce":"bW1tbW1tbW1tbW1tbW1tbQ=="}}', "symkey: is missing"),
        (b'{"symkey":"bW1tbW1tbW1tbW1tbW1tbW1tbW1tbW1tbW1tbW1tbW0="}', "no nonce"),
        (b'{"symkey":"bW1tbW1tbW1tbW1tbW1tbW1tbW1tbW1tbW1tbW1tbW0=","cipheroptions":{"nonce":"bQ=="}}', "has 1 bytes"),
        (b"null", "null"),
    ],
)
def test_private_options_that_are_refused(raw, why):
    with pytest.raises(DecryptionError, match=why):
        content_key(raw, Public(b"m" * 32), "layer")


def test_two_nonces_must_agree():
    raw = private(KEY, NONCE, Digest.of(b""))
    assert content_key(raw, Public(b"m" * 32, NONCE), "layer").nonce == NONCE
    with pytest.raises(DecryptionError, match="two different nonces"):
        content_key(raw, Public(b"m" * 32, b"n" * 16), "layer")
