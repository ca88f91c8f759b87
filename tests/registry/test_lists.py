"""Tags and referrers, with and without pages, from registries with odd replies."""

import json

import pytest
from support import images
from support import registry as registries

from arstore.digest import Digest
from arstore.errors import (
    LimitError,
    ManifestError,
    RegistryAnswerError,
    RegistryNotFoundError,
    RegistryUnreachableError,
)
from arstore.oci.media_type import OCI_INDEX, OCI_MANIFEST
from arstore.registry import link
from arstore.registry.manifests import delete_manifest
from arstore.registry.referrers import fallback_tag, forget_referrer, list_referrers, put_referrer
from arstore.registry.tags import list_tags

PICTURE = images.example()
BUNDLE = "application/vnd.dev.sigstore.bundle.v0.3+json"


def tagged(server, *tags):
    for tag in tags:
        server.put_image("a/b", tag, PICTURE)


@pytest.mark.parametrize("page", [0, 1, 2])
def test_all_pages_are_read(server, connect, page):
    server.page = page
    tagged(server, "a", "b", "c", "d", "e")
    assert list_tags(connect(server)) == ["a", "b", "c", "d", "e"]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b'{"tags":null}', []),
        (b'{"name":"x"}', []),
        (b'{"tags":["a",null,"b","a",5,"sha256:%s",""]}' % (b"0" * 64), ["a", "b"]),
    ],
)
def test_tags_that_are_none(server, connect, body, expected):
    tagged(server, "1")
    server.fault("GET", "/tags/", body=body)
    assert list_tags(connect(server)) == expected


@pytest.mark.parametrize("body", [b"<html>", b"[]", b'{"tags":"x"}'])
def test_what_is_no_list(server, connect, body):
    tagged(server, "1")
    server.fault("GET", "/tags/", body=body)
    with pytest.raises(ManifestError):
        list_tags(connect(server))


def test_a_page_that_breaks_off_is_asked_for_again(server, connect):
    server.page = 2
    tagged(server, "a", "b", "c")
    length = len(b'{"name": "a/b", "tags": ["a", "b"]}')
    for place in (0, 1, length // 2, length - 1):
        for reset in (False, True):
            server.fault("GET", "/tags/", cut=place, reset=reset)
            assert list_tags(connect(server)) == ["a", "b", "c"]
    server.fault("GET", "/tags/", cut=1, times=99)
    with pytest.raises(RegistryUnreachableError):
        list_tags(connect(server))


def test_a_list_that_goes_on_elsewhere(server, connect):
    tagged(server, "1")
    server.fault("GET", "/tags/", header=("Link", "<http://elsewhere.example/v2/a/b/tags/list>; rel=next"))
    with pytest.raises(RegistryAnswerError, match="another host"):
        list_tags(connect(server))


def test_a_list_that_begins_again(server, connect):
    tagged(server, "1")
    server.fault("GET", "/tags/", times=99, header=("Link", "</v2/a/b/tags/list?n=1000>; rel=next"))
    with pytest.raises(RegistryAnswerError, match="returns to a page"):
        list_tags(connect(server))


def test_a_list_without_end(server, connect, monkeypatch):
    monkeypatch.setattr(link, "PAGES", 5)
    tagged(server, "1")
    count = iter(range(100))

    def on(reply):
        reply.headers.append(("Link", f"</v2/a/b/tags/list?page={next(count)}>; rel=next"))
        return reply

    server.fault("GET", "/tags/", times=99, change=on)
    with pytest.raises(LimitError, match="more than 5 pages"):
        list_tags(connect(server))


def test_no_such_repository(server, connect):
    with pytest.raises(RegistryNotFoundError):
        list_tags(connect(server, "nobody/knows"))


# --- referrers ------------------------------------------------------------------------------------------------------


def artifact(server, kind=BUNDLE, subject=PICTURE.digest, number=0):
    config = server.put_blob("a/b", b"{}")
    document = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "artifactType": kind,
        "config": {"mediaType": "application/vnd.oci.empty.v1+json", "digest": config, "size": 2},
        "layers": [],
        "subject": {"mediaType": OCI_MANIFEST, "digest": subject, "size": 5},
        "annotations": {"number": str(number)},
    }
    return json.dumps(document).encode()


def put(repository, raw):
    put_referrer(repository, Digest.of(raw), OCI_MANIFEST, raw)


@pytest.mark.parametrize("api", [True, False])
def test_what_refers(connect, api):
    with registries.served(referrers=api) as server:
        tagged(server, "1")
        repository = connect(server)
        assert list_referrers(repository, Digest(PICTURE.digest)).entries == ()
        for number in range(3):
            put(repository, artifact(server, number=number))
        put(repository, artifact(server, kind="application/x"))
        put(repository, artifact(server, kind="application/x"))
        entries, by_api = list_referrers(repository, Digest(PICTURE.digest))
        assert by_api == api
        assert sorted(one.artifact_type for one in entries) == [BUNDLE] * 3 + ["application/x"] or len(entries) == 4
        (found,) = list_referrers(repository, Digest(PICTURE.digest), "application/x").entries
        assert found.digest == Digest.of(artifact(server, kind="application/x"))
        assert found.annotations == {"number": "0"}
        assert (fallback_tag(Digest(PICTURE.digest)) in server.tags["a/b"]) == (not api)


def test_the_entries_of_a_fallback_index_are_not_believed(connect):
    with registries.served(referrers=False) as server:
        tagged(server, "1")
        raw = artifact(server)
        digest = server.put_manifest("a/b", raw, OCI_MANIFEST)
        stranger = server.put_manifest("a/b", artifact(server, subject=str(Digest.of(b"x"))), OCI_MANIFEST)
        listed = [
            {"mediaType": OCI_MANIFEST, "digest": one, "size": 9, "artifactType": "application/vnd.oci.empty.v1+json"}
            for one in (digest, stranger, str(Digest.of(b"gone")))
        ]
        index = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": listed}
        server.put_manifest("a/b", json.dumps(index).encode(), OCI_INDEX, fallback_tag(Digest(PICTURE.digest)))
        (found,) = list_referrers(connect(server), Digest(PICTURE.digest)).entries
        assert (found.digest, found.artifact_type, found.size) == (digest, BUNDLE, len(raw))


@pytest.mark.parametrize("api", [True, False])
def test_a_registry_that_does_not_say_that_it_lists_referrers_is_asked(connect, api):
    """distribution-spec: OCI-Subject announces it; go-containerregistry's registry has a list but omits the header."""
    with registries.served(referrers=api) as server:
        tagged(server, "1")
        server.fault("PUT", "/manifests/", times=9, header=("OCI-Subject", None))
        raw = artifact(server)
        digest = Digest.of(raw)
        put(connect(server), raw)
        fallback = fallback_tag(Digest(PICTURE.digest))
        assert (fallback in server.tags["a/b"]) is not api
        assert [one.digest for one in list_referrers(connect(server), Digest(PICTURE.digest)).entries] == [digest]


@pytest.mark.parametrize("page", [1, 2, 5, 6])
def test_a_list_that_is_cut_without_a_word_is_gone_on_with(server, connect, page):
    """crane's registry returns as many as requested, and no Link; docker-registry 2.8 returns all each time."""
    server.page = page
    tagged(server, "a", "b", "c", "d", "e")
    server.fault("GET", "/tags/", times=99, header=("Link", None))
    assert list_tags(connect(server), page) == ["a", "b", "c", "d", "e"]
    server.page = 0
    server.log.clear()
    assert list_tags(connect(server), page) == ["a", "b", "c", "d", "e"]
    assert len(server.asked("GET", "/tags/")) == (2 if page == 5 else 1)


def test_something_else_under_the_fallback_tag_is_left_alone(connect):
    with registries.served(referrers=False) as server:
        tagged(server, "1", fallback_tag(Digest(PICTURE.digest)))
        repository = connect(server)
        with pytest.raises(ManifestError):
            put(repository, artifact(server))
        assert server.tags["a/b"][fallback_tag(Digest(PICTURE.digest))] == PICTURE.digest


def test_a_referrer_that_is_deleted_is_forgotten(connect):
    with registries.served(referrers=False) as server:
        tagged(server, "1")
        repository = connect(server)
        one, other = artifact(server, number=1), artifact(server, number=2)
        put(repository, one)
        put(repository, other)
        for raw, left in ((one, 1), (other, 0)):
            delete_manifest(repository, Digest.of(raw))
            forget_referrer(repository, Digest(PICTURE.digest), Digest.of(raw))
            assert len(list_referrers(repository, Digest(PICTURE.digest)).entries) == left


def test_a_list_of_another_type_is_no_list(server, connect):
    tagged(server, "1")
    server.fault("GET", "/referrers/", header=("Content-Type", "text/html"), body=b"<html>")
    assert list_referrers(connect(server), Digest(PICTURE.digest)) == ((), False)


def test_fallback_tags():
    assert fallback_tag(Digest.of(b"")) == "sha256-" + Digest.of(b"").hex
    assert fallback_tag(Digest.of(b"", "sha512")) == "sha512-" + Digest.of(b"", "sha512").hex[:64]
