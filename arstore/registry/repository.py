"""One repository of a registry: its client, its path, its scopes and its name, as requests need them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from arstore.registry.client import Ask, RegistryClient
from arstore.registry.http.url import quoted
from arstore.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Collection

    from arstore.registry.http.exchange import Answer

PULL = "pull"
PUSH = "pull,push"
DELETE = "*"
"""Actions that requests need, named as in the distribution project's scope.md."""


class Repository(NamedTuple):
    """The repository *path* (`library/busybox`) in the registry of *client*."""

    client: RegistryClient
    path: str

    @property
    def what(self) -> str:
        """The name of the repository, for messages."""
        return f"{self.client.host}/{self.path}"

    def scope(self, actions: str = PULL) -> tuple[str, ...]:
        """The scopes for *actions*."""
        return (f"repository:{self.path}:{actions}",)

    def at(self, kind: str, name: str = "") -> str:
        """The path of `manifests/NAME`, `blobs/DIGEST` and so on, for `Ask`."""
        return f"{self.path}/{kind}/{quoted(name)}" if name else f"{self.path}/{kind}"

    def ask(self, method: str, kind: str, name: str = "", actions: str = PULL) -> Ask:
        """A request for that path."""
        return Ask(method, self.at(kind, name), self.scope(actions))

    def send(self, ask: Ask, what: str, doing: str, expected: Collection[int] = (200,)) -> Answer:
        """See `RegistryClient.send`; *what* is appended to the repository's name."""
        return self.client.send(ask, f"{self.what}{what}", doing, expected)
