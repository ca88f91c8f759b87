"""`start` and `restart`: run the command of an existing container again, as it was asked for."""

from __future__ import annotations

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
from arstore.errors import UsageError

if TYPE_CHECKING:
    from arstore.api.values.containers import Container as Found
    from arstore.cli.session import Session
    from arstore.runtime.driver import Runtime
    from arstore.runtime.lifecycle.request import Request
    from arstore.runtime.lifecycle.starting import FindRuntime
    from arstore.runtime.stdio.attach import Attach
    from arstore.store.containers import Container
    from arstore.store.store import Store


@needing(Need.ENTRY)
@command("start", cls=ContainerCommand)
@argument("ids", metavar="ID...", nargs=-1, required=True)
@option(
    "-a", "--attach", is_flag=True, help="Run the container in the foreground: print its output, end with its status."
)
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
    if attach:
        with session.store() as store:
            how = attach_of((), detach_keys, sig_proxy)
            return _attached(session, store, store.containers.find(ids[0]), how)
    with session.library() as store:
        containers = store.containers.find(*ids)
        for container in containers:
            store.containers.start(container)
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
    with session.library() as store:
        containers = store.containers.find(*ids)
        for container in containers:
            store.containers.restart(container, timeout=seconds)
            _print_id(session, container)
    if session.json:
        write_json({"restarted": [container.id for container in containers]})


def _print_id(session: Session, container: Found) -> None:
    session.done = f"container {container.id} was started"
    if not session.json:
        write_line(container.id)


def finder(session: Session, store: Store) -> FindRuntime:
    """Return a function that finds the OCI runtime for a recorded request."""

    def find(recorded: Request) -> Runtime:
        options = recorded.options
        explicit = recorded.runtime or None
        return working_runtime(session, store, explicit, cgroups=options.cgroups, timeout=recorded.timeout)

    return find


def _attached(session: Session, store: Store, container: Container, how: Attach) -> int:
    """Start *container* with this process attached to it, or attach to it if it is running; return its exit status."""
    from arstore.runtime.lifecycle.attaching import attach
    from arstore.runtime.lifecycle.containers import run_again
    from arstore.runtime.lifecycle.starting import request_of, start_required, unpaused_state

    state = unpaused_state(container)
    if state is not None and state.status == "running":
        store.release()
        return attached_status_of(session, container.name, attach(container.path, how))
    find = finder(session, store)
    request = request_of(store, container, find)._replace(attach=how)
    start_required(store, request.options.requires, find)
    ended = run_again(store, container, request)
    if ended.oom_killed:
        session.warn(out_of_memory(container.id, request.options.memory))
    return attached_status_of(session, container.name, ended)
