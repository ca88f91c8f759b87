"""Connections: TCP, perhaps through a proxy, perhaps TLS, every wait with an end. HTTP/1.1 by the standard library.

A read waits for the time that its phase allows: the whole head of an answer has one deadline, and a body may neither
stop nor trickle. Failures of the network are `NetworkFaultError`, which says whether another try may help.
"""

from __future__ import annotations

import errno
import http.client
import io
import socket
import ssl
import sys
from typing import TYPE_CHECKING

from arstore.errors import reason

if TYPE_CHECKING:
    from collections.abc import Callable

    from _typeshed import ReadableBuffer, WriteableBuffer

    from arstore.registry.http.patience import Patience
    from arstore.registry.http.proxy import Proxy
    from arstore.registry.http.url import Url

_BLOCK = 1 << 17
_WINDOW = 60.0
_TCP_INFO_SIZE, _ROUND_TRIP = 104, 68
"""struct tcp_info of linux/tcp.h: its bytes as of Linux 2.6, and where the smoothed round trip, in µs, stands in it."""
_NEAR = 4000
"""Microseconds of a round trip to a host that counts as near."""
_RATE = 500
"""Bytes per microsecond of round trip that are wanted; the kernel doubles what it is told."""
_LEAST_WINDOW = 128 << 10
_MOST_TRAILERS = 100
_LONGEST_LINE = 1 << 16
_FINAL = frozenset({errno.EMFILE, errno.ENFILE, errno.EPERM, errno.EACCES})
_TUNNEL_REFUSED = "Tunnel connection failed: 4"
_PLAIN = ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "UNKNOWN_PROTOCOL", "RECORD_LAYER_FAILURE")


class NetworkFaultError(Exception):
    """A connection that could not be made, or broke; `again` is whether another try may go better."""

    def __init__(self, why: str, again: bool = True, *, is_plain: bool = False) -> None:
        super().__init__(why)
        self.why = why
        self.again = again
        self.is_plain = is_plain
        """Whether the other side seems to speak HTTP where TLS was expected."""


def fault_of(error: Exception) -> NetworkFaultError:
    """What *error*, of a socket or of http.client, means."""
    if isinstance(error, NetworkFaultError):
        return error
    if isinstance(error, ssl.SSLCertVerificationError):
        return NetworkFaultError(
            f"its certificate is not trusted ({error.verify_message or error.reason})", again=False
        )
    if isinstance(error, ssl.SSLEOFError | ssl.SSLZeroReturnError):
        return NetworkFaultError("the connection was closed")
    if isinstance(error, ssl.SSLError):
        name = str(error.reason or "TLS failed")
        return NetworkFaultError(f"TLS failed ({name.lower().replace('_', ' ')})", again=False, is_plain=name in _PLAIN)
    if isinstance(error, TimeoutError):
        own = str(error)
        return NetworkFaultError(own if own.startswith("the answer") else "timed out")
    if isinstance(error, socket.gaierror):
        return NetworkFaultError(
            f"its name cannot be resolved ({reason(error)})", again=error.errno == socket.EAI_AGAIN
        )
    if isinstance(error, http.client.RemoteDisconnected | http.client.IncompleteRead):
        return NetworkFaultError("the connection was closed before the answer was complete")
    if isinstance(error, http.client.HTTPException):
        return NetworkFaultError(f"the answer is not HTTP ({type(error).__name__})", again=False)
    if isinstance(error, UnicodeError):
        return NetworkFaultError("its name is not that of a host", again=False)
    if isinstance(error, OSError):
        final = error.errno in _FINAL or str(error).startswith(_TUNNEL_REFUSED)
        return NetworkFaultError(reason(error), again=not final)
    return NetworkFaultError(f"the answer cannot be read ({type(error).__name__})", again=False)


class _Bytes(io.RawIOBase):
    """The bytes that come from a socket, each waited for as long as the phase allows."""

    def __init__(self, owner: _Socket) -> None:
        self._owner = owner

    def readable(self) -> bool:
        """True."""
        return True

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        """See io.RawIOBase."""
        return self._owner.receive(buffer)

    def close(self) -> None:
        """See io.RawIOBase."""
        if not self.closed:
            super().close()
            self._owner.let_go()


class _Socket:
    """What http.client sees of a socket: only what it uses, with `receive` in place of its reads."""

    def __init__(self, sock: socket.socket, patience: Patience) -> None:
        self.sock = sock
        self._patience = patience
        self._head_until = 0.0
        self._waited = 0.0
        self._count = 0
        self._readers = 0
        self._closing = False

    def expect_head(self, seconds: float) -> None:
        """The next bytes are the head of an answer, which is to be complete in *seconds*."""
        self._head_until = self._patience.clock() + seconds

    def expect_body(self) -> None:
        """The next bytes are a body."""
        self._head_until = 0.0
        self._waited, self._count = 0.0, 0

    def receive(self, buffer: WriteableBuffer) -> int:
        """Read into *buffer*; the number of bytes, 0 at the end. Raises TimeoutError, OSError."""
        began = self._patience.clock()
        if self._head_until:
            left = self._head_until - began
            if left <= 0:
                raise TimeoutError("the answer did not come in time")
            self.sock.settimeout(left)
            return self.sock.recv_into(buffer)
        if self._waited > _WINDOW:
            if self._count < self._patience.slowest * self._waited:
                raise TimeoutError("the answer comes too slowly")
            self._waited, self._count = 0.0, 0
        self.sock.settimeout(self._patience.idle)
        got = self.sock.recv_into(buffer)
        # Only the waiting counts: whoever reads may be slow.
        self._waited += self._patience.clock() - began
        self._count += got
        return got

    def sendall(self, data: ReadableBuffer) -> None:
        """Send all of *data*. Raises TimeoutError, OSError."""
        self.sock.settimeout(self._patience.head)
        self.sock.sendall(data)

    def makefile(self, *_: object, **__: object) -> io.BufferedReader:
        """What http.client reads from."""
        self._readers += 1
        return io.BufferedReader(_Bytes(self), _BLOCK)

    def let_go(self) -> None:
        """One reader less."""
        self._readers -= 1
        if self._closing and not self._readers:
            self.sock.close()

    def close(self) -> None:
        """Close the socket, once nobody reads from it any more: http.client closes it before the body is read."""
        self._closing = True
        if not self._readers:
            self.sock.close()


class _Response(http.client.HTTPResponse):
    """A response whose trailers have an end, too."""

    def _read_and_discard_trailer(self) -> None:
        for _ in range(_MOST_TRAILERS):
            line = self.fp.readline(_LONGEST_LINE + 1)
            if len(line) > _LONGEST_LINE:
                raise http.client.LineTooLong("trailer line")
            if line in {b"", b"\r\n", b"\n"}:
                return
        raise http.client.HTTPException("too many trailers")


def _fit_window(sock: socket.socket) -> None:
    """Let the kernel hold no more received bytes than a near host needs: they go with a process that is killed.

    A host that is further away than a few milliseconds gets the window that the kernel finds for it.
    """
    try:
        info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO_SIZE)
        round_trip = int.from_bytes(info[_ROUND_TRIP : _ROUND_TRIP + 4], sys.byteorder)
        if len(info) == _TCP_INFO_SIZE and round_trip < _NEAR:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, max(_LEAST_WINDOW, round_trip * _RATE))
    except (OSError, AttributeError):
        return


class HttpConnection(http.client.HTTPConnection):
    """A connection that is open, to *url*'s host or to the proxy that leads there."""

    response_class = _Response

    def __init__(
        self, url: Url, patience: Patience, proxy: Proxy | None, context: Callable[[], ssl.SSLContext]
    ) -> None:
        host, port = (url.host, url.port) if proxy is None else (proxy.host, proxy.port)
        super().__init__(host, port, timeout=patience.connect, blocksize=_BLOCK)
        self.origin = url.origin
        self.proxy = proxy if url.scheme == "http" else None
        """The proxy that is to be given absolute URLs; a tunnel hides its proxy."""
        if proxy is not None and url.scheme == "https":
            headers = {"Proxy-Authorization": proxy.authorization} if proxy.authorization else {}
            self.set_tunnel(url.host, url.port, headers)
        try:
            self.connect()
            _fit_window(self.sock)
            if url.scheme == "https":
                self.sock = context().wrap_socket(self.sock, server_hostname=url.host)
        except (OSError, http.client.HTTPException, ValueError) as error:
            self.close()
            raise fault_of(error) from error
        except BaseException:
            self.close()
            raise
        self.auto_open = 0
        self.paced = _Socket(self.sock, patience)
        self.sock = self.paced  # all that http.client uses

    @property
    def is_stale(self) -> bool:
        """Whether the other side has closed a plain connection that nothing was asked on."""
        if isinstance(self.paced.sock, ssl.SSLSocket):
            return False
        import select

        poll = select.poll()
        poll.register(self.paced.sock.fileno(), select.POLLIN)
        return bool(poll.poll(0))
