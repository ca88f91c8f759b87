"""Uses of a container besides its image: volumes of the store, other images, and volumes of other containers.

    containers/<id>/uses     JSON with a checksum; absent for a container that uses nothing else

The file is made with the container, and never changed; so everything in it exists as long as the container's record
does: `Containers.create` checks that within the write transaction of the graph that records the container, and whatever
removes a volume, an image or a container checks, within one too, that no container uses it.
"""

from __future__ import annotations

import json
from contextlib import suppress
from typing import TYPE_CHECKING

from arstore.errors import StoreDamagedError
from arstore.graph.record_checksum import is_sealed, sealed, unsealed
from arstore.linux.files.reading import read_start
from arstore.linux.files.writing import replace_file
from arstore.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

    from arstore.disk.paths import Directories
    from arstore.graph.snapshot import Snapshot

USES = "uses"
_LONGEST = 4 << 20


class Uses(NamedTuple):
    """Names of volumes, digests of images, and ids of containers; `mounts` are the container's volumes as JSON."""

    volumes: tuple[str, ...] = ()
    images: tuple[str, ...] = ()
    containers: tuple[str, ...] = ()
    mounts: tuple[tuple[object, ...], ...] = ()

    def __bool__(self) -> bool:
        return any(self)


def write_uses(directory: str, uses: Uses) -> None:
    """Write *uses* into a container's directory, unless there is nothing to write. Raises OSError."""
    if uses:
        data = sealed(USES.encode(), json.dumps(uses._asdict()).encode())
        replace_file(f"{directory}/{USES}", data, f"{directory}/{USES}.new")


def read_uses(directory: str) -> Uses:
    """Return what the container with this directory uses. Raises StoreDamagedError, OSError."""
    try:
        data = read_start(f"{directory}/{USES}", _LONGEST)
    except (FileNotFoundError, NotADirectoryError):
        return Uses()
    if is_sealed(USES.encode(), data):
        with suppress(ValueError, TypeError, AttributeError, RecursionError):
            found = json.loads(unsealed(USES.encode(), data))
            mounts = tuple(tuple(tuple(v) if isinstance(v, list) else v for v in one) for one in found["mounts"])
            volumes, images, containers = (tuple(map(str, found[name])) for name in ("volumes", "images", "containers"))
            return Uses(volumes, images, containers, mounts)
    path = f"{directory}/{USES}"
    raise StoreDamagedError(path, "is damaged: what the container uses is unknown", "remove the container")


def every_use(directories: Directories, snapshot: Snapshot) -> Iterator[tuple[str, Uses]]:
    """Yield the id of each recorded container that uses something, and what. Raises StoreDamagedError, OSError."""
    for container_id, _ in snapshot.containers():
        uses = read_uses(directories.container(container_id))
        if uses:
            yield container_id, uses
