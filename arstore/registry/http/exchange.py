"""Send one request and receive its answer, over connections that are kept; no redirects, no authorisation.

The other side may have closed an idle connection; a request that fails on one is sent again on a new connection. After
a fork, the child leaves the parent's connections alone. Raises `NetworkFaultError`.
"""

from __future__ import annotations

import os
from threading import Lock
from typing import TYPE_CHECKING

from arstore import __version__
from arstore.errors import RegistryAnswerError
from arstore.registry.http.connection import HttpConnection, NetworkFaultError, fault_of, speaks_plain
from arstore.registry.http.patience import DEFAULT, Patience
from arstore.registry.http.proxy import proxy_for
from arstore.registry.http.response import EndedError, MalformedError
from arstore.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from arstore.digest import Reader
    from arstore.registry.http.response import Headers, Response
    from arstore.registry.http.tls import Tls
    from arstore.registry.http.url import Origin, Url

_IDLE = 6
"""Idle connections that are kept for each origin."""
_FRESH = 30.0
"""Seconds for which an idle connection is kept."""


class Content(NamedTuple):
    """A body that can be sent again: its size, and a function that opens it from its first byte."""

    size: int
    open: Callable[[], Reader]


class Request(NamedTuple):
    """A request without its redirects. `body` None means no body; b"" is an empty one."""

    method: str
    url: Url
    headers: Mapping[str, str] = {}
    body: bytes | Content | None = None
    replay: bool = True
    """Allows sending it again on another connection if a kept one was closed in the meantime."""
    head: float = 0.0
    """Seconds until the head of the answer is complete; 0 uses the default."""


class Answer:
    """An answer; `read` reads its body. It must be closed; its connection is kept if everything was read."""

    def __init__(self, url: Url, method: str, response: Response, release: Callable[[bool], None]) -> None:
        self.url = url
        self.status = response.status
        self.headers = response.headers
        self._response = response
        self._release: Callable[[bool], None] | None = release
        self.length = response.length
        """Size of the body in bytes, as announced; None if it was not."""
        if method == "HEAD":
            self.length = _announced(response.headers)
        self._left = 0 if response.is_empty else self.length

    def header(self, name: str) -> str:
        """The header *name*; "" if it is missing."""
        return self.headers.get(name)

    def header_all(self, name: str) -> list[str]:
        """Every line of the header *name*."""
        return self.headers.get_all(name)

    def read(self, size: int) -> bytes:
        """At most *size* bytes, b"" at the end. Raises NetworkFaultError, also if the body ends too early."""
        if self._release is None or self._left == 0:
            self._finish()
            return b""
        try:
            data = self._response.read(size if self._left is None else min(size, self._left))
        except (OSError, EndedError, MalformedError, ValueError) as error:
            self.close()
            raise fault_of(error) from error
        if self._left is not None:
            if not data:
                self.close()
                raise NetworkFaultError(f"the connection was closed {self._left} bytes before the end")
            self._left -= len(data)
        if not data or self._left == 0:
            self._finish()
        return data

    def read_all(self, most: int) -> bytes:
        """The whole body, truncated after *most* + 1 bytes. Raises NetworkFaultError."""
        parts = []
        left = most + 1
        while left and (data := self.read(left)):
            parts.append(data)
            left -= len(data)
        return b"".join(parts)

    def discard(self) -> None:
        """Read a short rest, so that the connection can be reused, and close."""
        try:
            if self._release is not None:
                self.read_all(16 << 10)
        except NetworkFaultError:
            pass
        self.close()

    def close(self) -> None:
        """Release the connection; it is closed if a part of the body is unread."""
        if self._release is not None:
            release, self._release = self._release, None
            release(False)

    def _finish(self) -> None:
        if self._release is not None:
            release, self._release = self._release, None
            release(not self._response.will_close)


class Exchange:
    """Sends requests to the hosts that one registry leads to. Threads may share it."""

    def __init__(self, tls: Tls, patience: Patience = DEFAULT, environ: Mapping[str, str] = os.environ) -> None:
        self.patience = patience
        self._tls = tls
        self._environ = environ
        self._idle: dict[Origin, list[tuple[float, HttpConnection]]] = {}
        self._lock = Lock()
        self._process = os.getpid()
        self._is_frugal = False

    def send(self, request: Request) -> Answer:
        """Send *request*. Raises NetworkFaultError, RegistryAnswerError, RegistryConfigError."""
        kept = self._take(request.url)
        if kept is not None:
            try:
                return self._sent(kept, request)
            except NetworkFaultError as fault:
                if not (fault.again and request.replay) or isinstance(fault.__cause__, TimeoutError):
                    raise
        return self._sent(self._connect(request.url), request)

    def speaks_plain(self, url: Url) -> bool:
        """Whether the server of *url*, reached without a proxy, answers TLS with HTTP; False when in doubt.

        Saves loading TLS if nothing is verified anyway. Raises RegistryConfigError.
        """
        return proxy_for(url, self._environ) is None and speaks_plain(url, self.patience)

    def prepare(self) -> None:
        """Load what a process needs that can no longer open files, and limit unread bytes in case it is killed."""
        import random  # noqa: F401 # for the waits between tries
        import ssl  # noqa: F401 # a redirect may lead to https

        self._is_frugal = True
        self._tls.prepare(self._environ)

    def close(self) -> None:
        """Close the connections that are idle."""
        with self._lock:
            idle, self._idle = self._idle, {}
        for wires in idle.values():
            for _, wire in wires:
                wire.close()

    def _connect(self, url: Url) -> HttpConnection:
        proxy = proxy_for(url, self._environ)
        while True:
            choice = self._tls.choice
            try:
                wire = HttpConnection(url, self.patience, proxy, lambda: self._tls.context(url), self._is_frugal)
            except NetworkFaultError:
                if self._tls.choice == choice:
                    raise
                continue
            if self._tls.choice == choice:
                return wire
            wire.close()

    def _take(self, url: Url) -> HttpConnection | None:
        if self._process != os.getpid():
            self._process, self._lock = os.getpid(), Lock()
            self.close()
        now = self.patience.clock()
        while True:
            with self._lock:
                wires = self._idle.get(url.origin, [])
                if not wires:
                    return None
                since, wire = wires.pop()
            if now - since < _FRESH and not wire.is_stale:
                return wire
            wire.close()

    def _give_back(self, wire: HttpConnection) -> None:
        with self._lock:
            wires = self._idle.setdefault(wire.origin, [])
            if len(wires) < _IDLE:
                wires.append((self.patience.clock(), wire))
                return
        wire.close()

    def _sent(self, wire: HttpConnection, request: Request) -> Answer:
        try:
            _send(wire, request)
            response = wire.response(request.method, request.head or self.patience.head)
        except (OSError, EndedError, MalformedError, ValueError) as error:
            wire.close()
            raise fault_of(error) from error
        except BaseException:
            wire.close()
            raise
        lengths = {line.strip() for line in response.headers.get_all("Content-Length")}
        if len(lengths) > 1 or any(not length.isdecimal() for length in lengths):
            wire.close()
            raise RegistryAnswerError(request.url.shown, "answered with an invalid Content-Length")

        def release(keep: bool) -> None:
            if keep and self._process == os.getpid():
                self._give_back(wire)
            else:
                wire.close()

        return Answer(request.url, request.method, response, release)


def _send(wire: HttpConnection, request: Request) -> None:
    target = request.url.target if wire.proxy is None else str(request.url)
    headers = {
        "Host": request.url.address,
        "User-Agent": f"arstore/{__version__}",
        "Accept-Encoding": "identity",
        **request.headers,
    }
    if wire.proxy is not None and wire.proxy.authorization:
        headers["Proxy-Authorization"] = wire.proxy.authorization
    body = request.body
    if body is not None:
        headers["Content-Length"] = str(body.size if isinstance(body, Content) else len(body))
    whole = body if isinstance(body, bytes) else b""
    _tolerant(lambda: wire.send_head(request.method, target, headers, whole))
    if isinstance(body, Content):
        _tolerant(lambda: _send_content(wire, body))


def _send_content(wire: HttpConnection, body: Content) -> None:
    stream = body.open()
    try:
        left = body.size
        while left:
            data = stream.read(min(left, 1 << 18))
            if not data:
                raise NetworkFaultError("the data to send is shorter than it was before", again=False)
            left -= len(data)
            wire.send(data)
    finally:
        if hasattr(stream, "close"):
            stream.close()


def _tolerant(action: Callable[[], object]) -> None:
    """Do *action* and ignore that the other side stopped reading: its answer says why, or its end will be noticed."""
    try:
        action()
    except (BrokenPipeError, ConnectionResetError):
        return


def _announced(headers: Headers) -> int | None:
    text = headers.get("Content-Length").strip()
    return int(text) if text.isdecimal() and text.isascii() and len(text) < 19 else None
