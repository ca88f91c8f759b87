"""The evaluator: combined requirements, signatures, indexes, and everything that must not count."""

import base64
import json

import pytest
from decisions import certificates
from support import images

from arstore.digest import Digest
from arstore.errors import HostError, LimitError, ManifestError, RejectedError, SignatureError
from arstore.oci.docker_reference import DockerReference
from arstore.trust import dir_file
from arstore.trust.policy import scope
from arstore.trust.policy.document import read
from arstore.trust.policy.evaluate import NO_POLICY, Signed, judge
from arstore.trust.policy.model import Policy
from arstore.trust.signature import MOST, Bundle, SigstoreSignature, SimpleSignature

APP = "r.example:5000/team/app"
IMAGE = images.image(images.layer([images.file("a", b"b")]), architecture="amd64")
OTHER = images.image(images.layer([images.file("a", b"c")]), architecture="s390x")
INDEX = images.index(IMAGE, OTHER)
OUTER = images.index(INDEX)
KEY = base64.b64encode(certificates.public("p256")).decode()
ACCEPT, REJECT = {"type": "insecureAcceptAnything"}, {"type": "reject"}


def key(identity=None, data=KEY, **more):
    found = {"type": "sigstoreSigned", "keyData": data, **more}
    return found if identity is None else {**found, "signedIdentity": identity}


def policy(*requirements, explicit=True, **transports):
    document = {"default": list(requirements), "transports": transports}
    return read(json.dumps(document).encode(), "POLICY", explicit=explicit)


def subject(text=f"{APP}:1"):
    return scope.registry_subject(DockerReference.parse(text))


def signature(picture=IMAGE, name=f"{APP}:1", by="p256"):
    found = dir_file.read_file(certificates.signed(picture.digest, by, name))
    assert isinstance(found, SigstoreSignature)
    return found


def signed(picture, *signatures, media_type=None):
    return Signed(media_type, raw(picture), lambda: signatures)


def raw(picture):
    return picture.manifest if isinstance(picture, images.Picture) else picture.raw


def unasked(picture):
    def fail():
        raise AssertionError("no signature is needed")

    return Signed(None, raw(picture), fail)


def verdict(requirements, image, within=(), name=f"{APP}:1", **more):
    return judge(policy(*requirements), subject(name), image, within, **more)


def test_without_a_policy():
    found = judge(None, subject(), unasked(IMAGE))
    assert (found.accepted, found.reason, found.policy, found.outcomes) == (True, NO_POLICY, "", ())
    found = judge(None, subject(), unasked(IMAGE), require_signatures=True)
    assert not found.accepted
    assert "signatures are required" in found.reason


def test_unconditional_requirements():
    accepted = judge(policy(ACCEPT), subject(), unasked(IMAGE))
    assert accepted.accepted
    assert (accepted.section, accepted.scope, accepted.policy) == ("default", "", "POLICY")
    assert accepted.reason == "default: insecureAcceptAnything"
    assert accepted.subject == f"docker:{APP}:1"
    rejected = judge(policy(ACCEPT, REJECT, ACCEPT), subject(), unasked(IMAGE))
    assert not rejected.accepted
    assert [outcome.accepted for outcome in rejected.outcomes] == [True, False, True]
    assert [outcome.number for outcome in rejected.outcomes] == [1, 2, 3]
    assert rejected.reason == "default: requirement 2, reject: every image is rejected"


def test_the_scope_that_applies_is_named():
    found = judge(policy(REJECT, docker={APP: [ACCEPT]}), subject(), unasked(IMAGE))
    assert found.accepted
    assert (found.section, found.scope) == (f"transports.docker.'{APP}'", APP)


def test_an_empty_list_rejects():
    empty = Policy((), {}, "POLICY", Digest.of(b""))
    found = judge(empty, subject(), unasked(IMAGE))
    assert not found.accepted
    assert found.reason == "default: the list of requirements is empty"


def test_signatures_may_be_required():
    found = judge(policy(ACCEPT), subject(), unasked(IMAGE), require_signatures=True)
    assert not found.accepted
    assert found.reason == "default: signatures are required, but the policy does not ask for any"
    good = signed(IMAGE, signature())
    assert judge(policy(ACCEPT, key()), subject(), good, require_signatures=True).accepted
    bad = judge(policy(ACCEPT, key()), subject(), signed(IMAGE), require_signatures=True)
    assert "a signature is required, but there is none" in bad.reason
    base = {"type": "signedBaseLayer", "baseLayerIdentity": {"type": "matchExact"}}
    assert not judge(policy(base), subject(), unasked(IMAGE), require_signatures=True).accepted


def test_a_good_signature():
    found = verdict([key()], signed(IMAGE, signature()))
    assert found.accepted
    (outcome,) = found.outcomes
    assert [(one.kind, one.on, one.accepted) for one in outcome.attempts] == [("sigstore", IMAGE.digest, True)]
    found.require(APP)


def test_bad_signatures_do_no_harm():
    many = [SimpleSignature(b"x"), Bundle(b"x"), signature(OTHER), signature(name=f"{APP}:2"), signature(by="p384")]
    found = verdict([key()], signed(IMAGE, *many, signature(), signature(OTHER)))
    assert found.accepted
    assert [one.accepted for one in found.outcomes[0].attempts] == [False] * 5 + [True]
    assert [one.fits for one in found.outcomes[0].attempts] == [False] * 2 + [True] * 4
    found = verdict([key()], signed(IMAGE, *many, signature(name=f"{APP}:3")))
    assert not found.accepted
    assert f"none of 4 signatures is valid: the signature is for {OTHER.digest}" in found.reason
    assert found.reason.endswith("; and 1 more")
    assert found.reason.isprintable()
    with pytest.raises(RejectedError, match="requirement 1"):
        found.require(APP)


def test_signatures_of_other_kinds_are_told_where_there_is_no_better_reason():
    others = [SimpleSignature(b"x"), Bundle(b"x")]
    found = verdict([key()], signed(IMAGE, *others))
    assert "none of 2 signatures is valid: sigstoreSigned accepts only sigstore's signatures; a bundle" in found.reason
    found = verdict([key()], signed(IMAGE, *others, signature(OTHER)))
    assert "none of" not in found.reason
    assert f"the signature is for {OTHER.digest}" in found.reason


def test_each_requirement_needs_its_own_signature():
    second = base64.b64encode(certificates.public("p384")).decode()
    both = [key(), key(data=second)]
    assert verdict(both, signed(IMAGE, signature(), signature(by="p384"))).accepted
    found = verdict(both, signed(IMAGE, signature()))
    assert [outcome.accepted for outcome in found.outcomes] == [True, False]
    assert "requirement 2" in found.reason


def test_the_same_reason_is_said_once():
    found = verdict([key()], signed(IMAGE, signature(by="p384"), signature(by="p384")))
    assert "none of 2 signatures is valid" in found.reason
    assert found.reason.count("none of the keys") <= 1


def test_three_reasons_are_all():
    three = [signature(OTHER), signature(name=f"{APP}:2"), signature(by="p384")]
    found = verdict([key()], signed(IMAGE, *three))
    assert "more" not in found.reason


def test_another_digest():
    found = verdict([key()], signed(IMAGE, signature(OTHER)))
    assert f"the signature is for {OTHER.digest}, not for {IMAGE.digest}" in found.reason


def test_another_name():
    found = verdict([key()], signed(IMAGE, signature(name=f"{APP}:2")))
    assert f"the signature is for {APP}:2, not for {APP}:1" in found.reason


def test_a_digest_of_another_algorithm():
    twin = dir_file.read_file(certificates.signed(str(Digest.of(raw(IMAGE), "sha512")), "p256", f"{APP}:1"))
    assert verdict([key()], signed(IMAGE, twin)).accepted


def test_more_signatures_than_are_looked_at():
    assert verdict([key()], signed(IMAGE, *[signature(OTHER)] * (MOST - 1), signature())).accepted
    found = verdict([key()], signed(IMAGE, signature(), *[signature()] * MOST))
    assert not found.accepted
    assert "signatures: there are 129, but at most 128 are allowed" in found.reason


def test_signatures_that_cannot_be_had():
    def failing(error):
        def fail():
            raise error

        return Signed(None, raw(IMAGE), fail)

    found = verdict([key()], failing(SignatureError("signature-1", "is malformed")))
    assert not found.accepted
    assert found.reason.endswith("signature-1: is malformed")
    with pytest.raises(HostError):
        verdict([key()], failing(HostError("disk", "is broken")))


def test_signatures_are_asked_for_once():
    calls = []

    def get():
        calls.append(1)
        return [signature(OTHER)]

    verdict([key(), key(), key()], Signed(None, raw(IMAGE), get))
    assert len(calls) == 1


def test_keys_that_no_tool_knows():
    found = verdict([{"type": "signedBy", "keyType": "X509Certificates", "keyData": "eA=="}], unasked(IMAGE))
    assert "no tool supports keys of the type X509Certificates" in found.reason
    base = {"type": "signedBaseLayer", "baseLayerIdentity": {"type": "matchExact"}}
    assert "signedBaseLayer (matchExact): no tool can check this" in verdict([base], unasked(IMAGE)).reason


def test_a_key_that_is_none(tmp_path):
    assert "keyData: " in verdict([key(data="eA==")], signed(IMAGE, signature())).reason
    path = str(tmp_path / "none")
    missing = {"type": "sigstoreSigned", "keyPath": path}
    found = verdict([missing], signed(IMAGE, signature()))
    assert f"{path}: cannot be read" in found.reason
    assert "there is none" in verdict([missing], signed(IMAGE)).reason


def test_the_type_that_was_announced():
    good = signed(IMAGE, signature(), media_type=images.OCI_MANIFEST)
    assert verdict([key()], good).accepted
    with pytest.raises(ManifestError):
        verdict([key()], signed(IMAGE, signature(), media_type=images.OCI_INDEX))
    with pytest.raises(ManifestError):
        verdict([key()], Signed(None, b"{}", list))
    with pytest.raises(LimitError):
        verdict([key()], Signed(None, b" " * (5 << 20), list))
    with pytest.raises(ManifestError):
        verdict([key()], unasked(IMAGE), [signed(INDEX, media_type=images.OCI_MANIFEST)])


# --- indexes --------------------------------------------------------------------------------------------------------


def test_a_signature_on_the_index():
    found = verdict([key()], signed(IMAGE), [signed(INDEX, signature(INDEX))])
    assert found.accepted
    assert found.outcomes[0].attempts[0].on == INDEX.digest


def test_a_signature_on_an_index_of_the_index():
    assert verdict([key()], signed(IMAGE), [signed(INDEX), signed(OUTER, signature(OUTER))]).accepted


def test_the_images_own_signature_is_looked_at_first():
    assert verdict([key()], signed(IMAGE, signature()), [unasked(INDEX)]).accepted


def test_an_index_that_does_not_list_the_image():
    stranger = images.image(images.layer([images.file("x", b"x")]))
    found = verdict([key()], signed(stranger), [signed(INDEX, signature(INDEX))])
    assert not found.accepted
    assert "there is none" in found.reason
    # What lists the index says no more about the image.
    assert not verdict([key()], signed(stranger), [signed(INDEX), signed(OUTER, signature(OUTER))]).accepted
    assert not verdict([key()], signed(IMAGE), [signed(OUTER, signature(OUTER))]).accepted


def test_a_signature_for_the_index_beside_the_image():
    assert not verdict([key()], signed(IMAGE, signature(INDEX)), [signed(INDEX)]).accepted
    assert not verdict([key()], signed(IMAGE), [signed(INDEX, signature(IMAGE))]).accepted


def test_the_digest_that_was_asked_for():
    by = f"{APP}@{{}}"
    named = signature(name=f"{APP}:9")
    assert verdict([key()], signed(IMAGE, named), name=by.format(IMAGE.digest)).accepted
    assert verdict([key()], signed(IMAGE, named), [signed(INDEX)], by.format(INDEX.digest)).accepted
    on_index = signed(INDEX, signature(INDEX, f"{APP}:9"))
    assert verdict([key()], signed(IMAGE), [on_index], by.format(IMAGE.digest)).accepted
    found = verdict([key()], signed(IMAGE, named), name=by.format(OTHER.digest))
    assert not found.accepted
    assert f"it does not have the requested digest {OTHER.digest}" in found.reason
    # An index that does not list the image does not answer for it either.
    assert not verdict([key()], signed(IMAGE, named), [signed(OUTER)], by.format(OUTER.digest)).accepted


def test_an_image_without_a_name():
    nameless = scope.unnamed_subject("docker-archive")
    exact = {"type": "exactReference", "dockerReference": f"{APP}:1"}
    assert judge(policy(key(exact)), nameless, signed(IMAGE, signature())).accepted
    found = judge(policy(key()), nameless, signed(IMAGE, signature()))
    assert "the image has none" in found.reason


def test_a_verdict_as_json():
    found = verdict([key(), ACCEPT], signed(IMAGE, signature(OTHER)))
    document = json.loads(json.dumps(found.to_json()))
    assert document["accepted"] is False
    assert document["outcomes"][0]["attempts"][0]["on"] == IMAGE.digest
    assert document["outcomes"][0]["attempts"][0]["reason"]
    assert document["outcomes"][1] == {
        "number": 2,
        "requirement": "insecureAcceptAnything",
        "accepted": True,
        "reason": "",
        "attempts": [],
    }
