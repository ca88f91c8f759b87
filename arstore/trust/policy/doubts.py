"""What a policy says that is allowed, and that its writer hardly means: lists that never apply, or never hold.

None of this is an error, as other tools take it too. `policy check` prints it.
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
"""Transports whose images have no Docker reference."""
_BY_NAME = (EXACT, REPO_DIGEST_OR_EXACT, REPOSITORY, REMAP)


class Doubt(NamedTuple):
    """Something odd: where it stands in the policy, and what is odd about it."""

    place: str
    text: str


def doubts(policy: Policy) -> Iterator[Doubt]:
    """All that is odd, in the policy's own order."""
    for number, requirement in enumerate(policy.default):
        yield from _of_requirement(requirement, "", f"default[{number}]")
    for transport, lists in policy.transports.items():
        path = f"transports.{shown(transport)}"
        if not scopes.is_known(transport):
            yield Doubt(path, "no transport has this name, so the section never applies")
        for scope, requirements in lists.items():
            place = f"{path}.{shown(repr(scope))}"
            if scope and (text := scopes.doubt(transport, scope)):
                yield Doubt(place, f"{text}, so the list never applies")
            for number, requirement in enumerate(requirements):
                yield from _of_requirement(requirement, transport, f"{place}[{number}]")


def _of_requirement(requirement: Requirement, transport: str, place: str) -> Iterator[Doubt]:
    if isinstance(requirement, SignedBaseLayer):
        yield Doubt(place, "no tool can check signedBaseLayer, so it never holds")
    elif isinstance(requirement, SignedBy) and requirement.key_type != GPG_KEYS:
        yield Doubt(place, f"no tool knows keys of the type {requirement.key_type}, so it never holds")
    elif isinstance(requirement, SignedBy | SigstoreSigned):
        kind = requirement.identity.type
        if kind == ANY:
            yield Doubt(place, f"{ANY} takes a signature for any name; it is known only with --policy")
        elif transport in NAMELESS and kind in _BY_NAME:
            text = f"{kind} compares with the image's name, and images of {transport}: have none, so it never holds"
            yield Doubt(place, f"{text}; exactReference and exactRepository name one")
