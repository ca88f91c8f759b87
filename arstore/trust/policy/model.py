"""The content of a policy as values: requirements for scopes of transports.

Source: containers-policy.json(5), and the parser of containers/image where the two differ. Values of these types come
from `document`, which ensures that a list of requirements is never empty, and that exactly one source of keys is set.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from arstore.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

    from arstore.digest import Digest
    from arstore.trust.policy.identity import Identity


class KeySource(NamedTuple):
    """Location of keys or certificates: files, or the data itself. `field` is the policy's member that gives it."""

    field: str
    paths: tuple[str, ...] = ()
    data: tuple[bytes, ...] = ()


class Fulcio(NamedTuple):
    """Certificates of a Fulcio instance, issued to `email` after a login at `issuer`."""

    authorities: KeySource
    issuer: str
    email: str


class Pki(NamedTuple):
    """Certificates of other authorities, issued to `email`, `hostname`, or both; "" for one that is not required."""

    roots: KeySource
    intermediates: KeySource | None
    email: str
    hostname: str


class Unconditional(NamedTuple):
    """A requirement that examines nothing: `insecureAcceptAnything` or `reject`."""

    type: str


class SignedBy(NamedTuple):
    """`signedBy`: an OpenPGP signature. It can be satisfied only with the key type `GPGKeys`."""

    key_type: str
    keys: KeySource
    identity: Identity


class SignedBaseLayer(NamedTuple):
    """`signedBaseLayer`, which no tool implements: it is never satisfied."""

    identity: Identity


class SigstoreSigned(NamedTuple):
    """`sigstoreSigned`: a sigstore signature, by a key or by the holder of a certificate.

    With a `rekor` key, the signature must have an entry in that log.
    """

    trust: KeySource | Fulcio | Pki
    rekor: KeySource | None
    identity: Identity


Requirement: TypeAlias = Unconditional | SignedBy | SignedBaseLayer | SigstoreSigned
Requirements: TypeAlias = tuple[Requirement, ...]

GPG_KEYS = "GPGKeys"
"""The only `keyType` with which a requirement can be satisfied."""
ACCEPT = Unconditional("insecureAcceptAnything")
REJECT = Unconditional("reject")


def type_of(requirement: Requirement) -> str:
    """The requirement's `type`, as a policy writes it."""
    if isinstance(requirement, Unconditional):
        return requirement.type
    names = {SignedBy: "signedBy", SignedBaseLayer: "signedBaseLayer", SigstoreSigned: "sigstoreSigned"}
    return names[type(requirement)]


class Policy(NamedTuple):
    """A whole policy: requirements by transport and scope, and those for everything else.

    `what` is the file, for messages. `digest` is that of the file's bytes; key files are not part of it
    (`material.Material.fingerprint`). `explicit` is True if the user named the file on the command line.
    """

    default: Requirements
    transports: Mapping[str, Mapping[str, Requirements]]
    what: str
    digest: Digest
    explicit: bool = False
