"""Starting existing containers again, as they were asked for when they were made.

Another process may start the same container at the same time; then this one waits for a short time, and finds it
running. Out of scope: new containers, see `lifecycle.containers`.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from arstore.errors import InUseError
from arstore.runtime.lifecycle import control
from arstore.runtime.lifecycle.containers import RunRequest, start_again
from arstore.runtime.lifecycle.request import recorded_request
from arstore.runtime.lifecycle.state import RunState, known_status
from arstore.store.container_document import being_restarted, take_launch_lock

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from arstore.runtime.driver import Runtime
    from arstore.runtime.lifecycle.request import Request
    from arstore.store.containers import Container
    from arstore.store.store import Store

    FindRuntime = Callable[[Request], Runtime]
    """Returns the OCI runtime for a recorded request. Raises RuntimeMissingError, UsageError, HostError."""

_PATIENCE, _LOOK_AGAIN = 5.0, 0.02
"""Seconds to wait for another process that is just starting the container."""


def request_of(store: Store, container: Container, find: FindRuntime) -> RunRequest:
    """Return the recorded request of *container*.

    Raises NotFoundError if it has none, StoreDamagedError, StoreVersionError, and the errors of *find*.
    """
    container.verify_whole()
    recorded = recorded_request(container)
    image = store.find(recorded.image)
    return RunRequest(
        image,
        recorded.options,
        find(recorded),
        keep=not recorded.remove,
        timeout=recorded.timeout,
        remove=recorded.remove,
        chosen_runtime=recorded.runtime,
    )


def unpaused_state(container: Container) -> RunState | None:
    """Return the state of *container* as `known_status` does. Raises InUseError if it is paused."""
    state = known_status(container.path)
    if state is not None and state.status == "paused":
        raise InUseError(f"container {state.id}", "is paused", f"run `arstore unpause {state.id}` first")
    return state


def start_stopped(store: Store, container: Container, find: FindRuntime, request: RunRequest | None = None) -> None:
    """Start *container* detached, after the containers that it requires; do nothing if it is running.

    Raises InUseError if it is paused, mounted or owned by a `run`, and the errors of `request_of`.
    """
    until, again = time.monotonic() + _PATIENCE, True
    while True:
        state = unpaused_state(container)
        if state is not None and state.is_running:
            return
        request = request or request_of(store, container, find)
        start_required(store, request.options.requires, find)
        try:
            start_again(store, container, request)
        except InUseError:
            is_contended = _is_contended(container)
            if time.monotonic() > until or not (is_contended or again):
                raise
            # The lock may have become free since.
            again = is_contended
            time.sleep(_LOOK_AGAIN)
        else:
            return


def start_required(store: Store, names: Sequence[str], find: FindRuntime) -> None:
    """Start the containers that another one requires, unless they are running. Raises the errors of `start_stopped`."""
    for name in names:
        start_stopped(store, store.containers.find(name), find)


def restart(store: Store, container: Container, find: FindRuntime, grace: float | None = None) -> None:
    """Stop *container* as `control.stop` does, and start it again; one that is not running is only started.

    Raises the errors of `start_stopped`.
    """
    # Before it is stopped: one that cannot be started again is left running.
    request = request_of(store, container, find)
    state = unpaused_state(container)
    with being_restarted(container.path):
        if request.remove and state is not None and state.is_running:
            # Only its launcher can do that: it removes the container when it has ended.
            control.restart_removed(container.path, grace)
        else:
            control.end(container.path, grace)
            start_stopped(store, container, find, request)


def _is_contended(container: Container) -> bool:
    """Whether another process starts, attends to or removes *container*."""
    lock = take_launch_lock(container.path)
    if lock is not None and lock >= 0:
        os.close(lock)
    return lock is None
