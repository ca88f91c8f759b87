"""No attack is accepted as a signature, and each valid part that it was made of is accepted."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path

import pytest
from support import peers, spending
from support.signing import EMAIL, MANIFEST, NOW, PAYLOAD, STATEMENT, base64_of, entry, signed
from trust.attacking import ATTACKS, messages
from trust.attacking.world import World

from arstore.errors import KeyFileError, SignatureError
from arstore.trust.openpgp import sequoia
from arstore.trust.openpgp.verify import opened, verify_statement
from arstore.trust.payload import SIMPLE, write_statement
from arstore.trust.signing.sign import sign_bundle
from arstore.trust.sigstore.bundle import verify_bundle

REPOSITORY = Path(__file__).resolve().parent.parent.parent
PAGE = REPOSITORY / "docs" / "design" / "trust-attacks.md"
MOST_SECONDS = 20
"""Seconds of processor time, far more than any of them takes; some attacks would otherwise take forever."""


@pytest.fixture(scope="module")
def world():
    made = World()
    yield made
    made.close()


@pytest.fixture(scope="module")
def row():
    """The function that writes a line of the documented table."""
    path = str(REPOSITORY / "tools")
    sys.path.insert(0, path)
    yield importlib.import_module("trust_attacks").row
    sys.path.remove(path)


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: f"{attack.kind}: {attack.name}")
def test_an_attack_is_refused(world, attack, row):
    if attack.kind == "OpenPGP message":
        peers.need("gpg")
    begun = spending.spent()
    with pytest.raises((SignatureError, KeyFileError)) as refused:
        attack.attempt(world)
    assert spending.spent() - begun < MOST_SECONDS
    line = str(refused.value)
    assert "\n" not in line
    assert line.isprintable()
    assert len(line) < 400
    written = row(attack, refused.value)
    if attack.kind == "OpenPGP message":
        # gpg's messages differ between its versions.
        written = written.split(" | ")[0]
    assert written in PAGE.read_text()


@pytest.fixture(scope="module")
def second_world():
    """A second world: an attack that revokes a key can be tried once in each."""
    made = World()
    yield made
    made.close()


@pytest.mark.skipif(not sequoia.available(), reason="pysequoia is not installed")
@pytest.mark.parametrize("attack", messages.ATTACKS, ids=lambda attack: attack.name)
def test_pysequoia_refuses_the_same_messages(second_world, attack):
    peers.need("gpg")
    with pytest.raises((SignatureError, KeyFileError)):
        attack.attempt(second_world, "")


def test_the_good_ones_are_taken(world):
    assert world.by_key(world.good()) == STATEMENT
    assert world.logged() == STATEMENT
    assert world.certified() == STATEMENT
    assert world.privately() == STATEMENT
    assert world.says(PAYLOAD) == STATEMENT
    assert verify_bundle(sign_bundle(world.key, MANIFEST), [world.key.public]).subjects == (MANIFEST,)
    promised = entry(world.log, world.key.public.pem(), world.key.sign(b"x"), b"x")
    assert base64_of(b"") == ""
    assert signed(world.key, rekor=promised).rekor
    assert EMAIL
    assert NOW


@pytest.mark.parametrize("gpg", [None, ""])
def test_the_good_message_is_taken(world, gpg):
    peers.need("gpg")
    if gpg == "" and not sequoia.available():
        pytest.skip("pysequoia is not installed")
    blob = world.gpg.sign("good@example.org", write_statement(STATEMENT, SIMPLE))
    with opened([world.gpg.public("good@example.org")], gpg) as keys:
        assert verify_statement(blob, keys) == (STATEMENT, world.gpg.fingerprint("good@example.org"))


def test_there_are_enough_of_them_and_none_twice():
    names = [(attack.kind, attack.name) for attack in ATTACKS]
    assert len(names) == len(set(names)) >= 200


def test_the_documented_table_has_no_other_rows():
    rows = [
        line for line in PAGE.read_text().splitlines() if line.startswith("| ") and "| refused, because |" not in line
    ]
    assert len(rows) == len(ATTACKS)
    assert f"{len(ATTACKS)} attacks, 0 accepted." in PAGE.read_text()


@pytest.mark.long
def test_the_documented_table_is_that_of_the_code():
    peers.need("gpg")
    made = subprocess.run(
        [sys.executable, REPOSITORY / "tools" / "trust_attacks.py"], capture_output=True, text=True, check=True
    )
    written = PAGE.read_text()
    assert _without_gpgs_words(written) == _without_gpgs_words(made.stdout)


def _without_gpgs_words(text):
    """*text* without gpg's messages, which differ between its versions."""
    before, title, rest = text.partition("## OpenPGP message\n")
    table, newline, behind = rest.partition("\n## ")
    assert title
    assert newline
    return before, [line.split(" | ")[0] for line in table.splitlines()], behind
