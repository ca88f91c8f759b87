"""Uploads: mounted, in one piece, in chunks, and through the faults of each."""

import os

import pytest
from support import registry as registries
from support.registry import Auth

from arstore.digest import Digest
from arstore.errors import RegistryAccessError, RegistryAnswerError, RegistryUnreachableError
from arstore.registry.auth.credential import Credential
from arstore.registry.uploads import BytesBlob, mount, upload

DATA = os.urandom(1_000_000)
DIGEST = Digest.of(DATA)
UPLOADS = "/blobs/uploads/"
CHUNK = 300_000


def push(repository, data=DATA, chunk=0):
    upload(repository, Digest.of(data), len(data), BytesBlob(data), chunk)


def blob(server, path="a/b"):
    return server.blobs.get(path, {}).get(DIGEST)


@pytest.mark.parametrize("chunk", [0, 1 << 20, CHUNK, 333_333])
def test_uploads(server, connect, chunk):
    push(connect(server), chunk=chunk)
    assert blob(server) == DATA
    assert server.uploads == {}
    sizes = [one.headers["content-length"] for one in server.asked("PATCH")]
    assert len(sizes) == (-(-len(DATA) // chunk) if chunk else 0)
    # Every request goes to the newest location, with its query.
    states = [one.query["_state"][0] for one in server.log if "_state" in one.query]
    assert len(states) == len(set(states)) == len(sizes) + 1


@pytest.mark.parametrize("chunk", [0, 100])
def test_an_empty_blob(server, connect, chunk):
    push(connect(server), b"", chunk)
    assert server.blobs["a/b"][Digest.of(b"")] == b""
    assert server.asked("PUT")[0].headers["content-length"] == "0"


@pytest.mark.parametrize("status", [201, 202, 204])
def test_answers_that_mean_done(server, connect, status):
    server.fault("PUT", UPLOADS, status=status)
    push(connect(server))
    assert blob(server) == DATA


def test_done_at_once(server, connect):
    server.fault("POST", UPLOADS, before=True, status=201)
    push(connect(server))
    assert [one.method for one in server.asked(pattern=UPLOADS)] == ["POST"]


@pytest.mark.parametrize("location", [None, ""])
def test_no_place_to_go_on(server, connect, location):
    server.fault("POST", UPLOADS, times=9, header=("Location", location))
    with pytest.raises(RegistryAnswerError, match="Location"):
        push(connect(server))


def test_a_place_on_another_host_gets_no_credentials(connect):
    auth = Auth(users={"me": "x"}, tokens=True)
    with registries.served(auth) as server, registries.served() as storage:
        storage.uploads["s"] = bytearray()
        there = f"{storage.url}/v2/a/b/blobs/uploads/s?sig=1"
        server.fault("POST", UPLOADS, header=("Location", there))
        push(connect(server, credential=Credential("me", "x")))
        assert blob(storage) == DATA
        assert {one.authorization for one in storage.log} == {""}


def test_a_chunk_that_is_lost_is_sent_again(server, connect):
    server.fault("PATCH", UPLOADS, skip=1, before=True, cut=0, reset=True)
    push(connect(server), chunk=CHUNK)
    assert blob(server) == DATA
    assert [one.method for one in server.asked("GET", UPLOADS)] == ["GET"]


def test_a_chunk_that_arrived_without_an_answer_is_not_sent_again(server, connect):
    server.fault("PATCH", UPLOADS, skip=1, cut=0, reset=True, headers=[], length=-1, status=500)
    push(connect(server), chunk=CHUNK)
    assert blob(server) == DATA
    assert len(server.asked("PATCH")) == -(-len(DATA) // CHUNK)


@pytest.mark.parametrize("value", ["0-299999", "0-5", None, "nonsense"])
def test_what_the_registry_says_of_a_chunk_that_it_took_does_not_count(server, connect, value):
    server.fault("PATCH", UPLOADS, times=99, header=("Range", value))
    push(connect(server), chunk=CHUNK)
    assert blob(server) == DATA


def test_a_chunk_that_is_too_large_is_halved(server, connect):
    server.largest = 100_000
    push(connect(server), chunk=CHUNK)
    assert blob(server) == DATA


def test_the_least_size_of_a_chunk_is_kept(server, connect):
    server.least_chunk = 500_000
    push(connect(server), chunk=CHUNK)
    assert [int(one.headers["content-length"]) for one in server.asked("PATCH")] == [500_000, 500_000]


@pytest.mark.parametrize("chunk", [0, CHUNK])
@pytest.mark.parametrize("method", ["POST", "PATCH", "PUT"])
@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_busy_registry(server, connect, chunk, method, status):
    server.fault(method, UPLOADS, before=True, status=status, header=("Retry-After", "3"))
    push(connect(server), chunk=chunk)
    assert blob(server) == DATA


def test_a_session_that_is_gone_begins_anew(server, connect):
    server.fault("PUT", UPLOADS, before=True, status=404)
    push(connect(server), chunk=CHUNK)
    assert blob(server) == DATA


@pytest.mark.parametrize("chunk", [0, CHUNK])
def test_a_registry_that_always_fails_is_given_up_and_told(server, connect, chunk):
    server.fault("PUT", UPLOADS, times=99, before=True, status=500)
    with pytest.raises(RegistryUnreachableError, match="tried 4 times"):
        push(connect(server), chunk=chunk)
    assert blob(server) is None
    assert server.uploads == {}


def test_an_upload_that_is_refused_is_cancelled(server, connect):
    server.fault("PUT", UPLOADS, before=True, status=400, body=b'{"errors":[{"code":"DIGEST_INVALID"}]}')
    with pytest.raises(RegistryAnswerError, match="DIGEST_INVALID"):
        push(connect(server))
    assert server.uploads == {}


@pytest.mark.parametrize("uses", [2, 3, 4])
@pytest.mark.parametrize("chunk", [0, CHUNK])
def test_a_token_that_ends_in_the_middle(connect, uses, chunk):
    with registries.served(Auth(users={"me": "x"}, tokens=True, uses=uses)) as server:
        push(connect(server, credential=Credential("me", "x")), chunk=chunk)
        assert blob(server) == DATA


def test_401_for_ever_in_the_middle(connect):
    auth = Auth(users={"me": "x"}, tokens=True)
    with registries.served(auth) as server:
        server.fault("PUT", UPLOADS, times=99, before=True, status=401, body=b"")
        with pytest.raises(RegistryAccessError):
            push(connect(server, credential=Credential("me", "x")))
        assert len(server.asked("PUT")) <= 3


def test_a_mount(server, connect):
    server.put_blob("other", DATA)
    assert mount(connect(server), DIGEST, "other")
    assert blob(server) == DATA
    assert not mount(connect(server, "c/d"), Digest.of(b"x"), "other")
    # The session that was opened instead is closed.
    assert server.uploads == {}


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405])
def test_a_mount_that_is_refused(server, connect, status):
    server.fault("POST", UPLOADS, times=9, before=True, status=status)
    assert not mount(connect(server), DIGEST, "other")


def test_a_mount_asks_for_both_repositories_and_the_push_comes_first(connect):
    with registries.served(Auth(users={"me": "x"}, tokens=True)) as server:
        server.put_blob("other", DATA)
        assert mount(connect(server, credential=Credential("me", "x")), DIGEST, "other")
        assert server.asked(pattern="/token")[0].query["scope"] == ["repository:a/b:pull,push", "repository:other:pull"]


def test_a_blob_that_arrived_without_an_answer_is_not_sent_twice(server, connect):
    server.fault("PUT", UPLOADS, cut=0, reset=True, headers=[], length=-1, status=500)
    push(connect(server))
    assert blob(server) == DATA
    assert [one.method for one in server.asked("PUT")] == ["PUT"]


def test_a_part_is_not_sent_again_on_its_own_when_a_kept_connection_was_closed(server, connect):
    # The server closes the connection after the reply to POST, unannounced; sending the chunk reveals it.
    server.fault("POST", UPLOADS, cut=1000)
    push(connect(server), chunk=CHUNK)
    assert blob(server) == DATA


def test_a_large_blob_goes_on_in_chunks_once_a_connection_has_broken(server, connect):
    data = bytes(17 << 20)
    server.fault("PUT", UPLOADS, before=True, cut=0, reset=True)
    push(connect(server), data)
    assert server.blobs["a/b"][Digest.of(data)] == data
    assert [int(one.headers["content-length"]) for one in server.asked("PATCH")] == [16 << 20, 1 << 20]
