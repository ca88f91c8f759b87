"""The subject of a policy decision: a transport, the exact scope, wider scopes, and perhaps a Docker reference."""

from __future__ import annotations

from typing import TYPE_CHECKING

from arstore.values import NamedTuple

if TYPE_CHECKING:
    from arstore.oci.docker_reference import DockerReference


class Subject(NamedTuple):
    """An image by the name that the user gave.

    `scope` is the most specific one, "" if only the transport's default applies; `namespaces` are wider ones, most
    specific first. `reference` is None if the transport has no Docker references (files); otherwise it has a tag or a
    digest.
    """

    transport: str
    scope: str = ""
    namespaces: tuple[str, ...] = ()
    reference: DockerReference | None = None

    def __str__(self) -> str:
        return f"{self.transport}:{self.scope}" if self.scope else self.transport
