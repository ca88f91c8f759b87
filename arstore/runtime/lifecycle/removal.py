"""Removal of containers by force: their processes are ended and their roots unmounted first."""

from __future__ import annotations

from typing import TYPE_CHECKING

from arstore.errors import NotFoundError, StoreDamagedError
from arstore.rootfs.mount import umount_container
from arstore.runtime.lifecycle import control
from arstore.runtime.lifecycle.containers import remove
from arstore.runtime.lifecycle.state import status

if TYPE_CHECKING:
    from arstore.store.containers import Container
    from arstore.store.store import Store


def remove_by_force(store: Store, container: Container, grace: float | None = None) -> None:
    """End and remove *container*; SIGKILL follows the stop signal after *grace* seconds, by default its own.

    Raises NotFoundError, InUseError, MountError, OSError.
    """
    may_be_gone = _make_idle(store, container, grace)
    try:
        remove(store, container.id)
    except NotFoundError:
        if not may_be_gone:
            raise


def _make_idle(store: Store, container: Container, grace: float | None) -> bool:
    """Unmount the root of *container* and end its processes; return whether anything was ever run in it.

    The container may end by itself at the same time, and a `run` in the foreground then removes it.
    """
    umount_container(store, container)
    try:
        status(container.path)
    except NotFoundError:
        return False
    except StoreDamagedError:
        return True
    control.end(container.path, grace)
    return True


def remove_named(store: Store, name: str) -> None:
    """End at once and remove the container with this name, if there is one (`--replace`).

    Raises InUseError, MountError, OSError.
    """
    try:
        container = store.containers.find_exactly(name)
    except NotFoundError:
        return
    # The id of a container that was renamed is free as a name.
    if container.name == name:
        remove_by_force(store, container, 0.0)
