"""References as Docker writes them: `[DOMAIN[:PORT]/]PATH[:TAG][@DIGEST]`, always resolved to a registry.

Grammar: the distribution project's reference package. A name without a domain belongs to docker.io, and there a name
with a single component is in `library/`. If there are both a tag and a digest, the digest decides. Not in scope: short
names (`transport.registry.configuration.short_names`) and names in a store (`reference`).
"""

from __future__ import annotations

from arstore.digest import Digest
from arstore.errors import InvalidReferenceError
from arstore.oci.document import shown
from arstore.oci.reference import DEFAULT_TAG, parse_name
from arstore.values import NamedTuple

DOCKER_HUB = "docker.io"
"""The registry of names without a domain."""
_OLD_HUB = "index.docker.io"
_OFFICIAL = "library/"


class DockerReference(NamedTuple):
    """A repository `domain`/`path`, with a tag, a digest, both, or neither (a whole repository)."""

    domain: str
    path: str
    tag: str = ""
    digest: Digest | None = None

    @classmethod
    def parse(cls, text: str, default_tag: str = DEFAULT_TAG) -> DockerReference:
        """Read *text*; *default_tag* is used if it has neither a tag nor a digest.

        Raises InvalidReferenceError.
        """
        if "://" in text:
            hint = f"write docker://{shown(text.partition('://')[2])}"
            raise InvalidReferenceError(shown(text), "a reference has no scheme", hint)
        name, at, digest_text = text.partition("@")
        digest = Digest(digest_text) if at else None
        head, colon, tail = name.rpartition(":")
        has_tag = bool(colon) and "/" not in tail
        parsed = parse_name(name, "latest")
        domain, path = _split(parsed.repository)
        whole = f"{domain}/{path}"
        # The expanded name has to fit too: the limit of 255 characters applies to requests to registries.
        parse_name(whole)
        tag = parsed.tag if has_tag else "" if digest is not None else default_tag
        assert not has_tag or head
        return cls(domain, path, tag, digest)

    @property
    def repository(self) -> str:
        """The canonical name of the repository."""
        return f"{self.domain}/{self.path}"

    @property
    def wanted(self) -> str:
        """The tag or digest to ask a registry for: the digest, if there is one."""
        return self.tag if self.digest is None else self.digest

    @property
    def namespaces(self) -> tuple[str, ...]:
        """Names under which configuration may refer to the repository: itself, all its parents, wildcard domains.

        Most specific first. The wildcard domains (`*.example.org`) have no port, as in containers/image.
        """
        parts = self.repository.split("/")
        above = ("/".join(parts[:count]) for count in range(len(parts), 0, -1))
        labels = self.domain.partition(":")[0].split(".")
        return (*above, *(f"*.{'.'.join(labels[start:])}" for start in range(1, len(labels))))

    def __str__(self) -> str:
        tag = f":{self.tag}" if self.tag else ""
        return f"{self.repository}{tag}" if self.digest is None else f"{self.repository}{tag}@{self.digest}"


def has_domain(text: str) -> bool:
    """Whether the first component of *text* is a registry (it has a dot, a port or capitals, or is localhost)."""
    first, slash, _ = text.partition("/")
    return bool(slash) and ("." in first or ":" in first or first == "localhost" or first != first.lower())


def _split(repository: str) -> tuple[str, str]:
    domain, path = DOCKER_HUB, repository
    if has_domain(repository):
        domain, _, path = repository.partition("/")
    if domain == _OLD_HUB:
        domain = DOCKER_HUB
    if domain == DOCKER_HUB and "/" not in path:
        path = f"{_OFFICIAL}{path}"
    return domain, path
