"""A row of the table, and the parts of its policies."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from decisions.making import APP

ACCEPT = {"type": "insecureAcceptAnything"}
REJECT = {"type": "reject"}

STRICT = "an empty value does not count as a missing one: that would silently remove a key or a name from the policy"
EARLY = "the other tools read the file and then accept nothing; here the file is refused, and `policy check` prints why"
INDEX = "a good signature on the index names its digest, and so covers all images that it lists"
SOUND = "invalid text is refused; the other tools replace it by a question mark and continue"
BAD_KEY = "a key file that cannot be read makes its requirement fail, as it does with sigstoreSigned in the other tools"
OWN = "only arstore knows this identity, and only in a file given with --policy; the other tools refuse it"
TWO_KEYS = "a file with two keys is refused, because only the first would be used"


class Case(NamedTuple):
    """A policy and an image. `argued` says why arstore's answer differs from skopeo's, where it does."""

    group: str
    title: str
    policy: bytes
    source: str
    fixture: str = "bare"
    argued: str = ""


def text(document: Any) -> bytes:
    """A policy's bytes."""
    return document if isinstance(document, bytes) else json.dumps(document).encode()


def default(*requirements: Any) -> dict[str, Any]:
    """A policy with these requirements for everything."""
    return {"default": list(requirements)}


def of(transport: str, **scopes: Any) -> dict[str, Any]:
    """A policy that rejects everything except what *scopes* allow (`_` is "")."""
    return {"default": [REJECT], "transports": {transport: {("" if k == "_" else k): v for k, v in scopes.items()}}}


def under(transport: str, scopes: dict[str, Any]) -> dict[str, Any]:
    """The same for scopes that are not Python names."""
    return {"default": [REJECT], "transports": {transport: scopes}}


def gpg(identity: Any = None, key: str = "alice.gpg", **more: Any) -> dict[str, Any]:
    """A requirement signedBy."""
    found = {"type": "signedBy", "keyType": "GPGKeys", "keyPath": f"@K@/{key}", **more}
    return found if identity is None else {**found, "signedIdentity": identity}


def sig(identity: Any = None, key: str = "k1.pub", **more: Any) -> dict[str, Any]:
    """A requirement sigstoreSigned with a key."""
    found = {"type": "sigstoreSigned", "keyPath": f"@K@/{key}", **more}
    return found if identity is None else {**found, "signedIdentity": identity}


def trusted(identity: Any = None, **more: Any) -> dict[str, Any]:
    """A requirement sigstoreSigned with the members *more*."""
    found = {"type": "sigstoreSigned", **more}
    return {
        **found,
        "signedIdentity": {"type": "exactReference", "dockerReference": f"{APP}:1"} if identity is None else identity,
    }


def exact(name: str = f"{APP}:1") -> dict[str, str]:
    """The identity exactReference."""
    return {"type": "exactReference", "dockerReference": name}


def repository(name: str = APP) -> dict[str, str]:
    """The identity exactRepository."""
    return {"type": "exactRepository", "dockerRepository": name}


def remap(prefix: str, signed: str) -> dict[str, str]:
    """The identity remapIdentity."""
    return {"type": "remapIdentity", "prefix": prefix, "signedPrefix": signed}


def rule(kind: str) -> dict[str, str]:
    """An identity without a value."""
    return {"type": kind}


def without(document: dict[str, Any], key: str) -> dict[str, Any]:
    """The same without one member."""
    return {name: value for name, value in document.items() if name != key}


def directory(fixture: str) -> str:
    """The source of a fixture's directory."""
    return f"dir:@W@/dir/{fixture}"


BARE = directory("bare")
