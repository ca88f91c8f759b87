"""The images that a user wants to synchronise: repositories in registries, and a choice of their tags."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from arstore.digest import Digest
from arstore.sync.semver import Version
from arstore.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from arstore.oci.docker_reference import DockerReference
    from arstore.registry.access import RegistryOptions

_ATTACHED = re.compile(r"sha(?:256|512)-[0-9a-f]{64,}(?:\..*)?|.*\.(?:sig|att|sbom)", re.ASCII)


def is_attached(tag: str) -> bool:
    """Whether *tag* refers to an attachment of an image: a signature, an attestation, a list of referrers.

    These are cosign's tags (`sha256-HEX.sig`, `.att`, `.sbom`) and the distribution-spec's (`sha256-HEX`, and the first
    64 digits of a SHA-512).
    """
    return _ATTACHED.fullmatch(tag) is not None


class Choice(NamedTuple):
    """A choice of images of a repository: `tags` and `digests`, the tags that `chooses` accepts, or (empty) all."""

    tags: tuple[str, ...] = ()
    digests: tuple[Digest, ...] = ()
    chooses: Callable[[str], bool] | None = None

    @property
    def is_explicit(self) -> bool:
        """Whether the tags are known without asking for a list."""
        return bool(self.tags or self.digests)

    def of(self, tags: Sequence[str]) -> list[str]:
        """Return the wanted tags; *tags* are all tags of the repository."""
        if self.is_explicit:
            return list(self.tags)
        chooses = self.chooses or (lambda _tag: True)
        return [tag for tag in tags if not is_attached(tag) and chooses(tag)]


def in_range(holds: Callable[[Version], bool]) -> Callable[[str], bool]:
    """Return a function that tests whether a tag is a version in the range *holds*."""

    def chooses(tag: str) -> bool:
        version = Version.parse(tag)
        return version is not None and holds(version)

    return chooses


class Wish(NamedTuple):
    """Images of *repository* (without a tag), and the options for its registry."""

    repository: DockerReference
    choice: Choice
    options: RegistryOptions
