"""How certificates are verified, for each host that one registry leads to: itself, its neighbours, and others.

    the registry (host and port)   the system's CAs and those of certs.d; its client certificate; or nothing verified
    another port of its host       the same without the client certificate
    any other host                 the system's CAs and those of certs.d, always verified

So a redirect cannot make use of what the user allowed for the registry alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from arstore.errors import RegistryConfigError
from arstore.values import NamedTuple

if TYPE_CHECKING:
    import ssl
    from collections.abc import Mapping

    from arstore.registry.http.url import Url


class Certificates(NamedTuple):
    """What a directory of certs.d holds: paths of CA certificates, and pairs of client certificate and key."""

    authorities: tuple[str, ...] = ()
    pairs: tuple[tuple[str, str], ...] = ()


NO_CERTIFICATES = Certificates()


class Tls:
    """The contexts for a registry at *host* and *port*; *verify* False is what the user allowed for it."""

    def __init__(self, host: str, port: int, verify: bool = True, certificates: Certificates = NO_CERTIFICATES) -> None:
        self._host = host
        self._port = port
        self._verify = verify
        self._certificates = certificates
        self._made: dict[tuple[bool, bool], ssl.SSLContext] = {}

    def context(self, url: Url) -> ssl.SSLContext:
        """The context for a connection to *url*. Raises RegistryConfigError."""
        same = url.host == self._host
        shows = same and url.port == self._port and bool(self._certificates.pairs)
        key = (self._verify or not same, shows)
        if key not in self._made:
            self._made[key] = self._make(*key)
        return self._made[key]

    def prepare(self, environ: Mapping[str, str]) -> None:
        """Make the context for other hosts now, if a process that fetches could not open its files."""
        elsewhere = self._certificates.authorities or not {"SSL_CERT_FILE", "SSL_CERT_DIR"}.isdisjoint(environ)
        if (self._verify or elsewhere) and (True, False) not in self._made:
            self._made[True, False] = self._make(True, False)

    def _make(self, verify: bool, shows: bool) -> ssl.SSLContext:
        import ssl

        if verify:
            context = ssl.create_default_context()
        else:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        for path in self._certificates.authorities if verify else ():
            try:
                context.load_verify_locations(path)
            except (OSError, ssl.SSLError) as error:
                raise RegistryConfigError(path, f"cannot be used as a CA certificate ({_why(error)})") from error
        for certificate, key in self._certificates.pairs[:1] if shows else ():
            try:
                context.load_cert_chain(certificate, key, password=_no_password)
            except (OSError, ssl.SSLError, ValueError) as error:
                raise RegistryConfigError(certificate, f"cannot be used with its key ({_why(error)})") from error
        return context


def _no_password() -> bytes:
    """Called for an encrypted key. Without it, OpenSSL would ask on the terminal."""
    return b""


def _why(error: Exception) -> str:
    return str(getattr(error, "reason", None) or getattr(error, "strerror", None) or type(error).__name__).lower()
