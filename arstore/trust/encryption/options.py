"""Options of a layer's cipher: public ones in an annotation, private ones in each recipient's JWE.

    public   {"cipher": "AES_256_CTR_HMAC_SHA256", "hmac": base64, "cipheroptions": {}}
    private  {"symkey": base64, "digest": "sha256:…", "cipheroptions": {"nonce": base64}}

Source: ocicrypt, blockcipher/blockcipher.go. `digest` is that of the blob that was encrypted. It is not trusted: it can
be written with the public key alone, and skopeo writes the blob's digest before recompressing it.
"""

from __future__ import annotations

from binascii import Error, a2b_base64, b2a_base64
from typing import TYPE_CHECKING

from arstore.errors import DecryptionError, LimitError, ManifestError
from arstore.oci.document import Bounds, Fields, encode, parse, shown
from arstore.values import NamedTuple

if TYPE_CHECKING:
    from arstore.digest import Digest

CIPHER = "AES_256_CTR_HMAC_SHA256"
"""The only cipher of ocicrypt."""
KEY, NONCE, MAC = 32, 16, 32
"""Sizes in bytes of a layer's key, of its nonce, and of its HMAC."""

_BOUNDS = Bounds(document=16 << 10, json_depth=4)
_PUBLIC = ("cipher", "hmac", "cipheroptions")
_PRIVATE = ("symkey", "digest", "cipheroptions")


class ContentKey(NamedTuple):
    """The secrets that decrypt one layer: its key and nonce, and the HMAC that its blob must have."""

    key: bytes
    nonce: bytes
    mac: bytes

    def __repr__(self) -> str:
        return "ContentKey(…)"


class Public(NamedTuple):
    """The public options; `nonce` is usually missing, and then b""."""

    mac: bytes
    nonce: bytes = b""

    @classmethod
    def parse(cls, raw: bytes, what: str) -> Public:
        """Parse the options of the layer *what*. Raises DecryptionError."""
        fields = document(raw, what, "public options", _BOUNDS)
        try:
            fields.refuse_variants(_PUBLIC)
            cipher = fields.string("cipher")
            if cipher != CIPHER:
                why = f"is encrypted with {shown(cipher)}" if cipher else "does not name its cipher"
                raise DecryptionError(what, f"{why}; only {CIPHER} is supported")
            return cls(_sized(fields, "hmac", MAC), _nonce(fields))
        except ManifestError as error:
            raise _malformed(error, what) from error

    @staticmethod
    def build(mac: bytes) -> bytes:
        """The options of a layer whose blob has this HMAC."""
        return encode({"cipher": CIPHER, "hmac": _text(mac), "cipheroptions": {}})


def content_key(raw: bytes, public: Public, what: str) -> ContentKey:
    """The key in the private options *raw*, checked against the *public* ones. Raises DecryptionError.

    ocicrypt prefers a public nonce to a private one. The public options are not authenticated, so both must agree.
    """
    fields = document(raw, what, "private options", _BOUNDS)
    try:
        fields.refuse_variants(_PRIVATE)
        key, nonce = _sized(fields, "symkey", KEY), _nonce(fields)
    except ManifestError as error:
        raise _malformed(error, what) from error
    if nonce and public.nonce and nonce != public.nonce:
        raise DecryptionError(what, "has two different nonces, so readers would decrypt it differently")
    nonce = nonce or public.nonce
    if not nonce:
        raise DecryptionError(what, "has a key, but no nonce")
    return ContentKey(key, nonce, public.mac)


def private(key: bytes, nonce: bytes, digest: Digest) -> bytes:
    """The private options of a layer whose blob had this *digest*."""
    return encode({"symkey": _text(key), "digest": str(digest), "cipheroptions": {"nonce": _text(nonce)}})


def document(raw: bytes, what: str, part: str, bounds: Bounds) -> Fields:
    """Parse the JSON object of a *part* of the encryption of the layer *what*. Raises DecryptionError."""
    try:
        return Fields(parse(raw, part, bounds), part)
    except (ManifestError, LimitError) as error:
        raise _malformed(error, what) from error


def _malformed(error: ManifestError | LimitError, what: str) -> DecryptionError:
    return DecryptionError(what, f"its encryption is malformed: {error.what}: {error.why}")


def _nonce(fields: Fields) -> bytes:
    others = fields.child("cipheroptions")
    if others is None or not others.has("nonce"):
        return b""
    return _sized(others, "nonce", NONCE)


def _sized(fields: Fields, key: str, size: int) -> bytes:
    try:
        value = a2b_base64(fields.string(key, required=True), strict_mode=True)
    except (Error, ValueError) as error:
        raise fields.error(key, "is not base64") from error
    if len(value) != size:
        raise fields.error(key, f"has {len(value)} bytes, but {size} are needed")
    return value


def _text(data: bytes) -> str:
    return b2a_base64(data, newline=False).decode("ascii")
