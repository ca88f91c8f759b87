"""Sources without files: images behind an HTTP server on loopback, and images that are streams of this process.

    with remote.served(tmp_path, picture) as server, server.source() as source:
        ...
        assert server.requests("GET") == [...]

The server is a separate process, which records every request with the process that made it.
"""

from __future__ import annotations

import http.client
import os
import signal
import socket
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from support.forking import guarded

from arstore.digest import Digest
from arstore.errors import HostError, MissingBlobError
from arstore.oci.descriptor import Descriptor
from arstore.transport.source import SourceImage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from support.images import Picture

    from arstore.transport.source import Window

    Tamper = Mapping[str, Callable[[bytes], bytes]]


class Request(NamedTuple):
    """A request that the server received."""

    method: str
    path: str
    process: int


class Source:
    """The common part of the sources of this module: the list of images, and no file."""

    complete = True
    is_remote = False

    def __init__(self, what: str, pictures: tuple[Picture, ...]) -> None:
        self.what = what
        self._pictures = pictures

    def images(self) -> list[SourceImage]:
        """See ImageSource."""
        return [SourceImage(_descriptor(one), tuple(one.names)) for one in self._pictures]

    def place(self, _digest: Digest) -> Window | None:
        """None: there is no file."""
        return None

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *_: object) -> None:
        pass


class Streams(Source):
    """A source of this process whose blobs are streams without a file."""

    def __init__(self, *pictures: Picture, tamper: Tamper | None = None) -> None:
        super().__init__("streams", pictures)
        self._blobs = _blobs(pictures)
        self._tamper = tamper or {}

    def require_blob(self, digest: Digest) -> None:
        """See ImageSource."""
        if digest not in self._blobs:
            raise MissingBlobError(self.what, f"does not hold the blob {digest}")

    def open_manifest(self, descriptor: Descriptor) -> Stream:
        """See ImageSource."""
        return self.open_blob(descriptor.digest)

    def open_blob(self, digest: Digest) -> Stream:
        """See ImageSource."""
        self.require_blob(digest)
        data = self._blobs[digest]
        return Stream(self._tamper.get(digest, bytes)(data))


class Stream(BytesIO):
    """A stream that gives its first bytes one by one, as a pipe may."""

    def read(self, size: int | None = -1, /) -> bytes:
        """See Reader."""
        return super().read(1 if size is not None and size > 0 and self.tell() < 20 else size)


class Remote(Source):
    """A source behind the server: each manifest and blob has a path, and takes one GET."""

    is_remote = True

    def __init__(self, port: int, pictures: tuple[Picture, ...], host: str = "127.0.0.1") -> None:
        super().__init__("remote", pictures)
        self._address = host, port

    def require_blob(self, digest: Digest) -> None:
        """One HEAD."""
        self._open("HEAD", "blobs", digest).close()

    def open_manifest(self, descriptor: Descriptor) -> _Body:
        """One GET."""
        return self._open("GET", "manifests", descriptor.digest)

    def open_blob(self, digest: Digest) -> _Body:
        """One GET."""
        return self._open("GET", "blobs", digest)

    def _open(self, method: str, kind: str, digest: Digest) -> _Body:
        connection = http.client.HTTPConnection(*self._address, timeout=20)
        try:
            connection.request(method, f"/{kind}/{digest}", headers={"X-Process": str(os.getpid())})
            response = connection.getresponse()
            if response.status != 200:
                kind = kind.removesuffix("s")
                raise MissingBlobError(self.what, f"does not hold the {kind} {digest}")
        except http.client.HTTPException as error:
            connection.close()
            raise HostError(self.what, f"answered wrongly ({type(error).__name__})") from error
        except BaseException:
            connection.close()
            raise
        return _Body(connection, response, self.what)


class _Body:
    def __init__(self, connection: http.client.HTTPConnection, response: http.client.HTTPResponse, what: str) -> None:
        self._connection = connection
        self._response = response
        self._what = what

    def read(self, size: int = -1, /) -> bytes:
        """See Reader."""
        if size >= 0:
            return self._response.read1(size)
        return self._response.read()

    def close(self) -> None:
        """Close the connection too."""
        self._response.close()
        self._connection.close()


class Server(NamedTuple):
    """The server, as its clients know it."""

    port: int
    log: Path
    pictures: tuple[Picture, ...]

    def source(self, host: str = "127.0.0.1") -> Remote:
        """A source that reads from it."""
        return Remote(self.port, self.pictures, host)

    def requests(self, method: str = "") -> list[Request]:
        """The requests, in order."""
        lines = (line.split() for line in self.log.read_text().splitlines())
        return [Request(*words[:2], int(words[2])) for words in lines if method in {"", words[0]}]


@contextmanager
def served(directory: Path, *pictures: Picture, tamper: Tamper | None = None, cut: frozenset[str] = frozenset(),
           absent: frozenset[str] = frozenset()) -> Iterator[Server]:  # fmt: skip
    """A server of these pictures while the context lasts.

    *tamper* changes the blobs whose digests it has; those in *cut* are reset in the middle; *absent* are missing.
    """
    log = directory / "requests"
    log.touch()
    blobs = {digest: (tamper or {}).get(digest, bytes)(data) for digest, data in _blobs(pictures).items()}

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self._answer(b"")

        def do_GET(self) -> None:
            self._answer(None)

        def _answer(self, body: bytes | None) -> None:
            with log.open("a") as file:
                file.write(f"{self.command} {self.path} {self.headers['X-Process']}\n")
            _, kind, digest = self.path.split("/")
            data = blobs.get(digest)
            if data is None or digest in absent or (kind == "manifests") != _is_manifest(digest, pictures):
                self.send_error(404)
                return
            self.send_response(200)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            if digest in cut:
                self.wfile.write(data[: len(data) // 2])
                self.wfile.flush()
                # A reset, not an end.
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
                self.connection.shutdown(socket.SHUT_RD)
                self.connection.close()
                return
            self.wfile.write(data if body is None else body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.request_queue_size = 128
    pid = os.fork()
    if pid == 0:
        guarded(server.serve_forever)
    try:
        server.server_close()
        yield Server(server.server_address[1], log, pictures)
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def _is_manifest(digest: str, pictures: tuple[Picture, ...]) -> bool:
    return any(digest == one.digest for one in pictures)


def _blobs(pictures: tuple[Picture, ...]) -> dict[str, bytes]:
    return {digest: data for one in pictures for digest, data in one.blobs().items()}


def _descriptor(one: Picture) -> Descriptor:
    fields = one.descriptor()
    return Descriptor(fields["mediaType"], Digest(fields["digest"]), fields["size"])
