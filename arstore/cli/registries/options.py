"""Access options for registries, with the names that skopeo uses."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

from arstore import errors
from arstore.cli.command import REGISTRY_ERRORS as REGISTRY_ERRORS
from arstore.cli.parameter import Choice, option

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypedDict, TypeVar

    from arstore.cli.session import Session
    from arstore.oci.docker_reference import DockerReference
    from arstore.registry.access import RegistryOptions

    F = TypeVar("F", bound="Callable[..., Any]")

    class AccessWords(TypedDict):
        """The options as they were typed."""

        creds: str | None
        no_creds: bool
        authfile: str | None
        cert_dir: str | None
        tls_verify: str | None


LISTING_ERRORS: tuple[type[errors.ArstoreError], ...] = (
    errors.InvalidReferenceError,
    errors.ManifestError,
    errors.LimitError,
    *REGISTRY_ERRORS,
)
"""Errors of commands that query a registry."""

PREFIX = "docker://"


_OPTIONS = (
    option(
        "--creds",
        metavar="USER:PASSWORD",
        help="Credentials for the registry. Other users can see them: prefer `arstore login`.",
    ),
    option("--no-creds", is_flag=True, help="Send no credentials, even if some are stored."),
    option("--authfile", metavar="FILE", help="Read credentials from this file only, instead of the usual ones."),
    option(
        "--cert-dir",
        metavar="DIR",
        help="A directory with CA (*.crt) and client certificates (*.cert with *.key) for the registry.",
    ),
    option(
        "--tls-verify",
        type=Choice(("true", "false")),
        help="false: do not verify the registry's certificate, and use plain HTTP if HTTPS does not work.",
    ),
)


def registry_options(function: F) -> F:
    """Add the options to a command; its function takes `**access: Unpack[AccessWords]`."""
    for one in reversed(_OPTIONS):
        function = one(function)
    return function


def registry_access(session: Session, words: AccessWords) -> RegistryOptions:
    """Return the options as values. Raises UsageError."""
    from arstore.api.config.cache import Cache
    from arstore.api.places import usual_runroot
    from arstore.registry.access import RegistryOptions
    from arstore.registry.auth.credential import Credential

    kept = None
    with suppress(errors.ArstoreError, OSError):
        kept = Cache(usual_runroot(os.environ, os.geteuid(), make=False))
    creds, verify = words["creds"], words["tls_verify"]
    if creds is not None and words["no_creds"]:
        raise errors.UsageError("--creds", "and --no-creds exclude each other")
    return RegistryOptions(
        tls_verify=None if verify is None else verify == "true",
        credential=None if creds is None else Credential.parse(creds),
        anonymous=words["no_creds"],
        authfile=words["authfile"],
        cert_dir=words["cert_dir"],
        tell=session.warn,
        kept=kept,
    )


def docker_reference(text: str, default_tag: str = "latest") -> DockerReference:
    """Read `docker://NAME`, or NAME alone with its registry. Raises InvalidReferenceError."""
    from arstore.oci.docker_reference import DockerReference

    return DockerReference.parse(text.removeprefix(PREFIX), default_tag)
