"""Describe requirements in words, for `policy check`, `policy explain` and messages."""

from __future__ import annotations

from typing import TYPE_CHECKING

from arstore.oci.document import shown
from arstore.trust.policy.model import Fulcio, Pki, SignedBaseLayer, SignedBy, Unconditional, type_of

if TYPE_CHECKING:
    from arstore.trust.policy.model import KeySource, Requirement


def described(requirement: Requirement) -> str:
    """*requirement* on one line: its type, whose signature, and for which name."""
    kind = type_of(requirement)
    if isinstance(requirement, Unconditional):
        return kind
    if isinstance(requirement, SignedBaseLayer):
        return f"{kind} ({requirement.identity})"
    if isinstance(requirement, SignedBy):
        return f"{kind} {requirement.key_type} {_source(requirement.keys)} ({requirement.identity})"
    trust = requirement.trust
    if isinstance(trust, Fulcio):
        by = f"fulcio {_source(trust.authorities)} {shown(trust.email)} at {shown(trust.issuer)}"
    elif isinstance(trust, Pki):
        names = " and ".join(shown(name) for name in (trust.email, trust.hostname) if name)
        by = f"pki {_source(trust.roots)} {names}"
    else:
        by = _source(trust)
    log = f" in the log of {_source(requirement.rekor)}" if requirement.rekor is not None else ""
    return f"{kind} {by}{log} ({requirement.identity})"


def _source(keys: KeySource) -> str:
    if keys.paths:
        return f"{keys.field} {', '.join(map(shown, keys.paths))}"
    return keys.field if len(keys.data) == 1 else f"{keys.field} ({len(keys.data)})"
