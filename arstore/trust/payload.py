"""What a signature says about an image: the JSON of "simple signing", read strictly and written.

    {"critical": {"type": TYPE, "image": {"docker-manifest-digest": DIGEST}, "identity": {"docker-reference": NAME}},
     "optional": {"creator": TEXT, "timestamp": SECONDS, ...}}

containers-signature(5), and cosign's SIGNATURE_SPEC.md for the other TYPE. `critical` has these members and no others,
because a reader that passes over one that it does not know would miss what the signer meant; `optional` may have any,
and null is one of its forms where cosign writes it. Duplicate keys, other spellings of a key and trailing data are
refused.

Verify first, then parse: nothing here knows whether anybody signed the bytes. Nor does it say whether the digest and
the name are the right ones; that is for the policy.
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
"""`critical.type` beside sigstore signatures."""

BOUNDS = Bounds(document=LARGEST, json_depth=16)
"""Of every JSON document in this package: none of them nests deeply."""

_WHAT = "signature payload"


@answer
class Statement(NamedTuple):
    """That the image with the manifest `digest` may be called `reference`.

    `creator` is the program that signed, "" where it does not say; `timestamp` is in seconds since 1970.
    """

    digest: Digest
    reference: str
    creator: str = ""
    timestamp: int | None = None


def read_statement(payload: bytes, kind: str) -> Statement:
    """The statement in *payload*, which must be of the type *kind*, `SIMPLE` or `COSIGN`.

    Raises SignatureError.
    """
    try:
        return _statement(Fields(parse(payload, _WHAT, BOUNDS), _WHAT), kind)
    except (ManifestError, LimitError) as error:
        raise SignatureError(_WHAT, error.why) from error


def write_statement(statement: Statement, kind: str) -> bytes:
    """The payload of *statement*, as `read_statement` and other tools take it."""
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
    """What arstore states when it signs now: *reference* is the whole name with its tag."""
    from arstore import __version__

    return Statement(digest, reference, f"arstore {__version__}", int(time.time()))


def exactly(fields: Fields, names: Collection[str]) -> None:
    """Raise ManifestError unless *fields* has the members *names* and no others."""
    for name in sorted(fields.values.keys() - set(names)):
        raise fields.error(name, "this field is not known here")
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
    # Other readers take a number of JSON for a double, so 1.0 is a whole one.
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 1 << 63 or value != int(value):
        raise optional.error(key, "is not a whole number")
    return int(value) if key in optional.values else None


def _object(fields: Fields, key: str) -> Fields:
    child = fields.child(key)
    if child is None:
        raise fields.error(key, "is null, not an object")
    return child
