"""What a policy says, as values: requirements for scopes of transports.

Source: containers-policy.json(5), and the reader of containers/image where the two differ. A value of these types was
read by `document`, and keeps its rules: a list of requirements is never empty, and exactly one source of keys is set.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from arstore.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

    from arstore.digest import Digest
    from arstore.trust.policy.identity import Identity


class KeySource(NamedTuple):
    """Where keys or certificates are: files, or the data itself. `field` is the member of the policy that says so."""

    field: str
    paths: tuple[str, ...] = ()
    data: tuple[bytes, ...] = ()


class Fulcio(NamedTuple):
    """Certificates of a Fulcio instance, issued to `email` after a login at `issuer`."""

    authorities: KeySource
    issuer: str
    email: str


class Pki(NamedTuple):
    """Certificates of other authorities, issued to `email`, `hostname`, or both; "" where one is not asked for."""

    roots: KeySource
    intermediates: KeySource | None
    email: str
    hostname: str


class Unconditional(NamedTuple):
    """A requirement that looks at nothing: `insecureAcceptAnything` or `reject`."""

    type: str


class SignedBy(NamedTuple):
    """`signedBy`: an OpenPGP signature. Only the key type `GPGKeys` can hold."""

    key_type: str
    keys: KeySource
    identity: Identity


class SignedBaseLayer(NamedTuple):
    """`signedBaseLayer`, which no tool implements: it never holds."""

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
"""The only `keyType` that can hold."""
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

    `what` is the file, for messages. `digest` is of the file's bytes; key files are not part of it
    (`material.Material.fingerprint`). `explicit` says that the user named the file on the command line.
    """

    default: Requirements
    transports: Mapping[str, Mapping[str, Requirements]]
    what: str
    digest: Digest
    explicit: bool = False
