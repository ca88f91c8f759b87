"""Settling a request: names in its options become things that last as long as the container.

Volumes of other containers are added, images to be mounted become digests, and missing named volumes are created. The
result can be recorded and run again later. Out of scope: volumes at the moment of a start (`volume_mounts`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from arstore.errors import NotFoundError, UsageError
from arstore.oci.document import shown
from arstore.runtime.spec.mounts.private import places_of
from arstore.runtime.spec.mounts.volume import Volume, with_options
from arstore.store.container_uses import Uses, read_uses

if TYPE_CHECKING:
    from collections.abc import Iterable

    from arstore.runtime.spec.options import RunOptions
    from arstore.store.containers import Container
    from arstore.store.store import Store

_FROM_OPTIONS = frozenset({"ro", "rw", "z", "Z"})


def settled(store: Store, options: RunOptions) -> tuple[RunOptions, Uses]:
    """Return *options* without names that could change their meaning, and what the container uses.

    Raises NotFoundError for a container of `--volumes-from` or an image that does not exist, UsageError,
    InvalidReferenceError, and the errors of `Volumes.ensure`.
    """
    if not options.volumes and not options.volumes_from and not options.requires:
        return options, Uses()
    required = _different(store.containers.find(name).id for name in options.requires)
    inherited, containers = _inherited(store, options)
    volumes = tuple(_settled(store, volume) for volume in (*options.volumes, *inherited))
    uses = Uses(
        volumes=_different(volume.name for volume in volumes if volume.kind == "volume" and volume.name),
        images=_different(volume.name for volume in volumes if volume.kind == "image"),
        containers=_different((*containers, *required)),
        mounts=tuple(tuple(volume) for volume in volumes if not volume.is_anonymous),
    )
    return options._replace(volumes=volumes, volumes_from=(), requires=required), uses


def _different(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(names))


def _settled(store: Store, volume: Volume) -> Volume:
    if volume.kind == "image":
        # A container lasts, so its images must be known to this store, not only to an additional one.
        return volume._replace(name=str(store.adopt(store.find_image(volume.name)).digest))
    if volume.kind == "volume" and volume.name:
        store.volumes.ensure(volume.name)
    return volume


def _inherited(store: Store, options: RunOptions) -> tuple[list[Volume], tuple[str, ...]]:
    """Return the volumes of `--volumes-from`, except at places that the options cover, and the containers."""
    taken = {*(one.destination for one in options.volumes), *(one.destination for one in options.tmpfs)}
    found: dict[str, Volume] = {}
    lenders: dict[str, None] = {}
    for text in options.volumes_from:
        name, _, words = text.partition(":")
        chosen = [word for word in words.split(",") if word]
        if not name or not _FROM_OPTIONS.issuperset(chosen):
            raise UsageError(shown(text), "not CONTAINER[:ro|rw|z|Z]")
        container = store.containers.find(name)
        private = _private(container)
        if private:
            lenders[container.id] = None
        for volume in (*_recorded(container), *private):
            if volume.destination not in taken:
                found[volume.destination] = with_options(volume, chosen, text) if chosen else volume
    return list(found.values()), tuple(lenders)


def _recorded(container: Container) -> list[Volume]:
    found = []
    for fields in read_uses(container.path).mounts:
        try:
            found.append(Volume(*fields))  # type: ignore[arg-type] # as `settled` wrote them
        except TypeError:
            raise NotFoundError(f"container {container.id}", "its volumes were recorded by a newer arstore") from None
    return found


def _private(container: Container) -> list[Volume]:
    """Return the private volumes of *container*: those of its image, and anonymous ones."""
    return [Volume(path, place) for place, path in places_of(container.path).items()]
