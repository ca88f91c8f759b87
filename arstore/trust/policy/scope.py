"""Scopes: the text by which each transport names an image in a policy, its syntax, and the list that applies.

Source: containers-policy.json(5), "Supported transports and their scopes", and the code of each transport in
containers/image (ValidatePolicyConfigurationScope, PolicyConfigurationIdentity, PolicyConfigurationNamespaces). Scopes
of `store` are arstore's: names in the store in their expanded form, as for `docker`, or a digest
(docs/design/decisions/0062).

Only one list applies: that of the most specific scope. A policy may have sections for unknown transports; their scopes
are not checked.
"""

from __future__ import annotations

import os
import posixpath
import re
from typing import TYPE_CHECKING

from arstore.digest import Digest, is_digest
from arstore.errors import InvalidReferenceError
from arstore.oci.docker_reference import DockerReference
from arstore.oci.document import shown
from arstore.trust.policy.subject import Subject
from arstore.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from arstore.trust.policy.model import Policy, Requirements

DOCKER = "docker"
STORE = "store"
PATHS = ("dir", "oci", "oci-archive")
"""arstore's transports whose scopes are paths."""

_ATOMIC = re.compile(r"[^/]*(?:/[^:/]*(?:/[^:/]*(?::[^:/]*)?)?)?")
_STORAGE = re.compile(r"\[(?:[^@\]]+@/[^\]]*|/[^@\]]*)\]")
_ID = re.compile(r"[0-9a-f]{64}")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}|sha384:[0-9a-f]{96}|sha512:[0-9a-f]{128}")


class Found(NamedTuple):
    """The list that applies, and its place: `section` as text, `scope` as the policy writes it."""

    section: str
    scope: str
    requirements: Requirements


def find(policy: Policy, subject: Subject) -> Found:
    """Find the list that applies to *subject*: that of the most specific scope, the transport's, or the default."""
    scopes = policy.transports.get(subject.transport)
    if scopes is not None:
        for name in (subject.scope, *subject.namespaces, ""):
            if name in scopes:
                return Found(f"transports.{subject.transport}.{shown(repr(name))}", name, scopes[name])
    return Found("default", "", policy.default)


def fault(transport: str, scope: str) -> str:
    """The error in the scope of a known *transport*; "" for a valid scope, and for unknown transports."""
    check = _CHECKS.get(transport)
    return check(transport, scope) if check is not None and scope else ""


def doubt(transport: str, scope: str) -> str:
    """The reason why an image of *transport* can never have *scope*, although it is allowed; "" if it can."""
    return _store_fault(transport, scope) if transport in {DOCKER, "docker-daemon"} else ""


def is_known(transport: str) -> bool:
    """Whether a transport with this name exists, here or in other tools."""
    return transport in _CHECKS


def registry_subject(reference: DockerReference) -> Subject:
    """The image *reference* in a registry, under the name that the user gave, never a mirror's.

    If the reference has a digest and a tag, the digest decides, and the tag is dropped, as podman does: a scope or a
    signature for the tag must not vouch for another digest.
    """
    reference = DockerReference(*_decided(reference))
    return Subject(DOCKER, str(reference), reference.namespaces, reference)


def store_subject(name: str, digest: Digest) -> Subject:
    """The image of a store under *name*, or if that is "", under its *digest*.

    Raises InvalidReferenceError for an invalid name.
    """
    if not name:
        return Subject(STORE, str(digest))
    reference = DockerReference(*_decided(DockerReference.parse(name)))
    return Subject(STORE, str(reference), reference.namespaces, reference)


def path_subject(transport: str, path: str) -> Subject:
    """The image in the file or directory *path*, with symlinks resolved, and the directories above.

    Raises OSError if the path cannot be resolved.
    """
    resolved = os.path.realpath(path, strict=True)
    above = resolved.split("/")[1:-1]
    return Subject(transport, resolved, tuple("/" + "/".join(above[:count]) for count in range(len(above), 0, -1)))


def unnamed_subject(transport: str) -> Subject:
    """An image that a scope cannot name: from a stream, from any docker-archive, from a plain tar (`tarball`)."""
    return Subject(transport)


def _decided(reference: DockerReference) -> DockerReference:
    return reference if reference.digest is None else reference._replace(tag="")


def _path_fault(_: str, scope: str) -> str:
    if not scope.startswith("/"):
        return "is not an absolute path"
    if scope == "/":
        return 'is the root directory; write "" for all paths'
    # POSIX allows two leading slashes to mean something else; no system uses that.
    clean = posixpath.normpath(scope)
    clean = clean[1:] if clean.startswith("//") else clean
    return "" if clean == scope else f"is not a normalized path; write {shown(repr(clean))}"


def _no_scope(transport: str, _: str) -> str:
    return f'cannot match: {transport} has only the scope ""'


def _any_scope(_transport: str, _scope: str) -> str:
    return ""


def _daemon_fault(_: str, scope: str) -> str:
    return "is a digest, which does not name a repository" if _DIGEST.fullmatch(scope) else ""


def _store_fault(_: str, scope: str) -> str:
    if is_digest(scope) or scope.startswith("*."):
        return ""
    if "/" not in scope:
        return ""
    try:
        parsed = DockerReference.parse(scope, "")
    except InvalidReferenceError as error:
        return f"is not an image name: {error.why}"
    return "" if str(parsed) == scope else f"is not an expanded name; write {shown(repr(str(parsed)))}"


def _atomic_fault(_: str, scope: str) -> str:
    return "" if _ATOMIC.fullmatch(scope) else "is not a name in a registry"


def _storage_fault(_: str, scope: str) -> str:
    match = _STORAGE.match(scope)
    if match is None:
        return "does not begin with [ROOT] or [DRIVER@ROOT] with an absolute path"
    _name, *behind = scope[match.end() :].split("@", 2)
    if len(behind) == 2 and not (_DIGEST.fullmatch(behind[0]) and _ID.fullmatch(behind[1])):
        return "does not end with @DIGEST@ID"
    if len(behind) == 1 and not (_DIGEST.fullmatch(behind[0]) or _ID.fullmatch(behind[0])):
        return "does not end with @DIGEST or @ID"
    return ""


_CHECKS: Mapping[str, Callable[[str, str], str]] = {
    "atomic": _atomic_fault,
    "containers-storage": _storage_fault,
    "dir": _path_fault,
    DOCKER: _any_scope,
    "docker-archive": _no_scope,
    "docker-daemon": _daemon_fault,
    "oci": _path_fault,
    "oci-archive": _path_fault,
    "ostree": _any_scope,
    "sif": _path_fault,
    STORE: _store_fault,
    "tarball": _no_scope,
}
