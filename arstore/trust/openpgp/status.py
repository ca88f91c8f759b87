"""Interpret gpg's status lines about a signed message (doc/DETAILS of GnuPG).

gpg exits with 0 for messages that are not acceptable here: signed by a revoked subkey, unsigned, or in clear text. So
the status lines decide. The code lists what they must contain, not what they must not: one signature, good, valid, over
one text, in a message that holds nothing else.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from arstore.errors import SignatureError

if TYPE_CHECKING:
    from collections.abc import Sequence

_WHAT = "OpenPGP signature"
_BAD = {
    "BADSIG": "does not match the message",
    "ERRSIG": "was made with a key that is not in the keyring, or cannot be checked",
    "EXPSIG": "has expired",
    "EXPKEYSIG": "was made with a key that has expired",
    "REVKEYSIG": "was made with a key that was revoked",
    "NODATA": "is not an OpenPGP message",
    "BADARMOR": "is not an OpenPGP message",
    "UNEXPECTED": "is not a signed message",
    "DECRYPTION_INFO": "is an encrypted message",
    "BEGIN_DECRYPTION": "is an encrypted message",
    "ENC_TO": "is an encrypted message",
    "DECRYPTION_FAILED": "is an encrypted message",
    "FAILURE": "cannot be verified by gpg",
    "ERROR": "cannot be verified by gpg",
}
"""Status lines that each reject the message, with their meaning."""
_FINGERPRINT = re.compile("[0-9A-F]{40}|[0-9A-F]{64}")
_DOCUMENTS = frozenset({"00", "01"})
"""Classes of signatures over data, as it is or with normalized line ends; others are about keys."""
_WEAK = {"1": "MD5", "2": "SHA-1", "3": "RIPEMD-160"}
_VALID_FIELDS = 10


def signer_of(lines: Sequence[str], code: int) -> str:
    """The fingerprint of the primary key that signed, from these status lines. Raises SignatureError."""
    words = [line.split(" ") for line in lines]
    for line in words:
        if line[0] in _BAD:
            raise SignatureError(_WHAT, _BAD[line[0]])
    for name in ("NEWSIG", "GOODSIG", "VALIDSIG", "PLAINTEXT"):
        count = sum(line[0] == name for line in words)
        if count != 1:
            raise SignatureError(_WHAT, _why(name, count))
    if code:
        raise SignatureError(_WHAT, f"gpg ended with the status {code}")
    return _checked(next(line[1:] for line in words if line[0] == "VALIDSIG"))


def imported(lines: Sequence[str]) -> int:
    """The number of keys that gpg imported, or had already."""
    return sum(line.startswith("IMPORT_OK ") for line in lines)


def _checked(fields: list[str]) -> str:
    """The primary key's fingerprint of a VALIDSIG line, whose fields are
    fingerprint, date, time, expiry, version, -, algorithm, hash, class, primary."""
    if len(fields) != _VALID_FIELDS or not _FINGERPRINT.fullmatch(fields[9]):
        raise SignatureError(_WHAT, "is reported by gpg in an unknown way")
    if fields[8] not in _DOCUMENTS:
        raise SignatureError(_WHAT, "is not over data")
    if fields[7] in _WEAK:
        raise SignatureError(_WHAT, f"relies on {_WEAK[fields[7]]}")
    return fields[9]


def _why(name: str, count: int) -> str:
    if count:
        return f"the message holds {count} {'texts' if name == 'PLAINTEXT' else 'signatures'}; it must hold one"
    return "is missing: the message is not signed" if name != "PLAINTEXT" else "is not around a message"
