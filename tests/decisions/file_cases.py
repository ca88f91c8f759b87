"""Cases about policy files, and about the lists in them."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

from decisions.certificates import EMAIL, ISSUER
from decisions.making import APP
from decisions.policies import (
    ACCEPT,
    BARE,
    EARLY,
    OWN,
    REJECT,
    SOUND,
    STRICT,
    Case,
    default,
    directory,
    exact,
    gpg,
    of,
    remap,
    repository,
    rule,
    sig,
    text,
    without,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from decisions.material import Material


def files(material: Material) -> Iterator[Case]:
    """Cases about the syntax of a policy file."""
    keys = base64.b64encode(material.keys["k1.pub"]).decode()
    ring = base64.b64encode(material.keys["alice.gpg"]).decode()
    rekor = {"rekorPublicKeyPath": "@K@/rekor.pub"}
    fulcio = {"caPath": "@K@/fulcio-roots.pem", "oidcIssuer": ISSUER, "subjectEmail": EMAIL}
    pki = {"caRootsPath": "@K@/pki-roots.pem", "subjectEmail": EMAIL}
    accept = b'[{"type":"insecureAcceptAnything"}]'

    def elsewhere(requirement: Any) -> dict[str, Any]:
        """Accept all, with *requirement* in a scope that does not apply."""
        return {"default": [ACCEPT], "transports": {"docker": {"x.example": [requirement]}}}

    rows: list[tuple[str, Any, str]] = [
        ("accepts everything", default(ACCEPT), ""),
        ("rejects everything", default(REJECT), ""),
        ("empty file", b"", ""),
        ("white space only", b" \n", ""),
        ("white space around", b'\n {"default": ' + accept + b"} \n", ""),
        ("not JSON", b"default: []", ""),
        ("truncated", b'{"default":' + accept, ""),
        ("truncated in a list", b'{"default":[{"type":"insecureAcceptAnything"}', ""),
        ("a list", b'[{"type":"insecureAcceptAnything"}]', ""),
        ("a string", b'"insecureAcceptAnything"', ""),
        ("null", b"null", ""),
        ("empty object", b"{}", ""),
        ("trailing data", b'{"default":' + accept + b"} x", ""),
        ("two documents", b'{"default":' + accept + b'}{"default":' + accept + b"}", ""),
        ("trailing comma", b'{"default":' + accept + b",}", ""),
        ("a comment", b'{"default":' + accept + b"} // all", ""),
        ("byte order mark", b'\xef\xbb\xbf{"default":' + accept + b"}", ""),
        ("UTF-16", ('{"default":' + accept.decode() + "}").encode("utf-16"), ""),
        ("NUL at the end", b'{"default":' + accept + b"}\0", ""),
        ("NUL in a scope", b'{"default":' + accept + b',"transports":{"docker":{"a\\u0000b":' + accept + b"}}}", ""),
        ("not UTF-8", b'{"default":' + accept + b',"transports":{"docker":{"\xff":' + accept + b"}}}", SOUND),
        (
            "half a surrogate pair",
            b'{"default":' + accept + b',"transports":{"docker":{"\\ud800":' + accept + b"}}}",
            SOUND,
        ),
        ("unknown key", {"default": [ACCEPT], "defaults": []}, ""),
        ("key in other case", {"Default": [ACCEPT]}, ""),
        ("key twice", b'{"default":' + accept + b',"default":' + accept + b"}", ""),
        ("key twice by an escape", b'{"default":' + accept + b',"d\\u0065fault":' + accept + b"}", ""),
        ("transport twice", b'{"default":' + accept + b',"transports":{"dir":{},"dir":{}}}', ""),
        (
            "scope twice",
            b'{"default":' + accept + b',"transports":{"dir":{"":' + accept + b',"":' + accept + b"}}}",
            "",
        ),
        ("default missing", {"transports": {}}, ""),
        ("default null", {"default": None}, ""),
        ("default an object", {"default": ACCEPT}, ""),
        ("default empty", default(), ""),
        ("scope with an empty list", of("dir", _=[]), ""),
        ("other scope with an empty list", {"default": [ACCEPT], "transports": {"docker": {"a": []}}}, ""),
        ("transports null", {"default": [ACCEPT], "transports": None}, ""),
        ("transports a list", {"default": [ACCEPT], "transports": []}, ""),
        ("transports empty", {"default": [ACCEPT], "transports": {}}, ""),
        ("a transport without scopes", {"default": [ACCEPT], "transports": {"dir": {}}}, ""),
        ("a transport null", {"default": [ACCEPT], "transports": {"dir": None}}, ""),
        ("unknown transport", {"default": [ACCEPT], "transports": {"nothing": {"x y": [ACCEPT]}}}, ""),
        ("unknown transport with an empty list", {"default": [ACCEPT], "transports": {"nothing": {"x": []}}}, ""),
        ("requirement null", default(None), ""),
        ("requirement a string", default("reject"), ""),
        ("requirement without a type", default({}), ""),
        ("type unknown", default({"type": "acceptAnything"}), ""),
        ("type in other case", default({"type": "Reject"}), ""),
        ("key of the type in other case", default({"Type": "insecureAcceptAnything"}), ""),
        ("type empty", default({"type": ""}), ""),
        ("type a number", default({"type": 1}), ""),
        ("type twice", b'{"default":[{"type":"reject","type":"insecureAcceptAnything"}]}', ""),
        ("accept with another key", default({**ACCEPT, "keyPath": "/x"}), ""),
        ("reject with another key", default({**REJECT, "keyPath": "/x"}), ""),
        ("signedBy without keys", elsewhere(without(gpg(), "keyPath")), ""),
        ("signedBy with two sources", elsewhere(gpg(keyData=ring)), ""),
        ("signedBy with keyDatas", elsewhere({**without(gpg(), "keyPath"), "keyDatas": [ring]}), ""),
        ("signedBy without keyType", elsewhere(without(gpg(), "keyType")), ""),
        ("signedBy with an unknown keyType", elsewhere(gpg(keyType="gpgkeys")), ""),
        ("signedBy with keyType X509Certificates", elsewhere(gpg(keyType="X509Certificates")), ""),
        ("signedBy with empty keyPaths", elsewhere({**without(gpg(), "keyPath"), "keyPaths": []}), EARLY),
        ("signedBy with an empty keyPath", elsewhere(gpg(keyPath="")), ""),
        ("signedBy with keyPath null", elsewhere(gpg(keyPath=None)), ""),
        ("signedBy with empty keyData", elsewhere({**without(gpg(), "keyPath"), "keyData": ""}), EARLY),
        ("signedBy with keyData that is not base64", elsewhere({**without(gpg(), "keyPath"), "keyData": "**"}), ""),
        ("signedBy with a file that is not there", elsewhere(gpg(keyPath="/nowhere")), ""),
        ("signedBy with an unknown key", elsewhere(gpg(keyID="1")), ""),
        ("signedBaseLayer", elsewhere({"type": "signedBaseLayer", "baseLayerIdentity": rule("matchExact")}), ""),
        ("signedBaseLayer without an identity", elsewhere({"type": "signedBaseLayer"}), ""),
        ("sigstoreSigned without keys", elsewhere({"type": "sigstoreSigned"}), ""),
        ("sigstoreSigned with two sources", elsewhere(sig(keyData=keys)), ""),
        ("sigstoreSigned with empty keyPaths", elsewhere({"type": "sigstoreSigned", "keyPaths": []}), ""),
        ("sigstoreSigned with empty keyDatas", elsewhere({"type": "sigstoreSigned", "keyDatas": []}), ""),
        ("sigstoreSigned with an empty keyPath", elsewhere(sig(keyPath="")), ""),
        (
            "an empty keyPath with keyData",
            elsewhere({"type": "sigstoreSigned", "keyPath": "", "keyData": keys}),
            STRICT,
        ),
        ("sigstoreSigned with keyType", elsewhere(sig(keyType="GPGKeys")), ""),
        ("key and fulcio", elsewhere(sig(fulcio=fulcio, **rekor)), ""),
        ("fulcio without rekor", elsewhere({"type": "sigstoreSigned", "fulcio": fulcio}), ""),
        (
            "fulcio without an issuer",
            elsewhere({"type": "sigstoreSigned", "fulcio": without(fulcio, "oidcIssuer"), **rekor}),
            "",
        ),
        (
            "fulcio without an e-mail",
            elsewhere({"type": "sigstoreSigned", "fulcio": without(fulcio, "subjectEmail"), **rekor}),
            "",
        ),
        (
            "fulcio without authorities",
            elsewhere({"type": "sigstoreSigned", "fulcio": without(fulcio, "caPath"), **rekor}),
            "",
        ),
        (
            "fulcio with an empty caPath and caData",
            elsewhere({"type": "sigstoreSigned", "fulcio": {**fulcio, "caPath": "", "caData": keys}, **rekor}),
            STRICT,
        ),
        ("fulcio null", elsewhere({"type": "sigstoreSigned", "fulcio": None, **rekor}), ""),
        ("pki with rekor", elsewhere({"type": "sigstoreSigned", "pki": pki, **rekor}), ""),
        ("pki without a subject", elsewhere({"type": "sigstoreSigned", "pki": without(pki, "subjectEmail")}), ""),
        ("pki without roots", elsewhere({"type": "sigstoreSigned", "pki": without(pki, "caRootsPath")}), ""),
        ("pki with two kinds of roots", elsewhere({"type": "sigstoreSigned", "pki": {**pki, "caRootsData": keys}}), ""),
        (
            "pki with two kinds of intermediates",
            elsewhere(
                {"type": "sigstoreSigned", "pki": {**pki, "caIntermediatesPath": "/x", "caIntermediatesData": keys}}
            ),
            "",
        ),
        (
            "pki with an empty subjectHostname",
            elsewhere({"type": "sigstoreSigned", "pki": {**pki, "subjectHostname": ""}}),
            STRICT,
        ),
        ("pki with an unknown key", elsewhere({"type": "sigstoreSigned", "pki": {**pki, "subject": "x"}}), ""),
        ("two rekor keys", elsewhere(sig(**rekor, rekorPublicKeyData=keys)), ""),
        ("rekor keys empty", elsewhere(sig(rekorPublicKeyPaths=[])), ""),
        ("rekor path empty", elsewhere(sig(rekorPublicKeyPath="")), STRICT),
        ("rekor path null", elsewhere(sig(rekorPublicKeyPath=None)), STRICT),
        ("identity null", elsewhere(sig() | {"signedIdentity": None}), ""),
        ("identity without a type", elsewhere(sig({})), ""),
        ("identity unknown", elsewhere(sig(rule("matchPrefix"))), ""),
        ("identity of arstore", elsewhere(sig(rule("anyIdentity"))), OWN),
        ("identity with another key", elsewhere(sig({**rule("matchExact"), "prefix": "x"})), ""),
        ("exactReference without a tag", elsewhere(sig(exact(APP))), ""),
        ("exactReference that is not a name", elsewhere(sig(exact("A b:1"))), ""),
        ("exactReference without a value", elsewhere(sig(rule("exactReference"))), ""),
        ("exactRepository that is not a name", elsewhere(sig(repository("A b"))), ""),
        ("exactRepository with a tag", elsewhere(sig(repository(f"{APP}:1"))), ""),
        ("remapIdentity without a prefix", elsewhere(sig(without(remap("a", "b"), "prefix"))), ""),
        ("remapIdentity with an empty prefix", elsewhere(sig(remap("", "b"))), ""),
        ("remapIdentity with a tag", elsewhere(sig(remap("a.example/b:1", "b"))), ""),
        ("remapIdentity with a slash at the end", elsewhere(sig(remap("a.example/", "b.example/"))), ""),
        ("remapIdentity with capitals in the path", elsewhere(sig(remap("a.example/B", "b"))), ""),
        ("remapIdentity with short names", elsewhere(sig(remap("busybox", "ns/name"))), ""),
    ]
    for title, policy, argued in rows:
        yield Case("files", title, text(policy), BARE, "bare", argued)
    nested = b'{"default":' + b"[" * 200 + b"]" * 200 + b"}"
    yield Case("files", "200 levels of lists", nested, BARE)


def lists() -> Iterator[Case]:
    """Cases about how the requirements in a list combine."""
    good, bad = gpg(exact()), gpg(exact(), key="bob.gpg")
    rows: list[tuple[str, list[Any], str]] = [
        ("accept and accept", [ACCEPT, ACCEPT], "bare"),
        ("accept and reject", [ACCEPT, REJECT], "app"),
        ("reject and accept", [REJECT, ACCEPT], "app"),
        ("signed and accept", [good, ACCEPT], "app"),
        ("not signed and accept", [ACCEPT, good], "bare"),
        ("signed by another and accept", [bad, ACCEPT], "app"),
        ("two requirements, two signatures", [good, bad], "two-keys"),
        ("two requirements, one signature", [good, bad], "app"),
        ("one requirement twice", [good, good], "app"),
        ("both kinds, both signatures", [good, sig(exact())], "bad-and-good"),
        ("signed and signedBaseLayer", [good, {"type": "signedBaseLayer", "baseLayerIdentity": exact()}], "app"),
        ("signedBaseLayer alone", [{"type": "signedBaseLayer", "baseLayerIdentity": exact()}], "app"),
    ]
    for title, requirements, fixture in rows:
        yield Case("lists", title, text(default(*requirements)), directory(fixture), fixture)
