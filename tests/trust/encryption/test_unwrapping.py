"""Annotations of a layer, and opening them with the user's keys."""

from __future__ import annotations

from base64 import b64encode

import pytest
from support import encryption as made
from support.encryption import JWE, PREFIX, PUBLIC, ec_key, rsa_key

from arstore.errors import DecryptionError, KeyFileError
from arstore.trust.encryption import lock as locks
from arstore.trust.encryption.key_file import KeyWord
from arstore.trust.encryption.lock import Lock
from arstore.trust.encryption.options import ContentKey
from arstore.trust.encryption.unwrapping import Trials, content_keys, described, unlocked


def notes(*keys, **more):
    locked = made.Locked(b"plain")
    return locked, {**locked.annotations(*keys), **more}


def unlock(annotations, *keys, most=100):
    return unlocked(Lock.read(annotations, "layer"), keys, "layer", Trials(most))


def test_a_key_opens_a_layer():
    locked, found = notes(rsa_key(), ec_key())
    for keys in ([rsa_key()], [ec_key()], [rsa_key(1), ec_key("P-521"), ec_key()]):
        opened = unlock(found, *keys)
        assert (opened.key, opened.nonce) == (locked.key, locked.nonce)


def test_a_jwe_that_was_added_later_is_tried_too():
    """ocicrypt adds recipients as one more JWE, after a comma."""
    locked, found = notes(rsa_key())
    later = locked.annotations(ec_key())[JWE]
    found[JWE] = f"{found[JWE]},{later}"
    assert unlock(found, ec_key()).key == unlock(found, rsa_key()).key == locked.key


def test_who_may_open_it_is_told():
    _, found = notes(rsa_key(), ec_key("P-384"))
    with pytest.raises(
        DecryptionError, match=r"the key does not decrypt it: .* 2 keys of jwe \(RSA-OAEP, ECDH-ES\+A256KW\)"
    ):
        unlock(found, ec_key("P-384", 1))
    with pytest.raises(DecryptionError, match="none of the 2 given keys"):
        unlock({**found, f"{PREFIX}keys.pgp": "x"}, rsa_key(1), rsa_key(2))
    assert described({**found, f"{PREFIX}keys.pkcs7": "x"}, "layer").endswith(", pkcs7 (certificates)")


@pytest.mark.parametrize(
    ("scheme", "shown"),
    [
        ("pgp", "pgp (OpenPGP)"),
        ("pkcs7", "pkcs7 (certificates)"),
        ("pkcs11", "pkcs11"),
        ("provider.kms", "provider.kms"),
    ],
)
def test_other_schemes_are_named(scheme, shown):
    _, found = notes(rsa_key())
    del found[JWE]
    found[f"{PREFIX}keys.{scheme}"] = "eA=="
    with pytest.raises(DecryptionError, match="which arstore does not support") as error:
        unlock(found, rsa_key())
    assert shown in str(error.value)


def put(key, text):
    return lambda found: found.update({key: text})


BROKEN = [
    ("no keys", lambda found: found.pop(JWE), "has no wrapped key"),
    ("an empty list", put(JWE, ""), "has no wrapped key"),
    ("no options", lambda found: found.pop(PUBLIC), "does not name its cipher"),
    ("options that are no base64", put(PUBLIC, "!"), "is not base64"),
    ("a key that is no base64", put(JWE, "a"), "is not base64"),
    ("an empty key in the list", lambda found: found.update({JWE: found[JWE] + ","}), "not a JWE in JSON"),
    ("65 keys", lambda found: found.update({JWE: ",".join(["e30="] * 66)}), "more wrapped keys"),
    ("2 MiB", put(JWE, "A" * (2 << 20)), "more wrapped keys"),
    ("2 MiB of options", put(PUBLIC, "A" * (2 << 20)), "characters"),
    ("a JWE of a list", put(JWE, b64encode(b"[]").decode()), "not a JWE in JSON"),
    ("a JWE of nothing", put(JWE, b64encode(b"{}").decode()), "protected: is missing"),
]


@pytest.mark.parametrize(("edit", "why"), [row[1:] for row in BROKEN], ids=[row[0] for row in BROKEN])
def test_annotations_that_are_refused(edit, why):
    _, found = notes(rsa_key())
    edit(found)
    with pytest.raises(DecryptionError, match=why):
        unlock(found, rsa_key())


def test_keys_are_not_tried_for_ever():
    locked = made.Locked(b"")
    found = locked.annotations(*[ec_key("P-256", 1)] * 200)
    with pytest.raises(DecryptionError, match="more than 1000 times"):
        unlock(found, *[ec_key("P-256", 2)] * 6, most=1000)
    assert unlock(found, *[rsa_key(1)] * 6, ec_key("P-256", 1), most=200).key == locked.key


def test_annotations_without_those_about_encryption():
    _, found = notes(rsa_key(), **{"org.example": "x"})
    assert locks.without(found) == {"org.example": "x"}


def test_files_are_read_in_another_process(tmp_path):
    private, _ = made.write(tmp_path, "rsa", rsa_key())
    locked, found = notes(rsa_key())
    keys = content_keys({"layer": Lock.read(found, "layer")}, [KeyWord(str(private))])
    opened = keys["layer"]
    assert isinstance(opened, ContentKey)
    assert opened.key == locked.key
    for word, error in ((KeyWord("/none"), KeyFileError), (KeyWord("/dev/zero"), KeyFileError)):
        with pytest.raises(error):
            content_keys({"layer": Lock.read(found, "layer")}, [KeyWord(str(private)), word])
