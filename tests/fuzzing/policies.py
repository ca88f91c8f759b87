"""The target that reads policy files, and decides by them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from support import images

from arstore.digest import Digest
from arstore.errors import InvalidReferenceError
from arstore.oci.docker_reference import DockerReference
from arstore.trust.policy import scope
from arstore.trust.policy.document import read
from arstore.trust.policy.doubts import doubts
from arstore.trust.policy.evaluate import Signed, judge
from arstore.trust.policy.identity import mismatch
from arstore.trust.policy.material import sources
from arstore.trust.policy.model import ACCEPT, SignedBy, SigstoreSigned
from arstore.trust.policy.wording import described
from arstore.trust.signature import SigstoreSignature
from fuzzing import mutators
from fuzzing.target import Mutate, Target

if TYPE_CHECKING:
    import random
    from collections.abc import Iterator

    from arstore.trust.policy.model import Policy, Requirement, Requirements
    from arstore.trust.policy.subject import Subject

_IMAGE = images.image(images.layer([images.file("a")]), architecture="amd64").manifest
_NAME = "r.example:5000/team/app:1"
_SUBJECTS = (
    scope.registry_subject(DockerReference.parse(_NAME)),
    scope.store_subject("", Digest.of(_IMAGE)),
    scope.unnamed_subject("docker-archive"),
)


def read_policy(data: bytes) -> None:
    """Read a policy file after a line with a name: its words, its doubts, its scopes, and its decisions."""
    line, _, document = data.partition(b"\n")
    policy = read(document, "policy", explicit=len(data) % 2 == 0)
    assert policy.default
    for doubt in doubts(policy):
        assert doubt.text
    name = line.decode("utf-8", "replace")
    subjects = (*_SUBJECTS, *_named(name))
    for subject in subjects:
        found = scope.find(policy, subject)
        assert found.requirements
    for requirement in {one for found in _lists(policy) for one in found}:
        assert described(requirement).isprintable()
        if isinstance(requirement, SignedBy | SigstoreSigned):
            mismatch(requirement.identity, subjects[-1].reference, name)
    _decide(policy, subjects[len(data) % len(subjects)])


def _lists(policy: Policy) -> Iterator[Requirements]:
    yield policy.default
    for scopes in policy.transports.values():
        yield from scopes.values()


def _named(name: str) -> list[Subject]:
    try:
        return [scope.registry_subject(DockerReference.parse(name)), scope.store_subject(name, Digest.of(b""))]
    except InvalidReferenceError:
        return []


def _decide(policy: Policy, subject: Subject) -> None:
    """No list may accept an unsigned image, or one with a forged signature, unless it accepts everything."""
    requirements = scope.find(policy, subject).requirements
    # Otherwise files with any name could be opened, and gpg started, a million times.
    if any(source.paths for source in sources(policy)) or any(isinstance(one, SignedBy) for one in requirements):
        signatures: list[SigstoreSignature] = []
    else:
        signatures = [SigstoreSignature(b"{}", "AAAA")]
    verdict = judge(policy, subject, Signed(None, _IMAGE, lambda: signatures))
    assert verdict.accepted is all(_is_open(one) for one in requirements)
    assert verdict.reason.isprintable()
    json.dumps(verdict.to_json())
    assert not judge(policy, subject, Signed(None, _IMAGE, list), require_signatures=True).accepted


def _is_open(requirement: Requirement) -> bool:
    return requirement == ACCEPT


def _seeds() -> list[bytes]:
    key = {"type": "sigstoreSigned", "keyPath": "/k"}
    rekor = {"rekorPublicKeyPaths": ["/r"]}
    fulcio = {"caData": "eA==", "oidcIssuer": "i", "subjectEmail": "e@x"}
    pki = {"caRootsPath": "/c", "caIntermediatesData": "eA==", "subjectHostname": "h"}
    remap = {"type": "remapIdentity", "prefix": "r.example:5000", "signedPrefix": "v.example"}
    accept, reject = {"type": "insecureAcceptAnything"}, {"type": "reject"}
    lists: list[dict[str, Any]] = [
        {"default": [accept]},
        {"default": [reject], "transports": {"docker": {"r.example:5000/team": [accept], "": [key]}, "x": {}}},
        {"default": [accept, {"type": "signedBy", "keyType": "GPGKeys", "keyData": "eA=="}]},
        {
            "default": [
                {"type": "sigstoreSigned", "keyDatas": ["eA==", "eQ=="], "signedIdentity": {"type": "anyIdentity"}}
            ]
        },
        {"default": [{"type": "sigstoreSigned", "fulcio": fulcio, **rekor, "signedIdentity": remap}]},
        {"default": [{"type": "sigstoreSigned", "pki": pki, "signedIdentity": {"type": "matchRepository"}}]},
        {"default": [reject], "transports": {"dir": {"/a/b": [accept]}, "containers-storage": {"[o@/r]a": [accept]}}},
        {"default": [{"type": "signedBaseLayer", "baseLayerIdentity": {"type": "matchExact"}}]},
        {"default": [{**key, "signedIdentity": {"type": "exactReference", "dockerReference": "a:1"}}]},
    ]
    names = (_NAME, "busybox", "", "a@b", f"r.example/a@{Digest.of(b'')}")
    seeds = [f"{names[number % len(names)]}\n{json.dumps(one)}".encode() for number, one in enumerate(lists)]
    # Both lengths: a file that the user gave, and one that was found.
    return [*seeds, *(seed + b" " for seed in seeds)]


_WORDS = (
    b"default", b"transports", b"type", b"keyType", b"keyPath", b"keyPaths", b"keyData", b"keyDatas", b"fulcio", b"pki",
    b"caPath", b"caData", b"oidcIssuer", b"subjectEmail", b"subjectHostname", b"caRootsPath", b"caRootsData",
    b"rekorPublicKeyPath", b"rekorPublicKeyData", b"signedIdentity", b"matchExact", b"matchRepoDigestOrExact",
    b"matchRepository", b"exactReference", b"exactRepository", b"remapIdentity", b"prefix", b"signedPrefix",
    b"dockerReference", b"dockerRepository", b"anyIdentity", b"signedBy", b"GPGKeys", b"sigstoreSigned", b"reject",
    b"insecureAcceptAnything", b"signedBaseLayer", b"baseLayerIdentity", b"docker", b"dir", b"store", b"oci-archive",
    b"containers-storage", b"docker-daemon", b"atomic",
)  # fmt: skip


def _mutated(data: bytes, most: int, chance: random.Random, mutate: Mutate) -> bytes:
    """Mutate the name, or the document as a document."""
    name, _, document = data.partition(b"\n")
    if chance.random() < 0.1:
        name = mutate(name, 80).replace(b"\n", b"")
    else:
        document = mutators.document(document, most - len(name) - 1, chance, mutate)
    return (name + b"\n" + document)[:most]


TARGETS = (Target("policy", read_policy, _seeds, 640, _mutated, words=_WORDS),)
