"""Choose among several client certificates: the first one from a CA that the server names, like Go's crypto/tls.

A server names the CAs that it accepts in its CertificateRequest (RFC 8446, section 4.3.2; RFC 5246, section 7.4.4).
Python's ssl passes that message to a callback, but cannot choose a certificate in the same handshake. So the first
connection shows no certificate and learns the names, and later ones show the certificate that fits. If Python has no
callback, the first certificate is shown.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from arstore.errors import RegistryConfigError

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterable, Sequence

_CERTIFICATE_REQUEST = 13
_AUTHORITIES = 47
_TLS_1_3 = 0x304
_HEADER = 4
"""Bytes of a handshake message before its body: its type, and its length."""
_HOOK = "_msg_callback"


def issuers(path: str) -> frozenset[bytes]:
    """The names (DER) of the issuers of the certificates in the PEM file *path*. Raises RegistryConfigError."""
    from cryptography import x509

    try:
        with open(path, "rb") as file:
            return frozenset(one.issuer.public_bytes() for one in x509.load_pem_x509_certificates(file.read()))
    except (OSError, ValueError, x509.InvalidVersion) as error:
        raise RegistryConfigError(path, "cannot be used as a client certificate") from error


def fitting(chains: Sequence[frozenset[bytes]], accepted: Sequence[bytes]) -> int | None:
    """Index of the first of *chains* with an issuer among *accepted*; any fits if none is named. None if none fits."""
    return next((place for place, names in enumerate(chains) if not accepted or not names.isdisjoint(accepted)), None)


def follow(context: ssl.SSLContext, asked: Callable[[list[bytes]], object]) -> bool:
    """Call *asked* with the names of the CAs when a server asks for a certificate; False if there is no callback.

    A message that cannot be parsed is left to OpenSSL, which ends the handshake.
    """
    if not hasattr(context, _HOOK):
        return False

    def seen(_: object, direction: str, version: int, _kind: int, message: int, data: bytes) -> None:
        if direction == "read" and message == _CERTIFICATE_REQUEST:
            names = authorities(data[_HEADER:], tls13=version >= _TLS_1_3)
            if names is not None:
                asked(names)

    setattr(context, _HOOK, seen)
    return True


def authorities(body: bytes, *, tls13: bool) -> list[bytes] | None:
    """The names in the *body* of a CertificateRequest; None if it is malformed."""
    try:
        rest = memoryview(body)
        _, rest = _vector(rest, 1)
        if not tls13:
            _, rest = _vector(rest, 2)
            return list(_names(_vector(rest, 2)[0]))
        extensions, _ = _vector(rest, 2)
        while extensions:
            kind = int.from_bytes(extensions[:2], "big")
            content, extensions = _vector(extensions[2:], 2)
            if kind == _AUTHORITIES:
                return list(_names(_vector(content, 2)[0]))
    except ValueError:
        return None
    return []


def _names(rest: memoryview) -> Iterable[bytes]:
    while rest:
        name, rest = _vector(rest, 2)
        yield bytes(name)


def _vector(data: memoryview, size: int) -> tuple[memoryview, memoryview]:
    """Split *data* into a vector with a length of *size* bytes, and the rest. Raises ValueError if it is too short."""
    length = int.from_bytes(data[:size], "big")
    end = size + length
    if len(data) < max(end, size):
        raise ValueError("ends too early")
    return data[size:end], data[end:]
