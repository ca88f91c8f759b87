"""The table: policies, and images by the names that users give.

In a policy, `@K@` stands for the directory with the keys, `@W@` for the one with `dir/`, `oci/` and archives.
"""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any, NamedTuple

from decisions.certificates import EMAIL, HOST, ISSUER
from decisions.making import APP, HUB, MIRROR, VENDOR, WILD

if TYPE_CHECKING:
    from collections.abc import Iterator

    from decisions.material import Material

ACCEPT = {"type": "insecureAcceptAnything"}
REJECT = {"type": "reject"}

STRICT = "a value that is not said is not taken for one that is empty: the file is refused, not weakened"
EARLY = "the other tools read the file and then accept nothing; here the file is refused, and `policy check` says why"
INDEX = "a good signature on the index names its digest, and so all that it lists"
SOUND = "text that is not UTF-8 is refused; Go replaces what it cannot read"


class Case(NamedTuple):
    """A policy and an image. `argued` says why arstore answers otherwise than skopeo, where it does."""

    group: str
    title: str
    policy: bytes
    source: str
    fixture: str = "bare"
    argued: str = ""


def cases(material: Material) -> list[Case]:
    """The whole table, in order."""
    return [*_files(material), *_lists(), *_scopes(), *_identities(), *_keys(material), *_indexes()]


def text(document: Any) -> bytes:
    """A policy's bytes."""
    return document if isinstance(document, bytes) else json.dumps(document).encode()


def default(*requirements: Any) -> dict[str, Any]:
    """A policy with these requirements for everything."""
    return {"default": list(requirements)}


def of(transport: str, **scopes: Any) -> dict[str, Any]:
    """A policy that rejects all but what *scopes* say (`_` is "")."""
    return {"default": [REJECT], "transports": {transport: {("" if k == "_" else k): v for k, v in scopes.items()}}}


def under(transport: str, scopes: dict[str, Any]) -> dict[str, Any]:
    """The same for scopes that are no Python names."""
    return {"default": [REJECT], "transports": {transport: scopes}}


def gpg(identity: Any = None, key: str = "alice.gpg", **more: Any) -> dict[str, Any]:
    """A requirement signedBy."""
    found = {"type": "signedBy", "keyType": "GPGKeys", "keyPath": f"@K@/{key}", **more}
    return found if identity is None else {**found, "signedIdentity": identity}


def sig(identity: Any = None, key: str = "k1.pub", **more: Any) -> dict[str, Any]:
    """A requirement sigstoreSigned with a key."""
    found = {"type": "sigstoreSigned", "keyPath": f"@K@/{key}", **more}
    return found if identity is None else {**found, "signedIdentity": identity}


def trusted(identity: Any = None, **more: Any) -> dict[str, Any]:
    """A requirement sigstoreSigned with what *more* says."""
    found = {"type": "sigstoreSigned", **more}
    return {
        **found,
        "signedIdentity": {"type": "exactReference", "dockerReference": f"{APP}:1"} if identity is None else identity,
    }


def exact(name: str = f"{APP}:1") -> dict[str, str]:
    """The identity exactReference."""
    return {"type": "exactReference", "dockerReference": name}


def repository(name: str = APP) -> dict[str, str]:
    """The identity exactRepository."""
    return {"type": "exactRepository", "dockerRepository": name}


def remap(prefix: str, signed: str) -> dict[str, str]:
    """The identity remapIdentity."""
    return {"type": "remapIdentity", "prefix": prefix, "signedPrefix": signed}


def rule(kind: str) -> dict[str, str]:
    """An identity without a value."""
    return {"type": kind}


def without(document: dict[str, Any], key: str) -> dict[str, Any]:
    """The same without one member."""
    return {name: value for name, value in document.items() if name != key}


def directory(fixture: str) -> str:
    """The source of a fixture's directory."""
    return f"dir:@W@/dir/{fixture}"


BARE = directory("bare")


def _files(material: Material) -> Iterator[Case]:
    """What a policy file may look like."""
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
        ("white space around", b"\n {\"default\": " + accept + b"} \n", ""),
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
        ("NUL in a scope", b'{"default":' + accept + b',"transports":{"docker":{"a\\u0000b":' + accept + b"}}}",
         "no name has a NUL in it; the scope could never apply"),
        ("not UTF-8", b'{"default":' + accept + b',"transports":{"docker":{"\xff":' + accept + b"}}}", SOUND),
        ("half a surrogate pair", b'{"default":' + accept + b',"transports":{"docker":{"\\ud800":' + accept + b"}}}", SOUND),
        ("unknown key", {"default": [ACCEPT], "defaults": []}, ""),
        ("key in other case", {"Default": [ACCEPT]}, ""),
        ("key twice", b'{"default":' + accept + b',"default":' + accept + b"}", ""),
        ("key twice by an escape", b'{"default":' + accept + b',"d\\u0065fault":' + accept + b"}", ""),
        ("transport twice", b'{"default":' + accept + b',"transports":{"dir":{},"dir":{}}}', ""),
        ("scope twice", b'{"default":' + accept + b',"transports":{"dir":{"":' + accept + b',"":' + accept + b"}}}", ""),
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
        ("an empty keyPath beside keyData", elsewhere({"type": "sigstoreSigned", "keyPath": "", "keyData": keys}), STRICT),
        ("sigstoreSigned with keyType", elsewhere(sig(keyType="GPGKeys")), ""),
        ("key and fulcio", elsewhere(sig(fulcio=fulcio, **rekor)), ""),
        ("fulcio without rekor", elsewhere({"type": "sigstoreSigned", "fulcio": fulcio}), ""),
        ("fulcio without an issuer", elsewhere({"type": "sigstoreSigned", "fulcio": without(fulcio, "oidcIssuer"), **rekor}), ""),
        ("fulcio without an e-mail", elsewhere({"type": "sigstoreSigned", "fulcio": without(fulcio, "subjectEmail"), **rekor}), ""),
        ("fulcio without authorities", elsewhere({"type": "sigstoreSigned", "fulcio": without(fulcio, "caPath"), **rekor}), ""),
        ("fulcio with an empty caPath beside caData",
         elsewhere({"type": "sigstoreSigned", "fulcio": {**fulcio, "caPath": "", "caData": keys}, **rekor}), STRICT),
        ("fulcio null", elsewhere({"type": "sigstoreSigned", "fulcio": None, **rekor}), ""),
        ("pki with rekor", elsewhere({"type": "sigstoreSigned", "pki": pki, **rekor}), ""),
        ("pki without a subject", elsewhere({"type": "sigstoreSigned", "pki": without(pki, "subjectEmail")}), ""),
        ("pki without roots", elsewhere({"type": "sigstoreSigned", "pki": without(pki, "caRootsPath")}), ""),
        ("pki with two kinds of roots", elsewhere({"type": "sigstoreSigned", "pki": {**pki, "caRootsData": keys}}), ""),
        ("pki with two kinds of intermediates", elsewhere(
            {"type": "sigstoreSigned", "pki": {**pki, "caIntermediatesPath": "/x", "caIntermediatesData": keys}}), ""),
        ("pki with an empty subjectHostname", elsewhere({"type": "sigstoreSigned", "pki": {**pki, "subjectHostname": ""}}), STRICT),
        ("pki with an unknown key", elsewhere({"type": "sigstoreSigned", "pki": {**pki, "subject": "x"}}), ""),
        ("two rekor keys", elsewhere(sig(**rekor, rekorPublicKeyData=keys)), ""),
        ("rekor keys empty", elsewhere(sig(rekorPublicKeyPaths=[])), ""),
        ("rekor path empty", elsewhere(sig(rekorPublicKeyPath="")), STRICT),
        ("rekor path null", elsewhere(sig(rekorPublicKeyPath=None)), STRICT),
        ("identity null", elsewhere(sig() | {"signedIdentity": None}), ""),
        ("identity without a type", elsewhere(sig({})), ""),
        ("identity unknown", elsewhere(sig(rule("matchPrefix"))), ""),
        ("identity of our own", elsewhere(sig(rule("anyIdentity"))),
         "the case is asked as if the file was given with --policy; without that, arstore refuses the file as well"),
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
    ]  # fmt: skip
    for title, policy, argued in rows:
        yield Case("files", title, text(policy), BARE, "bare", argued)
    nested = b'{"default":' + b"[" * 200 + b"]" * 200 + b"}"
    yield Case("files", "200 levels of lists", nested, BARE)


def _lists() -> Iterator[Case]:
    """How the requirements of a list work together."""
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


def _scopes() -> Iterator[Case]:
    """Which list applies."""
    digest = "@DIGEST@"
    app, wild, hub, place = f"docker://{APP}:1", f"docker://{WILD}:1", f"docker://{HUB}", "@W@/dir/app"
    rows: list[tuple[str, Any, str, str]] = [
        ("docker: the tag", under("docker", {f"{APP}:1": [ACCEPT]}), app, "app"),
        ("docker: another tag", under("docker", {f"{APP}:2": [ACCEPT]}), app, "app"),
        ("docker: the repository", under("docker", {APP: [ACCEPT]}), app, "app"),
        ("docker: the namespace", under("docker", {"registry.example:5000/team": [ACCEPT]}), app, "app"),
        ("docker: a part of a component", under("docker", {"registry.example:5000/te": [ACCEPT]}), app, "app"),
        ("docker: a slash at the end", under("docker", {"registry.example:5000/team/": [ACCEPT]}), app, "app"),
        ("docker: the registry", under("docker", {"registry.example:5000": [ACCEPT]}), app, "app"),
        ("docker: the registry in other case", under("docker", {"Registry.example:5000": [ACCEPT]}), app, "app"),
        ("docker: the registry without its port", under("docker", {"registry.example": [ACCEPT]}), app, "app"),
        ("docker: the registry with another port", under("docker", {"registry.example:5001": [ACCEPT]}), app, "app"),
        ("docker: the default", of("docker", _=[ACCEPT]), app, "app"),
        ("docker: tag before repository", under("docker", {f"{APP}:1": [ACCEPT], APP: [REJECT]}), app, "app"),
        ("docker: repository before namespace", under("docker", {"registry.example:5000/team": [ACCEPT], APP: [REJECT]}), app, "app"),
        ("docker: namespace before default", under("docker", {"": [ACCEPT], "registry.example:5000/team": [REJECT]}), app, "app"),
        ("docker: a pattern for the registry itself", under("docker", {"*.registry.example": [ACCEPT]}), app, "app"),
        ("docker: a pattern one level up", under("docker", {"*.example": [ACCEPT]}), app, "app"),
        ("docker: a pattern with a port", under("docker", {"*.example:5000": [ACCEPT]}), app, "app"),
        ("docker: a pattern with a path", under("docker", {"*.example/team": [ACCEPT]}), app, "app"),
        ("docker: a star alone", under("docker", {"*": [ACCEPT]}), app, "app"),
        ("docker: a star within", under("docker", {"registry.*:5000": [ACCEPT]}), app, "app"),
        ("docker: a pattern three levels up", under("docker", {"*.domain.example": [ACCEPT]}), wild, "wild"),
        ("docker: the nearest pattern", under("docker", {"*.example": [ACCEPT], "*.sub.domain.example": [REJECT]}), wild, "wild"),
        ("docker: registry before pattern", under("docker", {"*.example": [REJECT], "deep.sub.domain.example:8443": [ACCEPT]}), wild, "wild"),
        ("docker: the digest", under("docker", {f"{APP}@{digest}": [ACCEPT]}), f"docker://{APP}@{digest}", "app"),
        ("docker: the digest, asked by tag", under("docker", {f"{APP}@{digest}": [ACCEPT]}), app, "app"),
        ("docker: the tag, asked by digest", under("docker", {f"{APP}:1": [ACCEPT]}), f"docker://{APP}@{digest}", "app"),
        ("docker: the repository, asked by digest", under("docker", {APP: [ACCEPT]}), f"docker://{APP}@{digest}", "app"),
        ("docker: a short name as scope", under("docker", {"busybox": [ACCEPT]}), hub, "hub"),
        ("docker: latest is added", under("docker", {f"{HUB}:latest": [ACCEPT]}), hub, "hub"),
        ("docker: library alone", under("docker", {"library": [ACCEPT]}), hub, "hub"),
        ("docker: the hub's library", under("docker", {"docker.io/library": [ACCEPT]}), "docker://busybox", "hub"),
        ("docker: the hub", under("docker", {"docker.io": [ACCEPT]}), "docker://busybox:latest", "hub"),
        ("docker: the hub's other name", under("docker", {"index.docker.io": [ACCEPT]}), "docker://index.docker.io/library/busybox", "hub"),
        ("docker: the hub by its other name", under("docker", {"docker.io/library/busybox": [ACCEPT]}), "docker://index.docker.io/library/busybox", "hub"),
        ("docker: another transport's scope", of("dir", _=[ACCEPT]), app, "app"),
        ("docker: atomic's scope", under("atomic", {APP: [ACCEPT]}), app, "app"),
        ("docker: the transport with a colon", under("docker:", {APP: [ACCEPT]}), app, "app"),
        ("docker: the transport in other case", under("Docker", {APP: [ACCEPT]}), app, "app"),
        ("dir: the path", under("dir", {place: [ACCEPT]}), f"dir:{place}", "app"),
        ("dir: the directory above", under("dir", {"@W@/dir": [ACCEPT]}), f"dir:{place}", "app"),
        ("dir: two above", under("dir", {"@W@": [ACCEPT]}), f"dir:{place}", "app"),
        ("dir: a part of a component", under("dir", {"@W@/di": [ACCEPT]}), f"dir:{place}", "app"),
        ("dir: the default", of("dir", _=[ACCEPT]), f"dir:{place}", "app"),
        ("dir: the path before the one above", under("dir", {place: [ACCEPT], "@W@/dir": [REJECT]}), f"dir:{place}", "app"),
        ("dir: by a symlink, scope of the target", under("dir", {place: [ACCEPT]}), "dir:@W@/link/app", "app"),
        ("dir: by a symlink, scope of the link", under("dir", {"@W@/link/app": [ACCEPT]}), "dir:@W@/link/app", "app"),
        ("dir: with dots", under("dir", {place: [ACCEPT]}), "dir:@W@/dir/../dir/./app", "app"),
        ("dir: the root", under("dir", {"/": [ACCEPT]}), f"dir:{place}", "app"),
        ("dir: a relative path", under("dir", {"dir/app": [ACCEPT]}), f"dir:{place}", "app"),
        ("dir: a slash at the end", under("dir", {f"{place}/": [ACCEPT]}), f"dir:{place}", "app"),
        ("dir: two slashes", under("dir", {"@W@//dir": [ACCEPT]}), f"dir:{place}", "app"),
        ("dir: dots in the scope", under("dir", {"@W@/x/../dir": [ACCEPT]}), f"dir:{place}", "app"),
        ("dir: two slashes in front", under("dir", {"/@W@/dir": [ACCEPT]}), f"dir:{place}", "app"),
        ("oci: the layout", under("oci", {"@W@/oci": [ACCEPT]}), "oci:@W@/oci:first:1", "bare"),
        ("oci: the layout and the name", under("oci", {"@W@/oci:first:1": [ACCEPT]}), "oci:@W@/oci:first:1", "bare"),
        ("oci: the directory above", under("oci", {"@W@": [ACCEPT]}), "oci:@W@/oci:first:1", "bare"),
        ("oci: the root", under("oci", {"/": [ACCEPT]}), "oci:@W@/oci:first:1", "bare"),
        ("oci: a relative path", under("oci", {"oci": [ACCEPT]}), "oci:@W@/oci:first:1", "bare"),
        ("oci: a slash at the end", under("oci", {"@W@/oci/": [ACCEPT]}), "oci:@W@/oci:first:1", "bare"),
        ("oci: dir's scope", under("dir", {"@W@/oci": [ACCEPT]}), "oci:@W@/oci:first:1", "bare"),
        ("oci: a signature is needed", under("oci", {"@W@/oci": [gpg(exact())]}), "oci:@W@/oci:first:1", "bare"),
        ("oci-archive: the file", under("oci-archive", {"@W@/oci.tar": [ACCEPT]}), "oci-archive:@W@/oci.tar:first:1", "bare"),
        ("oci-archive: the directory above", under("oci-archive", {"@W@": [ACCEPT]}), "oci-archive:@W@/oci.tar:first:1", "bare"),
        ("oci-archive: oci's scope", under("oci", {"@W@": [ACCEPT]}), "oci-archive:@W@/oci.tar:first:1", "bare"),
        ("docker-archive: the default", of("docker-archive", _=[ACCEPT]), "docker-archive:@W@/docker.tar", "bare"),
        ("docker-archive: a path", under("docker-archive", {"@W@/docker.tar": [ACCEPT]}), "docker-archive:@W@/docker.tar", "bare"),
        ("tarball: a path", under("tarball", {"/x": [ACCEPT]}), BARE, "bare"),
        ("sif: a path", {"default": [ACCEPT], "transports": {"sif": {"/x": [REJECT]}}}, BARE, "bare"),
        ("sif: a relative path", {"default": [ACCEPT], "transports": {"sif": {"x": [REJECT]}}}, BARE, "bare"),
        ("docker-daemon: a digest", {"default": [ACCEPT], "transports": {"docker-daemon": {digest: [REJECT]}}}, BARE, "bare"),
        ("docker-daemon: a name", {"default": [ACCEPT], "transports": {"docker-daemon": {HUB: [REJECT]}}}, BARE, "bare"),
        ("atomic: too many components", {"default": [ACCEPT], "transports": {"atomic": {"h/a/b/c": [REJECT]}}}, BARE, "bare"),
        ("atomic: a stream", {"default": [ACCEPT], "transports": {"atomic": {"h:1/a/b:c": [REJECT]}}}, BARE, "bare"),
    ]  # fmt: skip
    storage = (
        ("a name", "docker.io/x"), ("a root", "[/var/lib/x]"), ("a driver and a root", "[overlay@/var/lib/x]"),
        ("a relative root", "[overlay@x]"), ("no root", "[]"), ("an image", "[/x]docker.io/library/y:1"),
        ("an id", f"[/x]y@{'a' * 64}"), ("a short id", "[/x]y@abc"), ("a digest and an id", f"[/x]y@{digest}@{'a' * 64}"),
        ("two ids", f"[/x]y@{'a' * 64}@{'a' * 64}"), ("an open bracket", "[/x"),
    )  # fmt: skip
    for title, policy, source, fixture in rows:
        yield Case("scopes", title, text(policy), source, fixture)
    for title, scope in storage:
        policy = {"default": [ACCEPT], "transports": {"containers-storage": {scope: [REJECT]}}}
        yield Case("scopes", f"containers-storage: {title}", text(policy), BARE)


def _identities() -> Iterator[Case]:
    """Names in signatures."""
    own = "p256.pub"
    named = [
        ("name-no-tag", exact(), exact()), ("name-no-tag", repository(), repository()), ("name-tag-2", exact(), None),
        ("name-tag-2", repository(), None), ("name-digest", exact(), None), ("name-digest", exact(f"{APP}@@DIGEST@"), None),
        ("name-digest", repository(), None), ("name-tag-digest", exact(), None),
        ("name-tag-digest", exact(f"{APP}:1@@DIGEST@"), None), ("name-tag-digest", repository(), None),
        ("name-other-repository", repository(), None), ("name-other-registry", repository(), None),
        ("name-upper", repository(), None), ("name-upper-host", repository(), None),
        ("name-short", repository(HUB), None), ("name-short", repository("busybox"), None), ("name-short", exact("busybox:latest"), None),
        ("name-short-tag", exact("busybox:latest"), None), ("name-short-tag", exact(f"{HUB}:latest"), None),
        ("name-hub-alias", exact(f"{HUB}:latest"), None), ("name-hub-alias", exact("index.docker.io/library/busybox:latest"), None),
        ("name-empty", repository(), None), ("name-garbage-name", repository(), None), ("name-hex-name", repository(), None),
        ("name-prefix-name", repository(), None),
        ("name-vendor", rule("matchRepository"), None), ("name-vendor", rule("matchExact"), None), ("name-vendor", None, None),
        ("name-vendor", remap("registry.example:5000/vendor-mirror", "vendor.example"), None),
    ]  # fmt: skip
    seen: set[str] = set()
    for fixture, identity, _ in named:
        said = "the default" if identity is None else " ".join(map(str, identity.values()))
        title = f"dir: {fixture.removeprefix('name-')} by {said}"
        if title not in seen:
            seen.add(title)
            yield Case("identities", title, text(default(sig(identity, own))), directory(fixture), fixture)
    kinds = ("matchExact", "matchRepoDigestOrExact", "matchRepository")
    labels = (
        "plain",
        "no-tag",
        "tag-2",
        "digest",
        "tag-digest",
        "other-repository",
        "prefix-name",
        "empty",
        "garbage-name",
    )
    for label in labels:
        for kind in kinds:
            for what, behind in (("tag", ":1"), ("digest", "@@DIGEST@")):
                if label not in ("plain", "no-tag", "tag-2", "digest", "tag-digest") and (what, kind) != (
                    "tag",
                    "matchRepository",
                ):
                    continue
                source = f"docker://registry.example:5000/names/{label}{behind}"
                policy = text(default(sig(rule(kind), own)))
                yield Case("identities", f"docker: {label} asked by {what}, {kind}", policy, source, f"at-{label}")
    mirror = f"docker://{MIRROR}:1"
    remaps = [
        ("the namespace", remap("registry.example:5000/vendor-mirror", "vendor.example"), mirror),
        ("the repository", remap(MIRROR, VENDOR), mirror),
        ("a part of a component", remap("registry.example:5000/vendor", "vendor.example"), mirror),
        ("the registry", remap("registry.example:5000", "vendor.example"), mirror),
        ("the registry without its port", remap("registry.example", "vendor.example"), mirror),
        ("another prefix", remap("other.example", "vendor.example"), mirror),
        ("to a short name", remap(MIRROR, "busybox"), mirror),
        ("to another vendor", remap("registry.example:5000/vendor-mirror", "other.example"), mirror),
        ("asked by digest", remap("registry.example:5000/vendor-mirror", "vendor.example"), f"docker://{MIRROR}@@DIGEST@"),
        ("asked by another tag", remap("registry.example:5000/vendor-mirror", "vendor.example"), f"docker://{MIRROR}:2"),
    ]  # fmt: skip
    for title, identity, source in remaps:
        yield Case("identities", f"remapIdentity: {title}", text(default(gpg(identity))), source, "mirror")
    yield Case(
        "identities",
        "remapIdentity: unchanged",
        text(default(gpg(remap("other.example", "x.example")))),
        f"docker://{APP}:1",
        "app",
    )
    yield Case(
        "identities",
        "cosign: the default",
        text(default(sig(key="cosign.pub"))),
        "docker://registry.example:5000/team/cosigned:1",
        "cosigned",
    )
    yield Case("identities", "cosign: matchRepository", text(default(sig(rule("matchRepository"), "cosign.pub"))),
               "docker://registry.example:5000/team/cosigned:1", "cosigned")  # fmt: skip
    yield Case(
        "identities",
        "cosign: another key",
        text(default(sig(rule("matchRepository")))),
        "docker://registry.example:5000/team/cosigned:1",
        "cosigned",
    )
    yield Case("identities", "hub: short name", text(default(gpg())), "docker://busybox", "hub")


def _keys(material: Material) -> Iterator[Case]:
    """Keys, and what is wrong with signatures."""
    data = {name: base64.b64encode(content).decode() for name, content in material.keys.items()}
    lined = "\n".join(data["alice.gpg"][start : start + 64] for start in range(0, len(data["alice.gpg"]), 64))
    no_path = without(gpg(exact()), "keyPath")
    no_key = without(sig(exact()), "keyPath")
    rekor = {"rekorPublicKeyPath": "@K@/rekor.pub"}
    fulcio = {"caPath": "@K@/fulcio-roots.pem", "oidcIssuer": ISSUER, "subjectEmail": EMAIL}
    pki = {"caRootsPath": "@K@/pki-roots.pem", "subjectEmail": EMAIL}
    rows: list[tuple[str, Any, str]] = [
        ("gpg: keyPath", gpg(exact()), "app"),
        ("gpg: another key", gpg(exact(), "bob.gpg"), "app"),
        ("gpg: one of two in a file", gpg(exact(), "alice-and-bob.gpg"), "app"),
        ("gpg: keyPaths", {**no_path, "keyPaths": ["@K@/bob.gpg", "@K@/alice.gpg"]}, "app"),
        ("gpg: keyPaths, one is not there", {**no_path, "keyPaths": ["@K@/alice.gpg", "@K@/none.gpg"]}, "app"),
        ("gpg: keyPaths, one is not a key", {**no_path, "keyPaths": ["@K@/alice.gpg", "@K@/none.txt"]}, "app"),
        ("gpg: keyData", {**no_path, "keyData": data["alice.gpg"]}, "app"),
        ("gpg: keyData in lines", {**no_path, "keyData": lined}, "app"),
        ("gpg: keyData of another key", {**no_path, "keyData": data["bob.gpg"]}, "app"),
        ("gpg: the file is not there", gpg(exact(), "none.gpg"), "app"),
        ("gpg: the file is not there, nothing is signed", gpg(exact(), "none.gpg"), "bare"),
        ("gpg: the file is empty", gpg(exact(), "empty.pub"), "app"),
        ("gpg: the file is not a key", gpg(exact(), "none.txt"), "app"),
        ("gpg: the file is a sigstore key", gpg(exact(), "k1.pub"), "app"),
        ("gpg: the file is a directory", {**gpg(exact()), "keyPath": "@K@"}, "app"),
        ("gpg: X509Certificates", gpg(exact(), keyType="X509Certificates"), "app"),
        ("gpg: signedByGPGKeys", gpg(exact(), keyType="signedByGPGKeys"), "app"),
        ("gpg: no signature", gpg(exact()), "bare"),
        ("gpg: signed by another", gpg(exact()), "bob"),
        ("gpg: the key has expired", gpg(exact(), "expired.gpg"), "expired"),
        ("gpg: the key is revoked", gpg(exact(), "revoked.gpg"), "revoked"),
        ("gpg: two signatures, one key known", gpg(exact()), "two-keys"),
        ("gpg: bad signatures before a good one", gpg(exact()), "bad-and-good"),
        ("gpg: a signature for another digest", gpg(exact()), "other-digest"),
        ("gpg: an image in Docker's form", gpg(exact()), "docker-form"),
        ("gpg: only sigstore's signatures", gpg(exact()), "sigstore"),
        ("gpg: armoured", gpg(exact()), "armoured"),
        ("gpg: truncated", gpg(exact()), "truncated"),
        ("gpg: a file of no known form before a good one", gpg(exact()), "garbage-and-good"),
        ("key: keyPath", sig(exact()), "bad-and-good"),
        ("key: another key", sig(exact(), "k2.pub"), "logged"),
        ("key: keyPaths", {**no_key, "keyPaths": ["@K@/k2.pub", "@K@/k1.pub"]}, "docker-form"),
        ("key: keyPaths, one is not a key", {**no_key, "keyPaths": ["@K@/k1.pub", "@K@/none.txt"]}, "docker-form"),
        ("key: keyPaths, one is not there", {**no_key, "keyPaths": ["@K@/k1.pub", "@K@/none.pub"]}, "docker-form"),
        ("key: keyData", {**no_key, "keyData": data["k1.pub"]}, "docker-form"),
        ("key: keyDatas", {**no_key, "keyDatas": [data["k2.pub"], data["k1.pub"]]}, "docker-form"),
        ("key: two keys in one file, the first", sig(exact(), "two.pub"), "docker-form"),
        ("key: two keys in one file, the second", sig(exact(), "two.pub"), "only-k2"),
        ("key: the file is empty", sig(exact(), "empty.pub"), "docker-form"),
        ("key: the file is not there", sig(exact(), "none.pub"), "docker-form"),
        ("key: the file is a GPG key", sig(exact(), "alice.gpg"), "docker-form"),
        ("key: the file is a certificate", sig(exact(), "pki-roots.pem"), "pki"),
        ("key: no signature", sig(exact()), "bare"),
        ("key: only OpenPGP signatures", sig(exact()), "app"),
        ("key: a signature for another digest", sig(exact()), "other-digest"),
        ("key: P-384", sig(exact(), "p384.pub"), "p384"),
        ("key: RSA", sig(exact(), "rsa.pub"), "rsa"),
        ("key: Ed25519", sig(exact(), "ed25519.pub"), "ed25519"),
        ("key: of another kind", sig(exact(), "ed25519.pub"), "p384"),
        ("key: type of another signature", sig(exact(), "p256.pub"), "wrong-type"),
        ("key: an attestation", sig(exact(), "p256.pub"), "attestation"),
        ("key: an unknown member in critical", sig(exact(), "p256.pub"), "extra-critical"),
        ("key: a member twice in the payload", sig(exact(), "p256.pub"), "duplicate-critical"),
        ("key: without the signature itself", sig(exact(), "p256.pub"), "no-signature-text"),
        ("key: a file of no known form before a good one", sig(exact()), "garbage-and-good"),
        ("rekor: in the log", sig(exact(), "p256.pub", **rekor), "logged"),
        ("rekor: not in the log", sig(exact()) | rekor, "docker-form"),
        ("rekor: by another log", sig(exact(), "p256.pub", rekorPublicKeyPath="@K@/rekor-other.pub"), "logged"),
        ("rekor: by one of two logs", sig(exact(), "p256.pub", rekorPublicKeyPaths=["@K@/rekor-other.pub", "@K@/rekor.pub"]), "logged"),
        ("rekor: the log's key as data", sig(exact(), "p256.pub", rekorPublicKeyData=data["rekor.pub"]), "logged"),
        ("rekor: the log's key is Ed25519", sig(exact(), "p256.pub", rekorPublicKeyPath="@K@/ed25519.pub"), "logged"),
        ("rekor: an entry for other bytes", sig(exact(), "p256.pub", **rekor), "logged-other"),
        ("fulcio: in time", trusted(fulcio=fulcio, **rekor), "fulcio"),
        ("fulcio: after the certificate's time", trusted(fulcio=fulcio, **rekor), "fulcio-late"),
        ("fulcio: another issuer", trusted(fulcio={**fulcio, "oidcIssuer": f"{ISSUER}/"}, **rekor), "fulcio"),
        ("fulcio: another e-mail", trusted(fulcio={**fulcio, "subjectEmail": f"x{EMAIL}"}, **rekor), "fulcio"),
        ("fulcio: the e-mail in other case", trusted(fulcio={**fulcio, "subjectEmail": EMAIL.upper()}, **rekor), "fulcio"),
        ("fulcio: another root", trusted(fulcio={**fulcio, "caPath": "@K@/pki-roots.pem"}, **rekor), "fulcio"),
        ("fulcio: the root is not a certificate", trusted(fulcio={**fulcio, "caPath": "@K@/k1.pub"}, **rekor), "fulcio"),
        ("fulcio: no certificate", trusted(fulcio=fulcio, **rekor), "logged"),
        ("pki: by e-mail", trusted(pki=pki), "pki"),
        ("pki: by host", trusted(pki={**without(pki, "subjectEmail"), "subjectHostname": HOST}), "pki"),
        ("pki: by both", trusted(pki={**pki, "subjectHostname": HOST}), "pki"),
        ("pki: by both, one is another", trusted(pki={**pki, "subjectHostname": "other.example.com"}), "pki"),
        ("pki: another e-mail", trusted(pki={**pki, "subjectEmail": f"x{EMAIL}"}), "pki"),
        ("pki: one of two roots", trusted(pki={**pki, "caRootsPath": "@K@/pki-both.pem"}), "pki"),
        ("pki: another root", trusted(pki={**pki, "caRootsPath": "@K@/pki-other-roots.pem"}), "pki"),
        ("pki: the certificate has expired", trusted(pki=pki), "pki-expired"),
        ("pki: without the intermediate", trusted(pki=pki), "pki-between"),
        ("pki: with the intermediate", trusted(pki={**pki, "caIntermediatesPath": "@K@/pki-between.pem"}), "pki-between"),
        ("pki: the intermediate is not a certificate", trusted(pki={**pki, "caIntermediatesPath": "@K@/k1.pub"}), "pki-between"),
        ("pki: no certificate", trusted(pki=pki), "p384"),
    ]  # fmt: skip
    for title, requirement, fixture in rows:
        yield Case("keys", title, text(default(requirement)), directory(fixture), fixture)
    yield Case(
        "keys",
        "key: of an image in a registry",
        text(default(sig())),
        "docker://registry.example:5000/team/sigstore:1",
        "sigstore",
    )


def _indexes() -> Iterator[Case]:
    """Signatures on an index, or on the image in it that is taken."""
    for label in ("index-only", "instance-only", "index-unsigned", "other-instance"):
        repo = f"registry.example:5000/lists/{label}"
        argued = INDEX if label == "index-only" else ""
        yield Case(
            "indexes",
            f"dir: {label}",
            text(default(sig(exact(f"{repo}:1"), "p256.pub"))),
            directory(label),
            label,
            argued,
        )
        yield Case(
            "indexes", f"docker: {label}", text(default(sig(key="p256.pub"))), f"docker://{repo}:1", label, argued
        )
    yield Case("indexes", "accepts everything", text(default(ACCEPT)), directory("index-unsigned"), "index-unsigned")
    yield Case("indexes", "rejects everything", text(default(REJECT)), directory("instance-only"), "instance-only")
