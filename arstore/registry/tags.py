"""The tags of a repository (distribution-spec, "Listing Tags")."""

from __future__ import annotations

from typing import TYPE_CHECKING

from arstore.errors import LimitError
from arstore.oci.reference import is_tag
from arstore.registry.link import pages
from arstore.registry.repository import PULL

if TYPE_CHECKING:
    from arstore.registry.repository import Repository

MOST = 1_000_000
"""Tags of a repository."""


def list_tags(repository: Repository, page: int = 1000) -> list[str]:
    """Every tag, in the registry's order, each once; what is no tag (null, a digest) is left out.

    Raises RegistryNotFoundError, RegistryAccessError, RegistryAnswerError, RegistryUnreachableError, ManifestError for
    what is no list of tags, LimitError.
    """
    found: dict[str, None] = {}
    ask = repository.ask("GET", "tags/list", actions=PULL)
    ask = ask._replace(path=f"{ask.path}?n={page}")
    for _, fields in pages(repository, ask, repository.what, "to list the tags"):
        found.update((one, None) for one, _ in fields.places("tags") if isinstance(one, str) and is_tag(one))
        if len(found) > MOST:
            raise LimitError(repository.what, f"has more than {MOST} tags")
    return list(found)
