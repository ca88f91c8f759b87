"""Choose the proxy for a request from the usual variables: HTTP(S)_PROXY, ALL_PROXY, NO_PROXY.

The rules are those of Go's net/http, because container tools follow them: in NO_PROXY, a name includes its subdomains,
`.name` means only these, and `*` means everything; addresses and networks are allowed, and each may have a port. A
loopback host is never reached through a proxy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from arstore.errors import RegistryConfigError
from arstore.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping
    from ipaddress import IPv4Address, IPv6Address

    from arstore.registry.http.url import Url


class Proxy(NamedTuple):
    """An HTTP proxy; `authorization` is the value of Proxy-Authorization, "" without credentials."""

    host: str
    port: int
    authorization: str = ""

    def __repr__(self) -> str:
        return f"Proxy({self.host}:{self.port})"


def proxy_for(url: Url, environ: Mapping[str, str]) -> Proxy | None:
    """The proxy for *url*, None to connect directly.

    Raises RegistryConfigError for an unsupported kind of proxy: connecting directly is not what the user asked for.
    """
    names = (f"{url.scheme}_proxy", "all_proxy")
    name, text = next(((one, value) for one in names if (value := _variable(environ, one))), ("", ""))
    if not text or _is_loopback(url.host) or _is_excepted(url, _variable(environ, "no_proxy")):
        return None
    return _parse(text, name.upper())


def _variable(environ: Mapping[str, str], name: str) -> str:
    if name == "http_proxy" and "REQUEST_METHOD" in environ:
        return environ.get(name, "")  # in CGI, the upper-case variable is a header sent by the client
    return environ.get(name) or environ.get(name.upper(), "")


def _parse(text: str, variable: str) -> Proxy:
    from urllib.parse import unquote, urlsplit

    text = text if "://" in text else f"http://{text}"
    try:
        parts = urlsplit(text)
        host, port = parts.hostname or "", parts.port
    except ValueError as error:
        raise RegistryConfigError(variable, "is not the URL of a proxy") from error
    if parts.scheme != "http":
        raise RegistryConfigError(variable, f"names a {parts.scheme} proxy; only http proxies are supported")
    if not host or not text.isascii() or not text.isprintable():
        raise RegistryConfigError(variable, "is not the URL of a proxy")
    authorization = ""
    if parts.username is not None:
        from base64 import b64encode

        pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        authorization = f"Basic {b64encode(pair.encode()).decode('ascii')}"
    return Proxy(host, port or 80, authorization)


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    address = _address(host)
    return address is not None and address.is_loopback


def _is_excepted(url: Url, exceptions: str) -> bool:
    address = _address(url.host)
    for one in (part.strip().lower() for part in exceptions.split(",")):
        if one == "*" or (one and _matches(one, url, address)):
            return True
    return False


def _matches(pattern: str, url: Url, address: IPv4Address | IPv6Address | None) -> bool:
    if "/" in pattern:
        from ipaddress import ip_network

        try:
            return address is not None and address in ip_network(pattern, strict=False)
        except ValueError:
            return False
    host, port = pattern, ""
    if pattern.count(":") == 1 or pattern.startswith("["):
        host, _, port = pattern.rpartition(":") if not pattern.endswith("]") else (pattern, "", "")
    host = host.strip("[]")
    if port and port != str(url.port):
        return False
    if _address(host) is not None:
        return _address(host) == address
    host = host.removeprefix("*")
    return url.host.endswith(host) if host.startswith(".") else url.host == host or url.host.endswith(f".{host}")


def _address(host: str) -> IPv4Address | IPv6Address | None:
    from ipaddress import ip_address  # imported here: proxies are rare

    try:
        return ip_address(host)
    except ValueError:
        return None
