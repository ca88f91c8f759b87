"""What a policy says, as values: requirements for scopes of transports.

Source: containers-policy.json(5), and the reader of containers/image where the two differ. A value of these types was
read by `document`, and keeps its rules: a list of requirements is never empty, and exactly one source of keys is set.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, TypeAlias

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


class Accept(NamedTuple):
    """`insecureAcceptAnything`."""

    type: ClassVar[str] = "insecureAcceptAnything"
    signed: ClassVar[bool] = False


class Reject(NamedTuple):
    """`reject`."""

    type: ClassVar[str] = "reject"
    signed: ClassVar[bool] = False


class SignedBy(NamedTuple):
    """`signedBy`: an OpenPGP signature. Only the key type `GPGKeys` can hold."""

    key_type: str
    keys: KeySource
    identity: Identity
    type: ClassVar[str] = "signedBy"
    signed: ClassVar[bool] = True


class SignedBaseLayer(NamedTuple):
    """`signedBaseLayer`, which nobody has implemented: it never holds."""

    identity: Identity
    type: ClassVar[str] = "signedBaseLayer"
    signed: ClassVar[bool] = False


class SigstoreSigned(NamedTuple):
    """`sigstoreSigned`: a sigstore signature, by a key or by the holder of a certificate.

    With a `rekor` key, the signature must have an entry in that log.
    """

    trust: KeySource | Fulcio | Pki
    rekor: KeySource | None
    identity: Identity
    type: ClassVar[str] = "sigstoreSigned"
    signed: ClassVar[bool] = True


Requirement: TypeAlias = Accept | Reject | SignedBy | SignedBaseLayer | SigstoreSigned
Requirements: TypeAlias = tuple[Requirement, ...]


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
