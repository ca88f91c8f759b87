"""Running containers: an image or a container of the store is handed to the launcher, and cleaned up afterwards.

A foreground container is *ephemeral* unless it is to be kept: it belongs to this process, and if this process is
killed, the next process that looks removes it. A detached container is ephemeral until it has been started; then it
stays until it is removed.
"""

from __future__ import annotations

import os
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, TypeVar

from arstore.disk.cgroups import remove_cgroups, set_parent
from arstore.errors import InUseError, MountError, MountForbiddenError, NotFoundError, StoreDamagedError
from arstore.mounts.overlay import Overlay, attach, detached, perform
from arstore.mounts.upper_in_use import require_unused
from arstore.rootfs.mount import create_container, lowers, remove_abandoned, remove_container, require_unmounted
from arstore.runtime.lifecycle import launcher
from arstore.runtime.lifecycle.launch import Launch
from arstore.runtime.lifecycle.state import status
from arstore.runtime.spec.bundle import require_text
from arstore.trace import reached
from arstore.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

    from arstore.graph.records import TreeRecord
    from arstore.runtime.driver import Runtime
    from arstore.runtime.lifecycle.launcher import Ended
    from arstore.runtime.spec.options import RunOptions
    from arstore.store.container_uses import Uses
    from arstore.store.containers import Container
    from arstore.store.store import Store, StoredImage


_T = TypeVar("_T")


class RunRequest(NamedTuple):
    """How to run an image: the container's *name* ("" generates one), whether to *keep* it, *timeout* in seconds."""

    image: StoredImage
    options: RunOptions
    runtime: Runtime
    name: str = ""
    keep: bool = False
    timeout: float | None = None
    stops_on_term: bool = False
    """Whether SIGTERM stops the container (stop signal, grace, SIGKILL) instead of being passed on to it."""
    trees: tuple[tuple[str, TreeRecord], ...] | None = None
    """The result of `Store.stack_records` for the image, if the caller has it."""
    uses: Uses | None = None
    """What the container uses besides its image (`settle`)."""


def run(store: Store, request: RunRequest, created: Callable[[str], None] = lambda _id: None) -> Ended:
    """Run a new container in the foreground and return how it ended; *created* is called with its id.

    Unless it is kept, the container is removed completely, whatever happens. Raises the errors of `create_container`
    and `launcher.run`.
    """
    remove_abandoned(store)
    reached("run.abandoned-removed")
    request = _settled(store, request)
    container = create_container(
        store, request.image, request.name, ephemeral=not request.keep, trees=request.trees, uses=request.uses
    )
    reached("run.created")
    created(container.id)
    try:
        return _launch(store, container, request, launcher.run, volatile=container.record.ephemeral)
    finally:
        if not request.keep:
            _discard(store, container)


def start(store: Store, request: RunRequest) -> str:
    """Start a new container detached, and return its id once it is running.

    The container is removed if it could not be started. Raises the errors of `run`.
    """
    remove_abandoned(store)
    # Until it has been started it is removed with this process, so that a failed start leaves nothing behind.
    request = _settled(store, request)
    container = create_container(
        store, request.image, request.name, ephemeral=True, trees=request.trees, uses=request.uses
    )
    reached("run.created")
    try:
        _launch(store, container, request, launcher.start, volatile=False)
    except BaseException:
        _discard(store, container)
        raise
    store.containers.keep(container.id)
    return container.id


def _settled(store: Store, request: RunRequest) -> RunRequest:
    """Return *request* with options that mean the same later.

    Raises the errors of `settle.settled`, RuntimeMissingError without a program for its network, PortInUseError.
    """
    if request.options.network not in {"none", "host", "ns"}:
        from arstore.runtime.lifecycle.settle_ports import settled_network

        request = request._replace(options=settled_network(request.options, store.config(request.image)))
    if not request.options.volumes and not request.options.volumes_from:
        return request
    from arstore.runtime.lifecycle.settle import settled

    options, uses = settled(store, request.options)
    return request._replace(options=options, uses=uses)


def _discard(store: Store, container: Container) -> None:
    """Remove a container of this process, unless another process has mounted it in the meantime."""
    with suppress(InUseError):
        remove_container(store, container.id)


def _launch(
    store: Store, container: Container, request: RunRequest, act: Callable[[Launch], _T], *, volatile: bool
) -> _T:
    """Pass *container* to *act*; with *volatile*, its files are not synced, and need not survive a power cut."""
    require_text(container.path)
    if request.options.isolation.cgroup_parent:
        set_parent(container.path, request.options.isolation.cgroup_parent)
    config = store.config(request.image)
    with lowers(store, request.image, writable=True, trees=request.trees) as found, ExitStack() as stack:
        mounts = [(lower.fd, lower.origin) for lower in found if lower.origin is not None]
        overlay = Overlay(found, container.upper, container.work, volatile=volatile, nodev=True)
        options, mount_rootfs = request.options, _mounting(store, container, overlay, stack)
        if options.volumes:
            from arstore.runtime.lifecycle.volume_mounts import with_volumes

            options, mount_rootfs = with_volumes(store, container, options, mount_rootfs, stack)
        launch = Launch(
            id=container.id,
            directory=container.path,
            config=config,
            options=options,
            runtime=request.runtime,
            mount_rootfs=mount_rootfs,
            timeout=request.timeout,
            stops_on_term=request.stops_on_term,
            kept=tuple(fd for fd, _ in mounts),
            attending=lambda: store.shared.offered(mounts),
        )
        store.release()
        return act(launch)


def _mounting(store: Store, container: Container, overlay: Overlay, stack: ExitStack) -> Callable[[str], None]:
    """Return a function that mounts *overlay* in the launcher's mount namespace, where our open directories cannot be
    layers.

    The mount is made here, detached. A kernel without detached overlay mounts opens the layers again there. Raises
    InUseError if *container* is already mounted.
    """
    try:
        # While this is done, no other process may check whether the upper directory is in use (`upper_in_use`).
        with store.graph.write():
            require_unused(container.upper, f"container {container.id}")
            mount_fd = detached(overlay)
    except MountForbiddenError:
        raise
    except MountError:
        # Layers without a path are detached mounts: so the kernel is new enough, and its error is the real one.
        if not all(lower.path for lower in overlay.lowers):
            raise
        return lambda target: _perform_reopened(overlay, target)
    stack.callback(os.close, mount_fd)
    reached("run.mounted")
    return lambda target: attach(mount_fd, target)


def _perform_reopened(overlay: Overlay, target: str) -> None:
    with ExitStack() as stack:
        reopened = []
        for lower in overlay.lowers:
            fd = os.open(lower.path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            stack.callback(os.close, fd)
            reopened.append(lower._replace(fd=fd))
        perform(overlay._replace(lowers=tuple(reopened)), target)


def require_idle(store: Store, container: Container) -> None:
    """Raise InUseError if *container* is running or mounted."""
    if _is_running(container) or container_is_owned(container):
        raise InUseError(f"container {container.id}", "is running", f"end it with `arstore kill {container.id}`")
    require_unmounted(store, container)


def _is_running(container: Container) -> bool:
    """Whether the container is running; a state file damaged by a power cut belongs to a run that the cut has ended."""
    try:
        return status(container.path).is_running
    except (NotFoundError, StoreDamagedError):
        return False


def container_is_owned(container: Container) -> bool:
    """Whether the container belongs to a live `run`."""
    return container.record.ephemeral and not container.abandoned


def remove(store: Store, container_id: str) -> None:
    """Remove a container that is not running, with all its files.

    Raises NotFoundError, InUseError, OSError.
    """
    container = store.containers.get(container_id)
    require_idle(store, container)
    remove_cgroups(container.path)
    store.containers.remove(container_id)
