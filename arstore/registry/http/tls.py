"""Certificate verification for each host that one registry leads to: itself, other ports of its host, and other hosts.

    the registry (host and port)   the system's CAs and those of certs.d; a client certificate; or nothing verified
    another port of its host       the same without the client certificate
    any other host                 the system's CAs and those of certs.d, always verified

So a redirect cannot use the exceptions that the user allowed for this registry only. If there are several client
certificates, the one that the registry accepts is shown (`client_certificate`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from arstore.errors import RegistryConfigError
from arstore.registry.http import client_certificate
from arstore.values import NamedTuple

if TYPE_CHECKING:
    import ssl
    from collections.abc import Mapping

    from arstore.registry.http.url import Url


class Certificates(NamedTuple):
    """The content of a certs.d directory: paths of CA certificates, and pairs of client certificate and key."""

    authorities: tuple[str, ...] = ()
    pairs: tuple[tuple[str, str], ...] = ()


NO_CERTIFICATES = Certificates()


class Tls:
    """The contexts for a registry at *host* and *port*; *verify* False if the user allowed it for this registry."""

    def __init__(self, host: str, port: int, verify: bool = True, certificates: Certificates = NO_CERTIFICATES) -> None:
        self._host = host
        self._port = port
        self._verify = verify
        self._certificates = certificates
        self._made: dict[tuple[bool, bool, int | None], ssl.SSLContext] = {}
        self._chains: list[frozenset[bytes]] = []
        self._shown: int | None = 0 if len(certificates.pairs) == 1 else None

    @property
    def choice(self) -> int | None:
        """Index of the client certificate for the registry; None if there is none, or before its choice is known.

        If this changes during a handshake, the connection has to be made again.
        """
        return self._shown

    def context(self, url: Url) -> ssl.SSLContext:
        """The context for a connection to *url*. Raises RegistryConfigError."""
        same = url.host == self._host
        own = same and url.port == self._port and bool(self._certificates.pairs)
        key = (self._verify or not same, own, self._shown if own else None)
        if key not in self._made:
            self._made[key] = self._make(*key)
        return self._made[key]

    def prepare(self, environ: Mapping[str, str]) -> None:
        """Make the context for other hosts now, if a fetching process could not open its files later."""
        elsewhere = self._certificates.authorities or not {"SSL_CERT_FILE", "SSL_CERT_DIR"}.isdisjoint(environ)
        key = (True, False, None)
        if (self._verify or elsewhere) and key not in self._made:
            self._made[key] = self._make(*key)

    def _make(self, verify: bool, own: bool, pair: int | None) -> ssl.SSLContext:
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
        if pair is not None:
            self._load(context, pair)
        elif own:
            self._get_ready_to_choose(context)
        return context

    def _get_ready_to_choose(self, context: ssl.SSLContext) -> None:
        """Let *context* learn which of several certificates the registry accepts; all of them must be usable."""
        import ssl

        for pair, (certificate, _) in enumerate(self._certificates.pairs):
            self._load(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), pair)
            self._chains.append(client_certificate.issuers(certificate))
        if not client_certificate.follow(context, self._learn):
            self._shown = 0

    def _learn(self, accepted: list[bytes]) -> None:
        self._shown = client_certificate.fitting(self._chains, accepted)

    def _load(self, context: ssl.SSLContext, pair: int) -> None:
        import ssl

        certificate, key = self._certificates.pairs[pair]
        try:
            context.load_cert_chain(certificate, key, password=_no_password)
        except (OSError, ssl.SSLError, ValueError) as error:
            raise RegistryConfigError(certificate, f"cannot be used with its key ({_why(error)})") from error


def _no_password() -> bytes:
    """The answer to OpenSSL for an encrypted key. Without it, OpenSSL would prompt on the terminal."""
    return b""


def _why(error: Exception) -> str:
    return str(getattr(error, "reason", None) or getattr(error, "strerror", None) or type(error).__name__).lower()
