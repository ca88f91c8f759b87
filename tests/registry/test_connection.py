"""Connections to servers that are not registries: raw bytes, and the resulting errors."""

import socket
import threading
import time
from contextlib import contextmanager

import pytest
from support import certificates
from support import registry as registries

from arstore.digest import Digest
from arstore.errors import RegistryAnswerError, RegistryUnreachableError
from arstore.oci.docker_reference import DockerReference
from arstore.registry.blobs import RemoteBlob
from arstore.registry.http.connection import NetworkFaultError, speaks_plain
from arstore.registry.http.exchange import Request
from arstore.registry.http.patience import Budget, Patience
from arstore.registry.http.url import Url

PING = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}"
DATA = b"0123456789"
BAD_TRAILERS = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n01234\r\n5\r\n56789\r\n0\r\n"


@contextmanager
def raw(*answers, pause=0.0, body_pause=0.0):
    """A server that gives each connection the next of *answers*, the last one ever after; yields its port."""
    listener = socket.create_server(("127.0.0.1", 0))
    left = list(answers)

    def serve():
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=one, args=(client,), daemon=True).start()

    def one(client):
        with client:
            head = b""
            while b"\r\n\r\n" not in head:
                data = client.recv(4096)
                if not data or data[:1] == b"\x16":
                    return
                head += data
            answer = left.pop(0) if len(left) > 1 else left[0]
            try:
                head, mark, body = answer.partition(b"\r\n\r\n")
                send(client, head + mark, pause)
                send(client, body, body_pause)
            except OSError:
                return

    threading.Thread(target=serve, daemon=True).start()
    with listener:
        yield listener.getsockname()[1]


def send(client, data, pause):
    step = 1 if pause else len(data) or 1
    for place in range(0, len(data), step):
        client.sendall(data[place : place + step])
        time.sleep(pause)


def read(connect, port, size=len(DATA)):  # noqa: B008 # a constant
    repository = connect.access().to_write(DockerReference.parse(f"127.0.0.1:{port}/a/b"))
    with RemoteBlob(repository, Digest.of(DATA), size) as blob:
        return blob.read()


def answer(body=DATA, *headers):
    lines = ["HTTP/1.1 200 OK", *headers, "Connection: close"]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


@pytest.mark.parametrize(
    "good",
    [
        answer(DATA, "Content-Length: 10"),
        answer(DATA),
        BAD_TRAILERS + b"\r\n",
        BAD_TRAILERS + b"X: y\r\n\r\n",
        answer(b"a\r\n0123456789\r\n0\r\n\r\n", "Transfer-Encoding: chunked"),
        b"HTTP/1.0 200 OK\r\nContent-Length: 10\r\n\r\n" + DATA,
        b"HTTP/1.1 100 Continue\r\n\r\n" + answer(DATA, "Content-Length: 10"),
        answer(DATA, "Content-Length: 10", "Content-Length: 10"),
        answer(DATA + b"and more", "Content-Length: 10"),
    ],
)
def test_answers_that_are_good(connect, good):
    with raw(PING, good) as port:
        assert read(connect, port) == DATA


@pytest.mark.parametrize(
    "bad",
    [
        b"",
        b"SSH-2.0-OpenSSH_9\r\n",
        b"HTTP/1.1 abc\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 1000,
        b"HTTP/1.1 200 OK\r\nX: " + b"y" * 200_000,
        answer(b"zz\r\n0123456789\r\n", "Transfer-Encoding: chunked"),
        answer(b"5\r\n01234\r\n", "Transfer-Encoding: chunked"),
        BAD_TRAILERS + b"X: y\r\n" * 1000,
        BAD_TRAILERS + b"X: " + b"y" * 200_000,
        answer(DATA[:5], "Content-Length: 10"),
    ],
)
def test_answers_that_are_bad(connect, bad):
    with raw(PING, bad) as port, pytest.raises((RegistryUnreachableError, RegistryAnswerError)) as caught:
        read(connect, port)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("lengths", [("5", "10"), ("+10",), ("0x10",), ("10 10",)])
def test_lengths_that_make_no_sense(connect, lengths):
    headers = [f"Content-Length: {one}" for one in lengths]
    with raw(PING, answer(DATA, *headers)) as port, pytest.raises(RegistryAnswerError, match="Content-Length"):
        read(connect, port)


def test_a_head_that_drips_has_a_deadline(connect):
    began = time.monotonic()
    with raw(PING, answer(DATA, "X: " + "y" * 1000), pause=0.1) as port, pytest.raises(RegistryUnreachableError):
        read(connect, port)
    assert time.monotonic() - began < 12


def test_a_body_that_drips_is_given_up(connect, monkeypatch):
    from arstore.registry.http import connection

    monkeypatch.setattr(connection, "_WINDOW", 0.5)
    with raw(PING, answer(DATA * 20, "Content-Length: 200")) as port:
        assert read(connect, port, 200) == DATA * 20
    whole = answer(DATA * 20, "Content-Length: 200")
    with raw(PING, whole, body_pause=0.05) as port, pytest.raises(RegistryUnreachableError, match="too slowly"):
        read(connect, port, 200)


def test_nobody_listens(connect):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(RegistryUnreachableError, match="refused"):
        read(connect, port)


def test_a_server_that_accepts_and_says_nothing(connect):
    with socket.create_server(("127.0.0.1", 0)) as listener, pytest.raises(RegistryUnreachableError, match="time"):
        connect.access(patience=connect.patience._replace(connect=0.2, head=0.2)).to_write(
            DockerReference.parse(f"127.0.0.1:{listener.getsockname()[1]}/a/b")
        ).client.reach()


def test_time_without_progress_is_bounded_too():
    now = [0.0]
    waits = []

    def sleep(seconds):
        waits.append(seconds)
        now[0] += seconds

    budget = Budget(Patience(tries=100, stuck=100, total=1000, sleep=sleep, clock=lambda: now[0]), "x")
    budget.failed("first", 60)
    now[0] += 90
    budget.failed("second", 60)
    now[0] += 20
    with pytest.raises(RegistryUnreachableError, match="tried 3 times"):
        budget.failed("third", 60)
    assert waits == [60, 60]


def test_waits_are_bounded_in_all():
    waits = []
    budget = Budget(Patience(tries=100, total=150, sleep=waits.append), "x")
    budget.failed("busy", 60)
    budget.failed("busy", 60)
    with pytest.raises(RegistryUnreachableError):
        budget.failed("busy", 60)
    assert waits == [60, 60]


@pytest.mark.parametrize("host", ["a..b", "x" * 70 + ".example"])
def test_names_that_no_host_has(connect, host):
    client = connect.access().to_write(DockerReference("registry.example", "a"))
    url = Url("http", host, 80, "/")
    with pytest.raises(NetworkFaultError, match="not a valid host name"):
        client.client.exchange.send(Request("GET", url))


def test_what_follows_an_answer_is_taken_for_no_other(connect):
    more = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n" + DATA + b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nbad"
    good = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n" + DATA
    with raw(PING, more, good) as port:
        repository = connect.access().to_write(DockerReference.parse(f"127.0.0.1:{port}/a/b"))
        for _ in range(2):
            with RemoteBlob(repository, Digest.of(DATA), len(DATA)) as blob:
                assert blob.read() == DATA


@contextmanager
def saying(first):
    """A server that replies to each connection with *first* of its first bytes; yields a URL and the received bytes."""
    got = []

    def serve():
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            with client:
                got.append(client.recv(4096))
                client.sendall(first)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=serve, daemon=True).start()
        yield Url("https", "127.0.0.1", listener.getsockname()[1], "/v2/"), got


@pytest.mark.parametrize(
    ("first", "is_plain"),
    [
        (b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n400 Bad Request", True),
        (b"\x15\x03\x01\x00\x02\x02\x0a", False),
        (b"HTTP", False),
        (b"", False),
    ],
)
def test_who_answers_tls_with_http_speaks_plain_http(connect, first, is_plain):
    with saying(first) as (url, got):
        assert speaks_plain(url, connect.patience) is is_plain
    assert [one[:1] for one in got] == [b"\x16"]


def test_who_says_nothing_is_not_waited_for_long(connect):
    began = time.monotonic()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = Url("https", "127.0.0.1", listener.getsockname()[1], "/v2/")
        assert not speaks_plain(url, connect.patience._replace(head=0.2))
    assert not speaks_plain(url, connect.patience)
    assert time.monotonic() - began < 5


def test_a_server_of_tls_is_asked_in_tls(connect, tmp_path):
    with registries.served(tls=certificates.Authority(tmp_path).server()) as server:
        assert connect(server).client.reach().scheme == "https"


@pytest.mark.parametrize("value", ["a\r\nb: c", "a\nb", "ü€", "a\0"])
def test_no_header_is_sent_that_is_none(connect, value):
    with raw(PING, answer(DATA)) as port:
        exchange = connect.access().to_write(DockerReference.parse(f"127.0.0.1:{port}/a/b")).client.exchange
        with pytest.raises(NetworkFaultError):
            exchange.send(Request("GET", Url("http", "127.0.0.1", port, "/"), {"Authorization": value}))
