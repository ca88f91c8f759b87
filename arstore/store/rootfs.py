"""Root file systems: images and containers as mounts.

Everything here describes an overlay (`overlay.Overlay`) over an image's trees and lets `overlay` or the mount table
perform it. What is mounted for a person to look at is recorded in the table; what is mounted for a run lives in that
run's own mount namespace and is gone with it.
"""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from arstore.errors import ConflictError, NotFoundError
from arstore.store.containers import copy_root_attributes
from arstore.store.directory import hides_below
from arstore.store.mounts import MountState, MountTable
from arstore.store.overlay import Overlay

if TYPE_CHECKING:
    from collections.abc import Iterator

    from arstore.store.containers import Container
    from arstore.store.mountrecord import MountRecord
    from arstore.store.store import Store, StoredImage
    from arstore.store.tree import LowerDirectory


@contextmanager
def lowers(store: Store, image: StoredImage, writable: bool = False) -> Iterator[tuple[LowerDirectory, ...]]:
    """The trees of *image* as overlay layers, top first, for the length of the context; at least two unless *writable*.

    Raises the errors of `Store.stack`.
    """
    places = store.inventory().tree_places(store.stack(image))
    with ExitStack() as stack:
        found = []
        for form, path in places:
            found.append(stack.enter_context(form.lower(path)))
            if hides_below(found[-1]):
                break
        wanted = 1 if writable else 2
        for number in range(wanted - len(found)):
            found.append(stack.enter_context(store.blank(number)))
        yield tuple(found)


def mount_image(store: Store, image: StoredImage, target: str | None = None) -> MountRecord:
    """Mount a read-only view of *image* at *target*, or below the runroot.

    Raises the errors of `Store.stack` and `MountTable.mount`, and NotFoundError when the image was removed meanwhile.
    """
    with lowers(store, image) as found, store.graph.write() as change:
        # The collector needs the writer's lock to take anything: while we hold it the image cannot go.
        if change.image(image.digest) is None:
            raise NotFoundError(image.label, "was removed meanwhile")
        description = Overlay(found, nodev=True)
        return MountTable(store.directories.runroot).mount(description, target, image=image.digest)


def mount_container(store: Store, container: Container, target: str | None = None) -> MountRecord:
    """Mount the writable root of *container* at *target*, or below the runroot.

    Raises ConflictError when it is mounted already, NotFoundError when it was removed meanwhile, and as `mount_image`.
    """
    table = MountTable(store.directories.runroot)
    for entry in table.list():
        if entry.record.container == container.id and entry.state is not MountState.STALE:
            raise ConflictError(f"container {container.id}", f"is mounted at {entry.record.target}")
    image = store.find(container.record.image)
    with lowers(store, image, writable=True) as found, store.graph.write() as change:
        if change.container(container.id) is None:
            raise NotFoundError(f"container {container.id}", "was removed meanwhile")
        description = Overlay(found, container.upper, container.work, nodev=True)
        return table.mount(description, target, image=image.digest, container=container.id)


def create_container(store: Store, image: StoredImage, container_id: str = "", ephemeral: bool = False) -> Container:
    """A new container over *image*, whose `/` has the attributes that the image's has.

    Raises the errors of `Containers.create` and `Store.stack`.
    """
    with lowers(store, image, writable=True) as found:
        container = store.containers.create(image.digest, container_id, ephemeral)
        try:
            copy_root_attributes(found[0].fd, container.upper)
        except BaseException:
            store.containers.remove(container.id)
            raise
    return container


def umount_all(store: Store) -> list[str]:
    """Unmount everything that the table knows; return the ids. Raises as `MountTable.umount`."""
    table = MountTable(store.directories.runroot)
    ids = [entry.record.id for entry in table.list()]
    for mount_id in ids:
        table.umount(mount_id)
    return ids


def remove_container(store: Store, container_id: str) -> None:
    """Unmount and remove a container that nothing runs in. Raises NotFoundError, InUseError, OSError."""
    store.containers.get(container_id)
    table = MountTable(store.directories.runroot)
    for entry in table.list():
        if entry.record.container == container_id:
            table.umount(entry.record.id)
    store.containers.remove(container_id)
