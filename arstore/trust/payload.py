"""The signed statement about an image: the JSON of "simple signing", parsed strictly and written.

    {"critical": {"type": TYPE, "image": {"docker-manifest-digest": DIGEST}, "identity": {"docker-reference": NAME}},
     "optional": {"creator": TEXT, "timestamp": SECONDS, ...}}

Source: containers-signature(5), and cosign's SIGNATURE_SPEC.md for its TYPE. `critical` must have exactly these
members, because a reader that ignores an unknown one would miss what the signer meant. `optional` may have any
members, and may be null, as cosign sometimes writes it. Duplicate keys, other spellings of a key and trailing data are
refused.

Verify first, then parse: this module does not know whether the bytes were signed. Whether the digest and the name are
the right ones is decided by the policy.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from arstore.errors import LimitError, ManifestError, SignatureError
from arstore.oci.document import Bounds, Fields, encode, parse, shown
from arstore.trust.signature import LARGEST
from arstore.values import NamedTuple
from arstore.workers.wire import answer

if TYPE_CHECKING:
    from collections.abc import Collection

    from arstore.digest import Digest

SIMPLE = "atomic container signature"
"""`critical.type` within OpenPGP messages."""
COSIGN = "cosign container image signature"
"""`critical.type` in payloads of sigstore signatures."""

BOUNDS = Bounds(document=LARGEST, json_depth=16)
"""Bounds for every JSON document in this package; none of them is deeply nested."""

_WHAT = "signature payload"


@answer
class Statement(NamedTuple):
    """The statement that the image with the manifest `digest` may be called `reference`.

    `creator` is the program that signed, "" if not given; `timestamp` is in seconds since 1970.
    """

    digest: Digest
    reference: str
    creator: str = ""
    timestamp: int | None = None


def read_statement(payload: bytes, kind: str) -> Statement:
    """Parse the statement in *payload*, which must be of the type *kind*, `SIMPLE` or `COSIGN`.

    Raises SignatureError.
    """
    try:
        return _statement(Fields(parse(payload, _WHAT, BOUNDS), _WHAT), kind)
    except (ManifestError, LimitError) as error:
        raise SignatureError(_WHAT, error.why) from error


def write_statement(statement: Statement, kind: str) -> bytes:
    """The payload of *statement*, in the form that `read_statement` and other tools accept."""
    optional: dict[str, object] = {}
    if statement.creator:
        optional["creator"] = statement.creator
    if statement.timestamp is not None:
        optional["timestamp"] = statement.timestamp
    critical = {
        "type": kind,
        "image": {"docker-manifest-digest": str(statement.digest)},
        "identity": {"docker-reference": statement.reference},
    }
    return encode({"critical": critical, "optional": optional})


def statement_now(digest: Digest, reference: str) -> Statement:
    """The statement that arstore signs now: *reference* is the whole name with its tag."""
    from arstore import __version__

    return Statement(digest, reference, f"arstore {__version__}", int(time.time()))


def exactly(fields: Fields, names: Collection[str]) -> None:
    """Raise ManifestError unless *fields* has exactly the members *names*."""
    for name in sorted(fields.values.keys() - set(names)):
        raise fields.error(name, "is an unknown field")
    for name in names:
        if name not in fields.values:
            raise fields.error(name, "is missing")


def _statement(fields: Fields, kind: str) -> Statement:
    exactly(fields, ("critical", "optional"))
    critical = _object(fields, "critical")
    exactly(critical, ("type", "image", "identity"))
    found = critical.string("type", required=True)
    if found != kind:
        raise critical.error("type", f"is {shown(repr(found), 60)}, not {kind!r}")
    image, identity = _object(critical, "image"), _object(critical, "identity")
    exactly(image, ("docker-manifest-digest",))
    exactly(identity, ("docker-reference",))
    creator, timestamp = _optional(fields, kind)
    name = identity.string("docker-reference", required=True)
    return Statement(image.digest("docker-manifest-digest"), name, creator, timestamp)


def _optional(fields: Fields, kind: str) -> tuple[str, int | None]:
    if fields.values["optional"] is None and kind == COSIGN:
        return "", None
    optional = _object(fields, "optional")
    creator = optional.values.get("creator", "")
    if not isinstance(creator, str):
        raise optional.error("creator", "is not a string")
    return creator, _whole(optional, "timestamp")


def _whole(optional: Fields, key: str) -> int | None:
    value: Any = optional.values.get(key, 0)
    # Other readers parse a JSON number as a double, so 1.0 is a whole number.
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 1 << 63 or value != int(value):
        raise optional.error(key, "is not a whole number")
    return int(value) if key in optional.values else None


def _object(fields: Fields, key: str) -> Fields:
    child = fields.child(key)
    if child is None:
        raise fields.error(key, "is null, not an object")
    return child
