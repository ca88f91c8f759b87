"""Names in signatures, compared with names of images."""

import pytest

from arstore.digest import Digest
from arstore.oci.docker_reference import DockerReference
from arstore.trust.policy.identity import ANY, DEFAULT, Identity, fault, mismatch

D = Digest.of(b"")
E = Digest.of(b"other")
APP = "r.example:5000/team/app"
TAG, DIGEST, BOTH = f"{APP}:1", f"{APP}@{D}", f"{APP}:1@{D}"
EXACT, REPO, DEFAULTS = Identity("matchExact"), Identity("matchRepository"), DEFAULT


def intended(text):
    return DockerReference.parse(text, "") if text else None


@pytest.mark.parametrize(
    ("rule", "image", "signed"),
    [
        (EXACT, TAG, TAG),
        (EXACT, DIGEST, DIGEST),
        (EXACT, "busybox:1", "docker.io/library/busybox:1"),
        (DEFAULTS, TAG, TAG),
        (DEFAULTS, DIGEST, TAG),
        (DEFAULTS, DIGEST, f"{APP}:2"),
        (DEFAULTS, DIGEST, f"{APP}@{E}"),
        (DEFAULTS, BOTH, BOTH),
        (REPO, TAG, APP),
        (REPO, DIGEST, f"{APP}:2"),
        (REPO, TAG, f"{APP}@{E}"),
        (Identity("exactReference", TAG), "", TAG),
        (Identity("exactReference", TAG), "elsewhere.example/x:2", TAG),
        (Identity("exactReference", "busybox:1"), "", "index.docker.io/library/busybox:1"),
        (Identity("exactRepository", APP), "", APP),
        (Identity("exactRepository", f"{APP}:9"), "", f"{APP}:1"),
        (Identity("remapIdentity", "r.example:5000", "v.example"), TAG, "v.example/team/app:1"),
        (Identity("remapIdentity", "r.example:5000/team", "v.example/a/b"), TAG, "v.example/a/b/app:1"),
        (Identity("remapIdentity", APP, "v.example/x"), DIGEST, "v.example/x:7"),
        (Identity("remapIdentity", "other.example", "v.example"), TAG, TAG),
        (Identity(ANY), "", ""),
        (Identity(ANY), TAG, "no name at all"),
    ],
)
def test_it_fits(rule, image, signed):
    assert mismatch(rule, intended(image), signed) == ""


@pytest.mark.parametrize(
    ("rule", "image", "signed", "why"),
    [
        (EXACT, TAG, f"{APP}:2", "not for r.example:5000/team/app:1"),
        (EXACT, TAG, APP, "matchExact"),
        (EXACT, APP, APP, "matchExact"),
        (EXACT, APP, TAG, "matchExact"),
        (EXACT, DIGEST, TAG, "matchExact"),
        (EXACT, TAG, "r.example/team/app:1", "matchExact"),
        (EXACT, TAG, "R.example:5000/team/app:1", "matchExact"),
        (EXACT, "", TAG, "the image has none"),
        (DEFAULTS, TAG, APP, "matchRepoDigestOrExact"),
        (DEFAULTS, DIGEST, APP, "matchRepoDigestOrExact"),
        (DEFAULTS, DIGEST, f"{APP}-evil:1", "matchRepoDigestOrExact"),
        (DEFAULTS, TAG, f"{APP}:2", "matchRepoDigestOrExact"),
        (DEFAULTS, BOTH, TAG, "matchRepoDigestOrExact"),
        (DEFAULTS, BOTH, DIGEST, "matchRepoDigestOrExact"),
        (DEFAULTS, APP, TAG, "matchRepoDigestOrExact"),
        (DEFAULTS, "", TAG, "the image has none"),
        (REPO, TAG, f"{APP}x:1", "matchRepository"),
        (REPO, "", TAG, "the image has none"),
        (REPO, TAG, "r.example:5000/TEAM/app", "not an image name"),
        (REPO, TAG, "", "'', which is not an image name"),
        (REPO, TAG, f"docker://{TAG}", "not an image name"),
        (REPO, TAG, f"{TAG}\n", "not an image name"),
        (Identity("exactReference", TAG), "", f"{APP}:2", "exactReference"),
        (Identity("exactReference", TAG), TAG, APP, "exactReference"),
        (Identity("exactRepository", APP), TAG, "r.example:5000/team/other", "exactRepository"),
        (Identity("remapIdentity", "r.example:5000", "v.example"), TAG, TAG, "not for v.example/team/app:1"),
        (Identity("remapIdentity", "r.example:5000/te", "v.example"), TAG, "v.example/team/app:1", f"not for {TAG}"),
        (Identity("remapIdentity", "r.example", "v.example"), TAG, "v.example/team/app:1", f"not for {TAG}"),
        (Identity("remapIdentity", "r.example:5000", "v.example"), "", TAG, "the image has none"),
        (Identity("remapIdentity", APP, "busybox"), TAG, "busybox:1", "busybox:1, which is not an image name in its"),
        (Identity("remapIdentity", "r.example:5000", "-"), TAG, TAG, "-/team/app:1, which is not an image name"),
        (Identity("remapIdentity", "r.example:5000", "v.example"), TAG, "v.example/team/app", "remapIdentity"),
    ],
)
def test_it_does_not_fit(rule, image, signed, why):
    said = mismatch(rule, intended(image), signed)
    assert why in said
    assert said.isprintable()


@pytest.mark.parametrize(
    "rule",
    [
        EXACT,
        DEFAULTS,
        REPO,
        Identity(ANY),
        Identity("exactReference", TAG),
        Identity("exactReference", DIGEST),
        Identity("exactRepository", APP),
        Identity("exactRepository", TAG),
        Identity("remapIdentity", "r.example:5000", "r.example/a__b/c"),
        Identity("remapIdentity", "busybox", "localhost"),
    ],
)
def test_good_rules(rule):
    assert fault(rule) == ""


@pytest.mark.parametrize(
    ("rule", "why"),
    [
        (Identity("exactReference", APP), "neither a tag nor a digest"),
        (Identity("exactReference", "A b"), "'A b' is not an image name"),
        (Identity("exactRepository", ""), "not an image name"),
        (Identity("exactRepository", "a/B"), "not an image name"),
        (Identity("remapIdentity", "", "a"), "'' is not a registry"),
        (Identity("remapIdentity", "a", ""), "'' is not a registry"),
        (Identity("remapIdentity", "a", "b/"), "'b/' is not a registry"),
        (Identity("remapIdentity", "a/b:1", "b"), "'a/b:1' is not a registry"),
        (Identity("remapIdentity", f"a@{D}", "b"), "is not a registry"),
    ],
)
def test_bad_rules(rule, why):
    assert why in fault(rule)


def test_rules_in_words():
    assert str(EXACT) == "matchExact"
    assert str(Identity("exactReference", TAG)) == f"exactReference {TAG}"
    assert str(Identity("remapIdentity", "a", "b")) == "remapIdentity a -> b"
