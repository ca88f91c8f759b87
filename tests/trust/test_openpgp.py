"""Simple signing with a real gpg, and with programs that misbehave in its place."""

import os
import stat
import time

import pytest
from support import peers
from support.gpg import Gpg
from support.signing import STATEMENT

from arstore.errors import HostError, KeyFileError, SignatureError
from arstore.trust.openpgp import program, sequoia, status
from arstore.trust.openpgp.sign import sign
from arstore.trust.openpgp.verify import opened, verify, verify_statement
from arstore.trust.payload import SIMPLE, write_statement

_NAME = "signer@example.org"


@pytest.fixture(scope="module")
def gpg(tmp_path_factory):
    peers.need("gpg")
    made = Gpg(tmp_path_factory.mktemp("g"))
    made.new_key(_NAME)
    yield made
    made.close()


def test_what_we_sign_is_verified(gpg):
    made = sign(STATEMENT, _NAME, b"", gpg.environ)
    with opened([gpg.public(_NAME)]) as keys:
        assert verify_statement(made.blob, keys) == (STATEMENT, gpg.fingerprint(_NAME))
        assert verify_statement(made.blob, keys) == (STATEMENT, gpg.fingerprint(_NAME))


@pytest.mark.parametrize("options", [(), ("-z", "0"), ("--textmode",), ("--digest-algo", "SHA512")])
def test_forms_of_good_messages(gpg, options):
    blob = gpg.sign(_NAME, write_statement(STATEMENT, SIMPLE), *options)
    rings = [gpg.public(_NAME)], [gpg.public(_NAME, armor=True)]
    assert {verify(blob, ring).fingerprint for ring in rings} == {gpg.fingerprint(_NAME)}


def test_a_subkey_signs_for_its_primary(gpg):
    fingerprint = gpg.new_key("sub@example.org")
    gpg.new_subkey(fingerprint)
    blob = gpg.sign("sub@example.org", b"x")
    assert verify(blob, [gpg.public(_NAME), gpg.public("sub@example.org")]).fingerprint == fingerprint


def test_the_users_own_keyring_does_not_count(gpg, monkeypatch):
    gpg.new_key("stranger@example.org")
    blob = gpg.sign("stranger@example.org", b"x")
    monkeypatch.setenv("GNUPGHOME", str(gpg.home))
    with pytest.raises(SignatureError, match="not in the keyring"):
        verify(blob, [gpg.public(_NAME)])


@pytest.mark.parametrize("key", ["nobody@example.org", "--list-keys", "", " "])
def test_a_key_that_is_not_there_does_not_sign(gpg, key):
    with pytest.raises(KeyFileError):
        sign(STATEMENT, key, b"", gpg.environ)


def test_the_home_directory_is_gone_afterwards(gpg, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    blob = gpg.sign(_NAME, b"x")
    verify(blob, [gpg.public(_NAME)])
    with pytest.raises(SignatureError):
        verify(blob[:-3], [gpg.public(_NAME)])
    assert list(tmp_path.iterdir()) == []


def test_without_gpg_and_pysequoia_nothing_is_verified(monkeypatch):
    monkeypatch.setattr(sequoia, "available", lambda: False)
    with pytest.raises(HostError, match="neither gpg nor pysequoia"), opened([b"key"], ""):
        pass


def _script(path, text):
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


def test_a_program_that_does_not_end_is_ended(tmp_path, monkeypatch):
    monkeypatch.setattr(program, "SECONDS", 1)
    begun = time.monotonic()
    with pytest.raises(SignatureError, match="within 1 s"):
        program.run(_script(tmp_path / "gpg", "exec sleep 60"), [], os.environ)
    assert time.monotonic() - begun < 20


@pytest.mark.parametrize("text", ["exec cat /dev/zero", "exec cat /dev/zero >/proc/self/fd/$3"])
def test_a_program_that_says_too_much_is_ended(tmp_path, text):
    path = _script(tmp_path / "gpg", "shift 4; " + text.replace("$3", "$1"))
    with pytest.raises(SignatureError, match="holds more than"):
        program.run(path, [], os.environ, b"x" * (1 << 20), 1000)


def test_a_program_that_is_not_there():
    with pytest.raises(HostError, match="cannot be run"):
        program.run("/nowhere/gpg", [], os.environ)


_VALID = f"VALIDSIG {'A' * 40} 2026-01-01 1 0 4 0 22 8 00 {'B' * 40}"
_GOOD = ["NEWSIG", "GOODSIG 0 x", _VALID, "PLAINTEXT 62 0 "]


def test_status_lines_of_a_good_message():
    assert status.signer_of(_GOOD, 0) == "B" * 40


@pytest.mark.parametrize("name", sorted(status._BAD))
def test_any_bad_line_is_the_end(name):
    with pytest.raises(SignatureError):
        status.signer_of([*_GOOD, f"{name} 1"], 0)


@pytest.mark.parametrize("number", range(4))
def test_each_line_must_be_there_once(number):
    with pytest.raises(SignatureError):
        status.signer_of([*_GOOD[:number], *_GOOD[number + 1 :]], 0)
    with pytest.raises(SignatureError):
        status.signer_of([*_GOOD, _GOOD[number]], 0)


@pytest.mark.parametrize(
    ("old", "new"),
    [(" 00 ", " 10 "), (" 8 ", " 2 "), (" 8 ", " 1 "), ("B" * 40, "B" * 39), ("B" * 40, ""), (" 0 4", " 4")],
)
def test_the_details_count(old, new):
    with pytest.raises(SignatureError):
        status.signer_of([line.replace(old, new) if line == _VALID else line for line in _GOOD], 0)


def test_a_status_other_than_0_is_not_good():
    with pytest.raises(SignatureError):
        status.signer_of(_GOOD, 2)
