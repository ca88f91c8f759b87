"""Parts of a policy that are allowed but probably mistakes: lists that never apply, or are never satisfied.

They are not errors, because other tools accept them too. `policy check` prints them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from arstore.oci.document import shown
from arstore.trust.policy import scope as scopes
from arstore.trust.policy.identity import ANY, EXACT, REMAP, REPO_DIGEST_OR_EXACT, REPOSITORY
from arstore.trust.policy.model import GPG_KEYS, SignedBaseLayer, SignedBy, SigstoreSigned
from arstore.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

    from arstore.trust.policy.model import Policy, Requirement

NAMELESS = ("dir", "docker-archive", "oci", "oci-archive", "sif", "tarball")
"""Transports whose images do not have a Docker reference."""
_BY_NAME = (EXACT, REPO_DIGEST_OR_EXACT, REPOSITORY, REMAP)


class Doubt(NamedTuple):
    """A doubtful part: its place in the policy, and the reason."""

    place: str
    text: str


def doubts(policy: Policy) -> Iterator[Doubt]:
    """All doubtful parts, in the policy's own order."""
    for number, requirement in enumerate(policy.default):
        yield from _of_requirement(requirement, "", f"default[{number}]")
    for transport, lists in policy.transports.items():
        path = f"transports.{shown(transport)}"
        if not scopes.is_known(transport):
            yield Doubt(path, "the transport is unknown, so the section never applies")
        for scope, requirements in lists.items():
            place = f"{path}.{shown(repr(scope))}"
            if scope and (text := scopes.doubt(transport, scope)):
                yield Doubt(place, f"{text}, so the list never applies")
            for number, requirement in enumerate(requirements):
                yield from _of_requirement(requirement, transport, f"{place}[{number}]")


def _of_requirement(requirement: Requirement, transport: str, place: str) -> Iterator[Doubt]:
    if isinstance(requirement, SignedBaseLayer):
        yield Doubt(place, "no tool can check signedBaseLayer, so it is never satisfied")
    elif isinstance(requirement, SignedBy) and requirement.key_type != GPG_KEYS:
        yield Doubt(place, f"no tool supports keys of the type {requirement.key_type}, so it is never satisfied")
    elif isinstance(requirement, SignedBy | SigstoreSigned):
        kind = requirement.identity.type
        if kind == ANY:
            yield Doubt(place, f"{ANY} accepts a signature for any name; it is allowed only with --policy")
        elif transport in NAMELESS and kind in _BY_NAME:
            text = f"{kind} needs the image's name, but images of {transport}: have none, so it is never satisfied"
            yield Doubt(place, f"{text}; use exactReference or exactRepository")
