"""Containers that run: an image or a container of the store, given to the launcher, and what is left of it afterwards.

A foreground container is *ephemeral* unless it is to be kept: it belongs to this process, and whoever next looks
removes it should this process be killed. A detached one is so until it has been started, and then stays until it is
removed.
"""

from __future__ import annotations

import os
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, TypeVar

from arstore.disk.cgroups import remove_cgroups
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
    from arstore.store.containers import Container
    from arstore.store.store import Store, StoredImage


_T = TypeVar("_T")


class RunRequest(NamedTuple):
    """What to run and how: the container's *name* ("" makes one up), whether to *keep* it, a *timeout* in seconds."""

    image: StoredImage
    options: RunOptions
    runtime: Runtime
    name: str = ""
    keep: bool = False
    timeout: float | None = None
    stops_on_term: bool = False
    """Whether SIGTERM stops the container (stop signal, grace, SIGKILL) in place of being passed on to it."""
    trees: tuple[tuple[str, TreeRecord], ...] | None = None
    """What `Store.stack_records` gave for the image, if the caller has asked."""


def run(store: Store, request: RunRequest, created: Callable[[str], None] = lambda _id: None) -> Ended:
    """Run a new container in the foreground and return how it ended; *created* is told its id.

    Raises the errors of `create_container` and `launcher.run`. Unless it is kept, nothing of the container is
    left, whatever happens.
    """
    remove_abandoned(store)
    reached("run.abandoned-removed")
    container = create_container(store, request.image, request.name, ephemeral=not request.keep, trees=request.trees)
    reached("run.created")
    created(container.id)
    try:
        return _launch(store, container, request, launcher.run, volatile=container.record.ephemeral)
    finally:
        if not request.keep:
            _discard(store, container)


def start(store: Store, request: RunRequest) -> str:
    """Start a new container detached, and return its id once it runs.

    Raises as `run` does; the container is removed when it could not be started.
    """
    remove_abandoned(store)
    # Until it has been started it goes with this process, so that nobody has to remove what never began.
    container = create_container(store, request.image, request.name, ephemeral=True, trees=request.trees)
    reached("run.created")
    try:
        _launch(store, container, request, launcher.start, volatile=False)
    except BaseException:
        _discard(store, container)
        raise
    store.containers.keep(container.id)
    return container.id


def _discard(store: Store, container: Container) -> None:
    """Remove a container that is this process's; one that somebody has mounted meanwhile is theirs."""
    with suppress(InUseError):
        remove_container(store, container.id)


def _launch(
    store: Store, container: Container, request: RunRequest, act: Callable[[Launch], _T], *, volatile: bool
) -> _T:
    """Give *container* to *act*; *volatile* has what it writes not synced, which need not survive a power cut."""
    require_text(container.path)
    config = store.config(request.image)
    with lowers(store, request.image, writable=True, trees=request.trees) as found, ExitStack() as stack:
        mounts = [(lower.fd, lower.origin) for lower in found if lower.origin is not None]
        overlay = Overlay(found, container.upper, container.work, volatile=volatile, nodev=True)
        launch = Launch(
            id=container.id,
            directory=container.path,
            config=config,
            options=request.options,
            runtime=request.runtime,
            mount_rootfs=_mounting(store, container, overlay, stack),
            timeout=request.timeout,
            stops_on_term=request.stops_on_term,
            kept=tuple(fd for fd, _ in mounts),
            attending=lambda: store.shared.offered(mounts),
        )
        store.release()
        return act(launch)


def _mounting(store: Store, container: Container, overlay: Overlay, stack: ExitStack) -> Callable[[str], None]:
    """What mounts *overlay* in the launcher's mount namespace, where directories opened in ours are no layers any more.

    The mount is made here, detached; a kernel without detached overlay mounts gets the layers opened again there.
    Raises InUseError when somebody has mounted *container* already.
    """
    try:
        # Nobody may look meanwhile whether the upper directory is in use (`mounts.upper_in_use`).
        with store.graph.write():
            require_unused(container.upper, f"container {container.id}")
            mount_fd = detached(overlay)
    except MountForbiddenError:
        raise
    except MountError:
        # Layers without a path are detached mounts: the kernel is new enough, and has said what is the matter.
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
    """Raise InUseError when something runs in *container*, or when it is mounted."""
    if _is_running(container) or container_is_owned(container):
        raise InUseError(f"container {container.id}", "is running", f"`arstore kill {container.id}` ends it")
    require_unmounted(store, container)


def _is_running(container: Container) -> bool:
    """Whether something runs in it; a state that a power cut has spoilt was that of a run which has ended with it."""
    try:
        return status(container.path).is_running
    except (NotFoundError, StoreDamagedError):
        return False


def container_is_owned(container: Container) -> bool:
    """Whether it belongs to a `run` that is alive."""
    return container.record.ephemeral and not container.abandoned


def remove(store: Store, container_id: str) -> None:
    """Remove a container in which nothing runs, with all that it wrote.

    Raises NotFoundError, InUseError, OSError.
    """
    container = store.containers.get(container_id)
    require_idle(store, container)
    remove_cgroups(container.path)
    store.containers.remove(container_id)
