"""HTTP/1.1 connections: TCP, perhaps through a proxy, perhaps with TLS; every wait is bounded.

Each phase has its time limit: there is one deadline for the whole head of an answer, and a body must neither stop nor
trickle. Network failures raise `NetworkFaultError`, which says whether another try may help. Modules that take long to
import are imported on first use, such as `ssl` for the first connection with TLS.
"""

from __future__ import annotations

import errno
import re
import select
import socket
import struct
import sys
from typing import TYPE_CHECKING

from arstore.errors import reason
from arstore.registry.http.response import EndedError, MalformedError, Response, read_response

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Mapping

    from _typeshed import ReadableBuffer

    from arstore.registry.http.patience import Patience
    from arstore.registry.http.proxy import Proxy
    from arstore.registry.http.url import Url

_BLOCK = 1 << 16
"""Bytes that are requested from the socket when a line is needed."""
_WINDOW = 60.0
_TCP_INFO_SIZE, _ROUND_TRIP = 104, 68
"""struct tcp_info of linux/tcp.h: its size in bytes as of Linux 2.6, and the offset of the smoothed round trip (µs)."""
_NEAR = 4000
"""Round trip in microseconds up to which a host counts as near."""
_RATE = 500
"""Target in bytes per microsecond of round trip; the kernel doubles the value that it is given."""
_LEAST_WINDOW = 128 << 10
_FINAL = frozenset({errno.EMFILE, errno.ENFILE, errno.EPERM, errno.EACCES})
_PLAIN = ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "UNKNOWN_PROTOCOL", "RECORD_LAYER_FAILURE")
_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")
_PROBE = b"\x16\x03\x01\x00\x02\r\n"
"""A TLS record that every TLS server rejects, and a line that an HTTP server answers with an error."""
_PROBED = 1.0
"""Seconds to wait for an answer to the probe."""


class NetworkFaultError(Exception):
    """A connection failed or broke; `again` says whether another try may help."""

    def __init__(self, why: str, again: bool = True, *, is_plain: bool = False) -> None:
        super().__init__(why)
        self.why = why
        self.again = again
        self.is_plain = is_plain
        """Whether the server seems to use plain HTTP where TLS was expected."""


def fault_of(error: Exception) -> NetworkFaultError:
    """The fault that *error*, from a socket or from parsing an answer, means."""
    if isinstance(error, NetworkFaultError):
        return error
    if isinstance(error, EndedError):
        return NetworkFaultError("the connection was closed before the answer was complete")
    if isinstance(error, MalformedError):
        return NetworkFaultError(f"the answer is not HTTP ({error})", again=False)
    if isinstance(error, TimeoutError):
        own = str(error)
        return NetworkFaultError(own if own.startswith("the answer") else "timed out")
    if isinstance(error, socket.gaierror):
        return NetworkFaultError(
            f"its name cannot be resolved ({reason(error)})", again=error.errno == socket.EAI_AGAIN
        )
    if isinstance(error, OSError):
        return _tls_fault(error) or NetworkFaultError(reason(error), again=error.errno not in _FINAL)
    return NetworkFaultError(f"the answer cannot be read ({type(error).__name__})", again=False)


def _tls_fault(error: OSError) -> NetworkFaultError | None:
    """The fault that *error* means if it comes from TLS, else None."""
    ssl = sys.modules.get("ssl")
    if ssl is None or not isinstance(error, ssl.SSLError):
        return None
    if isinstance(error, ssl.SSLCertVerificationError):
        return NetworkFaultError(
            f"its certificate is not trusted ({error.verify_message or error.reason})", again=False
        )
    if isinstance(error, ssl.SSLEOFError | ssl.SSLZeroReturnError):
        return NetworkFaultError("the connection was closed")
    name = str(error.reason or "TLS failed")
    return NetworkFaultError(f"TLS failed ({name.lower().replace('_', ' ')})", again=False, is_plain=name in _PLAIN)


class HttpConnection:
    """An open connection, to *url*'s host or to the proxy that leads there. Raises NetworkFaultError.

    With *is_frugal*, the kernel buffers few unread bytes, because they are lost if the process is killed.
    """

    def __init__(
        self,
        url: Url,
        patience: Patience,
        proxy: Proxy | None,
        context: Callable[[], ssl.SSLContext],
        is_frugal: bool = False,
    ) -> None:
        self.origin = url.origin
        self.proxy = proxy if url.scheme == "http" else None
        """The proxy to which absolute URLs must be sent; None for a tunnel, which hides its proxy."""
        self._patience = patience
        self._held, self._at = b"", 0
        """The bytes that were received, and the number of them that were consumed."""
        self._head_until = 0.0
        self._waited = 0.0
        self._count = 0
        self._is_waiting = False
        """Whether the socket is set up so that reads of a body wait in the kernel."""
        try:
            self._sock = _connected(*((url.host, url.port) if proxy is None else proxy[:2]), patience.connect)
        except (OSError, ValueError) as error:
            raise fault_of(error) from error
        try:
            if proxy is not None and url.scheme == "https":
                self._tunnel(url, proxy)
            if is_frugal:
                _fit_window(self._sock)
            if url.scheme == "https":
                # As bytes: for a str, ssl would import the IDNA codec even though the host is ASCII.
                self._sock = context().wrap_socket(self._sock, server_hostname=url.host.encode("ascii"))
        except (OSError, ValueError, EndedError, MalformedError) as error:
            self.close()
            raise fault_of(error) from error
        except BaseException:
            self.close()
            raise

    def send_head(self, method: str, target: str, headers: Mapping[str, str], body: bytes = b"") -> None:
        """Send the head of a request together with *body*. Raises OSError, ValueError for characters not allowed."""
        lines = [f"{method} {target} HTTP/1.1"]
        for name, value in headers.items():
            if _VALUE.fullmatch(value) is None:
                raise ValueError(f"the header {name} cannot be sent")
            lines.append(f"{name}: {value}")
        self.send("\r\n".join((*lines, "", "")).encode("latin-1") + body)

    def send(self, data: ReadableBuffer) -> None:
        """Send all of *data*. Raises TimeoutError, OSError."""
        self._sock.settimeout(self._patience.head)
        self._sock.sendall(data)

    def response(self, method: str, seconds: float) -> Response:
        """The answer to a request of *method*; its head must be complete within *seconds*.

        Raises MalformedError, EndedError, TimeoutError, OSError; reading the body raises the same.
        """
        self._head_until = self._patience.clock() + seconds
        response = read_response(self, method)
        self._head_until, self._waited, self._count = 0.0, 0.0, 0
        self._is_waiting = False
        return response

    def line(self, most: int) -> bytes:
        """See response.Bytes."""
        while (end := self._held.find(b"\n", self._at)) < 0 and len(self._held) - self._at <= most:
            data = self._receive(_BLOCK)
            if not data:
                break
            self._held, self._at = self._held[self._at :] + data, 0
        return self._taken(end + 1 if end >= 0 else len(self._held))

    def some(self, size: int) -> bytes:
        """See response.Bytes."""
        if self._at < len(self._held):
            return self._taken(min(self._at + size, len(self._held)))
        return self._receive(size)

    def _taken(self, end: int) -> bytes:
        data = self._held[self._at : end]
        self._at = end
        return data

    @property
    def is_stale(self) -> bool:
        """Whether the connection cannot be reused: it has ended, or unrequested bytes have arrived."""
        if self._at < len(self._held):
            return True
        if _is_protected(self._sock):
            return False
        poll = select.poll()
        poll.register(self._sock.fileno(), select.POLLIN)
        return bool(poll.poll(0))

    def close(self) -> None:
        """Close it."""
        self._sock.close()

    def _receive(self, size: int) -> bytes:
        """At most *size* bytes, b"" at the end. Raises TimeoutError, OSError."""
        began = self._patience.clock()
        if self._head_until:
            left = self._head_until - began
            if left <= 0:
                raise TimeoutError("the answer did not come in time")
            self._sock.settimeout(left)
            return self._sock.recv(size)
        if self._waited > _WINDOW:
            if self._count < self._patience.slowest * self._waited:
                raise TimeoutError("the answer comes too slowly")
            self._waited, self._count = 0.0, 0
        data = self._received(size)
        # Only the time spent waiting counts, because the caller may be slow.
        self._waited += self._patience.clock() - began
        self._count += len(data)
        return data

    def _received(self, size: int) -> bytes:
        """*size* bytes of a body, or fewer at the end or after a timeout. Raises TimeoutError, OSError."""
        if _is_protected(self._sock):
            self._sock.settimeout(self._patience.idle)
            return self._sock.recv(size)
        if not self._is_waiting:
            # Let the kernel wait for all of it: one call instead of many reads, each preceded by a poll.
            self._sock.settimeout(None)
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, _timeval(self._patience.idle))
            self._is_waiting = True
        try:
            return self._sock.recv(size, socket.MSG_WAITALL)
        except BlockingIOError as error:
            raise TimeoutError from error

    def _tunnel(self, url: Url, proxy: Proxy) -> None:
        """Ask the proxy to connect to the host (RFC 9110, section 9.3.6)."""
        host = f"{f'[{url.host}]' if ':' in url.host else url.host}:{url.port}"
        headers = {"Host": host}
        if proxy.authorization:
            headers["Proxy-Authorization"] = proxy.authorization
        self.send_head("CONNECT", host, headers)
        status = self.response("HEAD", self._patience.head).status
        if not 200 <= status < 300:
            raise NetworkFaultError(f"the proxy refuses to connect to it (status {status})", again=status >= 500)
        if self._at < len(self._held):
            raise MalformedError("the proxy sent more than its answer")


def speaks_plain(url: Url, patience: Patience) -> bool:
    """Whether the server at the host and port of *url* answers a TLS probe with HTTP; False when in doubt.

    For clients that may fall back from TLS to plain HTTP and verify nothing: they need not load TLS.
    """
    try:
        with _connected(url.host, url.port, patience.connect) as sock:
            sock.settimeout(min(_PROBED, patience.head))
            sock.sendall(_PROBE)
            return sock.recv(5, socket.MSG_WAITALL) == b"HTTP/"
    except (OSError, ValueError, NetworkFaultError):
        return False


def _connected(host: str, port: int, seconds: float) -> socket.socket:
    """A connection to *host*. Raises OSError, and NetworkFaultError for an invalid host name."""
    if not host.isascii() or any(not 0 < len(label) < 64 for label in host.removesuffix(".").split(".")):
        raise NetworkFaultError("its name is not a valid host name", again=False)
    # As bytes, which the resolver also accepts: this avoids importing the IDNA codec.
    sock = socket.create_connection((host.encode("ascii"), port), seconds)  # type: ignore[arg-type]
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


def _is_protected(sock: socket.socket) -> bool:
    ssl = sys.modules.get("ssl")
    return ssl is not None and isinstance(sock, ssl.SSLSocket)


def _timeval(seconds: float) -> bytes:
    """A struct timeval."""
    return struct.pack("@ll", int(seconds), int(seconds % 1 * 1e6))


def _fit_window(sock: socket.socket) -> None:
    """Limit the kernel's receive buffer to what a near host needs.

    For a host with a round trip of more than a few milliseconds, the kernel's own choice is kept.

    A host that is further away than a few milliseconds gets the window that the kernel finds for it.
    """
    try:
        info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO_SIZE)
        round_trip = int.from_bytes(info[_ROUND_TRIP : _ROUND_TRIP + 4], sys.byteorder)
        if len(info) == _TCP_INFO_SIZE and round_trip < _NEAR:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, max(_LEAST_WINDOW, round_trip * _RATE))
    except (OSError, AttributeError):
        return
