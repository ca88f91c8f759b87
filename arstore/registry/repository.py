"""One repository of a registry, as requests to it need it: its client, its path, its scopes, its name for people."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

from arstore.registry.client import Ask, RegistryClient
from arstore.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Collection

    from arstore.registry.http.exchange import Answer

PULL = "pull"
PUSH = "pull,push"
DELETE = "*"
"""The actions that requests need; what they are called is the distribution project's (scope.md)."""


class Repository(NamedTuple):
    """The repository *path* (`library/busybox`) behind *client*."""

    client: RegistryClient
    path: str

    @property
    def what(self) -> str:
        """What people call it."""
        return f"{self.client.host}/{self.path}"

    def scope(self, actions: str = PULL) -> tuple[str, ...]:
        """The scopes for *actions*."""
        return (f"repository:{self.path}:{actions}",)

    def at(self, kind: str, name: str = "") -> str:
        """The path of `manifests/NAME`, `blobs/DIGEST` and the like, as `Ask` wants it."""
        return f"{self.path}/{kind}/{quote(name, safe=':')}" if name else f"{self.path}/{kind}"

    def ask(self, method: str, kind: str, name: str = "", actions: str = PULL) -> Ask:
        """A request for it."""
        return Ask(method, self.at(kind, name), self.scope(actions))

    def send(self, ask: Ask, what: str, doing: str, expected: Collection[int] = (200,)) -> Answer:
        """See `RegistryClient.send`; *what* is behind the repository's name."""
        return self.client.send(ask, f"{self.what}{what}", doing, expected)
