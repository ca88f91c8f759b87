"""The tags of a repository (distribution-spec, "Listing Tags")."""

from __future__ import annotations

from typing import TYPE_CHECKING

from arstore.errors import LimitError
from arstore.oci.reference import is_tag
from arstore.registry.link import PAGES, pages
from arstore.registry.repository import PULL

if TYPE_CHECKING:
    from arstore.registry.repository import Repository

MOST = 1_000_000
"""Tags of a repository at most."""


def list_tags(repository: Repository, page: int = 1000) -> list[str]:
    """Every tag, in the registry's order, without duplicates; entries that are not tags (null, digests) are left out.

    A registry may cut the list at *page* tags without saying so (crane's does). Then it is asked for the tags after the
    last one, until there are no more. Raises RegistryNotFoundError, RegistryAccessError, RegistryAnswerError,
    RegistryUnreachableError, ManifestError for an answer that is not a list of tags, LimitError.
    """
    found: dict[str, None] = {}
    for _ in range(PAGES):
        known = len(found)
        if not _list(repository, found, page) or len(found) == known:
            return list(found)
    raise LimitError(repository.what, f"the list has more than {PAGES} pages")


def _list(repository: Repository, found: dict[str, None], page: int) -> bool:
    """Add the tags after the last one *found*; return whether there may be more, although no link says so."""

    from urllib.parse import quote

    ask = repository.ask("GET", "tags/list", actions=PULL)
    after = f"&last={quote(next(reversed(found)), safe='')}" if found else ""
    ask = ask._replace(path=f"{ask.path}?n={page}{after}")
    counts = []
    for _, fields in pages(repository, ask, repository.what, "to list the tags"):
        listed = [one for one, _ in fields.places("tags")]
        counts.append(len(listed))
        found.update((one, None) for one in listed if isinstance(one, str) and is_tag(one))
        if len(found) > MOST:
            raise LimitError(repository.what, f"has more than {MOST} tags")
    return counts == [page]
