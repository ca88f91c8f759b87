"""The list of a registry's repositories (Docker's v2 API, "Listing Repositories"). Many registries do not have it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from arstore.errors import InvalidReferenceError, LimitError, RegistryAnswerError, RegistryNotFoundError
from arstore.oci.docker_reference import DockerReference
from arstore.registry.client import Ask
from arstore.registry.link import pages
from arstore.registry.repository import Repository

if TYPE_CHECKING:
    from arstore.registry.access import Access

MOST = 100_000
"""Repositories of a registry at most."""
_SCOPES = ("registry:catalog:*",)


def list_repositories(access: Access, domain: str, namespace: str = "", page: int = 1000) -> list[DockerReference]:
    """Every repository below *namespace* ("" for all), in the registry's order; invalid names are left out.

    Raises RegistryAnswerError if the registry does not list them, RegistryAccessError, RegistryUnreachableError,
    ManifestError for an answer that is not a list, LimitError.
    """
    below = f"{namespace}/" if namespace else ""
    repository = access.to_write(DockerReference(domain, namespace or "catalog"))
    what = f"the repositories of {domain}"
    found: dict[DockerReference, None] = {}
    try:
        for _, fields in pages(_catalog(repository), Ask("GET", f"_catalog?n={page}", _SCOPES), what, "to list them"):
            names = [one for one, _ in fields.places("repositories") if isinstance(one, str)]
            found.update((one, None) for name in names if name.startswith(below) if (one := _named(domain, name)))
            if len(found) > MOST:
                raise LimitError(what, f"there are more than {MOST}")
    except RegistryNotFoundError as error:
        raise RegistryAnswerError(
            what, "the registry does not list its repositories", "name them one by one"
        ) from error
    return list(found)


def _catalog(repository: Repository) -> Repository:
    return Repository(repository.client, "_catalog")


def _named(domain: str, path: str) -> DockerReference | None:
    try:
        found = DockerReference.parse(f"{domain}/{path}", "")
    except InvalidReferenceError:
        return None
    return None if found.tag or found.digest or found.path != path else found
