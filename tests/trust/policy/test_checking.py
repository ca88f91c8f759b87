"""Signatures of each kind against requirements of each kind."""

import base64
import json

import pytest
from decisions import certificates, material
from support.programs import program

from arstore.digest import Digest
from arstore.errors import KeyFileError, SignatureError
from arstore.trust import dir_file
from arstore.trust.policy.checking import Checker, Claim, kind_of
from arstore.trust.policy.document import read
from arstore.trust.policy.material import Material
from arstore.trust.signature import Bundle, SigstoreSignature, SimpleSignature

KEPT = material.load()
APP = "registry.example:5000/team/app:1"
FIRST = Digest.of(KEPT.fixtures["app"].files["manifest.json"])
SIGSTORE = SigstoreSignature(b"{}", "eA==")
BUNDLE = Bundle(KEPT.keys["cosign.bundle"])


def data(name):
    return base64.b64encode(KEPT.keys[name]).decode()


def checker(**members):
    members = {"type": "sigstoreSigned", **members}
    document = json.dumps({"default": [members]}).encode()
    (requirement,) = read(document, "POLICY", explicit=True).default
    return Checker(requirement, Material())


def pgp(name="alice.gpg"):
    return checker(type="signedBy", keyType="GPGKeys", keyData=data(name))


def found(fixture, number=0):
    return dir_file.read_file(KEPT.fixtures[fixture].signatures()[number])


ANY = {"type": "anyIdentity"}
REKOR = {"rekorPublicKeyData": data("rekor.pub")}
FULCIO = {"caData": data("fulcio-roots.pem"), "oidcIssuer": certificates.ISSUER, "subjectEmail": certificates.EMAIL}
PKI = {"caRootsData": data("pki-roots.pem"), "subjectEmail": certificates.EMAIL}


def test_kinds():
    assert [kind_of(one) for one in (SimpleSignature(b""), SIGSTORE, BUNDLE)] == ["OpenPGP", "sigstore", "bundle"]


def test_each_requirement_has_its_kind_of_signatures():
    assert pgp().unfit(SimpleSignature(b"")) == ""
    assert "OpenPGP" in pgp().unfit(SIGSTORE)
    assert "OpenPGP" in pgp().unfit(BUNDLE)
    key = checker(keyData=data("k1.pub"))
    assert key.unfit(SIGSTORE) == ""
    assert "sigstore's" in key.unfit(SimpleSignature(b""))


def test_a_bundle_is_for_any_identity_alone():
    assert "does not name a repository" in checker(keyData=data("cosign.pub")).unfit(BUNDLE)
    exact = {"type": "exactRepository", "dockerRepository": "a"}
    assert "does not name a repository" in checker(keyData=data("cosign.pub"), signedIdentity=exact).unfit(BUNDLE)
    assert "log" in checker(keyData=data("cosign.pub"), signedIdentity=ANY, **REKOR).unfit(BUNDLE)
    with checker(keyData=data("cosign.pub"), signedIdentity=ANY) as good:
        assert good.unfit(BUNDLE) == ""
        assert good.claim(BUNDLE) == Claim((FIRST,), "")
    with checker(keyData=data("k1.pub"), signedIdentity=ANY) as bad, pytest.raises(SignatureError):
        bad.claim(BUNDLE)


@pytest.mark.parametrize(
    ("members", "fixture"),
    [
        ({"keyData": data("k1.pub")}, "sigstore"),
        ({"keyDatas": [data("k2.pub"), data("k1.pub")]}, "sigstore"),
        ({"keyData": data("p256.pub"), **REKOR}, "logged"),
        ({"fulcio": FULCIO, **REKOR}, "fulcio"),
        ({"pki": PKI}, "pki"),
        ({"pki": {**PKI, "caIntermediatesData": data("pki-between.pem")}}, "pki-between"),
    ],
)
def test_good_signatures(members, fixture):
    with checker(**members) as one:
        assert one.claim(found(fixture)).digests == (FIRST,)
        assert one.claim(found(fixture)).reference.startswith("registry.example:5000/team/")


@pytest.mark.parametrize(
    ("members", "fixture"),
    [
        ({"keyData": data("k2.pub")}, "sigstore"),
        ({"keyData": data("p256.pub"), "rekorPublicKeyData": data("rekor-other.pub")}, "logged"),
        ({"keyData": data("k1.pub"), **REKOR}, "sigstore"),
        ({"fulcio": {**FULCIO, "subjectEmail": "other@example.com"}, **REKOR}, "fulcio"),
        ({"fulcio": {**FULCIO, "oidcIssuer": "https://other"}, **REKOR}, "fulcio"),
        ({"fulcio": FULCIO, "rekorPublicKeyData": data("rekor-other.pub")}, "fulcio"),
        ({"fulcio": FULCIO, **REKOR}, "pki"),
        ({"pki": PKI}, "pki-between"),
        ({"pki": {**PKI, "subjectHostname": "other.example"}}, "pki"),
        ({"pki": {**PKI, "caRootsData": data("pki-other-roots.pem")}}, "pki"),
    ],
)
def test_bad_signatures(members, fixture):
    with checker(**members) as one, pytest.raises(SignatureError):
        one.claim(found(fixture))


@pytest.mark.parametrize(
    "members",
    [
        {"keyData": data("none.txt")},
        {"keyDatas": [data("k1.pub"), data("none.txt")]},
        {"keyData": data("k1.pub"), "rekorPublicKeyData": data("none.txt")},
        {"fulcio": {**FULCIO, "caData": data("k1.pub")}, **REKOR},
        {"pki": {**PKI, "caRootsData": data("none.txt")}},
        {"pki": {**PKI, "caIntermediatesData": data("none.txt")}},
    ],
)
def test_keys_that_are_none(members):
    with checker(**members) as one, pytest.raises(KeyFileError):
        one.claim(found("sigstore"))


@pytest.mark.skipif(program("gpg") is None, reason="gpg is not installed")
def test_openpgp():
    with pgp() as one:
        assert one.claim(found("app")) == Claim((FIRST,), APP)
        home = one._made
        with pytest.raises(SignatureError):
            one.claim(found("bob"))
        assert one.claim(found("app")).reference == APP
        assert one._made is home
    with pgp("none.txt") as one, pytest.raises(KeyFileError):
        one.claim(found("app"))


def test_keys_are_loaded_once(tmp_path):
    path = tmp_path / "key"
    path.write_bytes(KEPT.keys["k1.pub"])
    with checker(keyPath=str(path)) as one:
        first = one.claim(found("sigstore"))
        check = one._check
        assert one.claim(found("sigstore")) == first
        assert one._check is check
