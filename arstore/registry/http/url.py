"""URLs of registries: http or https, without user information, safe to put into a request line.

RFC 3986. Errors show a URL without its query, which may be a signature that grants access.
"""

from __future__ import annotations

from arstore.errors import RegistryAnswerError
from arstore.oci.document import shown
from arstore.pattern import pattern
from arstore.values import NamedTuple

PORTS = {"http": 80, "https": 443}
"""The supported schemes, with their default ports."""
_LONGEST = 16 << 10
_SAFE = pattern(r"[\x21-\x7e]+")
_KEPT = "".join(chr(code) for code in range(0x21, 0x7F))

_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
_HOST_LETTERS = f"{_LETTERS}.-"
_UNRESERVED = f"{_LETTERS}._~:-"
_PATH_LETTERS = f"{_UNRESERVED}/?=&@+,%"
"""Characters that neither end a path and query nor have to be encoded. `quote` keeps them too."""

Origin = tuple[str, str, int]
"""Scheme, host in lower case, and port: credentials are bound to these."""


class Url(NamedTuple):
    """An absolute URL; `target` is its path and query, percent-encoded. An IPv6 `host` has no brackets."""

    scheme: str
    host: str
    port: int
    target: str

    @classmethod
    def parse(cls, text: str) -> Url:
        """Parse *text*. Raises RegistryAnswerError for anything that is not a plain http or https URL."""
        plain = _plain(text)
        if plain is not None:
            return plain
        from urllib.parse import quote, urlsplit

        encoded = quote(text, safe=_KEPT)
        if len(encoded) > _LONGEST or _SAFE.fullmatch(text if text.isascii() else encoded) is None:
            raise _bad(text, "is empty, too long, or contains characters that a URL cannot have")
        try:
            parts = urlsplit(encoded)
            host, port = parts.hostname or "", parts.port
        except ValueError as error:
            raise _bad(text, "is not a URL") from error
        if parts.scheme.lower() not in PORTS:
            raise _bad(text, "is not an http or https URL")
        if not host or parts.username is not None or parts.password is not None:
            raise _bad(text, "has no host" if not host else "contains a user name")
        scheme = parts.scheme.lower()
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        return cls(scheme, host.lower(), PORTS[scheme] if port is None else port, target)

    @property
    def origin(self) -> Origin:
        """The origin (RFC 6454), to which credentials are bound."""
        return self.scheme, self.host, self.port

    @property
    def address(self) -> str:
        """Host and port for a Host header; the default port of the scheme is left out."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == PORTS[self.scheme] else f"{host}:{self.port}"

    def __str__(self) -> str:
        return f"{self.scheme}://{self.address}{self.target}"

    @property
    def shown(self) -> str:
        """The URL for a message: without the query."""
        return shown(f"{self.scheme}://{self.address}{self.target.partition('?')[0]}", 200)

    def resolve(self, location: str) -> Url:
        """Resolve *location* in an answer to this URL. Raises RegistryAnswerError."""
        # A plain path; others, such as `..`, are left to `urllib.parse`.
        if "//" not in location and "/." not in f"/{location}" and ":" not in location.partition("/")[0]:
            above = "" if location[:1] == "/" else f"{self.target.partition('?')[0].rpartition('/')[0]}/"
            plain = _plain(f"{self.scheme}://{self.address}{above}{location}")
            if plain is not None and location[:1] not in {"", "?"}:
                return plain
        from urllib.parse import quote, urljoin

        encoded = quote(location, safe=_KEPT)
        try:
            joined = urljoin(str(self), encoded)
        except ValueError as error:
            raise _bad(location, "is not a URL") from error
        return Url.parse(joined)

    def with_query(self, name: str, value: str) -> Url:
        """The URL with one more parameter; existing ones are kept unchanged."""
        mark = "&" if "?" in self.target else "?"
        return self._replace(target=f"{self.target}{mark}{name}={quoted(value)}")


def _plain(text: str) -> Url | None:
    """The parsed URL if it is as simple as nearly all are; else None. `urllib.parse` takes 6 ms to import."""
    scheme, _, rest = text.partition("://")
    address, slash, path = rest.partition("/")
    host, colon, port = address.partition(":")
    number = PORTS.get(scheme, 0)
    if not number or len(text) > _LONGEST or not host or host.strip(_HOST_LETTERS):
        return None
    if path.strip(_PATH_LETTERS) or path.endswith("?"):
        return None
    if colon:
        if len(port) > 5 or not port.isascii() or not port.isdigit() or int(port) > 65535:
            return None
        number = int(port)
    return Url(scheme, host.lower(), number, f"{slash or '/'}{path}")


def quoted(text: str) -> str:
    """*text* percent-encoded for a part of a path or a query; colons are kept."""
    if not text.strip(_UNRESERVED):
        return text
    from urllib.parse import quote

    return quote(text, safe=":")


def _bad(text: str, why: str) -> RegistryAnswerError:
    return RegistryAnswerError(shown(repr(text.partition("?")[0]), 120), why)
