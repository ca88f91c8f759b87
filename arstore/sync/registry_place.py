"""A registry as a destination: repositories below a prefix."""

from __future__ import annotations

from typing import TYPE_CHECKING

from arstore.errors import (
    ConflictError,
    RegistryAccessError,
    RegistryAnswerError,
    RegistryNotFoundError,
    UsageError,
)
from arstore.oci.docker_reference import DockerReference
from arstore.oci.index import Index
from arstore.oci.media_type import is_index, is_manifest
from arstore.registry.manifests import delete_manifest, delete_tag, get_manifest, head_manifest
from arstore.registry.repository import PUSH
from arstore.registry.tags import list_tags
from arstore.sync.place import Copied, exported, placed
from arstore.sync.registries import KeptAccess
from arstore.transport.export.beside import beside_source
from arstore.transport.export.copying import for_destination
from arstore.transport.sinks.destination import Destination
from arstore.transport.sinks.registry import RegistrySink

if TYPE_CHECKING:
    from collections.abc import Collection

    from arstore.digest import Digest
    from arstore.registry.access import RegistryOptions
    from arstore.store.progress import Progress
    from arstore.sync.items import ImageName
    from arstore.sync.place import How, Move
    from arstore.transport.sink import ImageSink
    from arstore.transport.skipped import SkippedTop
    from arstore.transport.source import ImageSource

PREFIX = "docker://"


class RegistryPlace:
    """Repositories below *prefix*, `REGISTRY[/NAMESPACE]`."""

    def __init__(self, prefix: str, options: RegistryOptions, *, scoped: bool) -> None:
        """Raises UsageError, InvalidReferenceError if *prefix* is not valid."""
        self._prefix = prefix.strip("/")
        host = self._prefix.partition("/")[0]
        if not ("." in host or ":" in host or host == "localhost"):
            hint = "write docker://REGISTRY[/NAMESPACE]"
            raise UsageError(f"{PREFIX}{prefix}", "does not name a registry", hint)
        DockerReference.parse(f"{self._prefix}/any/any")
        self._scoped = scoped
        self._access = KeptAccess(options)
        self._needed: tuple[str, dict[Digest, str]] | None = None

    def target(self, name: ImageName) -> str:
        """See Place."""
        return f"{self.repository(name.short, name.full)}{name.suffix}"

    def look(self, target: str) -> Digest | None:
        """See Place. An image that may not be read counts as missing: the registry decides when it is written."""
        reference = self._reference(target)
        if reference.digest is not None:
            found = self._head(reference)
            return reference.digest if found is not None else None
        return self._head(reference)

    def copy(self, move: Move, how: How, progress: Progress, skipped: SkippedTop) -> Copied:
        """See Place."""
        reference = self._reference(move.target)
        destination = Destination("docker", str(reference))

        def opened(source: ImageSource) -> ImageSink:
            return RegistrySink(reference, self._access, beside_source(source, destination))

        how = how._replace(wanted=for_destination(how.wanted, destination))
        return exported(move, opened, "", how, progress, skipped)

    def repository(self, short: str, full: str) -> str:
        """See Place."""
        reference = DockerReference.parse(placed(self._prefix, self._scoped, short, full), "")
        return f"{PREFIX}{reference}"

    def tags(self, repository: str) -> list[str]:
        """See Place."""
        try:
            return list_tags(self._access.to_write(self._reference(repository)))
        except RegistryNotFoundError:
            return []

    def remove(self, repository: str, tag: str, kept: Collection[str]) -> None:
        """Delete the tag; if the registry deletes only manifests, its manifest, unless another tag needs it.

        Raises ConflictError if a *kept* tag refers to the same image, or to an index that lists it.
        """
        there = self._access.to_write(self._reference(repository))
        try:
            delete_tag(there, tag)
            return
        except (RegistryAnswerError, RegistryNotFoundError) as error:
            refusal = error
        found = head_manifest(there, tag)
        if found is None:
            return
        other = self._needed_by(repository, kept).get(found.digest)
        if other is not None:
            why = f"refers to an image that {other} needs, and the registry deletes only whole images"
            raise ConflictError(f"{repository}:{tag}", why) from refusal
        delete_manifest(there, found.digest)

    def close(self) -> None:
        """See Place."""
        self._access.end()

    def _needed_by(self, repository: str, kept: Collection[str]) -> dict[Digest, str]:
        """Return the digests of the *kept* tags, and of the images in their indexes, each with a tag."""
        if self._needed is None or self._needed[0] != repository:
            there = self._access.to_write(self._reference(repository))
            found: dict[Digest, str] = {}
            for tag in kept:
                head = head_manifest(there, tag)
                todo = [] if head is None else [(head.digest, head.media_type)]
                while todo:
                    digest, media_type = todo.pop()
                    if digest in found:
                        continue
                    found[digest] = tag
                    if not is_manifest(media_type):
                        index = Index.parse(get_manifest(there, digest).raw)
                        todo += [(one.digest, one.media_type) for one in index.manifests if is_index(one.media_type)]
                        found.update((one.digest, tag) for one in index.manifests if not is_index(one.media_type))
            self._needed = (repository, found)
        return self._needed[1]

    def _head(self, reference: DockerReference) -> Digest | None:
        try:
            found = head_manifest(self._access.to_write(reference), reference.wanted, PUSH)
        except (RegistryAccessError, RegistryAnswerError):
            return None
        return None if found is None else found.digest

    def _reference(self, target: str) -> DockerReference:
        return DockerReference.parse(target.removeprefix(PREFIX), "")
