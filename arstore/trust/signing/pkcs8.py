"""Encrypted private keys: PKCS #8 with PBES2 (RFC 5958, RFC 8018), implemented here to choose the number of rounds.

`cryptography` and OpenSSL encrypt with 2,048 rounds of PBKDF2, so a graphics card can try a million passphrases per
second. Here it is 600,000 (OWASP's recommendation for HMAC-SHA-256), a fifth of a second per try on one processor.
Readers, including OpenSSL and `cryptography`, take the number from the file.
"""

from __future__ import annotations

import hashlib
import os

from arstore.trust.keys import pem_of

ROUNDS = 600_000
LABEL = "ENCRYPTED PRIVATE KEY"
_PBES2 = bytes.fromhex("2a864886f70d01050d")
_PBKDF2 = bytes.fromhex("2a864886f70d01050c")
_HMAC_SHA256 = bytes.fromhex("2a864886f70d0209")
_AES256_CBC = bytes.fromhex("60864801650304012a")
"""Object identifiers: 1.2.840.113549.1.5.13, 1.5.12 and 2.9 of the same, and 2.16.840.1.101.3.4.1.42."""
_INTEGER, _OCTETS, _NULL, _OID, _SEQUENCE = 0x02, 0x04, 0x05, 0x06, 0x30
_KEY, _SALT, _BLOCK = 32, 16, 16


def encrypted_pem(der: bytes, passphrase: bytes) -> bytes:
    """The PEM of the PKCS #8 key *der*, encrypted with *passphrase*."""
    from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

    salt, start = os.urandom(_SALT), os.urandom(_BLOCK)
    key = hashlib.pbkdf2_hmac("sha256", passphrase, salt, ROUNDS, _KEY)
    missing = _BLOCK - len(der) % _BLOCK
    cipher = Cipher(algorithms.AES(key), modes.CBC(start)).encryptor()
    text = cipher.update(der + bytes([missing]) * missing) + cipher.finalize()
    rounds = ROUNDS.to_bytes(ROUNDS.bit_length() // 8 + 1, "big")
    function = _sequence(_of(_OID, _HMAC_SHA256), _of(_NULL, b""))
    derived = _sequence(_of(_OID, _PBKDF2), _sequence(_of(_OCTETS, salt), _of(_INTEGER, rounds), function))
    scheme = _sequence(derived, _sequence(_of(_OID, _AES256_CBC), _of(_OCTETS, start)))
    return pem_of(LABEL, _sequence(_sequence(_of(_OID, _PBES2), scheme), _of(_OCTETS, text)))


def _sequence(*parts: bytes) -> bytes:
    return _of(_SEQUENCE, b"".join(parts))


def _of(tag: int, content: bytes) -> bytes:
    """The DER encoding of one value (X.690, 8.1)."""
    size = len(content)
    if size < 0x80:
        return bytes([tag, size]) + content
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(length)]) + length + content
