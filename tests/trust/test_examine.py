"""Each signature of an image is a finding: good with its name, or with its fault."""

import pytest
from support import peers
from support.gpg import Gpg
from support.signing import MANIFEST, NAME, STATEMENT, new_key, signed

from arstore.digest import Digest
from arstore.errors import SignatureError
from arstore.trust.examine import Finding, examine
from arstore.trust.openpgp.verify import opened
from arstore.trust.payload import SIMPLE, write_statement
from arstore.trust.signature import MOST, SimpleSignature
from arstore.trust.signing.sign import sign_bundle


def test_findings_are_in_the_order_of_the_signatures():
    key, other = new_key(), new_key("ed25519")
    signatures = [
        signed(other),
        signed(key),
        sign_bundle(key, MANIFEST),
        sign_bundle(key, Digest.of(b"another")),
        SimpleSignature(b"\xa3"),
        signed(key)._replace(payload=b"{}"),
    ]
    found = examine(signatures, MANIFEST, [key.public])
    assert [one.is_good for one in found] == [False, True, True, False, False, False]
    assert found[1:3] == [Finding("sigstore", NAME), Finding("bundle")]
    assert "another image" in found[3].fault
    assert "no keyring" in found[4].fault
    assert [one.form for one in found] == ["sigstore", "sigstore", "bundle", "bundle", "OpenPGP", "sigstore"]


def test_a_good_signature_of_another_image_is_not_good():
    key = new_key()
    (found,) = examine([signed(key)], Digest.of(b"another"), [key.public])
    assert (found.is_good, found.reference) == (False, NAME)


def test_openpgp(tmp_path):
    peers.need("gpg")
    gpg = Gpg(tmp_path / "g")
    try:
        fingerprint = gpg.new_key("signer@example.org")
        blob = gpg.sign("signer@example.org", write_statement(STATEMENT, SIMPLE))
        with opened([gpg.public("signer@example.org")]) as keys:
            found = examine([SimpleSignature(blob), SimpleSignature(blob[:-4])], MANIFEST, (), keys)
    finally:
        gpg.close()
    assert found[0] == Finding("OpenPGP", NAME, fingerprint)
    assert not found[1].is_good


def test_more_than_are_looked_at():
    with pytest.raises(SignatureError, match="129"):
        examine([signed(new_key())] * (MOST + 1), MANIFEST)
