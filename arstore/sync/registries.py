"""Sources in registries: images found by tag lists. All of a run share one set of connections."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from arstore.errors import ArstoreError, LimitError, RegistryUnreachableError, UsageError
from arstore.oci.docker_reference import DockerReference
from arstore.registry.access import Access
from arstore.registry.catalog import list_repositories
from arstore.registry.manifests import head_manifest
from arstore.registry.tags import list_tags
from arstore.sync.items import Fault, Found, ImageName, Item, Tags
from arstore.sync.wishes import Choice, Wish, is_attached
from arstore.transport.media.bounds import bounds_of
from arstore.transport.registry import RegistrySource

if TYPE_CHECKING:
    from collections.abc import Sequence

    from arstore.digest import Digest
    from arstore.registry.access import RegistryOptions
    from arstore.tar.limits import Limits
    from arstore.transport.source import ImageSource, Spool

MOST = 1_000_000
"""Maximum number of images in one run."""
GIVE_UP = 3
"""Number of consecutive connection failures after which a registry is not tried again."""


class KeptAccess(Access):
    """Connections that outlive the sources and sinks that use them."""

    def close(self) -> None:
        """Do nothing; `end` closes the connections."""

    def end(self) -> None:
        """Close the connections."""
        super().close()


class Registries:
    """A source: the images of registries that *wishes* name."""

    def __init__(self, wishes: Sequence[Wish], limits: Limits) -> None:
        self._wishes = wishes
        self._bounds = bounds_of(limits)
        self._accesses: dict[RegistryOptions, KeptAccess] = {}
        self._unreached: dict[str, int] = {}

    def find(self, every_tag: bool = False) -> Found:
        """Fetch tag lists where they are needed, or (*every_tag*) all of them. Raises LimitError."""
        found = Found()
        for wish in self._wishes:
            self._find(wish, found, every_tag)
            if len(found.items) > MOST:
                raise LimitError("sync", f"there are more than {MOST} images to copy")
        return found

    def close(self) -> None:
        """Close all connections."""
        for access in self._accesses.values():
            access.end()

    def _find(self, wish: Wish, found: Found, every_tag: bool) -> None:
        access = self._accesses.setdefault(wish.options, KeptAccess(wish.options))
        repository, choice = wish.repository, wish.choice
        short = repository.path.rpartition("/")[2]
        tags: list[str] | None = None
        if every_tag or not choice.is_explicit:
            try:
                tags = self._listed(access, repository)
            except ArstoreError as error:
                if not choice.is_explicit:
                    found.faults.append(Fault(f"docker://{repository}", error))
        if not choice.is_explicit:
            found.attached += sum(map(is_attached, tags or ()))
        found.tags.append(Tags(short, repository.repository, None if tags is None else frozenset(tags)))
        for tag in choice.of(tags or ()):
            found.items.append(self._item(access, repository._replace(tag=tag), short, choice.is_explicit))
        for digest in choice.digests:
            found.items.append(self._item(access, repository._replace(digest=digest), short, True))

    def _listed(self, access: KeptAccess, repository: DockerReference) -> list[str]:
        """Return all tags. Raises RegistryUnreachableError without trying, after GIVE_UP failures in a row."""
        domain = repository.domain
        if self._unreached.get(domain, 0) >= GIVE_UP:
            why = f"was not tried, because its registry could not be reached {GIVE_UP} times in a row"
            raise RegistryUnreachableError(str(repository), why)
        try:
            tags = list_tags(access.to_write(repository))
        except RegistryUnreachableError:
            self._unreached[domain] = self._unreached.get(domain, 0) + 1
            raise
        self._unreached[domain] = 0
        return tags

    def _item(self, access: KeptAccess, reference: DockerReference, short: str, is_asked_for: bool) -> Item:
        name = ImageName(short, reference.repository, reference.tag, reference.digest)
        opened = partial(self._open, access, reference)
        look = partial(_look, access, reference)
        return Item(f"docker://{reference}", name, opened, look, reference.domain, is_asked_for)

    def _open(self, access: KeptAccess, reference: DockerReference, _spool: Spool) -> ImageSource:
        return RegistrySource(reference, access, self._bounds)


def _look(access: Access, reference: DockerReference) -> Digest | None:
    """Return the digest of *reference*, without fetching the manifest, which registries would count as a pull."""
    if reference.digest is not None:
        return reference.digest
    found = head_manifest(access.to_write(reference), reference.tag)
    return None if found is None else found.digest


def wishes_in_registry(text: str, options: RegistryOptions) -> list[Wish]:
    """Return the wishes for `docker://` and *text*: an image, a repository, or (a host, or a final slash) all below it.

    Raises InvalidReferenceError, UsageError, and the errors of `list_repositories`.
    """
    host, _, path = text.partition("/")
    if text.endswith("/") or (not path and _is_host(host)):
        namespace = path.strip("/")
        if not _is_host(host):
            raise UsageError(f"docker://{text}", "does not name a registry", "write docker://REGISTRY/...")
        domain = DockerReference.parse(f"{host}/{namespace or 'any/any'}", "").domain
        with Access(options) as access:
            return [Wish(one, Choice(), options) for one in list_repositories(access, domain, namespace)]
    reference = DockerReference.parse(text, "")
    repository = reference._replace(tag="", digest=None)
    if reference.digest is not None:
        return [Wish(repository, Choice(digests=(reference.digest,)), options)]
    return [Wish(repository, Choice((reference.tag,) if reference.tag else ()), options)]


def _is_host(text: str) -> bool:
    return "." in text or ":" in text or text == "localhost"
