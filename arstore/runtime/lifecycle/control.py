"""Control of a container from outside its launcher: signal, stop, wait.

Everything uses the state file and pidfds (pidfd_open(2), Linux 5.3): a pid that was reused in the meantime is never
signalled, and waiting needs no polling. Any process of the container's owner may do it. Out of scope: exec, see
`lifecycle.exec`.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from typing import TYPE_CHECKING

from arstore.disk.owner import Owner
from arstore.errors import NotFoundError
from arstore.linux.waiting import readable
from arstore.runtime.lifecycle.state import RunState, status

if TYPE_CHECKING:
    from collections.abc import Iterator

_SETTLE = 0.01
_SETTLE_SECONDS = 5.0


def kill(directory: str, number: int = signal.SIGKILL) -> None:
    """Send a signal to the first process of the container in *directory*.

    Raises NotFoundError if it is not running, OSError.
    """
    state = status(directory)
    if state.is_running:
        state.require_reachable()
    if state.status == "starting" and number == signal.SIGKILL:
        process: Owner | None = state.keeper
    else:
        process = state.process if state.is_running else None
    with _opened_pidfd(process) as pidfd:
        if pidfd is None:
            raise NotFoundError(f"container {state.id}", "is not running")
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(pidfd, number)


def wait(directory: str, timeout: float | None = None) -> RunState:
    """Return the state after the container in *directory* has ended and its launcher has recorded that, or after
    *timeout* seconds.

    Raises NotFoundError if it was never started, OSError.
    """
    deadline = None if timeout is None else time.monotonic() + timeout
    state = status(directory)
    while state.is_running:
        state.require_reachable()
        # A foreground launcher outlives its container, a detached one ends with it; both have a keeper.
        with _opened_pidfd(state.keeper) as pidfd:
            if pidfd is not None and not readable(pidfd, deadline):
                return status(directory)
        state = _settled(directory)
    return state


def stop(directory: str, grace: float | None = None) -> RunState:
    """End the container in *directory*: send its stop signal, and SIGKILL after *grace* seconds; return its last state.

    Without *grace*, the value from its start is used. Raises NotFoundError if it is not running, OSError.
    """
    state = status(directory)
    kill(directory, state.stop_signal)
    state = wait(directory, state.stop_timeout if grace is None else grace)
    if state.is_running:
        with contextlib.suppress(NotFoundError):
            kill(directory)
        state = wait(directory)
    return state


def _settled(directory: str) -> RunState:
    """Wait for the final state: the keeper has ended, and its launcher, if alive, is about to write it."""
    patience = time.monotonic() + _SETTLE_SECONDS
    while (state := status(directory)).is_running and time.monotonic() < patience:
        time.sleep(_SETTLE)
    return state


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
