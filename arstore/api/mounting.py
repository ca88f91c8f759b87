"""Mounts of the library, as context managers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from arstore.builtin import contextmanager

if TYPE_CHECKING:
    from collections.abc import Iterator

    from arstore.mounts.table import MountTable
    from arstore.store.store import Store


@contextmanager
def mounted(
    store: Store, name: str, target: str | None, writable: bool, *, suid: bool = False, dev: bool = False
) -> Iterator[str]:
    """Mount the image *name* until the end of the context; see `arstore.api.store.Store.mounted`."""
    from arstore.errors import InUseError
    from arstore.mounts.table import MountTable
    from arstore.rootfs.mount import create_container, mount_container, mount_image, remove_container

    image = store.find_image(name)
    trees = store.stack_records(image)
    container = create_container(store, image, ephemeral=True, trees=trees) if writable else None
    try:
        if container is None:
            record = mount_image(store, image, target, suid=suid, dev=dev, trees=trees)
        else:
            record = mount_container(store, container, target, suid=suid, dev=dev, trees=trees)
    except BaseException:
        if container is not None:
            store.containers.remove(container.id)
        raise
    try:
        yield record.target
    finally:
        in_use = _end(MountTable(store.directories), record.id)
        if container is not None and not in_use:
            remove_container(store, container.id)
    if in_use:
        raise InUseError(record.target, "is still in use, and was detached", "it goes when nothing uses it any more")


def _end(table: MountTable, mount_id: str) -> bool:
    """Unmount, or detach a mount that is still in use. Return whether it was only detached."""
    from arstore.errors import InUseError

    try:
        return not table.umount(mount_id)
    except InUseError:
        return not table.umount(mount_id, lazy=True)
