"""Repositories of the destination's registry from which it may mount a blob instead of receiving it."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from arstore.transport.location import REGISTRY

if TYPE_CHECKING:
    from collections.abc import Callable

    from arstore.digest import Digest
    from arstore.store.store import Store
    from arstore.transport.sinks.destination import Destination
    from arstore.transport.source import ImageSource


def beside_source(source: ImageSource, destination: Destination) -> Callable[[Digest], str]:
    """Return, for a digest, a repository from which *destination* may mount the blob: that of *source*, if its registry
    is the same.
    """
    reference = getattr(source, "reference", None)
    path = ""
    if destination.kind == REGISTRY and reference is not None:
        from arstore.oci.docker_reference import DockerReference

        target = DockerReference.parse(destination.path)
        if reference.domain == target.domain and reference.path != target.path:
            path = str(reference.path)
    return lambda _digest: path


def beside_names(store: Store, destination: Destination) -> Callable[[Digest], str]:
    """Return, for a digest, a repository from which *destination* may mount the blob: found by the names of *store*.

    These are read at the first call.
    """

    @cache
    def repositories() -> dict[str, str]:
        from arstore.oci.docker_reference import DockerReference, has_domain

        found: dict[str, str] = {}
        target = DockerReference.parse(destination.path)
        with store.graph.read() as snapshot:
            for name, digest in snapshot.names():
                if not has_domain(name):
                    continue
                other = DockerReference.parse(name)
                image = snapshot.image(digest)
                if image is not None and other.domain == target.domain and other.path != target.path:
                    found |= dict.fromkeys((*image.layers, image.config), other.path)
        return found

    return lambda digest: repositories().get(digest, "")
