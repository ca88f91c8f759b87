"""Clients of registries on loopback that do not really wait: the fixtures `connect` and `server`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from support import registry as registries

from arstore.oci.docker_reference import DockerReference
from arstore.registry.access import Access, RegistryOptions
from arstore.registry.configuration.places import Places
from arstore.registry.http.patience import Patience

if TYPE_CHECKING:
    from collections.abc import Iterator


class Host:
    """A server that is not a test registry: the attributes that a Connector needs."""

    def __init__(self, host: str) -> None:
        self.host = host


class Connector:
    """Makes repositories, and closes their connections in the end; `waits` has the seconds of all waits."""

    def __init__(self, path: Any) -> None:
        self.waits: list[float] = []
        self.warned: list[str] = []
        self.places = Places(
            {"HOME": str(path / "home"), "PATH": "/usr/bin:/bin"},
            1000,
            str(path / "etc"),
            str(path / "var"),
            str(path / "run"),
        )
        self._open: list[Access] = []

    @property
    def patience(self) -> Patience:
        """A short patience, without real waits."""
        return Patience(tries=4, connect=3, head=1, idle=0.4, sleep=self.waits.append)

    def access(self, **options: Any) -> Access:
        """An access with these options."""
        words = {"tls_verify": False, "patience": self.patience, "places": self.places, "tell": self.warned.append}
        made = Access(RegistryOptions(**{**words, **options}))
        self._open.append(made)
        return made

    def __call__(self, server: registries.Registry | Host, path: str = "a/b", **options: Any) -> Any:
        """The repository *path* of *server*."""
        return self.access(**options).to_write(DockerReference.parse(f"{server.host}/{path}"))

    def close(self) -> None:
        """Close all connections."""
        for one in self._open:
            one.close()


@pytest.fixture
def connect(tmp_path: Any) -> Iterator[Connector]:
    """See Connector."""
    made = Connector(tmp_path)
    yield made
    made.close()


@pytest.fixture
def server() -> Iterator[registries.Registry]:
    """A registry that needs no credentials."""
    with registries.served() as served:
        yield served
