"""Credentials: a registry gets those that it asks for, and only if they belong to its origin."""

import base64
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from support import registry as registries
from support.registry import Auth

from arstore.digest import Digest
from arstore.errors import RegistryAccessError, RegistryAnswerError
from arstore.registry.auth.challenge import Challenge
from arstore.registry.auth.credential import Credential
from arstore.registry.auth.token import realm_of
from arstore.registry.blobs import RemoteBlob
from arstore.registry.http.url import Url
from arstore.registry.tags import list_tags

ME = Credential("me", "secret:word")
BASIC = "Basic " + base64.b64encode(b"me:secret:word").decode()
DATA = b"x" * 5000


def token_auth(**more):
    return Auth(users={"me": "secret:word"}, tokens=True, **more)


def read(repository, digest):
    with RemoteBlob(repository, Digest(digest), len(DATA)) as blob:
        return blob.read()


def filled(server):
    server.put_manifest("a/b", b'{"a":1}', "x", "1")
    return server.put_blob("a/b", DATA)


def test_basic(connect):
    with registries.served(Auth(users={"me": "secret:word"})) as server:
        digest = filled(server)
        assert read(connect(server, credential=ME), digest) == DATA
        assert {one.authorization for one in server.asked(pattern="a/b")} == {BASIC}


@pytest.mark.parametrize("credential", [None, Credential("me", "hidden")])
def test_basic_that_is_refused(connect, credential):
    with registries.served(Auth(users={"me": "secret:word"})) as server:
        with pytest.raises(RegistryAccessError) as caught:
            read(connect(server, credential=credential), filled(server))
        assert len(server.asked(pattern="a/b")) <= 2
        assert "hidden" not in str(caught.value)


def test_a_token_is_got_once(connect):
    with registries.served(token_auth()) as server:
        repository = connect(server, credential=ME)
        digest = filled(server)
        for _ in range(3):
            assert read(repository, digest) == DATA
        (asked,) = server.asked(pattern="/token")
        assert asked.authorization == BASIC
        assert asked.query == {"service": ["test"], "scope": ["repository:a/b:pull"], "account": ["me"]}
        assert all(one.authorization.startswith("Bearer token-") for one in server.asked(pattern="a/b"))


def test_threads_share_one_token(connect):
    with registries.served(token_auth()) as server:
        server.fault("GET", "/token", change=lambda reply: slow(reply))
        repository = connect(server, credential=ME)
        digest = filled(server)
        with ThreadPoolExecutor(8) as pool:
            assert set(pool.map(lambda _: read(repository, digest), range(16))) == {DATA}
        assert len(server.asked(pattern="/token")) == 1


def slow(reply):
    time.sleep(0.2)
    return reply


def test_an_anonymous_token(connect):
    with registries.served(token_auth(anonymous=True)) as server:
        assert read(connect(server), filled(server)) == DATA
        (asked,) = server.asked(pattern="/token")
        assert asked.authorization == ""
        assert "account" not in asked.query


def test_no_anonymous_token(connect):
    with registries.served(token_auth()) as server, pytest.raises(RegistryAccessError, match="arstore login"):
        read(connect(server), filled(server))


def test_an_identity_token_goes_into_a_form(connect):
    with registries.served(Auth(users={"me": "identity"}, tokens=True)) as server:
        assert read(connect(server, credential=Credential("", "", "identity")), filled(server)) == DATA
        (asked,) = server.asked(pattern="/token")
        assert (asked.method, asked.authorization, asked.query) == ("POST", "", {})
        assert asked.form["grant_type"] == ["refresh_token"]
        assert asked.form["scope"] == ["repository:a/b:pull"]


def test_the_realm_keeps_its_own_query(connect):
    auth = token_auth()
    with registries.served(auth) as server:
        auth.realm = f"{server.url}/token?tenant=x"
        assert read(connect(server, credential=ME), filled(server)) == DATA
        assert server.asked(pattern="/token")[0].query["tenant"] == ["x"]


def test_a_token_that_has_ended_is_got_anew(connect):
    with registries.served(token_auth(uses=1)) as server:
        repository = connect(server, credential=ME)
        digest = filled(server)
        for _ in range(3):
            assert read(repository, digest) == DATA
        assert 3 <= len(server.asked(pattern="/token")) <= 4


def test_401_for_ever_ends(connect):
    with registries.served(token_auth(uses=0)) as server:
        with pytest.raises(RegistryAccessError):
            read(connect(server, credential=ME), filled(server))
        assert len(server.asked(pattern="/token")) <= 3
        assert len(server.asked(pattern="/blobs/")) <= 3


def test_more_rights_are_asked_for_when_the_registry_says_which(connect):
    auth = token_auth()
    with registries.served(auth) as server:
        digest = filled(server)
        repository = connect(server, credential=ME)
        repository.client.authorizer._more = {}
        ask = repository.ask("DELETE", "blobs", digest, "pull")
        repository.send(ask, "", "to delete", (202,)).close()
        scopes = [one.query["scope"] for one in server.asked(pattern="/token")]
        assert scopes == [["repository:a/b:pull"], ["repository:a/b:pull", "repository:a/b:delete"]]


@pytest.mark.parametrize(
    "answer",
    [b"", b"[]", b"{}", b'{"token": 5}', b'{"token": "a\\nb"}', b'{"token": "a b"}', b"<html>", b"{" * 100_000],
)
def test_answers_without_a_token(connect, answer):
    with registries.served(token_auth()) as server:
        server.fault("GET", "/token", body=answer)
        with pytest.raises(RegistryAnswerError):
            read(connect(server, credential=ME), filled(server))


def test_a_token_answer_without_end(connect):
    with registries.served(token_auth()) as server:
        server.fault("GET", "/token", body=b'{"token": "' + b"x" * (2 << 20))
        with pytest.raises(RegistryAnswerError, match="1 MiB"):
            read(connect(server, credential=ME), filled(server))


@pytest.mark.parametrize("body", [b'{"token":"%s","expires_in":%s}', b'{"access_token":"%s","expires_in":%s}'])
@pytest.mark.parametrize("expires", [b"300", b"0", b"-5", b'"soon"', b"1e400", b"null", b"99999999999999999999"])
def test_lifetimes_of_every_kind(connect, body, expires):
    with registries.served(token_auth()) as server:
        server.tokens["mine"] = [["repository:a/b:pull"], float("inf"), 100]
        server.fault("GET", "/token", body=body % (b"mine", expires))
        assert read(connect(server, credential=ME), filled(server)) == DATA


def test_the_token_server_is_asked_again_when_it_is_busy(connect):
    with registries.served(token_auth()) as server:
        server.fault("GET", "/token", before=True, times=2, status=503)
        assert read(connect(server, credential=ME), filled(server)) == DATA


def test_an_unknown_scheme_is_tried_without_credentials(connect):
    with registries.served(Auth(challenge='Negotiate, Digest realm="x"')) as server:
        with pytest.raises(RegistryAccessError):
            read(connect(server, credential=ME), filled(server))
        assert {one.authorization for one in server.log} == {""}


def test_the_first_known_challenge_counts(connect):
    auth = Auth(users={"me": "secret:word"}, challenge='Negotiate, Basic realm="a, b", Bearer realm="http://x/"')
    with registries.served(auth) as server:
        assert read(connect(server, credential=ME), filled(server)) == DATA


# --- other origins --------------------------------------------------------------------------------------------------


def test_storage_on_another_port_gets_no_credentials(connect):
    with registries.served(token_auth()) as server, registries.served() as storage:
        digest = filled(server)
        storage.put_blob("a/b", DATA)
        signed = f"{storage.url}/v2/a/b/blobs/{digest}?signature=xyz"
        server.fault("GET", "/blobs/", times=9, status=307, header=("Location", signed), body=b"")
        storage.fault("GET", "/blobs/", cut=100)
        assert read(connect(server, credential=ME), digest) == DATA
        assert {one.authorization for one in storage.log} == {""}
        # After the break the registry was asked again, not the signed URL.
        assert len(server.asked("GET", "/blobs/")) == 2
        assert storage.asked("GET", "/blobs/")[-1].headers["range"].startswith("bytes=100-")


def test_a_challenge_of_another_host_is_not_answered(connect):
    with registries.served(token_auth()) as server, registries.served(Auth(users={"me": "secret:word"})) as thief:
        digest = filled(server)
        server.fault("GET", "/blobs/", times=9, status=307, header=("Location", f"{thief.url}/v2/x/blobs/y"))
        with pytest.raises(RegistryAccessError):
            read(connect(server, credential=ME), digest)
        assert {one.authorization for one in thief.log} == {""}


def test_a_realm_on_another_server_gets_the_credentials_and_the_registry_does_not(connect):
    with registries.served(token_auth()) as tokens:
        auth = token_auth(realm=f"{tokens.url}/token")
        with registries.served(auth) as server:
            server.tokens = tokens.tokens
            assert read(connect(server, credential=ME), filled(server)) == DATA
            assert [one.authorization for one in tokens.asked(pattern="/token")] == [BASIC]
            assert all(not one.authorization.startswith("Basic") for one in server.log)


def test_a_token_server_that_redirects_does_not_pass_credentials_on(connect):
    with registries.served(token_auth()) as server, registries.served(token_auth()) as thief:
        server.fault("GET", "/token", times=9, status=302, header=("Location", f"{thief.url}/token"))
        with pytest.raises(RegistryAccessError):
            read(connect(server, credential=ME), filled(server))
        assert {one.authorization for one in thief.log} == {""}


def test_a_form_with_a_secret_is_not_sent_elsewhere(connect):
    with registries.served(Auth(users={"me": "identity"}, tokens=True)) as server, registries.served() as thief:
        server.fault("POST", "/token", times=9, status=307, header=("Location", f"{thief.url}/token"))
        with pytest.raises(RegistryAnswerError, match="redirects"):
            read(connect(server, credential=Credential("", "", "identity")), filled(server))
        assert thief.log == []


@pytest.mark.parametrize(
    ("registry", "realm", "good"),
    [
        ("https://registry.example.com/v2/", "https://auth.example.com/token", True),
        ("https://registry.example.com/v2/", "https://registry.example.com/token", True),
        ("https://registry.example.com/v2/", "http://registry.example.com/token", False),
        ("https://registry.example.com/v2/", "https://127.0.0.1/token", False),
        ("https://registry.example.com/v2/", "https://169.254.169.254/latest", False),
        ("https://registry.example.com/v2/", "https://10.0.0.1/token", False),
        ("https://registry.example.com/v2/", "https://[::1]/token", False),
        ("https://registry.example.com/v2/", "https://localhost/token", False),
        ("https://10.0.0.5:5000/v2/", "https://10.0.0.6/token", True),
        ("http://127.0.0.1:5000/v2/", "http://127.0.0.1:5001/token", True),
        ("https://registry.example.com/v2/", "file:///etc/passwd", False),
        ("https://registry.example.com/v2/", "https://u:p@auth.example.com/", False),
        ("https://registry.example.com/v2/", "", False),
    ],
)
def test_realms(registry, realm, good):
    challenge = Challenge("bearer", {"realm": realm} if realm else {})
    if good:
        assert str(realm_of(challenge, Url.parse(registry))) == realm
    else:
        with pytest.raises(RegistryAnswerError):
            realm_of(challenge, Url.parse(registry))


def test_a_secret_is_never_shown(connect):
    assert "secret" not in f"{ME!r} {[ME]} {ME}"
    with registries.served(Auth(users={"me": "other"})) as server:
        with pytest.raises(RegistryAccessError) as caught:
            list_tags(connect(server, credential=ME))
        assert "secret" not in str(caught.value)


def test_a_token_that_was_never_good_is_not_got_again(connect):
    with registries.served(token_auth(uses=0)) as server:
        with pytest.raises(RegistryAccessError):
            read(connect(server, credential=ME), filled(server))
        assert len(server.asked(pattern="/token")) == len(server.asked(pattern="/blobs/")) == 1


def test_a_scope_that_the_registry_names_is_asked_for(connect):
    auth = token_auth()
    with registries.served(auth) as server:
        digest = filled(server)
        other = f'Bearer realm="{server.url}/token",service="test",scope="repository:a/b:pull repository:c:pull"'
        server.fault("GET", "/blobs/", before=True, status=401, headers=[("WWW-Authenticate", other)])
        assert read(connect(server, credential=ME), digest) == DATA
        assert server.asked(pattern="/token")[-1].query["scope"] == ["repository:a/b:pull", "repository:c:pull"]
