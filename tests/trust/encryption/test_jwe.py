"""JWE: which ones are opened, skipped and refused."""

from __future__ import annotations

import json
from base64 import b64decode, urlsafe_b64decode
from contextlib import suppress

import pytest
from cryptography.hazmat.primitives import hashes
from hypothesis import given, settings
from hypothesis import strategies as st
from support import encryption as made
from support.encryption import ec_key, rsa_key, text

from arstore.errors import DecryptionError
from arstore.trust.encryption import jwe

KEYS = {"rsa": rsa_key(), **{curve: ec_key(curve) for curve in made.CURVES}}
OTHERS = {"rsa": rsa_key(1), **{curve: ec_key(curve, 1) for curve in made.CURVES}}
PLAIN = b'{"a":1}'


def algorithm(key):
    return jwe.RSA_OAEP if key is KEYS["rsa"] else jwe.ECDH_256


def opened(raw, key):
    return jwe.opened(jwe.read(raw, "layer"), key, "layer")


@pytest.mark.parametrize("name", KEYS)
def test_one_recipient(name):
    raw = made.jwe(PLAIN, KEYS[name])
    assert opened(raw, KEYS[name]) == PLAIN
    assert [opened(raw, other) for other in OTHERS.values()] == [None] * 4
    assert jwe.read(raw, "layer").algorithms == (algorithm(KEYS[name]),)


def test_several_recipients():
    raw = made.jwe(PLAIN, *KEYS.values())
    assert [opened(raw, key) for key in KEYS.values()] == [PLAIN] * 4
    assert [opened(raw, key) for key in OTHERS.values()] == [None] * 4
    without = made.jwe(PLAIN, *KEYS.values(), members=lambda one: one.pop("encrypted_key"))
    assert opened(without, KEYS["P-521"]) == PLAIN


def test_oaep_with_sha256_and_named_parties():
    assert opened(made.jwe(PLAIN, KEYS["rsa"], oaep=hashes.SHA256()), KEYS["rsa"]) == PLAIN
    assert opened(made.jwe(PLAIN, KEYS["P-256"], parties=(b"Alice", b"Bob")), KEYS["P-256"]) == PLAIN


@pytest.mark.parametrize("names", [["rsa"], ["P-256"], ["P-384"], ["P-521"], ["rsa", "P-521"], list(KEYS)])
def test_what_is_sealed_is_opened(names):
    recipients = [(KEYS[name].public_key(), algorithm(KEYS[name])) for name in names]
    raw = jwe.sealed(PLAIN, recipients)
    assert [opened(raw, KEYS[name]) for name in names] == [PLAIN] * len(names)
    assert all(opened(raw, OTHERS[name]) is None for name in names)
    assert jwe.sealed(PLAIN, recipients) != raw
    members = json.loads(raw)
    header = json.loads(b64decode(members["protected"] + "==", altchars=b"-_"))
    expected = {"protected", "iv", "ciphertext", "tag"}
    if len(names) == 1:
        assert set(members) == expected | {"encrypted_key"}
        assert set(header) == {"enc", "alg"} | ({"epk"} if names != ["rsa"] else set())
    else:
        assert set(members) == expected | {"recipients"}
        assert header == {"enc": "A256GCM"}


def test_the_agreed_key_is_that_of_the_standard():
    """RFC 7518, appendix C."""
    shared = bytes.fromhex("9e56d91d817135d372834283bf84269cfb316ea3da806a48f6daa7798cfe90c4")
    assert text(jwe.agreed(shared, "A128GCM", 16, b"Alice", b"Bob")) == "VqqN6vgjbSBcIijNcacQGg"


def test_another_key_of_the_same_kind_is_tried_after_the_first():
    raw = made.jwe(PLAIN, OTHERS["P-256"], KEYS["P-256"], OTHERS["rsa"], KEYS["rsa"])
    assert opened(raw, KEYS["P-256"]) == opened(raw, KEYS["rsa"]) == PLAIN


MEMBERS_OF_ONE = ("protected", "iv", "ciphertext", "tag", "encrypted_key")
SEALED = {name: made.jwe(PLAIN, key) for name, key in KEYS.items()}


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from(list(KEYS)), st.sampled_from(["protected", "iv", "ciphertext", "tag", "encrypted_key"]), st.data()
)
def test_a_changed_bit_anywhere_closes_it(name, member, data):
    members = json.loads(SEALED[name])
    raw = bytearray(urlsafe_b64decode(members[member] + "=="))
    bit = data.draw(st.integers(0, len(raw) * 8 - 1))
    raw[bit // 8] ^= 1 << bit % 8
    members[member] = text(bytes(raw))
    with suppress(DecryptionError):
        assert opened(json.dumps(members).encode(), KEYS[name]) is None


WORDS = st.sampled_from(["RSA-OAEP", "P-256", "A256GCM"])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20) | WORDS,
    lambda some: st.lists(some, max_size=3) | st.dictionaries(st.sampled_from(
        ["protected", "recipients", "header", "alg", "enc", "epk", "iv", "tag", "ciphertext", "encrypted_key", "x"]
    ), some, max_size=4),
    max_leaves=12,
)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=60) | JSON.map(lambda value: json.dumps(value).encode()))
def test_whatever_it_is_the_error_is_one_of_ours(raw):
    with pytest.raises(DecryptionError):
        jwe.read(raw, "layer")


def put(**changes):
    return lambda document: document.update(changes)


def drop(name):
    return lambda document: document.pop(name)


def epk(**changes):
    return lambda header: header["epk"].update(changes)


def point(curve):
    return made.jwk(ec_key(curve, 2).public_key())


OFF = text((5).to_bytes(32, "big"))
EC, RSA = KEYS["P-256"], KEYS["rsa"]
HEADERS = [
    ("alg none", RSA, put(alg="none"), "alg: is none"),
    ("alg empty", RSA, put(alg=""), "alg: is missing"),
    ("alg missing", RSA, drop("alg"), "alg: is missing"),
    ("alg dir", RSA, put(alg="dir"), "alg: is dir"),
    ("alg RSA1_5", RSA, put(alg="RSA1_5"), "alg: is RSA1_5"),
    ("alg RSA-OAEP-512", RSA, put(alg="RSA-OAEP-512"), "alg: is RSA-OAEP-512"),
    ("alg A256KW", RSA, put(alg="A256KW"), "alg: is A256KW"),
    ("alg A256GCMKW", RSA, put(alg="A256GCMKW", iv="AA", tag="AA"), "unknown header parameter|alg: is A256GCMKW"),
    ("alg ECDH-ES, without wrapping", EC, put(alg="ECDH-ES"), "alg: is ECDH-ES;"),
    ("PBES2 with 2^31 rounds", RSA, put(alg="PBES2-HS256+A128KW", p2c=1 << 31, p2s="AA"), "p2c: is an unknown header"),
    ("PBES2 alone", RSA, put(alg="PBES2-HS512+A256KW"), "alg: is PBES2-HS512"),
    ("alg a list", RSA, put(alg=["RSA-OAEP"]), "not a string"),
    ("enc A128CBC-HS256", RSA, put(enc="A128CBC-HS256"), "enc: is A128CBC-HS256"),
    ("enc A128GCM", RSA, put(enc="A128GCM"), "enc: is A128GCM"),
    ("enc missing", RSA, drop("enc"), "enc: is missing"),
    ("zip DEF", RSA, put(zip="DEF"), "zip: compressed plaintexts"),
    ("crit", RSA, put(crit=["exp"], exp=1), "crit: critical"),
    ("jku", RSA, put(jku="https://keys.example.com/"), "jku: is an unknown header"),
    ("jwk", RSA, put(jwk=point("P-256")), "jwk: is an unknown header"),
    ("x5c", RSA, put(x5c=["AA=="]), "x5c: is an unknown header"),
    ("epk missing", EC, drop("epk"), "epk: is missing"),
    ("epk no object", EC, put(epk="x"), "not an object"),
    ("epk without curve", EC, epk(crv=""), "crv: is missing"),
    ("apu too long", EC, put(apu="A" * 1000), "apu: has 1000 characters"),
    ("apv no base64url", EC, put(apv="+/"), "apv: is not base64url"),
]  # fmt: skip
MEMBERS = [
    ("unprotected header", put(unprotected={"alg": "RSA-OAEP"}), "unprotected: is an unknown"),
    ("aad", put(aad="AA"), "aad: is an unknown"),
    ("enc in the recipient's header", put(header={"enc": "A256GCM"}), "two headers"),
    ("alg twice", put(header={"alg": "RSA-OAEP"}), "two headers"),
    ("no protected header", drop("protected"), "protected: is missing"),
    ("an empty protected header", put(protected=text(b"{}")), "enc: is missing"),
    ("a protected header of a list", put(protected=text(b"[]")), "list"),
    ("padding", put(tag="AAAAAAAAAAAAAAAAAA=="), "tag: is not base64url"),
    ("standard base64", put(tag="++++++++++++++++++++++"), "tag: is not base64url"),
    ("white space", put(tag="AAAA AAAAAAAAAAAAAAAAA"), "tag: is not base64url"),
    ("bits that mean nothing", put(tag="AAAAAAAAAAAAAAAAAAAAAB"), "tag: is not base64url"),
    ("a short tag", put(tag="AAAA"), "tag: has 3 bytes"),
    ("a long tag", put(tag="A" * 24), "tag: has 24 characters|tag: has 18 bytes"),
    ("a short iv", put(iv="AAAA"), "iv: has 3 bytes"),
    ("a long iv", put(iv="A" * 22), "iv: has"),
    ("no key", drop("encrypted_key"), "encrypted_key: is missing"),
    ("no ciphertext", drop("ciphertext"), "ciphertext: is missing"),
    ("a huge ciphertext", put(ciphertext="A" * 20000), "ciphertext: has 20000"),
    ("no recipients", put(recipients=[]), "there are 0"),
    ("recipients beside a header", put(recipients=[{"encrypted_key": "AA"}], header={}), "together with members"),
    ("recipients beside another key", put(recipients=[{"encrypted_key": "AA"}]), "together with members"),
    ("257 recipients", put(recipients=[{"encrypted_key": "AA"}] * 257, encrypted_key=""), "there are 257"),
    ("a recipient with more", put(recipients=[{"encrypted_key": "AA", "x": 1}], encrypted_key="AA"), "x: is an"),
    ("a number", put(iv=1), "not a string"),
]  # fmt: skip


@pytest.mark.parametrize(("key", "header", "why"), [row[1:] for row in HEADERS], ids=[row[0] for row in HEADERS])
def test_headers_that_are_refused(key, header, why):
    with pytest.raises(DecryptionError, match=why):
        jwe.read(made.jwe(PLAIN, key, header=header), "layer")


@pytest.mark.parametrize(("members", "why"), [row[1:] for row in MEMBERS], ids=[row[0] for row in MEMBERS])
def test_members_that_are_refused(members, why):
    with pytest.raises(DecryptionError, match=why):
        jwe.read(made.jwe(PLAIN, RSA, members=members), "layer")


RAW = [
    ("nothing", b"", "not a JWE in JSON"),
    ("the compact form", b"eyJhbGciOiJkaXIifQ..a.b.c", "not a JWE in JSON"),
    ("a key twice", b'{"protected":"","protected":""}', "twice"),
    ("deep", b'{"header":' * 200 + b"1" + b"}" * 200, "nested"),
    ("huge", b'{"x":"' + b"A" * (300 << 10) + b'"}', "bytes"),
    ("no UTF-8", b'{"x":"\xff"}', "not UTF-8"),
    ("NaN", b'{"x":NaN}', "NaN"),
    ("not finished", b'{"x":', "not valid JSON"),
]


@pytest.mark.parametrize(("raw", "why"), [row[1:] for row in RAW], ids=[row[0] for row in RAW])
def test_bytes_that_are_refused(raw, why):
    with pytest.raises(DecryptionError, match=why):
        jwe.read(raw, "layer")


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (epk(y=OFF), "not a point of that curve"),
        (epk(x=text(b"\0" * 32), y=text(b"\0" * 32)), "not a point of that curve"),
        (epk(x=text(b"\xff" * 32)), "not a point of that curve"),
        (epk(x=text(b"\1" * 31)), "has 31 bytes"),
        (epk(x=text(b"\0" + b"\1" * 32)), "has 33 bytes"),
        (epk(kty="OKP"), "kty: is not EC"),
        (epk(x=""), "x: is missing"),
    ],
)
def test_ephemeral_keys_that_are_no_points_of_the_curve(change, why):
    with pytest.raises(DecryptionError, match=why):
        opened(made.jwe(PLAIN, EC, header=change), EC)


def test_an_ephemeral_key_of_another_curve_is_for_another_key():
    raw = made.jwe(PLAIN, EC, header=put(epk=point("P-384")))
    assert opened(raw, EC) is None
    assert opened(raw, KEYS["P-384"]) is None


def test_algorithms_are_not_confused():
    """A recipient of RSA is never tried with an elliptic key, nor the reverse, whatever is announced."""
    assert opened(made.jwe(PLAIN, RSA, header=put(alg="ECDH-ES+A256KW", epk=point("P-256"))), EC) is None
    assert opened(made.jwe(PLAIN, EC, header=put(alg="RSA-OAEP")), RSA) is None
    assert opened(made.jwe(PLAIN, RSA, header=put(alg="RSA-OAEP-256")), RSA) is None


def test_what_is_closed_for_the_protected_header_cannot_be_moved_to_another():
    one, other = (json.loads(made.jwe(PLAIN, RSA)) for _ in range(2))
    assert opened(json.dumps({**one, "protected": other["protected"]}).encode(), RSA) == PLAIN
    changed = made.jwe(
        PLAIN, RSA, members=lambda all_: all_.update(protected=text(b'{"enc":"A256GCM","alg":"RSA-OAEP" }'))
    )
    assert opened(changed, RSA) is None
