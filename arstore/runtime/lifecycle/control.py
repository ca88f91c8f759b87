"""Control of a container from outside its launcher: signal, stop, wait, pause.

Everything uses the state file and pidfds (pidfd_open(2), Linux 5.3): a pid that was reused in the meantime is never
signalled, and waiting needs no polling. Any process of the container's owner may do it. A signal or a stop ends the
container for good: the launcher of one with a restart policy is notified before (`life`). Out of scope: exec, see
`lifecycle.exec`; starting again, see `lifecycle.containers`.
"""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import time
from typing import TYPE_CHECKING

from arstore.disk.cgroups import freeze
from arstore.disk.delegation import parent_group, why_none
from arstore.disk.owner import Owner
from arstore.errors import HostError, InUseError, NotFoundError, RuntimeFailedError
from arstore.linux.waiting import readable
from arstore.runtime.lifecycle.life import ONE_MORE, notify
from arstore.runtime.lifecycle.signals import FORWARDED
from arstore.runtime.lifecycle.state import RunState, status
from arstore.runtime.spec.restart import NO
from arstore.store.container_document import reading_end

if TYPE_CHECKING:
    from collections.abc import Iterator

_SETTLE = 0.01
_SETTLE_SECONDS = 5.0


def kill(directory: str, number: int = signal.SIGKILL) -> None:
    """Send a signal to the first process of the container in *directory*, which is not started again afterwards.

    SIGKILL also ends a paused container; it gets other signals when it goes on. Raises NotFoundError if it is not
    running, OSError.
    """
    state = status(directory)
    if state.is_running:
        state.require_reachable()
        _end_life(state)
    if state.status == "restarting":
        _settled(directory)
        return
    _send(state, directory, number)


def _send(state: RunState, directory: str, number: int) -> None:
    """Send a signal to the first process of the container's run *state*. Raises NotFoundError, OSError."""
    if state.status == "starting" and number == signal.SIGKILL:
        process: Owner | None = state.keeper
    else:
        process = state.process if state.is_running else None
    with _opened_pidfd(process) as pidfd:
        if pidfd is None:
            raise NotFoundError(f"container {state.id}", "is not running")
        with contextlib.suppress(ProcessLookupError):
            try:
                signal.pidfd_send_signal(pidfd, number)
            except PermissionError:
                # It runs as another user of a user namespace that is not ours; its keeper is ours.
                _send_to_keeper(state, number)
    if state.status == "paused" and number == signal.SIGKILL:
        # Frozen processes of cgroup v1 do not even take SIGKILL.
        with contextlib.suppress(OSError):
            freeze(directory, False)


def _send_to_keeper(state: RunState, number: int) -> None:
    """Send a signal to the keeper: it passes it on, and SIGKILL ends the container with it. Raises OSError."""
    if number != signal.SIGKILL and number not in FORWARDED:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM), f"process {state.process and state.process.pid}")
    with _opened_pidfd(state.keeper) as pidfd:
        if pidfd is not None:
            signal.pidfd_send_signal(pidfd, number)


def _end_life(state: RunState) -> None:
    """Notify the launcher of a container with a restart policy that it is not to be started again."""
    if state.restart_policy == NO:
        return
    with _opened_pidfd(state.launcher) as pidfd:
        if pidfd is not None:
            notify(pidfd)


def wait(directory: str, timeout: float | None = None) -> RunState:
    """Return the state after the run of the container in *directory* has ended and its launcher has recorded that, or
    after *timeout* seconds.

    If the container is started again afterwards, the state is `restarting`. Raises NotFoundError if it was never
    started, OSError.
    """
    with reading_end(directory):
        return _waited(directory, timeout)


def _waited(directory: str, timeout: float | None) -> RunState:
    deadline = None if timeout is None else time.monotonic() + timeout
    state = first = status(directory)
    while state.is_running and state.status != "restarting":
        if state.keeper != first.keeper:
            # It has been started again already; the state has the exit status of the run before.
            return state._replace(status="restarting")
        state.require_reachable()
        # A foreground launcher outlives its container, a detached one ends with it; both have a keeper.
        with _opened_pidfd(state.keeper) as pidfd:
            if pidfd is not None and not readable(pidfd, deadline):
                return status(directory)
        state = _settled(directory, state.keeper)
    return state


def stop(directory: str, grace: float | None = None) -> RunState:
    """End the container in *directory*: send its stop signal, and SIGKILL after *grace* seconds; return its last state.

    Without *grace*, the value from its start is used. Raises NotFoundError if it is not running, InUseError if it is
    paused, OSError.
    """
    state = status(directory)
    if not state.is_running:
        raise NotFoundError(f"container {state.id}", "is not running")
    if state.status == "paused":
        raise InUseError(f"container {state.id}", "is paused", f"run `arstore unpause {state.id}` first")
    return _stopped(directory, state, grace)


def end_run(directory: str, grace: float | None = None) -> RunState:
    """End the present run of the container in *directory* like `stop`; its launcher may start it again.

    Return the state after that. Raises NotFoundError if it is not running, OSError.
    """
    state = status(directory)
    state.require_reachable()
    _send(state, directory, state.stop_signal)
    later = _waited(directory, state.stop_timeout if grace is None else grace)
    if later.is_running and later.status != "restarting" and later.keeper == state.keeper:
        _send(later, directory, signal.SIGKILL)
        later = _waited(directory, None)
    return later


def restart_removed(directory: str, grace: float | None = None) -> None:
    """Have the launcher of a container that is removed at its end start it again, after a stop.

    Raises InUseError if it belongs to a `run` in the foreground, NotFoundError if it is not running, OSError.
    """
    state = status(directory)
    if state.is_running and not state.detached:
        raise InUseError(f"container {state.id}", "runs in the foreground, and is removed at its end")
    with _opened_pidfd(state.launcher) as pidfd:
        if pidfd is not None:
            notify(pidfd, ONE_MORE)
    end_run(directory, grace)
    patience = time.monotonic() + _SETTLE_SECONDS
    while status(directory).status in {"restarting", "starting"} and time.monotonic() < patience:
        time.sleep(_SETTLE)


def end(directory: str, grace: float | None = None) -> None:
    """End the container in *directory* like `stop`, also one that is paused; do nothing if it is not running.

    Raises OSError.
    """
    with contextlib.suppress(NotFoundError):
        state = status(directory)
        if state.status == "paused":
            with contextlib.suppress(OSError):
                freeze(directory, False)
        if state.is_running:
            _stopped(directory, state, grace)


def _stopped(directory: str, state: RunState, grace: float | None) -> RunState:
    with reading_end(directory):
        # Its launcher may be just starting it again, and then ends that run too; or another process starts it.
        while state.is_running:
            state.require_reachable()
            _end_life(state)
            with contextlib.suppress(NotFoundError):
                _send(state, directory, state.stop_signal)
            keeper = state.keeper
            state = _waited(directory, state.stop_timeout if grace is None else grace)
            if state.is_running and state.status != "restarting" and state.keeper == keeper:
                with contextlib.suppress(NotFoundError):
                    _send(state, directory, signal.SIGKILL)
                state = _waited(directory, None)
            if state.status == "restarting":
                state = _settled(directory)
    return state


def pause(directory: str) -> None:
    """Freeze the processes of the container in *directory*.

    Raises NotFoundError if it is not running, InUseError if it is paused already, HostError if it has no control group
    to do this with, RuntimeFailedError if the kernel does not do it, OSError.
    """
    state = status(directory)
    if state.status == "paused":
        raise InUseError(f"container {state.id}", "is already paused")
    if state.status != "running":
        raise NotFoundError(f"container {state.id}", "is not running, so it cannot be paused")
    state.require_reachable()
    if not _freeze(state, directory, True):
        _freeze(state, directory, False)
        why = "its processes could not be frozen; one of them may be in an uninterruptible call of the kernel"
        raise RuntimeFailedError(f"container {state.id}", why)


def unpause(directory: str) -> None:
    """Let the processes of the paused container in *directory* go on.

    Raises NotFoundError if it is not paused, RuntimeFailedError, OSError.
    """
    state = status(directory)
    if state.status != "paused":
        raise NotFoundError(f"container {state.id}", "is not paused")
    state.require_reachable()
    if not _freeze(state, directory, False):
        raise RuntimeFailedError(f"container {state.id}", "its processes could not be thawed")


def _freeze(state: RunState, directory: str, frozen: bool) -> bool:
    try:
        return freeze(directory, frozen)
    except FileNotFoundError:
        why = "has no control group to be paused with"
        hint = "" if state.cgroups else "run it without --cgroups=disabled"
        if parent_group() is None:
            reason, hint = why_none()
            why = f"{why}: {reason}"
        raise HostError(f"container {state.id}", why, hint) from None


def _settled(directory: str, keeper: Owner | None = None) -> RunState:
    """Wait until the launcher has recorded what follows the end of a run, and return that.

    The run's *keeper* has ended, and its launcher, if alive, is about to record it; without *keeper*, the launcher is
    about to start the container again, or has been notified not to.
    """
    patience = time.monotonic() + _SETTLE_SECONDS
    while time.monotonic() < patience:
        state = status(directory)
        if keeper is None and state.status != "restarting":
            return state
        if keeper is not None and (not state.is_running or state.status == "restarting" or state.keeper != keeper):
            return state
        time.sleep(_SETTLE)
    return status(directory)


@contextlib.contextmanager
def _opened_pidfd(process: Owner | None) -> Iterator[int | None]:
    """Yield a pidfd of *process*; None if it is no longer running."""
    if process is None:
        yield None
        return
    try:
        pidfd = os.pidfd_open(process.pid)
    except ProcessLookupError:
        yield None
        return
    try:
        # Checked after opening: a pidfd never changes its process, so if it is alive now, the pidfd is right.
        yield pidfd if process.runs_here() else None
    finally:
        os.close(pidfd)
