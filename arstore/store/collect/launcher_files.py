"""Files that a killed launcher has left in the directory of a container that stays: `containers/<id>/…`.

    attach            the socket at which it was reached
    state.json.<n>    space that was reserved for the container's next states
    *.new, *.tmp      files that were to replace another one

A launcher that ends by itself removes them, and so does the next start, or the removal of the container. Between these
only the collector looks. A launcher holds a lock while it lives (`store.container_document`); if the lock is free, no
process uses these files. Its empty control groups are removed with them. On a file system without locks, they stay.
Out of scope: containers that are removed as a whole, because their process was killed.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

from arstore.disk.cgroups import release, remove_cgroups
from arstore.disk.rmtree import freed_with
from arstore.store.container_document import is_unattended, take_launch_lock
from arstore.trace import reached

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from arstore.store.containers import Container
    from arstore.store.store import Store

SOCKET_NAME = "attach"
_RESERVED = "state.json."
_UNFINISHED = (".new", ".tmp")


def left_by_launchers(store: Store) -> tuple[str, ...]:
    """Return the places of all such files below the root. Raises OSError and the errors of Graph."""
    found = []
    for container in store.containers.list():
        if not container.record.ephemeral and (names := _passing(container.path)) and is_unattended(container.path):
            found += [f"containers/{container.id}/{name}" for name in names]
    return tuple(found)


def remove_left(store: Store, places: Iterable[str]) -> dict[str, int]:
    """Remove the files at these *places*, if no launcher uses them; return those removed with the bytes freed.

    Raises OSError and the errors of Graph.
    """
    wanted = frozenset(places)
    ids = {place.split("/")[1] for place in wanted}
    gone: dict[str, int] = {}
    for container in [one for one in store.containers.list() if one.id in ids] if ids else ():
        lock = take_launch_lock(container.path)
        if lock is None or lock < 0:
            continue
        try:
            with suppress(OSError):
                release(container.path)
            remove_cgroups(container.path)
            gone.update(_unlinked(store, container, wanted))
        finally:
            os.close(lock)
    return gone


def _unlinked(store: Store, container: Container, wanted: frozenset[str]) -> Iterator[tuple[str, int]]:
    """Remove the files of *container*, whose lock is held; yield their places, and the bytes freed."""
    # Records of containers are replaced with the writer's lock held, and by a process to which the container belongs.
    with store.graph.write() as change:
        record = change.container(container.id)
        if record is None or record.ephemeral:
            return
        for name in _passing(container.path):
            place = f"containers/{container.id}/{name}"
            if place in wanted:
                with suppress(FileNotFoundError):
                    status = os.lstat(f"{container.path}/{name}")
                    os.unlink(f"{container.path}/{name}")
                    yield place, freed_with(status)
                    reached("collect.launcher-file-removed")


def _passing(directory: str) -> list[str]:
    """Return the names of the files that exist only while a process works on the container in *directory*."""
    try:
        with os.scandir(directory) as entries:
            found = [entry.name for entry in entries if not entry.is_dir(follow_symlinks=False)]
    except FileNotFoundError:
        return []
    return sorted(
        name for name in found if name == SOCKET_NAME or name.startswith(_RESERVED) or name.endswith(_UNFINISHED)
    )
