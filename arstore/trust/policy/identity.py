"""Compare the name in a signature with the name of the image: the six rules of `signedIdentity`, and `anyIdentity`.

Source: containers-policy.json(5), "signedIdentity"; details from containers/image's policy_reference_match.go. Both
names are compared in their expanded form (`busybox` is `docker.io/library/busybox`). A name that cannot be parsed, or
that has neither tag nor digest where one is needed, never fits.

`anyIdentity` is an extension of arstore. It accepts any name, so it is meant for signatures without a name (sigstore
bundles). It is allowed only in a file that the user gave with `--policy` (docs/design/decisions/0061).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from arstore.errors import InvalidReferenceError
from arstore.oci.docker_reference import DockerReference
from arstore.oci.document import shown
from arstore.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

EXACT = "matchExact"
REPO_DIGEST_OR_EXACT = "matchRepoDigestOrExact"
REPOSITORY = "matchRepository"
EXACT_REFERENCE = "exactReference"
EXACT_REPOSITORY = "exactRepository"
REMAP = "remapIdentity"
ANY = "anyIdentity"

MEMBERS: Mapping[str, tuple[str, ...]] = {
    EXACT: (),
    REPO_DIGEST_OR_EXACT: (),
    REPOSITORY: (),
    EXACT_REFERENCE: ("dockerReference",),
    EXACT_REPOSITORY: ("dockerRepository",),
    REMAP: ("prefix", "signedPrefix"),
    ANY: (),
}
"""The members of each type in addition to `type`; all of them are required."""

_HOST = r"[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?"
_DOMAIN = rf"{_HOST}(?:\.{_HOST})*(?::[0-9]+)?"
_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_PREFIX = re.compile(rf"{_DOMAIN}(?:/{_COMPONENT})*")


class Identity(NamedTuple):
    """A rule. `name` is the reference, repository or prefix in the policy; `signed_prefix` replaces the prefix."""

    type: str
    name: str = ""
    signed_prefix: str = ""

    def __str__(self) -> str:
        if self.signed_prefix:
            return f"{self.type} {self.name} -> {self.signed_prefix}"
        return f"{self.type} {self.name}" if self.name else self.type


DEFAULT = Identity(REPO_DIGEST_OR_EXACT)
"""The rule of a requirement without `signedIdentity`."""


def fault(identity: Identity) -> str:
    """The error in the rule's own values; "" for a valid rule."""
    if identity.type in {EXACT_REFERENCE, EXACT_REPOSITORY}:
        try:
            parsed = DockerReference.parse(identity.name, "")
        except InvalidReferenceError as error:
            return f"{shown(repr(identity.name))} is not an image name: {error.why}"
        if identity.type == EXACT_REFERENCE and _is_bare(parsed):
            return f"{shown(repr(identity.name))} has neither a tag nor a digest"
    elif identity.type == REMAP:
        for prefix in (identity.name, identity.signed_prefix):
            if _PREFIX.fullmatch(prefix) is None:
                return f"{shown(repr(prefix))} is not a registry, namespace or repository"
    return ""


def mismatch(identity: Identity, intended: DockerReference | None, signed: str) -> str:
    """The reason why a signature for the name *signed* does not fit; "" if it fits.

    *intended* is the image's reference, None if the transport has none.
    """
    if identity.type == ANY:
        return ""
    try:
        claimed = DockerReference.parse(signed, "")
    except InvalidReferenceError:
        return f"the signature is for {shown(repr(signed))}, which is not an image name"
    wanted = intended
    if identity.type in {EXACT_REFERENCE, EXACT_REPOSITORY}:
        wanted = DockerReference.parse(identity.name, "")
    if wanted is None:
        return f"{identity.type} compares the image's name, but the image has none"
    if identity.type == REMAP:
        try:
            wanted = _remapped(identity, wanted)
        except InvalidReferenceError as error:
            return f"remapIdentity gives {error.what}, which is not an image name in its expanded form"
    if _RULES[identity.type](wanted, claimed):
        return ""
    return f"the signature is for {shown(signed)}, not for {wanted} ({identity.type})"


def _is_bare(reference: DockerReference) -> bool:
    return not reference.tag and reference.digest is None


def _is_exact(wanted: DockerReference, claimed: DockerReference) -> bool:
    return not _is_bare(wanted) and wanted == claimed


def _is_same_repository(wanted: DockerReference, claimed: DockerReference) -> bool:
    return wanted.repository == claimed.repository


def _is_repo_digest_or_exact(wanted: DockerReference, claimed: DockerReference) -> bool:
    if _is_bare(claimed):
        return False
    if wanted.tag:
        return wanted == claimed
    # The digest itself was compared with the manifest, and so was the signature's.
    return wanted.digest is not None and _is_same_repository(wanted, claimed)


def _remapped(identity: Identity, reference: DockerReference) -> DockerReference:
    """*reference* with the prefix replaced by the signed prefix, if the prefix matches whole components.

    Raises InvalidReferenceError if the result is not an expanded name.
    """
    whole = reference.repository
    if whole != identity.name and not whole.startswith(f"{identity.name}/"):
        return reference
    text = identity.signed_prefix + str(reference)[len(identity.name) :]
    try:
        parsed = DockerReference.parse(text, "")
    except InvalidReferenceError as error:
        raise InvalidReferenceError(shown(text), error.why) from error
    if str(parsed) != text:
        raise InvalidReferenceError(shown(text), f"is short for {parsed}")
    return parsed


_RULES: Mapping[str, Callable[[DockerReference, DockerReference], bool]] = {
    EXACT: _is_exact,
    EXACT_REFERENCE: _is_exact,
    REPO_DIGEST_OR_EXACT: _is_repo_digest_or_exact,
    REMAP: _is_repo_digest_or_exact,
    REPOSITORY: _is_same_repository,
    EXACT_REPOSITORY: _is_same_repository,
}
