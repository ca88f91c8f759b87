"""`start` and `restart`: run the command of an existing container again, as it was asked for."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from arstore import errors
from arstore.cli.command import MOUNT_ERRORS, ContainerCommand, command, exit_statuses, json_option, needing
from arstore.cli.containers.ended import attached_status_of
from arstore.cli.containers.options.new_container import out_of_memory, working_runtime
from arstore.cli.containers.options.shared import GRACE
from arstore.cli.containers.options.stream import attach_of, detach_keys_option, sig_proxy_option
from arstore.cli.namespace import Need
from arstore.cli.parameter import argument, option
from arstore.cli.terminal.output import write_json, write_line
from arstore.errors import InUseError, NotFoundError, StoreDamagedError, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from arstore.cli.session import Session
    from arstore.runtime.lifecycle.containers import RunRequest
    from arstore.runtime.lifecycle.state import RunState
    from arstore.runtime.stdio.attach import Attach
    from arstore.store.containers import Container
    from arstore.store.store import Store

_PATIENCE, _LOOK_AGAIN = 5.0, 0.02
"""Seconds to wait for another process that is just starting the container."""


@needing(Need.ENTRY)
@command("start", cls=ContainerCommand)
@argument("ids", metavar="ID...", nargs=-1, required=True)
@option("-a", "--attach", is_flag=True, help="Run it in the foreground: print its output, and end with its status.")
@option(
    "-i",
    "--interactive",
    is_flag=True,
    help="Like --attach. Stdin is passed if the container was made with --interactive.",
)
@sig_proxy_option
@detach_keys_option
@json_option
def start(
    session: Session, ids: tuple[str, ...], attach: bool, interactive: bool, sig_proxy: bool, detach_keys: str
) -> int:
    """Start containers that are not running.

    The command, its options and limits are those that `run` or `create` recorded; what the container wrote before is
    still there. A running container is left alone, or attached to with --attach. Containers made by `arstore mount
    --rw` have no command to start.

    Prints the ids; with --attach, what the command prints, and the exit status is that of the command.

    Examples:

    arstore start web

    arstore start --attach job
    """
    attach = attach or interactive
    if attach and len(ids) > 1:
        raise UsageError("start", "--attach takes one container")
    with session.store() as store:
        containers = [store.containers.find(text) for text in dict.fromkeys(ids)]
        if attach:
            how = attach_of((), detach_keys, sig_proxy)
            return _attached(session, store, containers[0], how)
        for container in containers:
            started(session, store, container)
            _print_id(session, container)
    if session.json:
        write_json({"started": [container.id for container in containers]})
    return 0


@exit_statuses(
    errors.NotFoundError,
    errors.AmbiguousError,
    errors.InUseError,
    *MOUNT_ERRORS,
    errors.RuntimeMissingError,
    errors.RuntimeFailedError,
    errors.ImageConfigError,
    errors.CommandNotFoundError,
    errors.CommandNotExecutableError,
    errors.IdentityError,
)
@needing(Need.ENTRY)
@command("restart")
@argument("ids", metavar="ID...", nargs=-1, required=True)
@option("-t", "--time", "seconds", metavar="S", type=GRACE, help="Seconds between the stop signal and SIGKILL.")
@json_option
def restart(session: Session, ids: tuple[str, ...], seconds: float | None) -> None:
    """Stop containers, and start them again.

    Each running container is stopped as by `arstore stop`. Those that are not running are only started.

    Prints the ids.

    Example:

    arstore restart -t 30 web
    """
    from arstore.runtime.lifecycle import control
    from arstore.store.container_document import being_restarted

    with session.store() as store:
        containers = [store.containers.find(text) for text in dict.fromkeys(ids)]
        for container in containers:
            # Before it is stopped: one that cannot be started again is left running.
            request = request_of(session, store, container)
            state = current(container)
            _refuse_paused(state)
            with being_restarted(container.path):
                if request.remove and state is not None and state.is_running:
                    # Only its launcher can do that: it removes the container when it has ended.
                    control.restart_removed(container.path, seconds)
                else:
                    control.end(container.path, seconds)
                    started(session, store, container, request)
            _print_id(session, container)
    if session.json:
        write_json({"restarted": [container.id for container in containers]})


def _print_id(session: Session, container: Container) -> None:
    session.done = f"container {container.id} was started"
    if not session.json:
        write_line(container.id)


def request_of(session: Session, store: Store, container: Container) -> RunRequest:
    """Return the recorded request of *container*.

    Raises NotFoundError if it has none, StoreDamagedError, StoreVersionError, and the errors of `working_runtime`.
    """
    from arstore.runtime.lifecycle.containers import RunRequest
    from arstore.runtime.lifecycle.request import recorded_request

    container.verify_whole()
    recorded = recorded_request(container)
    image = store.find(recorded.image)
    cgroups = recorded.options.cgroups
    runtime = working_runtime(session, store, recorded.runtime or None, cgroups=cgroups, timeout=recorded.timeout)
    return RunRequest(
        image,
        recorded.options,
        runtime,
        keep=not recorded.remove,
        timeout=recorded.timeout,
        remove=recorded.remove,
        chosen_runtime=recorded.runtime,
    )


def current(container: Container) -> RunState | None:
    """Return the state of its last run; None if nothing was ever run in it, or the state cannot be read."""
    from arstore.runtime.lifecycle.state import status

    try:
        return status(container.path)
    except (NotFoundError, StoreDamagedError):
        return None


def _refuse_paused(state: RunState | None) -> None:
    if state is not None and state.status == "paused":
        raise InUseError(f"container {state.id}", "is paused", f"run `arstore unpause {state.id}` first")


def started(session: Session, store: Store, container: Container, request: RunRequest | None = None) -> None:
    """Start *container* detached, unless it is running; another process may be starting it at the same time.

    Raises InUseError if it is paused, mounted or owned by a `run`, and the errors of `request_of`.
    """
    from arstore.runtime.lifecycle.containers import start_again

    until, again = time.monotonic() + _PATIENCE, True
    while True:
        state = current(container)
        _refuse_paused(state)
        if state is not None and state.is_running:
            return
        request = request or request_of(session, store, container)
        start_required(session, store, request.options.requires)
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


def start_required(session: Session, store: Store, names: Sequence[str]) -> None:
    """Start the containers that another one requires, unless they are running. Raises the errors of `started`."""
    for name in names:
        started(session, store, store.containers.find(name))


def _is_contended(container: Container) -> bool:
    """Whether another process starts, attends to or removes *container*."""
    from arstore.store.container_document import take_launch_lock

    lock = take_launch_lock(container.path)
    if lock is not None and lock >= 0:
        os.close(lock)
    return lock is None


def _attached(session: Session, store: Store, container: Container, how: Attach) -> int:
    """Start *container* with this process attached to it, or attach to it if it is running; return its exit status."""
    from arstore.runtime.lifecycle.attaching import attach
    from arstore.runtime.lifecycle.containers import run_again

    state = current(container)
    _refuse_paused(state)
    if state is not None and state.status == "running":
        store.release()
        return attached_status_of(session, container.name, attach(container.path, how))
    request = request_of(session, store, container)._replace(attach=how)
    start_required(session, store, request.options.requires)
    ended = run_again(store, container, request)
    if ended.oom_killed:
        session.warn(out_of_memory(container.id, request.options.memory))
    return attached_status_of(session, container.name, ended)
