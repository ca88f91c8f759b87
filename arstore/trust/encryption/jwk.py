"""Keys as JSON (JWK): RSA and elliptic curve keys, as key files and as the ephemeral keys inside a JWE.

Sources: RFC 7517, RFC 7518 section 6, RFC 7515 section 2 (base64url without padding). Coordinates must have the full
length of their curve (section 6.2.1.2), and points must be on it. Other types of keys are refused.
"""

from __future__ import annotations

from binascii import Error, a2b_base64, b2a_base64
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.asymmetric import ec, rsa

from arstore.errors import ManifestError

if TYPE_CHECKING:
    from arstore.oci.document import Fields

    PublicKey = rsa.RSAPublicKey | ec.EllipticCurvePublicKey
    PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey

_CURVES: dict[str, ec.EllipticCurve] = {"P-256": ec.SECP256R1(), "P-384": ec.SECP384R1(), "P-521": ec.SECP521R1()}
_NAMES = {curve.name: name for name, curve in _CURVES.items()}
"""The JWK names of the curves, by the names that `cryptography` uses."""
_LONGEST_NUMBER = 2048
"""Bytes of a number, at most: those of an RSA key of 16384 bits."""


def curve_name(curve: ec.EllipticCurve) -> str:
    """The JWK name of *curve*; "" for a curve that JWE does not use."""
    return _NAMES.get(curve.name, "")


def from_base64url(fields: Fields, key: str, most: int = _LONGEST_NUMBER, *, required: bool = True) -> bytes:
    """The bytes of the member *key*: base64url without padding, at most *most* bytes. Raises ManifestError."""
    text = fields.string(key, required=required)
    if len(text) > most * 4 // 3 + 2:
        raise fields.error(key, f"has {len(text)} characters; at most {most} bytes are allowed")
    # Two characters of the standard base64 alphabet are not allowed here.
    if not text.isascii() or not text.translate(_OTHERS) == text:
        raise fields.error(key, "is not base64url without padding")
    try:
        data = a2b_base64(text.translate(_TO_STANDARD) + "=" * (-len(text) % 4), strict_mode=True)
    except (Error, ValueError) as error:
        raise fields.error(key, "is not base64url without padding") from error
    if to_base64url(data) != text:
        # Not canonical: the unused bits of the last character are not zero.
        raise fields.error(key, "is not base64url without padding")
    return data


def to_base64url(data: bytes) -> str:
    """*data* as base64url without padding."""
    return b2a_base64(data, newline=False).decode("ascii").rstrip("=").translate(_TO_URL)


_OTHERS = {ord(character): None for character in "+/=\r\n\t "}
_TO_STANDARD = str.maketrans("-_", "+/")
_TO_URL = str.maketrans("+/", "-_")


def ec_public(fields: Fields) -> ec.EllipticCurvePublicKey:
    """The public key of an elliptic curve. Raises ManifestError, also if its point is not on its curve."""
    if fields.string("kty") != "EC":
        raise fields.error("kty", "is not EC")
    curve = _CURVES.get(fields.string("crv"))
    if curve is None:
        raise fields.error("crv", f"is not one of {', '.join(_CURVES)}")
    size = (curve.key_size + 7) // 8
    numbers = []
    for key in ("x", "y"):
        data = from_base64url(fields, key)
        if len(data) != size:
            raise fields.error(key, f"has {len(data)} bytes; a coordinate of that curve has {size}")
        numbers.append(int.from_bytes(data, "big"))
    try:
        return ec.EllipticCurvePublicNumbers(numbers[0], numbers[1], curve).public_key()
    except ValueError as error:
        raise fields.error("x", "is not a point of that curve") from error


def to_json(key: ec.EllipticCurvePublicKey) -> dict[str, str]:
    """The JWK members of a public key of an elliptic curve."""
    numbers, size = key.public_numbers(), (key.curve.key_size + 7) // 8
    x, y = (to_base64url(number.to_bytes(size, "big")) for number in (numbers.x, numbers.y))
    return {"kty": "EC", "crv": curve_name(key.curve), "x": x, "y": y}


def public_key(fields: Fields) -> PublicKey:
    """Parse a public key. Raises ManifestError, also for a private one."""
    if fields.has("d"):
        raise fields.error("d", "is part of a private key, but a public key is needed")
    if fields.string("kty") == "EC":
        return ec_public(fields)
    return _rsa_public(fields).public_key()


def private_key(fields: Fields) -> PrivateKey:
    """Parse a private key. Raises ManifestError, also for a public one, and if its parts do not fit together."""
    try:
        if fields.string("kty") == "EC":
            public = ec_public(fields)
            return ec.EllipticCurvePrivateNumbers(_number(fields, "d"), public.public_numbers()).private_key()
        numbers = _rsa_public(fields)
        p, q, d, dp, dq, qi = (_number(fields, key) for key in ("p", "q", "d", "dp", "dq", "qi"))
        return rsa.RSAPrivateNumbers(p, q, d, dp, dq, qi, numbers).private_key()
    except ValueError as error:
        raise ManifestError(fields.what, "the parts of the key do not fit together") from error


def _rsa_public(fields: Fields) -> rsa.RSAPublicNumbers:
    if fields.string("kty") != "RSA":
        raise fields.error("kty", "is neither RSA nor EC")
    try:
        numbers = rsa.RSAPublicNumbers(_number(fields, "e"), _number(fields, "n"))
        numbers.public_key()
    except ValueError as error:
        raise fields.error("n", "is not a valid RSA modulus") from error
    return numbers


def _number(fields: Fields, key: str) -> int:
    return int.from_bytes(from_base64url(fields, key), "big")
