"""Odd but valid parts of a policy."""

import json

import pytest

from arstore.trust.policy.document import read
from arstore.trust.policy.doubts import doubts

REJECT = {"type": "reject"}
EXACT = {"type": "exactRepository", "dockerRepository": "a"}


def key(identity=None):
    found = {"type": "sigstoreSigned", "keyPath": "/k"}
    return found if identity is None else {**found, "signedIdentity": {"type": identity}}


def odd(*default, **transports):
    document = {"default": list(default) or [REJECT], "transports": transports}
    return [tuple(one) for one in doubts(read(json.dumps(document).encode(), "FILE", explicit=True))]


def test_a_plain_policy_has_none():
    exact = {**key(), "signedIdentity": EXACT}
    assert (
        odd(key(), docker={"": [key()], "a.example/b": [key()]}, dir={"": [exact], "/a": [exact]}, store={"": [key()]})
        == []
    )


@pytest.mark.parametrize(
    ("transports", "place", "text"),
    [
        ({"dockr": {"": [REJECT]}}, "transports.dockr", "the transport is unknown"),
        ({"docker": {"busybox/x": [REJECT]}}, "transports.docker.'busybox/x'", "so the list never applies"),
        ({"docker": {"a.example/B": [REJECT]}}, "transports.docker.'a.example/B'", "not an image name"),
    ],
)
def test_lists_that_never_apply(transports, place, text):
    ((where, why),) = odd(**transports)
    assert where == place
    assert text in why


@pytest.mark.parametrize("transport", ["dir", "oci", "oci-archive", "docker-archive", "sif", "tarball"])
@pytest.mark.parametrize("identity", [None, "matchExact", "matchRepository"])
def test_names_that_images_do_not_have(transport, identity):
    ((where, why),) = odd(**{transport: {"": [REJECT, key(identity)]}})
    assert where == f"transports.{transport}.''[1]"
    assert "so it is never satisfied" in why


def test_requirements_that_never_hold():
    base = {"type": "signedBaseLayer", "baseLayerIdentity": EXACT}
    other = {"type": "signedBy", "keyType": "X509CAs", "keyPath": "/k"}
    found = odd(base, {**other, "keyType": "X509Certificates"}, {**other, "keyType": "GPGKeys"})
    assert [where for where, _ in found] == ["default[0]", "default[1]"]
    assert all("never satisfied" in why for _, why in found)


def test_any_identity_is_told():
    ((where, why),) = odd(key("anyIdentity"))
    assert where == "default[0]"
    assert "for any name" in why
