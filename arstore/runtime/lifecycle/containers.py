"""Running containers: an image or a container of the store is handed to the launcher, and cleaned up afterwards.

A foreground container is *ephemeral* unless it is to be kept: it belongs to this process, and if this process is
killed, the next process that looks removes it. A detached container is ephemeral until it has been started; then it
stays until it is removed, or it belongs to its launcher if it is to be removed at its end.

Locking: a container is started and attended to with the launcher's lock held (`store.container_document`), which the
launcher keeps while it lives, also between two runs. docs/design/containers.md has the states of a container's life.
"""

from __future__ import annotations

import fcntl
import os
import time
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING

from arstore.disk.cgroups import release, remove_cgroups, settle_parent
from arstore.disk.namespace_holders import hold
from arstore.disk.owner import Owner, lock_of
from arstore.errors import (
    ArstoreError,
    InUseError,
    MountError,
    MountForbiddenError,
    NotFoundError,
    PipelineTimeoutError,
    StoreDamagedError,
)
from arstore.mounts.overlay import Overlay, attach, detached, perform
from arstore.mounts.upper_in_use import require_unused
from arstore.rootfs.mount import create_container, lowers, remove_abandoned, remove_container, require_unmounted
from arstore.runtime.lifecycle import launcher
from arstore.runtime.lifecycle.child import close_others
from arstore.runtime.lifecycle.detach import detached as in_daemon
from arstore.runtime.lifecycle.launch import Launch, require_delegated
from arstore.runtime.lifecycle.life import Life
from arstore.runtime.lifecycle.request import Request, record_request
from arstore.runtime.lifecycle.state import is_running, status
from arstore.runtime.spec.bundle import require_text
from arstore.runtime.stdio.log_options import PASSTHROUGH
from arstore.runtime.stdio.streams import STREAMS
from arstore.store.container_document import has_readers, take_launch_lock
from arstore.trace import reached
from arstore.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import TypeVar

    from arstore.graph.records import TreeRecord
    from arstore.runtime.driver import Runtime
    from arstore.runtime.lifecycle.channel import Sender
    from arstore.runtime.lifecycle.launch import OwnClient
    from arstore.runtime.lifecycle.launcher import Ended
    from arstore.runtime.spec.health import HealthCheck
    from arstore.runtime.spec.isolation import Isolation
    from arstore.runtime.spec.options import RunOptions
    from arstore.runtime.stdio.attach import Attach
    from arstore.store.container_uses import Uses
    from arstore.store.containers import Container
    from arstore.store.store import Store, StoredImage

    _T = TypeVar("_T")


_PATIENCE, _LOOK_AGAIN = 5.0, 0.01
"""Seconds that a container which is removed at its end waits for processes that want to read how it ended."""
_SETTLING = 5.0
"""Seconds that the launcher of a container which has ended may take to end."""


class RunRequest(NamedTuple):
    """How to run an image: the container's *name* ("" generates one), whether to *keep* it, *timeout* in seconds."""

    image: StoredImage
    options: RunOptions
    runtime: Runtime
    name: str = ""
    keep: bool = False
    """Whether a container in the foreground stays after its end; a detached one stays unless *remove* is set."""
    timeout: float | None = None
    stops_on_term: bool = False
    """Whether SIGTERM stops the container (stop signal, grace, SIGKILL) instead of being passed on to it."""
    trees: tuple[tuple[str, TreeRecord], ...] | None = None
    """The result of `Store.stack_records` for the image, if the caller has it."""
    remove: bool = False
    """Whether the container is removed at its end; in the foreground, that is so unless it is kept."""
    chosen_runtime: str = ""
    """The path of the runtime that the user asked for, to be recorded."""
    uses: Uses | None = None
    """Volumes, images and containers that it uses besides the image (`settle`)."""
    attach: Attach | None = None
    """How a command in the foreground is attached to its container; None for all streams, without keys to detach."""

    @property
    def needs_daemon(self) -> bool:
        """Whether a command in the foreground may end before its container does."""
        options, how = self.options, self.attach
        return how is not None and how.needs_daemon(interactive=options.interactive, tty=options.tty)

    @property
    def recorded(self) -> Request:
        """The part of it that is recorded with the container."""
        return Request(self.image.digest, self.options, self.chosen_runtime, self.timeout, self.remove)


def run(store: Store, request: RunRequest, created: Callable[[str], None] = lambda _id: None) -> Ended:
    """Run a new container in the foreground and return how it ended; *created* is called with its id.

    Unless it is kept, the container is removed completely, whatever happens. A kept one is started again, in the
    background, if its restart policy says so. Raises the errors of `create_container` and `launcher.run`.
    """
    request = _settled(store, request)
    container = _made(store, request)
    created(container.id)
    if request.needs_daemon:
        return _run_attached(store, container, request._replace(remove=not request.keep))
    try:
        if request.keep:
            store.containers.keep(container.id)
        return _in_foreground(store, container, request._replace(remove=not request.keep), volatile=not request.keep)
    finally:
        if not request.keep:
            _discard(store, container)


def start(store: Store, request: RunRequest) -> str:
    """Start a new container detached, and return its id once it is running.

    The container is removed if it could not be started. Raises the errors of `run`.
    """
    # Until it has been started it is removed with this process, so that a failed start leaves nothing behind.
    request = _settled(store, request)
    container = _made(store, request)
    try:
        _in_background(store, container, request)
    except BaseException:
        _discard(store, container)
        raise
    if not request.remove:
        store.containers.keep(container.id)
    return container.id


def create(store: Store, request: RunRequest) -> str:
    """Create a container that can be started, and return its id. Raises the errors of `create_container`."""
    container = _made(store, _settled(store, request))
    try:
        store.containers.keep(container.id)
    except BaseException:
        _discard(store, container)
        raise
    return container.id


def start_again(store: Store, container: Container, request: RunRequest) -> None:
    """Start an existing container that is not running, detached, as *request* says.

    Raises InUseError if it is running, mounted, or just being started or removed, and the errors of `run`.
    """
    _require_startable(store, container, 0.0)
    _in_background(store, container, request)


def run_again(store: Store, container: Container, request: RunRequest) -> Ended:
    """Run an existing container in the foreground, and return how it ended. Raises the errors of `start_again`."""
    _require_startable(store, container, _SETTLING)
    if request.needs_daemon:
        return _attend(store, container, request)
    return _in_foreground(store, container, request, volatile=False)


def _run_attached(store: Store, container: Container, request: RunRequest) -> Ended:
    """Run a new container in the background, with this process attached to it."""
    has_started = False

    def started() -> None:
        nonlocal has_started
        has_started = True
        if request.keep:
            store.containers.keep(container.id)

    try:
        return _attend(store, container, request, started)
    except BaseException:
        # Once it is started, its launcher removes it.
        if not has_started:
            _discard(store, container)
        raise


def _attend(
    store: Store, container: Container, request: RunRequest, started: Callable[[], None] = lambda: None
) -> Ended:
    from arstore.runtime.lifecycle.attaching import attend_started
    from arstore.runtime.stdio.attach import Attach

    def start(client: OwnClient) -> None:
        _in_background(store, container, request, client)
        started()
        store.release()

    options, how = request.options, request.attach or Attach()
    try:
        ended = attend_started(container.path, how, start, interactive=options.interactive, tty=options.tty)
    except PipelineTimeoutError:
        if request.remove:
            _await_launcher(container)
        raise
    if request.remove and not ended.detached:
        _await_launcher(container)
    return ended


def _await_launcher(container: Container) -> None:
    """Wait, for a limited time, until the launcher has removed the container."""
    until = time.monotonic() + _SETTLING
    while os.path.lexists(container.path) and time.monotonic() < until:
        time.sleep(_LOOK_AGAIN)


def _require_startable(store: Store, container: Container, patience: float) -> None:
    """Raise InUseError if *container* is mounted. End what a killed launcher has left."""
    require_unmounted(store, container)
    with _attended(container, patience):
        release(container.path)
        remove_cgroups(container.path)


def _made(store: Store, request: RunRequest) -> Container:
    """Make the container and record the request. It belongs to this process, and is removed with it."""
    remove_abandoned(store)
    reached("run.abandoned-removed")
    container = create_container(
        store, request.image, request.name, ephemeral=True, trees=request.trees, uses=request.uses
    )
    reached("run.created")
    try:
        record_request(container, request.recorded, durable=request.keep or not request.remove)
    except BaseException:
        _discard(store, container)
        raise
    reached("run.recorded")
    return container


def _settled(store: Store, request: RunRequest) -> RunRequest:
    """Return *request* with options that mean the same later.

    Raises the errors of `settle.settled`, RuntimeMissingError without a program for its network, PortInUseError.
    """
    if request.options.network not in {"none", "host", "ns"}:
        from arstore.runtime.networking.settle_ports import settled_network

        request = request._replace(options=settled_network(request.options, store.config(request.image)))
    if not (request.options.volumes or request.options.volumes_from or request.options.requires):
        return request
    from arstore.runtime.lifecycle.settle import settled

    options, uses = settled(store, request.options)
    return request._replace(options=options, uses=uses)


def _discard(store: Store, container: Container) -> None:
    """Remove a container of this process, unless another process has mounted it in the meantime."""
    with suppress(OSError):
        # Those of a launcher that was killed while it started the container; the kernel ends their processes.
        remove_cgroups(container.path)
    with suppress(InUseError, NotFoundError):
        remove_container(store, container.id)


def _discard_at_end(store: Store, container: Container) -> None:
    """Remove a container that has ended, once the processes that wait for its end have read how it ended."""
    until = time.monotonic() + _PATIENCE
    while has_readers(container.path) and time.monotonic() < until:
        time.sleep(_LOOK_AGAIN)
    _discard(store, container)


@contextmanager
def _attended(container: Container, patience: float = 0.0) -> Iterator[int]:
    """Hold the launcher's lock of *container*; yield its descriptor. Raises InUseError after *patience* seconds."""
    until = time.monotonic() + patience
    while (lock := take_launch_lock(container.path)) is None and time.monotonic() < until:
        time.sleep(_LOOK_AGAIN)
    if lock is None:
        raise InUseError(f"container {container.id}", "is running, or is being started or removed")
    try:
        yield lock
    finally:
        if lock >= 0:
            os.close(lock)


def _in_foreground(store: Store, container: Container, request: RunRequest, *, volatile: bool) -> Ended:
    life = _life(request) if request.keep else Life()
    hold(store.graph.path)
    with _attended(container, _SETTLING) as lock, life.listening():
        try:
            ended = _launch(store, container, request, launcher.run, life, lock, volatile=volatile)
        finally:
            if request.remove:
                _discard_at_end(store, container)
        if life.last is not None:
            store.release()
            in_daemon(container.id, lambda report: _take_over(store, container, request, life, lock, report))
        return ended


def _life(request: RunRequest) -> Life:
    options = request.options
    when_unhealthy = options.restarts and not options.restart.is_active
    return Life(options.restart, when_unhealthy=when_unhealthy, removed=request.remove)


def _take_over(store: Store, container: Container, request: RunRequest, life: Life, lock: int, report: Sender) -> None:
    """Be the launcher of a container that ran in the foreground, and that its restart policy starts again."""
    graph = store.graph.path
    owner = Owner.announced(graph)
    hold(graph)
    close_others(report.fd, lock, lock_of(graph))
    life.adopt(container.path, owner)
    report.send("started")
    report.close()
    _go_on(store, container, request, life, lock)


def _in_background(store: Store, container: Container, request: RunRequest, client: OwnClient | None = None) -> None:
    """Start *container* detached; if it is to be removed at its end, it belongs to its launcher from then on."""
    life = _life(request)
    with _attended(container) as lock, _passed(request if client is None else None) as passed:

        def again() -> None:
            _go_on(store, container, request, life, lock, passed)

        def begin(launch: Launch) -> None:
            launcher.start(launch._replace(on_exit=again, client=client, passed=passed))

        _launch(store, container, request, begin, life, lock, volatile=False)
    if request.remove:
        # It may have ended already.
        with suppress(NotFoundError, StoreDamagedError):
            store.containers.belong(container.id, status(container.path).launcher)


@contextmanager
def _passed(request: RunRequest | None) -> Iterator[tuple[int, int] | None]:
    """Yield copies of this process's output and error for a container that has them instead of a log."""
    if request is None or request.options.log.driver != PASSTHROUGH:
        yield None
        return
    copies = (fcntl.fcntl(1, fcntl.F_DUPFD_CLOEXEC, 3), fcntl.fcntl(2, fcntl.F_DUPFD_CLOEXEC, 3))
    try:
        yield copies
    finally:
        for fd in copies:
            os.close(fd)


def _go_on(
    store: Store,
    container: Container,
    request: RunRequest,
    life: Life,
    lock: int,
    passed: tuple[int, int] | None = None,
) -> None:
    """Be the launcher after a run: start the container again, as often as its policy says, or remove it."""
    request = request._replace(trees=None)
    while life.last is not None:
        if not life.pause():
            life.conclude()
            break
        reached("run.again")
        try:
            again = partial(_attend_again, passed=passed)
            _launch(store, container, request, again, life, lock, volatile=False)
        except (ArstoreError, OSError) as error:
            life.conclude(str(error))
            break
    if request.remove:
        _discard_at_end(store, container)


def _attend_again(launch: Launch, passed: tuple[int, int] | None) -> None:
    launcher.attend(launch._replace(passed=passed))


def _launch(
    store: Store,
    container: Container,
    request: RunRequest,
    act: Callable[[Launch], _T],
    life: Life,
    lock: int,
    *,
    volatile: bool,
) -> _T:
    """Pass *container* to *act*; with *volatile*, its files are not synced, and need not survive a power cut.

    *lock* is kept open by the launcher.
    """
    require_text(container.path)
    require_delegated(request.options)
    if request.runtime.cgroups:
        settle_parent(container.path, request.options.isolation.cgroup_parent)
    config = store.config(request.image)
    with lowers(store, request.image, writable=True, trees=request.trees) as found, ExitStack() as stack:
        mounts = [(lower.fd, lower.origin) for lower in found if lower.origin is not None]
        overlay = Overlay(found, container.upper, container.work, volatile=volatile, nodev=True)
        options = request.options
        mount_rootfs = _mounting(store, container, overlay, stack, options.isolation)
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
            kept=(lock, *(fd for fd, _ in mounts)),
            attending=lambda: store.shared.offered(mounts),
            life=life,
            attached=STREAMS if request.attach is None else request.attach.streams,
            run_check=_run_check,
        )
        store.release()
        return act(launch)


def _run_check(directory: str, check: HealthCheck) -> None:
    """Run a scheduled health check, unless another one is running. Raises NotFoundError, ConflictError, OSError."""
    from arstore.runtime.health.run import run_check

    run_check(directory, check, waits=False)


def _mounting(
    store: Store, container: Container, overlay: Overlay, stack: ExitStack, isolation: Isolation | None = None
) -> Callable[[str], None]:
    """Return a function that mounts *overlay* in the launcher's mount namespace, where our open directories cannot be
    layers.

    The mount is made here, detached. A kernel without detached overlay mounts opens the layers again there. Raises
    InUseError if *container* is already mounted.
    """
    try:
        # While this is done, no other process may check whether the upper directory is in use (`upper_in_use`).
        with store.graph.write():
            require_unused(container.upper, f"container {container.id}")
            mount_fd = _made_mount(overlay, isolation)
    except MountForbiddenError:
        raise
    except MountError:
        # Layers without a path are detached mounts: so the kernel is new enough, and its error is the real one.
        if not all(lower.path for lower in overlay.lowers) or (isolation is not None and isolation.uids):
            raise
        return lambda target: _perform_reopened(overlay, target)
    stack.callback(os.close, mount_fd)
    reached("run.mounted")
    return lambda target: attach(mount_fd, target)


def _made_mount(overlay: Overlay, isolation: Isolation | None) -> int:
    if isolation is None or not isolation.uids:
        return detached(overlay)
    from arstore.mounts.mapped import detached_mapped

    return detached_mapped(overlay, isolation.uids, isolation.gids)


def _perform_reopened(overlay: Overlay, target: str) -> None:
    with ExitStack() as stack:
        reopened = []
        for lower in overlay.lowers:
            fd = os.open(lower.path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            stack.callback(os.close, fd)
            reopened.append(lower._replace(fd=fd))
        perform(overlay._replace(lowers=tuple(reopened)), target)


@contextmanager
def startable_root(store: Store, container: Container) -> Iterator[Callable[[str], None]]:
    """Keep a container that is not running from being started during the context, as if this process ran it.

    Yield a function that mounts its writable root file system at the given path, in a forked child. The store's graph
    is closed. Raises InUseError if the container is running, mounted, or just being started or removed; and the errors
    of `Store.stack` (StoreError and SourceError), MountError, OSError.
    """
    require_text(container.path)
    container.verify_whole()
    _require_startable(store, container, _SETTLING)
    image = store.find(container.record.image)
    with _attended(container, _SETTLING), lowers(store, image, writable=True) as found, ExitStack() as stack:
        overlay = Overlay(found, container.upper, container.work, nodev=True)
        mount_rootfs = _mounting(store, container, overlay, stack)
        store.release()
        yield mount_rootfs


def require_idle(store: Store, container: Container) -> None:
    """Raise InUseError if *container* is running or mounted."""
    if is_running(container.path) or container_is_owned(container):
        raise InUseError(f"container {container.id}", "is running", f"end it with `arstore kill {container.id}`")
    require_unmounted(store, container)


def container_is_owned(container: Container) -> bool:
    """Whether the container belongs to a live `run`."""
    return container.record.ephemeral and not container.abandoned


def remove(store: Store, container_id: str) -> None:
    """Remove a container that is not running, with all its files.

    Raises NotFoundError, InUseError, OSError.
    """
    container = store.containers.get(container_id)
    if is_running(container.path):
        require_idle(store, container)
    # Its launcher may be about to end, and to remove it.
    with _attended(container, _SETTLING):
        require_idle(store, store.containers.get(container_id))
        release(container.path)
        remove_cgroups(container.path)
        store.containers.remove(container_id)
