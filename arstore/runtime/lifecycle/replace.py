"""`--replace`: the removal of a container whose id a new one is to have."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from arstore.errors import NotFoundError, StoreDamagedError
from arstore.rootfs.mount import umount_container
from arstore.runtime.lifecycle import control
from arstore.runtime.lifecycle.containers import remove
from arstore.runtime.lifecycle.state import status

if TYPE_CHECKING:
    from arstore.store.store import Store


def replaced(store: Store, container_id: str) -> None:
    """End and remove the container with this id, if there is one.

    Raises InUseError, MountError, OSError.
    """
    try:
        container = store.containers.get(container_id)
    except NotFoundError:
        return
    umount_container(store, container)
    with suppress(NotFoundError, StoreDamagedError):
        if status(container.path).is_running:
            control.kill(container.path)
            control.wait(container.path)
    with suppress(NotFoundError):
        remove(store, container.id)
