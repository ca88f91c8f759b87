"""The annotations of an encrypted layer's descriptor: its public options, and the keys for its recipients.

    org.opencontainers.image.enc.pubopts         base64 of the public options
    org.opencontainers.image.enc.keys.<scheme>   base64 of a wrapped key, further ones separated by commas

Source: ocicrypt, encryption.go and keywrap/*/; each scheme has one annotation. Only `jwe` is supported.
"""

from __future__ import annotations

from binascii import Error, a2b_base64, b2a_base64
from typing import TYPE_CHECKING

from arstore.errors import DecryptionError
from arstore.oci.document import shown
from arstore.trust.encryption.options import Public
from arstore.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

PREFIX = "org.opencontainers.image.enc."
"""Prefix of all annotations about a layer's encryption."""
_PUBLIC = f"{PREFIX}pubopts"
_KEYS = f"{PREFIX}keys."
_JWE = f"{_KEYS}jwe"

_LONGEST = 1 << 20
"""Characters of an annotation, at most; a JWE has about a thousand for each recipient."""
_MOST = 64
"""Wrapped keys of one layer, at most: ocicrypt adds one whenever recipients are added."""

_NAMES = {
    "jwe": "jwe",
    "pgp": "pgp (OpenPGP)",
    "pkcs7": "pkcs7 (certificates)",
    "pkcs11": "pkcs11 (hardware tokens)",
}


class Lock(NamedTuple):
    """The encryption of a layer, as its annotations describe it.

    *jwes* are wrapped keys, not parsed yet; *schemes* are the other schemes with keys, for messages.
    """

    jwes: tuple[bytes, ...]
    public: Public
    schemes: tuple[str, ...] = ()

    @classmethod
    def read(cls, annotations: Mapping[str, str], what: str) -> Lock:
        """Parse the *annotations* of the encrypted layer *what*. Raises DecryptionError."""
        schemes = schemes_of(annotations)
        if not schemes:
            raise DecryptionError(what, "is encrypted, but has no wrapped key")
        public = annotations.get(_PUBLIC, "")
        if not public:
            raise DecryptionError(what, "is encrypted, but does not name its cipher")
        options = Public.parse(_decoded(public, _PUBLIC, what), what)
        keys = annotations.get(_JWE, "")
        texts = keys.split(",", _MOST) if keys else []
        if len(keys) > _LONGEST or len(texts) > _MOST:
            raise DecryptionError(what, f"has more wrapped keys than {_MOST}, or longer ones than {_LONGEST} bytes")
        jwes = tuple(_decoded(text, _JWE, what) for text in texts)
        return cls(jwes, options, tuple(scheme for scheme in schemes if scheme != "jwe"))


def schemes_of(annotations: Mapping[str, str]) -> tuple[str, ...]:
    """The schemes for which a layer has keys, for messages; only `jwe` is supported."""
    found = sorted(key.removeprefix(_KEYS) for key, text in annotations.items() if key.startswith(_KEYS) and text)
    return tuple(_NAMES.get(scheme) or shown(scheme, 60) for scheme in found)


def without(annotations: Mapping[str, str]) -> dict[str, str]:
    """The annotations that are not about encryption."""
    return {key: text for key, text in annotations.items() if not key.startswith(PREFIX)}


def build(jwe: bytes, mac: bytes) -> dict[str, str]:
    """The annotations of a layer whose blob has the HMAC *mac* and whose key is wrapped as *jwe*."""
    return {_JWE: _encoded(jwe), _PUBLIC: _encoded(Public.build(mac))}


def _encoded(data: bytes) -> str:
    return b2a_base64(data, newline=False).decode("ascii")


def _decoded(text: str, key: str, what: str) -> bytes:
    if len(text) > _LONGEST:
        raise DecryptionError(what, f"its annotation {key} has {len(text)} characters")
    try:
        return a2b_base64(text, strict_mode=True)
    except (Error, ValueError) as error:
        raise DecryptionError(what, f"its annotation {key} is not base64") from error
