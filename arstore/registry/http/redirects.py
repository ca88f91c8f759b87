"""Follow redirects where they are allowed, and send an Authorization header to one origin only.

RFC 9110, section 15.4. The storage behind a registry is usually another host, whose signed URLs refuse a request with
an Authorization header; so leaving it out is needed for safety and for the storage. A redirect from https to http is
refused.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from arstore.errors import RegistryAnswerError
from arstore.registry.http.connection import NetworkFaultError

if TYPE_CHECKING:
    from arstore.registry.http.exchange import Answer, Exchange, Request
    from arstore.registry.http.url import Url

_MOST = 10
_REDIRECTS = frozenset({301, 302, 303, 307, 308})


def follow(exchange: Exchange, request: Request, authorization: str, home: Url) -> Answer:
    """Send *request* and follow its redirects; *authorization* is sent only to the origin of *home*.

    GET and HEAD are always followed. A request with a body is followed only if the status says to repeat it (307, 308).
    Raises NetworkFaultError, RegistryAnswerError.
    """
    url = request.url
    for _ in range(_MOST):
        headers = {name: value for name, value in request.headers.items() if name.lower() != "authorization"}
        if authorization and url.origin == home.origin:
            headers["Authorization"] = authorization
        try:
            answer = exchange.send(request._replace(url=url, headers=headers))
        except NetworkFaultError as fault:
            if url.origin == request.url.origin:
                raise
            why = f"{url.address}, to which it redirects: {fault.why}"
            raise NetworkFaultError(why, fault.again, is_plain=fault.is_plain) from fault
        if answer.status not in _REDIRECTS:
            return answer
        location = answer.header("Location")
        answer.discard()
        if not location:
            raise RegistryAnswerError(url.shown, f"redirects (status {answer.status}) but does not say where to")
        if request.method not in {"GET", "HEAD"} and answer.status not in {307, 308}:
            raise RegistryAnswerError(url.shown, f"redirects a {request.method} request (status {answer.status})")
        target = url.resolve(location)
        if url.scheme == "https" and target.scheme != "https":
            raise RegistryAnswerError(url.shown, f"redirects to {target.shown}, which is not protected by TLS")
        if target.origin != url.origin and _may_hold_secret(request):
            raise RegistryAnswerError(url.shown, f"redirects a request that contains credentials to {target.shown}")
        url = target
    raise RegistryAnswerError(request.url.shown, f"redirects more than {_MOST} times")


def _may_hold_secret(request: Request) -> bool:
    """Whether the body is the form of a token request, which must not reach another host."""
    return request.headers.get("Content-Type", "") == "application/x-www-form-urlencoded"
