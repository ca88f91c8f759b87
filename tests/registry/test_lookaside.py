"""Signatures in a lookaside: a directory, and a web server of this test."""

import os
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from arstore.digest import Digest
from arstore.errors import (
    ArstoreError,
    LimitError,
    RegistryAnswerError,
    RegistryConfigError,
    RegistryUnreachableError,
)
from arstore.oci.docker_reference import DockerReference
from arstore.registry import lookaside
from arstore.registry.http.patience import Patience
from arstore.registry.lookaside import LARGEST, MOST, MOST_BYTES, read_lookaside, write_lookaside

_NAME = DockerReference.parse("example.org:5000/team/app:1")
_MANIFEST = Digest.of(b"manifest")
_PLACE = f"team/app@sha256={_MANIFEST.hex}"
_PATIENCE = Patience(tries=2, first=0.0, sleep=lambda _: None)


def read(base):
    return read_lookaside(base, _NAME, _MANIFEST, _PATIENCE, {})


def fill(top, *contents):
    place = top / _PLACE
    place.mkdir(parents=True)
    for number, content in enumerate(contents, 1):
        (place / f"signature-{number}").write_bytes(content)
    return place


@contextmanager
def served(answer):
    """A server that replies to each path with *answer*: a status and a body, or raw bytes."""
    asked = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            status, body = answer(self.path, len(asked))
            self.send_response(status)
            if status in {301, 302}:
                self.send_header("Location", body.decode())
                body = b""
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        server.server_close()


def test_a_directory(tmp_path):
    fill(tmp_path, b"one", b"two")
    assert read(f"file://{tmp_path}") == read(f"file://{tmp_path}/") == (b"one", b"two")
    assert read(f"file://localhost{tmp_path}") == (b"one", b"two")
    assert read(f"file://{tmp_path}/nowhere") == ()


def test_the_first_number_that_is_missing_ends_them(tmp_path):
    place = fill(tmp_path, b"one")
    (place / "signature-3").write_bytes(b"three")
    assert read(f"file://{tmp_path}") == (b"one",)


def test_what_is_written_is_read(tmp_path):
    base = f"file://{tmp_path}/a%20directory"
    path = write_lookaside(base, _NAME, _MANIFEST, b"one")
    assert path == f"{tmp_path}/a directory/{_PLACE}/signature-1"
    assert write_lookaside(base, _NAME, _MANIFEST, b"two").endswith("signature-2")
    assert write_lookaside(base, _NAME, _MANIFEST, b"one").endswith("signature-1")
    assert read(base) == (b"one", b"two")
    assert sorted(os.listdir(os.path.dirname(path))) == ["signature-1", "signature-2"]
    assert os.stat(path).st_mode & 0o777 == 0o644


def test_a_128th_is_written_and_a_129th_is_not(tmp_path):
    fill(tmp_path, *(b"%d" % number for number in range(MOST)))
    assert len(read(f"file://{tmp_path}")) == MOST
    with pytest.raises(LimitError, match="128"):
        write_lookaside(f"file://{tmp_path}", _NAME, _MANIFEST, b"one more")
    (tmp_path / _PLACE / f"signature-{MOST + 1}").write_bytes(b"x")
    with pytest.raises(LimitError, match="more than 128"):
        read(f"file://{tmp_path}")


def test_bytes_are_bounded(tmp_path, monkeypatch):
    place = fill(tmp_path, b"one")
    os.truncate(place / "signature-1", LARGEST + 1)
    with pytest.raises(LimitError, match="signature-1"):
        read(f"file://{tmp_path}")
    os.truncate(place / "signature-1", LARGEST)
    monkeypatch.setattr(lookaside, "MOST_BYTES", LARGEST - 1)
    with pytest.raises(LimitError, match="signatures of more"):
        read(f"file://{tmp_path}")
    assert MOST_BYTES < LARGEST * MOST


def test_what_is_not_a_file_is_not_waited_for(tmp_path):
    place = fill(tmp_path)
    os.mkfifo(place / "signature-1")
    with pytest.raises(RegistryAnswerError, match="not a regular file"):
        read(f"file://{tmp_path}")
    os.unlink(place / "signature-1")
    (place / "signature-1").mkdir()
    with pytest.raises(RegistryAnswerError):
        read(f"file://{tmp_path}")


@pytest.mark.parametrize(
    "base",
    [
        "file://host/path",
        "file:relative",
        "ftp://h.example",
        "/path",
        "",
        "http://h.example?x",
        "http://[",
        "https://u:p@h.example",
    ],
)
def test_bases_that_cannot_be_used(base):
    with pytest.raises(RegistryConfigError):
        read(base)


def test_nothing_is_written_over_http():
    with pytest.raises(RegistryConfigError, match="lookaside-staging"):
        write_lookaside("https://h.example", _NAME, _MANIFEST, b"x")


def test_a_web_server():
    contents = {f"/base/{_PLACE}/signature-1": b"one", f"/base/{_PLACE}/signature-2": b"two"}
    with served(lambda path, _: (200, contents[path]) if path in contents else (404, b"no")) as (base, asked):
        assert read(f"{base}/base/") == (b"one", b"two")
    assert asked == [f"/base/{_PLACE}/signature-{number}" for number in (1, 2, 3)]


def test_a_web_server_that_is_busy_is_asked_again():
    answers = [(503, b""), (200, b"one"), (404, b"")]
    with served(lambda _, count: answers[count - 1]) as (base, asked):
        assert read(base) == (b"one",)
    assert len(asked) == 3


def test_a_redirect_is_followed():
    def answer(path, count):
        if path.startswith("/moved"):
            return (200, b"one") if count == 2 else (404, b"")
        return 302, b"/moved" + path.encode()

    with served(answer) as (base, _):
        assert read(base) == (b"one",)


@pytest.mark.parametrize("status", [401, 403, 410, 500])
def test_other_answers_are_errors_and_not_the_end(status):
    with served(lambda _, count: (status, b"")) as (base, _), pytest.raises(ArstoreError):
        read(base)


def test_a_web_server_without_an_end():
    with (
        served(lambda _, count: (200, b"%d" % count)) as (base, asked),
        pytest.raises(LimitError, match="more than 128"),
    ):
        read(base)
    assert len(asked) == MOST + 1


def test_a_web_server_that_is_not_there():
    with served(lambda _, count: (404, b"")) as (base, _):
        pass
    with pytest.raises(RegistryUnreachableError):
        read(base)
