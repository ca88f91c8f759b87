"""Reading blobs through every kind of fault."""

import os

import pytest

from arstore.digest import Digest
from arstore.errors import (
    MissingBlobError,
    RegistryAccessError,
    RegistryAnswerError,
    RegistryUnreachableError,
    SizeMismatchError,
)
from arstore.registry.blobs import RemoteBlob, head_blob

DATA = os.urandom(300_000) * 10
BLOB = "/blobs/sha256"


WHOLE = len(DATA)


def read(repository, digest, size=WHOLE):
    with RemoteBlob(repository, Digest(digest), size) as blob:
        return blob.read()


@pytest.fixture
def digest(server):
    return server.put_blob("a/b", DATA)


def test_a_blob(server, connect, digest):
    repository = connect(server)
    assert read(repository, digest) == DATA
    assert read(repository, digest, None) == DATA
    assert head_blob(repository, Digest(digest)) == len(DATA)
    assert head_blob(repository, Digest.of(b"other")) is None
    with pytest.raises(MissingBlobError):
        read(repository, str(Digest.of(b"other")))


def test_one_connection_is_enough(server, connect, digest):
    repository = connect(server)
    for _ in range(3):
        read(repository, digest)
    assert connect.waits == []


@pytest.mark.parametrize("place", [0, 1, len(DATA) // 2, len(DATA) - 1])
@pytest.mark.parametrize("reset", [False, True])
def test_a_broken_connection_is_gone_on_with(server, connect, digest, place, reset):
    server.fault("GET", BLOB, cut=place, reset=reset)
    assert read(connect(server), digest) == DATA
    ranges = [one.headers.get("range") for one in server.asked("GET", BLOB)]
    assert ranges[0] is None
    if not reset:
        assert ranges[1:] == [f"bytes={place}-{len(DATA) - 1}"] if place else ranges[1:] == [None]


def test_a_range_that_is_ignored_is_made_up_for(server, connect, digest):
    server.fault("GET", BLOB, cut=1_000_000)
    server.fault("GET", BLOB, change=lambda reply: _whole(reply))
    assert read(connect(server), digest) == DATA


@pytest.mark.parametrize("size", [len(DATA), None])
def test_a_range_that_is_not_understood_is_made_up_for(server, connect, digest, size):
    server.fault("GET", BLOB, cut=1_000_000)
    server.fault("GET", BLOB, before=True, status=416, body=b'{"errors":[{"code":"BLOB_UNKNOWN"}]}')
    with RemoteBlob(connect(server), Digest(digest), size) as blob:
        assert blob.read() == DATA
    assert [one.headers.get("range") is None for one in server.asked("GET", BLOB)] == [True, False, True]


def _whole(reply):
    reply.status, reply.body = 200, DATA
    reply.headers = [one for one in reply.headers if one[0] != "Content-Range"]
    return reply


@pytest.mark.parametrize("value", ["bytes 5-9/10", "bytes 0-10/2000000", "nonsense", None, "bytes 1000000-1/3"])
def test_a_wrong_range_is_an_error(server, connect, digest, value):
    server.fault("GET", BLOB, cut=1_000_000)
    server.fault("GET", BLOB, header=("Content-Range", value))
    with pytest.raises((RegistryAnswerError, SizeMismatchError)):
        read(connect(server), digest)


def test_nothing_beyond_the_end_means_that_all_is_there(server, connect, digest):
    server.fault("GET", BLOB, length=-1, cut=len(DATA))
    blob = RemoteBlob(connect(server), Digest(digest), None)
    assert blob.read() == DATA
    blob.close()


def test_a_range_beyond_the_end_is_an_error_when_more_was_announced(server, connect, digest):
    server.fault("GET", BLOB, length=-1, cut=len(DATA) - 5)
    server.fault("GET", BLOB, before=True, status=416, headers=[("Content-Range", f"bytes */{len(DATA) - 5}")])
    with pytest.raises(RegistryAnswerError, match="no bytes from"):
        read(connect(server), digest)


@pytest.mark.parametrize("size", [len(DATA) - 1, len(DATA) + 1, 0])
def test_another_size_is_found_before_reading(server, connect, digest, size):
    with pytest.raises(SizeMismatchError):
        RemoteBlob(connect(server), Digest(digest), size)


def test_without_a_length_no_more_than_announced_is_taken(server, connect, digest):
    server.fault("GET", BLOB, length=-1, body=DATA + b"x")
    with pytest.raises(SizeMismatchError, match="is longer"):
        read(connect(server), digest)


@pytest.mark.parametrize("header", ["gzip", "br"])
def test_what_would_have_to_be_decoded_is_refused(server, connect, digest, header):
    server.fault("GET", BLOB, header=("Content-Encoding", header))
    with pytest.raises(RegistryAnswerError, match="Content-Encoding"):
        read(connect(server), digest)
    assert server.asked("GET", BLOB)[0].headers["accept-encoding"] == "identity"


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_a_busy_registry_is_asked_again(server, connect, digest, status):
    server.fault("GET", BLOB, times=2, before=True, status=status, header=("Retry-After", "7"))
    assert read(connect(server), digest) == DATA
    assert connect.waits == [7, 7]


@pytest.mark.parametrize(
    ("value", "wait"),
    [("3600", 60), ("0", None), ("-1", None), ("soon", None), ("Thu, 01 Jan 1970 00:00:00 GMT", None)],
)
def test_every_kind_of_retry_after(server, connect, digest, value, wait):
    server.fault("GET", BLOB, before=True, status=503, header=("Retry-After", value))
    assert read(connect(server), digest) == DATA
    assert len(connect.waits) == 1
    assert connect.waits[0] == wait or (wait is None and 0 < connect.waits[0] < 1)


def test_patience_ends(server, connect, digest):
    server.fault("GET", BLOB, times=100, before=True, status=503)
    with pytest.raises(RegistryUnreachableError, match=r"status 503.*tried 4 times"):
        read(connect(server), digest)
    assert len(server.asked("GET", BLOB)) == 4


def test_a_server_that_gives_a_byte_at_a_time_is_given_up(server, connect, digest):
    server.fault("GET", BLOB, times=100, cut=1)
    with pytest.raises(RegistryUnreachableError):
        read(connect(server), digest)
    assert len(server.asked("GET", BLOB)) == 4


def test_progress_gives_back_the_tries(server, connect, digest):
    for _ in range(8):
        server.fault("GET", BLOB, change=lambda reply: _half(reply))
    big = os.urandom(1 << 20) * 10
    name = server.put_blob("a/b", big)
    with RemoteBlob(connect(server), Digest(name), len(big)) as blob:
        assert Digest.of(blob.read()) == name


def _half(reply):
    reply.cut = (1 << 20) + 5
    return reply


def test_a_stall_is_noticed(server, connect, digest):
    server.fault("GET", BLOB, cut=1_000_000, stall=3)
    assert read(connect(server), digest) == DATA


@pytest.mark.parametrize("status", [400, 403, 404, 405, 410, 451])
def test_what_is_refused_is_not_asked_again(server, connect, digest, status):
    server.fault("GET", BLOB, times=9, before=True, status=status, body=b"<html>\x1b[31m no </html>")
    with pytest.raises((RegistryAnswerError, RegistryAccessError, MissingBlobError)) as caught:
        read(connect(server), digest)
    assert len(server.asked("GET", BLOB)) == 1
    assert str(caught.value).isprintable()
    assert "html" not in str(caught.value)


def test_an_error_without_end_is_cut(server, connect, digest):
    body = b'{"errors":[{"code":"TOOMANY","message":"' + b"x" * 3_000_000
    server.fault("GET", BLOB, before=True, status=400, body=body)
    with pytest.raises(RegistryAnswerError) as caught:
        read(connect(server), digest)
    assert len(str(caught.value)) < 1500


@pytest.mark.parametrize("lengths", ["abc", "-5", "5, 6", ""])
def test_a_length_that_makes_no_sense(server, connect, digest, lengths):
    server.fault("GET", BLOB, header=("Content-Length", lengths))
    with pytest.raises(RegistryAnswerError, match="Content-Length"):
        read(connect(server), digest)


def test_a_connection_that_was_closed_while_idle(server, connect, digest):
    repository = connect(server)
    server.fault("GET", BLOB, cut=len(DATA))
    assert read(repository, digest) == DATA
    assert read(repository, digest) == DATA
    assert connect.waits == []


def test_a_forked_process_makes_its_own_connections(server, connect, digest):
    repository = connect(server)
    assert read(repository, digest) == DATA
    pid = os.fork()
    if not pid:
        os._exit(0 if read(repository, digest) == DATA else 1)
    assert os.waitpid(pid, 0)[1] == 0
    assert read(repository, digest) == DATA
    assert connect.waits == []
