"""Policy files: their meaning, and refusals. skopeo's answers are in tests/decisions."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arstore.digest import Digest
from arstore.errors import PolicyError
from arstore.trust.policy.document import BOUNDS, KEY_TYPES, read
from arstore.trust.policy.identity import DEFAULT, Identity
from arstore.trust.policy.model import (
    ACCEPT,
    REJECT,
    Fulcio,
    KeySource,
    Pki,
    SignedBaseLayer,
    SignedBy,
    SigstoreSigned,
    type_of,
)
from arstore.trust.policy.wording import described

REKOR = {"rekorPublicKeyPath": "/rekor"}
FULCIO = {"caPath": "/ca", "oidcIssuer": "https://i", "subjectEmail": "e@x"}
PKI = {"caRootsPath": "/roots", "subjectEmail": "e@x"}
EXACT = {"type": "exactRepository", "dockerRepository": "a"}


def policy(document, *, explicit=False):
    return read(document if isinstance(document, bytes) else json.dumps(document).encode(), "FILE", explicit=explicit)


def one(requirement, **more):
    """The parsed requirement."""
    (found,) = policy({"default": [requirement]}, **more).default
    return found


def signed(**members):
    return {"type": "sigstoreSigned", **members}


def pgp(**members):
    return {"type": "signedBy", "keyType": "GPGKeys", **members}


def test_a_whole_policy():
    accept = b'[{"type": "insecureAcceptAnything"}]'
    data = b'{"default": [{"type": "reject"}], "transports": {"docker": {"": ' + accept + b'}, "x": {}}}'
    found = policy(data)
    assert found.default == (REJECT,)
    assert found.transports == {"docker": {"": (ACCEPT,)}, "x": {}}
    assert (found.what, found.digest, found.explicit) == ("FILE", Digest.of(data), False)
    assert policy({"default": [{"type": "reject"}]}, explicit=True).explicit
    assert policy({"default": [{"type": "reject"}]}).transports == {}


@pytest.mark.parametrize(
    ("requirement", "expected"),
    [
        ({"type": "insecureAcceptAnything"}, ACCEPT),
        ({"type": "reject"}, REJECT),
        (pgp(keyPath="/k"), SignedBy("GPGKeys", KeySource("keyPath", ("/k",)), DEFAULT)),
        (pgp(keyPaths=["/k", "/l"]), SignedBy("GPGKeys", KeySource("keyPaths", ("/k", "/l")), DEFAULT)),
        (pgp(keyData="eA=="), SignedBy("GPGKeys", KeySource("keyData", (), (b"x",)), DEFAULT)),
        (pgp(keyData="e\nA=\r\n="), SignedBy("GPGKeys", KeySource("keyData", (), (b"x",)), DEFAULT)),
        (
            pgp(keyPath="/k", signedIdentity=EXACT),
            SignedBy("GPGKeys", KeySource("keyPath", ("/k",)), Identity("exactRepository", "a")),
        ),
        ({"type": "signedBaseLayer", "baseLayerIdentity": EXACT}, SignedBaseLayer(Identity("exactRepository", "a"))),
        (signed(keyPath="/k"), SigstoreSigned(KeySource("keyPath", ("/k",)), None, DEFAULT)),
        (signed(keyPaths=["/k"]), SigstoreSigned(KeySource("keyPaths", ("/k",)), None, DEFAULT)),
        (signed(keyData="eA=="), SigstoreSigned(KeySource("keyData", (), (b"x",)), None, DEFAULT)),
        (signed(keyDatas=["eA==", "eQ=="]), SigstoreSigned(KeySource("keyDatas", (), (b"x", b"y")), None, DEFAULT)),
        (
            signed(keyPath="/k", **REKOR),
            SigstoreSigned(KeySource("keyPath", ("/k",)), KeySource("rekorPublicKeyPath", ("/rekor",)), DEFAULT),
        ),
        (
            signed(keyPath="/k", rekorPublicKeyDatas=["eA=="]),
            SigstoreSigned(KeySource("keyPath", ("/k",)), KeySource("rekorPublicKeyDatas", (), (b"x",)), DEFAULT),
        ),
        (
            signed(fulcio=FULCIO, **REKOR),
            SigstoreSigned(
                Fulcio(KeySource("caPath", ("/ca",)), "https://i", "e@x"),
                KeySource("rekorPublicKeyPath", ("/rekor",)),
                DEFAULT,
            ),
        ),
        (signed(pki=PKI), SigstoreSigned(Pki(KeySource("caRootsPath", ("/roots",)), None, "e@x", ""), None, DEFAULT)),
        (
            signed(pki={"caRootsData": "eA==", "caIntermediatesData": "eQ==", "subjectHostname": "h"}),
            SigstoreSigned(
                Pki(KeySource("caRootsData", (), (b"x",)), KeySource("caIntermediatesData", (), (b"y",)), "", "h"),
                None,
                DEFAULT,
            ),
        ),
        (
            signed(keyPath="/k", signedIdentity={"type": "remapIdentity", "prefix": "a", "signedPrefix": "b"}),
            SigstoreSigned(KeySource("keyPath", ("/k",)), None, Identity("remapIdentity", "a", "b")),
        ),
    ],
)
def test_requirements(requirement, expected):
    found = one(requirement)
    assert found == expected
    assert type(found) is type(expected)
    assert type_of(found) == requirement["type"]
    assert described(found).startswith(requirement["type"])


@pytest.mark.parametrize("key_type", KEY_TYPES)
def test_types_of_keys(key_type):
    assert one({**pgp(keyPath="/k"), "keyType": key_type}).key_type == key_type


ANY = {"type": "anyIdentity"}


def test_any_identity_is_for_given_files_and_plain_keys():
    for keys in ({"keyPath": "/k"}, {"keyPaths": ["/k"]}, {"keyData": "eA=="}, {"keyDatas": ["eA=="]}):
        assert one(signed(**keys, signedIdentity=ANY), explicit=True).identity == Identity("anyIdentity")
        with pytest.raises(PolicyError, match="allowed only in a file that is given with --policy"):
            one(signed(**keys, signedIdentity=ANY))
    for other in (
        signed(fulcio=FULCIO, **REKOR, signedIdentity=ANY),
        signed(pki=PKI, signedIdentity=ANY),
        pgp(keyPath="/k", signedIdentity=ANY),
        {"type": "signedBaseLayer", "baseLayerIdentity": ANY},
    ):
        with pytest.raises(PolicyError, match="only for sigstoreSigned with keyPath"):
            one(other, explicit=True)


@pytest.mark.parametrize(
    ("document", "why"),
    [
        (b"", "FILE: is empty"),
        (b"[]", "a list, not a JSON object"),
        ({}, "the key default is missing"),
        ({"transports": {}}, "the key default is missing"),
        (
            {"default": [{"type": "reject"}], "Transports": {}},
            "the key 'Transports' is not known; the correct spelling is transports",
        ),
        ({"default": [{"type": "reject"}], "x": {}}, "the key 'x' is not known"),
        ({"default": None}, "default: is not a list with at least one requirement"),
        ({"default": []}, "default: is not a list with at least one requirement"),
        ({"default": [None]}, "default[0]: is not an object"),
        ({"default": [{"type": "reject"}], "transports": []}, "transports: is not an object"),
        ({"default": [{"type": "reject"}], "transports": {"dir": []}}, "transports.dir: is not an object"),
        (
            {"default": [{"type": "reject"}], "transports": {"dir": {"a": [{"type": "reject"}]}}},
            "transports.dir.'a': is not an absolute path",
        ),
        ({"default": [{"type": "reject"}], "transports": {"dir": {"/a": []}}}, "transports.dir.'/a': is not a list"),
        (
            {"default": [{"type": "reject"}, {"type": "Reject"}]},
            "default[1]: the requirement type 'Reject' is unknown",
        ),
        ({"default": [{}]}, "default[0]: the key type is missing"),
        ({"default": [{"type": 1}]}, "default[0].type: is not a string"),
        ({"default": [{"type": ""}]}, "default[0].type: is empty"),
        ({"default": [{"type": "reject", "x": 1}]}, "default[0]: the key 'x' is not known"),
        ({"default": [{"type": "insecureAcceptAnything", "x": 1}]}, "default[0]: the key 'x' is not known"),
        ({"default": [pgp()]}, "default[0]: needs one of keyPath, keyPaths, keyData"),
        ({"default": [pgp(keyPath="/k", keyData="eA==")]}, "default[0]: has keyPath and keyData; only one is allowed"),
        ({"default": [pgp(keyDatas=["eA=="])]}, "the key 'keyDatas' is not known"),
        ({"default": [pgp(keyPath="")]}, "default[0].keyPath: is empty"),
        ({"default": [pgp(keyPath="a\0b")]}, "default[0].keyPath: holds a NUL character"),
        ({"default": [pgp(keyPath=["/k"])]}, "default[0].keyPath: is not a string"),
        ({"default": [pgp(keyPaths="/k")]}, "default[0].keyPaths: is not a list"),
        ({"default": [pgp(keyPaths=[])]}, "default[0].keyPaths: is not a list with at least one"),
        ({"default": [pgp(keyPaths=["/k", None])]}, "default[0].keyPaths[1]: is not a string"),
        ({"default": [pgp(keyData="eA=")]}, "default[0].keyData: is not base64"),
        ({"default": [pgp(keyData="é")]}, "default[0].keyData: is not base64"),
        ({"default": [pgp(keyData="\n")]}, "default[0].keyData: is empty"),
        ({"default": [{"type": "signedBy", "keyPath": "/k"}]}, "the key keyType is missing"),
        (
            {"default": [{"type": "signedBy", "keyType": "gpgkeys", "keyPath": "/k"}]},
            "the key type 'gpgkeys' is unknown",
        ),
        ({"default": [signed()]}, "needs one of keyPath, keyPaths, keyData, keyDatas, fulcio, pki"),
        ({"default": [signed(keyPath="/k", x=1)]}, "the key 'x' is not known"),
        ({"default": [signed(keyPath="/k", pki=PKI)]}, "has keyPath and pki; only one is allowed"),
        ({"default": [signed(fulcio=FULCIO)]}, "fulcio needs one of rekorPublicKeyPath"),
        ({"default": [signed(pki=PKI, **REKOR)]}, "pki and rekorPublicKeyPath cannot be used together"),
        (
            {"default": [signed(keyPath="/k", **REKOR, rekorPublicKeyData="eA==")]},
            "has rekorPublicKeyPath and rekorPublicKeyData; only one",
        ),
        ({"default": [signed(fulcio=None, **REKOR)]}, "default[0].fulcio: is not an object"),
        ({"default": [signed(fulcio={**FULCIO, "x": 1}, **REKOR)]}, "default[0].fulcio: the key 'x' is not known"),
        ({"default": [signed(fulcio={**FULCIO, "caData": "eA=="}, **REKOR)]}, "fulcio: has caPath and caData"),
        ({"default": [signed(fulcio={"caPath": "/c", "oidcIssuer": "i"}, **REKOR)]}, "the key subjectEmail is missing"),
        ({"default": [signed(fulcio={"caPath": "/c", "subjectEmail": "i"}, **REKOR)]}, "the key oidcIssuer is missing"),
        (
            {"default": [signed(fulcio={"oidcIssuer": "i", "subjectEmail": "e"}, **REKOR)]},
            "needs one of caPath, caData",
        ),
        ({"default": [signed(pki={"caRootsPath": "/r"})]}, "needs subjectEmail, subjectHostname, or both"),
        ({"default": [signed(pki={"subjectEmail": "e"})]}, "needs one of caRootsPath, caRootsData"),
        ({"default": [signed(pki={**PKI, "subjectHostname": ""})]}, "pki.subjectHostname: is empty"),
        ({"default": [signed(pki={**PKI, "oidcIssuer": "i"})]}, "pki: the key 'oidcIssuer' is not known"),
        (
            {"default": [signed(pki={**PKI, "caIntermediatesPath": "/a", "caIntermediatesData": "eA=="})]},
            "has caIntermediatesPath and caIntermediatesData",
        ),
        ({"default": [signed(keyPath="/k", signedIdentity=None)]}, "default[0].signedIdentity: is not an object"),
        ({"default": [signed(keyPath="/k", signedIdentity={"type": "x"})]}, "the identity type 'x' is unknown"),
        (
            {"default": [signed(keyPath="/k", signedIdentity={"type": "matchExact", "prefix": "a"})]},
            "the key 'prefix' is not known",
        ),
        (
            {"default": [signed(keyPath="/k", signedIdentity={"type": "remapIdentity", "prefix": "a"})]},
            "the key signedPrefix is missing",
        ),
        (
            {"default": [signed(keyPath="/k", signedIdentity={"type": "exactReference", "dockerReference": "a"})]},
            "'a' has neither a tag nor a digest",
        ),
        ({"default": [{"type": "signedBaseLayer"}]}, "the key baseLayerIdentity is missing"),
        ({"default": [{"type": "signedBaseLayer", "baseLayerIdentity": EXACT, "x": 1}]}, "the key 'x' is not known"),
    ],
)
def test_what_is_refused(document, why):
    with pytest.raises(PolicyError) as caught:
        policy(document)
    assert why in str(caught.value)
    assert str(caught.value).startswith("FILE: ")
    assert str(caught.value).isprintable()


def test_bounds():
    whole = b'{"default": [{"type": "reject"}]}'
    assert policy(whole + b" " * (BOUNDS.document - len(whole))).default == (REJECT,)
    with pytest.raises(PolicyError, match="the limit is 4194304"):
        policy(whole + b" " * BOUNDS.document)
    deep = b'{"default": [{"type": "reject", "x": ' + b"[" * 20 + b"]" * 20 + b"}]}"
    with pytest.raises(PolicyError, match="nested 23 levels deep"):
        policy(deep)


@given(st.integers(1, 400))
def test_a_truncated_file_is_refused(cut):
    data = json.dumps(
        {"default": [signed(fulcio=FULCIO, **REKOR, signedIdentity=EXACT)], "transports": {"dir": {}}}
    ).encode()
    if cut < len(data):
        with pytest.raises(PolicyError):
            policy(data[:-cut])


def test_words():
    assert described(one(pgp(keyPath="/k"))) == "signedBy GPGKeys keyPath /k (matchRepoDigestOrExact)"
    assert described(one(signed(keyDatas=["eA==", "eA=="]))) == "sigstoreSigned keyDatas (2) (matchRepoDigestOrExact)"
    assert described(one(signed(keyData="eA==", **REKOR))) == (
        "sigstoreSigned keyData in the log of rekorPublicKeyPath /rekor (matchRepoDigestOrExact)"
    )
    assert "fulcio caPath /ca e@x at https://i in the log" in described(one(signed(fulcio=FULCIO, **REKOR)))
    assert "pki caRootsPath /roots e@x and h (" in described(one(signed(pki={**PKI, "subjectHostname": "h"})))
    assert "pki caRootsPath /roots e@x (" in described(one(signed(pki=PKI)))
    base = {"type": "signedBaseLayer", "baseLayerIdentity": EXACT}
    assert described(one(base)) == "signedBaseLayer (exactRepository a)"
