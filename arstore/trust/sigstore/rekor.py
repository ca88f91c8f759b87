"""Entries of a Rekor log, version 1, checked offline.

A "signed entry timestamp" is the log's promise: its signature over the entry and the time at which it was recorded.

    {"SignedEntryTimestamp": BASE64,
     "Payload": {"body": BASE64, "integratedTime": SECONDS, "logIndex": N, "logID": HEX}}

The log signs `Payload` in the form of RFC 8785. `body` is the entry itself, `hashedrekord` 0.0.1: the key or
certificate, the signature, and the SHA-256 of what was signed. A promise may be valid and yet be about other bytes, so
all three are compared with the ones at hand (CVE-2022-36056 and CVE-2026-22703: missing comparisons).

Entries of version 2 do not have this promise, only an inclusion proof and a timestamp of another service. They are
refused by name. Not in scope: inclusion proofs, and whether the log is honest.
"""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from arstore.errors import LimitError, ManifestError, SignatureError
from arstore.oci.document import Fields, encode, parse, shown
from arstore.trust.keys import PublicKey, blocks, decoded, verify_with_any
from arstore.trust.payload import BOUNDS, exactly
from arstore.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

_WHAT = "Rekor entry"
_EXACT = 1 << 53
"""Whole numbers below this one have only one form in RFC 8785."""
_LATEST = 253_402_300_799
"""The last second of the year 9999, the last one that a date can have."""


class _Entry(NamedTuple):
    signer: bytes
    """PEM of the key or certificate."""
    signature: bytes
    digest: str


def verify_entry(rekor: str, keys: Sequence[PublicKey], signer: bytes, signature: bytes, payload: bytes) -> datetime:
    """The time at which a log with one of *keys* recorded *signature* over *payload*, made by *signer* (DER of a key or
    certificate).

    *rekor* is the JSON above. Raises SignatureError.
    """
    try:
        return _verified(rekor, keys, signer, signature, payload)
    except (ManifestError, LimitError) as error:
        raise SignatureError(_WHAT, error.why) from error


def check_log_keys(keys: Sequence[PublicKey]) -> None:
    """Check that each of *keys* can be a log's: these are ECDSA keys. Raises SignatureError."""
    for key in keys:
        if not key.kind.startswith("ECDSA"):
            raise SignatureError("Rekor key", f"is a key of the kind {key.kind}; logs use ECDSA keys")


def _verified(rekor: str, keys: Sequence[PublicKey], signer: bytes, signature: bytes, payload: bytes) -> datetime:
    check_log_keys(keys)
    promise = Fields(parse(rekor.encode("utf-8", "replace"), _WHAT, BOUNDS), _WHAT)
    _refuse_version_two(promise)
    exactly(promise, ("SignedEntryTimestamp", "Payload"))
    signed = promise.child("Payload")
    if signed is None:
        raise promise.error("Payload", "is null, not an object")
    exactly(signed, ("body", "integratedTime", "logIndex", "logID"))
    body = signed.string("body", required=True)
    taken_in = signed.integer("integratedTime")
    if not 0 < taken_in <= _LATEST or signed.integer("logIndex") >= _EXACT:
        raise SignatureError(_WHAT, "has a time or an index that is out of range")
    signed.string("logID", required=True)
    timestamp = decoded(promise.string("SignedEntryTimestamp", required=True), "signed entry timestamp")
    try:
        verify_with_any(keys, timestamp, encode(signed.values))
    except SignatureError as error:
        raise SignatureError(_WHAT, "was not signed by the log's key") from error
    _compare(_entry(decoded(body, f"{_WHAT}: body", BOUNDS.document)), signer, signature, payload)
    return datetime.fromtimestamp(taken_in, UTC)


def _refuse_version_two(promise: Fields) -> None:
    if promise.values.keys() & {"canonicalizedBody", "inclusionProof", "logEntry", "kindVersion"}:
        why = "has no signed entry timestamp; entries of Rekor version 2 cannot be verified offline"
        raise SignatureError(_WHAT, why)


def _entry(body: bytes) -> _Entry:
    fields = Fields(parse(body, _WHAT, BOUNDS), _WHAT)
    kind, version = fields.string("kind", required=True), fields.string("apiVersion", required=True)
    if (kind, version) != ("hashedrekord", "0.0.1"):
        raise SignatureError(_WHAT, f"is a {shown(kind, 40)} {shown(version, 20)}; only hashedrekord 0.0.1 is read")
    spec = _child(fields, "spec")
    digest = _child(_child(spec, "data"), "hash")
    algorithm = digest.string("algorithm", required=True)
    if algorithm != "sha256":
        raise SignatureError(_WHAT, f"has a digest of the kind {shown(algorithm, 40)}; only sha256 is supported")
    signature = _child(spec, "signature")
    key = _child(signature, "publicKey")
    return _Entry(
        decoded(key.string("content", required=True), f"{_WHAT}: key"),
        decoded(signature.string("content", required=True), f"{_WHAT}: signature"),
        digest.string("value", required=True),
    )


def _compare(entry: _Entry, signer: bytes, signature: bytes, payload: bytes) -> None:
    if _der(entry.signer) != signer:
        raise SignatureError(_WHAT, "is for another key or certificate")
    if entry.signature != signature:
        raise SignatureError(_WHAT, "is for another signature")
    if entry.digest != hashlib.sha256(payload).hexdigest():
        raise SignatureError(_WHAT, "is for another payload")


def _der(pem: bytes) -> bytes:
    """The content of the only PEM block in *pem*. Its label is ignored, because the bytes show their type."""
    found = blocks(pem)
    if len(found) != 1 or pem.strip() != found[0][1]:
        raise SignatureError(_WHAT, "has a key that is not one PEM block")
    lines = found[0][1].decode("ascii", "replace").splitlines()[1:-1]
    return decoded("".join(line.strip() for line in lines), f"{_WHAT}: key")


def _child(fields: Fields, key: str) -> Fields:
    child = fields.child(key)
    if child is None:
        raise fields.error(key, "is missing")
    return child
