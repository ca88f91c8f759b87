"""Sources of a container's volumes at the moment of its start, in the launcher.

A named volume is a directory of the store. An image is mounted here, detached, where the store's trees can be opened,
and attached to the bundle in the container's mount namespace.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from arstore.mounts.overlay import Overlay, attach, detached
from arstore.rootfs.mount import lowers
from arstore.runtime.spec.mounts.sources import written_over

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import ExitStack

    from arstore.runtime.spec.mounts.volume import Volume
    from arstore.runtime.spec.options import RunOptions
    from arstore.store.containers import Container
    from arstore.store.store import Store


def with_volumes(
    store: Store,
    container: Container,
    options: RunOptions,
    mount_rootfs: Callable[[str], None],
    stack: ExitStack,
) -> tuple[RunOptions, Callable[[str], None]]:
    """Return *options* with the sources of volumes, and a function in place of *mount_rootfs* that attaches images too.

    The sources are paths in the launcher's mount namespace. *stack* must stay open until the function has been called
    there. Raises NotFoundError for a volume or an image that was removed, and the errors of `lowers` and
    `overlay.detached`.
    """
    found = []
    mounts: list[tuple[int, str]] = []
    for number, volume in enumerate(options.volumes):
        if volume.kind == "image":
            # A path of the bundle, like those that `spec.mounts.sources` makes there.
            name = f"image-{number}"
            mounts.append((_image(store, container, volume, stack), name))
            volume = volume._replace(source=os.path.join(container.path, "bundle", name))
        elif volume.kind == "volume" and volume.name:
            volume = volume._replace(source=store.volumes.get(volume.name).mountpoint)
        found.append(volume)

    def mount_all(rootfs: str) -> None:
        mount_rootfs(rootfs)
        for fd, name in mounts:
            target = os.path.join(os.path.dirname(rootfs), name)
            os.mkdir(target, 0o755)
            attach(fd, target)

    return options._replace(volumes=tuple(found)), mount_all


def _image(store: Store, container: Container, volume: Volume, stack: ExitStack) -> int:
    """Return a detached mount of the image, closed with *stack*."""
    image = store.find_image(volume.name)
    upper, work = written_over(container.path, volume.destination) if volume.temporary else ("", "")
    layers = stack.enter_context(lowers(store, image, writable=volume.temporary))
    mount_fd = detached(Overlay(layers, upper, work, nodev=True, nosuid=True), image.label)
    stack.callback(os.close, mount_fd)
    return mount_fd
