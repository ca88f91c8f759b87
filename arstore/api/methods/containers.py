"""`Containers`: the containers of a store, and what can be done with them."""

from __future__ import annotations

import signal as signals
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from arstore.api.opened import query_of, warn_of_threads
from arstore.api.values.containers import Container
from arstore.errors import InUseError, NotFoundError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from arstore.api.opened import Named, OpenStore
    from arstore.api.values.containers import PrunedContainers, Stopped
    from arstore.api.values.imports import Committed
    from arstore.api.values.runs import Ended
    from arstore.runtime.driver import Runtime
    from arstore.runtime.lifecycle.request import Request
    from arstore.runtime.lifecycle.state import RunState
    from arstore.runtime.spec.options import ExecOptions, RunOptions
    from arstore.store.containers import Container as Inner
    from arstore.store.progress import Progress

    Which = str | Container

_KILLED = 128 + signals.SIGKILL


class Containers:
    """The containers of a store: `Store.containers`.

    Methods take a container as a string (a name, an id, a unique prefix of an id) or as a `Container`. Those that take
    several look all of them up before they change one. Every method raises NotFoundError and AmbiguousError for a
    container that is not found, and StoreError, HostError and OSError as the methods of `Store`.
    """

    def __init__(self, store: OpenStore) -> None:
        self._store = store

    # --- looking ----------------------------------------------------------------------------------------------------

    def list(self) -> tuple[Container, ...]:
        """Return all containers, sorted by id."""
        return tuple(map(_value, self._store._open().containers.list()))

    def get(self, name: Which) -> Container:
        """Return the container *name* as it is now."""
        return _value(self._inner(name))

    def find(self, *names: Which) -> tuple[Container, ...]:
        """Return these containers as they are now, each once."""
        return tuple(map(_value, self._each(names)))

    # --- running ----------------------------------------------------------------------------------------------------

    def create(
        self,
        image: Named,
        *args: str,
        options: RunOptions | None = None,
        name: str = "",
        timeout: float | None = None,
        runtime: str | None = None,
        progress: Progress | None = None,
    ) -> Container:
        """Create a container without starting its command; `start` then runs it in the background. Forks.

        Arguments as for `Store.run`. *timeout*, in seconds, limits each run.

        Raises:
            InvalidReferenceError, NotFoundError, AmbiguousError, PlatformError: as for `Store.inspect`.
            ConflictError: *name* is in use.
            RuntimeMissingError: no OCI runtime works on this host.
        """
        from arstore.api.running import create

        warn_of_threads()
        store = self._store._open()
        self._store._require_admitted(store, image)
        find = self._store._working_runtime
        made = create(store, query_of(image), args, options, name, timeout, runtime, find, progress)
        return _value(store.containers.get(made))

    def start(self, *names: Which) -> None:
        """Start containers in the background, after those that they require; running ones are left alone. Forks.

        Raises:
            InUseError: one is paused, mounted, or belongs to a `run` in the foreground.
            RuntimeMissingError, RuntimeFailedError: no OCI runtime works on this host, or it failed.
            ImageConfigError, CommandNotFoundError, CommandNotExecutableError: the command cannot be started.
            MountError, MountForbiddenError: the root file system cannot be mounted.
        """
        from arstore.runtime.lifecycle.starting import start_stopped

        warn_of_threads()
        for one in self._each(names):
            start_stopped(self._store._open(), one, self._runtime)

    def restart(self, *names: Which, timeout: float | None = None) -> None:
        """Stop containers as `stop` does, and start them again; those that are not running are only started. Forks.

        Raises:
            InUseError, RuntimeMissingError, RuntimeFailedError, ImageConfigError, CommandNotFoundError,
            CommandNotExecutableError, MountError, MountForbiddenError: as for `start`.
        """
        from arstore.runtime.lifecycle.starting import restart

        warn_of_threads()
        for one in self._each(names):
            restart(self._store._open(), one, self._runtime, timeout)

    def stop(self, *names: Which, timeout: float | None = None) -> tuple[Stopped, ...]:
        """Stop running containers: the stop signal, and SIGKILL after *timeout* seconds.

        The default of *timeout* is the one that the container was made with. Containers that are not running are left
        alone; a restart policy does not start them again.

        Raises:
            InUseError: one is paused.
        """
        containers = self._each(names)
        self._store._open().release()
        return tuple(_stopped(one, timeout) for one in containers)

    def kill(self, *names: Which, signal: int | str = "KILL") -> int:
        """Send a signal, by number or by name with or without `SIG`, to the first processes of running containers.

        Return its number. A restart policy does not start the containers again after it.

        Raises:
            NotFoundError: one is not running.
            UsageError: no such signal.
        """
        from arstore.runtime.lifecycle import control
        from arstore.runtime.lifecycle.signals import parse_signal

        number = parse_signal(str(signal))
        for one in self._each(names):
            control.kill(one.path, number)
        return number

    def wait(self, name: Which) -> Container:
        """Wait until the present run of a container has ended, and return the container as it is then.

        `exit_code` is None if its command never began, or if its launcher was killed.
        """
        from arstore.runtime.lifecycle import control

        one = self._inner(name)
        self._store._open().release()
        return _value(one, control.wait(one.path))

    def pause(self, *names: Which) -> None:
        """Freeze the processes of running containers.

        Raises:
            InUseError: one is paused already.
            HostError: one has no control group to be paused with.
            RuntimeFailedError: the kernel did not freeze its processes.
        """
        from arstore.runtime.lifecycle import control

        for one in self._each(names):
            control.pause(one.path)

    def unpause(self, *names: Which) -> None:
        """Let the processes of paused containers go on.

        Raises:
            RuntimeFailedError: the kernel did not thaw its processes.
        """
        from arstore.runtime.lifecycle import control

        for one in self._each(names):
            control.unpause(one.path)

    def exec(self, name: Which, *args: str, options: ExecOptions | None = None) -> Ended:
        """Run a command in a running container, with this process's standard streams, and wait for its end. Forks.

        Settings without an option are those of the container's own command.

        Raises:
            NotFoundError: the container is not running.
            CommandNotFoundError, CommandNotExecutableError: the command cannot be started.
            RuntimeFailedError: the OCI runtime failed.
        """
        from arstore.api.values.runs import Ended
        from arstore.runtime.lifecycle.exec import exec_in
        from arstore.runtime.spec.options import ExecOptions

        warn_of_threads()
        one = self._inner(name)
        self._store._open().release()
        done = exec_in(one.path, args, options or ExecOptions())
        return Ended(done.status, done.oom_killed)

    # --- changing ---------------------------------------------------------------------------------------------------

    def rename(self, name: Which, new: str) -> Container:
        """Give a container another name; its id stays, and the old name is free. Return it as it is then.

        Raises:
            InvalidReferenceError: *new* is malformed.
            ConflictError: *new* is in use.
        """
        store, found = self._store._open(), self._inner(name)
        store.containers.rename(found.id, new)
        return _value(store.containers.get(found.id))

    def commit(
        self,
        name: Which,
        image: str,
        *,
        changes: Sequence[str] = (),
        author: str = "",
        message: str = "",
        compression: str = "gzip",
        level: int | None = None,
        progress: Progress | None = None,
    ) -> Committed:
        """Create an image named *image* from what a container that is not running has written. Forks.

        *changes* are Dockerfile instructions for the config, such as `CMD ["/bin/sh"]`. *compression* is that of the
        new layer: gzip, zstd or none. The creation time is SOURCE_DATE_EPOCH if that is set.

        Raises:
            InUseError: it is running, or a file changed while it was read.
            InvalidReferenceError, UsageError: an argument is malformed.
            SourceError, StoreError: a lower layer cannot be read.
        """
        from arstore.api.roots import commit

        warn_of_threads()
        store, found = self._store._open(), self._inner(name)
        return commit(store, found, image, changes, author, message, compression, level, progress)

    def remove(self, *names: Which, force: bool = False, timeout: float | None = None) -> tuple[str, ...]:
        """Remove containers, with everything that they wrote; return their ids.

        With *force*, running and mounted ones are removed too: they are stopped as by `stop`, with SIGKILL after
        *timeout* seconds, and unmounted. Missing ones are then ignored.

        Raises:
            InUseError: one is running or mounted, or another container uses it.
        """
        from arstore.runtime.lifecycle.containers import remove
        from arstore.runtime.lifecycle.removal import remove_by_force

        store = self._store._open()
        found = self._each(names, may_lack=force)
        for one in found:
            if force:
                remove_by_force(store, one, timeout)
            else:
                remove(store, one.id)
        return tuple(one.id for one in found)

    def prune(self, *, dry_run: bool = False) -> PrunedContainers:
        """Remove all containers that have a command and are not running; with *dry_run*, return the plan.

        Containers made by mounting an image are left alone, and so are containers whose root is mounted.
        """
        from arstore.api.values.containers import PrunedContainers
        from arstore.runtime.lifecycle.containers import remove

        store = self._store._open()
        removed, freed = [], 0
        for one, size in self._idle():
            if not dry_run:
                # Another process may have started, mounted or removed it since.
                try:
                    remove(store, one.id)
                except (InUseError, NotFoundError):
                    continue
            removed.append(one.id)
            freed += size
        return PrunedContainers(tuple(removed), freed)

    def _idle(self) -> tuple[tuple[Inner, int], ...]:
        """Return the containers that are to be pruned, with the bytes that each has on disk."""
        from arstore.maintenance.scan.walk import weigh
        from arstore.runtime.lifecycle.containers import require_idle
        from arstore.store.container_document import is_startable

        store, found = self._store._open(), []
        for one in store.containers.list():
            with suppress(InUseError):
                require_idle(store, one)
                if is_startable(one.path):
                    found.append((one, weigh(store.directories, [f"containers/{one.id}"])))
        return tuple(found)

    # ----------------------------------------------------------------------------------------------------------------

    def _inner(self, name: Which) -> Inner:
        containers = self._store._open().containers
        return containers.find(name) if isinstance(name, str) else containers.get(name.id)

    def _each(self, names: tuple[Which, ...], *, may_lack: bool = False) -> tuple[Inner, ...]:
        """Return the containers, each once; with *may_lack*, those that exist."""
        found: dict[str, Inner] = {}
        for name in names:
            try:
                one = self._inner(name)
            except NotFoundError:
                if not may_lack:
                    raise
            else:
                found[one.id] = one
        return tuple(found.values())

    def _runtime(self, recorded: Request) -> Runtime:
        cgroups, timeout = recorded.options.cgroups, recorded.timeout
        store = self._store._open()
        return self._store._working_runtime(store, recorded.runtime or None, cgroups=cgroups, timeout=timeout)


def _stopped(container: Inner, timeout: float | None) -> Stopped:
    from arstore.api.values.containers import Stopped
    from arstore.runtime.lifecycle import control

    began = time.monotonic()
    try:
        state = control.stop(container.path, timeout)
    except NotFoundError:
        # It is not running, or has ended by itself.
        return Stopped(container.id, was_running=False)
    grace = state.stop_timeout if timeout is None else timeout
    killed = state.exit_code == _KILLED and 0 < grace <= time.monotonic() - began
    return Stopped(container.id, True, killed, state.stop_signal, grace)


def _value(container: Inner, state: RunState | None = None) -> Container:
    from arstore.runtime.lifecycle.state import known_status

    record = container.record
    found = known_status(container.path) if state is None else state
    if found is None:
        return Container(container.id, container.name, record.image, "created", record.created)
    process = found.process if found.is_running else None
    return Container(
        id=container.id,
        name=container.name,
        image=record.image,
        status=found.status,
        created=record.created,
        started=found.started,
        finished=found.finished,
        exit_code=found.exit_code,
        oom_killed=found.oom_killed,
        error=found.error,
        pid=None if process is None else process.pid,
        restarts=found.restarts,
        args=found.args,
    )
