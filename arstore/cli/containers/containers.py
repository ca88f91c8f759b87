"""`ps`, `logs`, `exec`, `kill` and `container rm`: containers after they were started."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from arstore import errors
from arstore.cli.command import (
    ContainerCommand,
    command,
    exit_statuses,
    json_option,
)
from arstore.cli.containers.ended import status_of
from arstore.cli.containers.options import ENV_FILE_HELP, GRACE, variables
from arstore.cli.group import CommandEntry, Group
from arstore.cli.parameter import ANY, RAW, argument, option
from arstore.cli.terminal.output import short_digest, utc_time, write_json, write_line, write_shown, write_table
from arstore.errors import NotFoundError, StoreDamagedError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from arstore.cli.session import Session
    from arstore.runtime.lifecycle.state import RunState
    from arstore.store.containers import Container
    from arstore.store.store import Store

FOLLOW_INTERVAL = 0.2
"""Seconds between two looks at a log that is followed."""


@exit_statuses()
@command("ps")
@option("-a", "--all", "every", is_flag=True, help="Also those in which nothing runs.")
@json_option
def ps(session: Session, every: bool) -> None:
    """List the containers.

    Without --all, those that run. STATUS is starting, running, exited, failed (its command never began), dead (its
    launcher was killed) or created (nothing was ever run in it).
    """
    with session.store() as store:
        names = {str(image.digest): image.label for image in store.images()}
        found = [_about(container, names) for container in store.containers.list()]
    if not every:
        found = [about for about in found if about["status"] in {"starting", "running"}]
    if session.json:
        write_json(found)
        return
    rows = [
        (
            about["id"],
            about["name"] or short_digest(about["image"]),
            f"{about['status']} (out of memory)" if about["oom_killed"] else about["status"],
            "-" if about["exit_code"] is None else str(about["exit_code"]),
            about["created"],
            " ".join(about["command"]) or "-",
        )
        for about in found
    ]
    write_table(("ID", "IMAGE", "STATUS", "EXIT>", "CREATED", "COMMAND"), rows)


def _about(container: Container, names: dict[str, str]) -> dict[str, Any]:
    state = _state(container)
    process = None if state is None or not state.is_running else state.process
    return {
        "id": container.id,
        "image": container.record.image,
        "name": names.get(container.record.image, ""),
        "status": "created" if state is None else state.status,
        "command": [] if state is None else list(state.args),
        "pid": None if process is None else process.pid,
        "exit_code": None if state is None else state.exit_code,
        "oom_killed": state is not None and state.oom_killed,
        "error": "" if state is None else state.error,
        "created": utc_time(container.record.created),
        "started": None if state is None or state.started is None else utc_time(state.started),
        "finished": None if state is None or state.finished is None else utc_time(state.finished),
        "detached": state is not None and state.detached,
        "ephemeral": container.record.ephemeral,
        "runtime": "" if state is None else state.runtime,
    }


def _state(container: Container) -> RunState | None:
    """What is known of its run; None when nothing was ever run in it, or nothing can be read."""
    from arstore.runtime.lifecycle.state import status

    try:
        return status(container.path)
    except (NotFoundError, StoreDamagedError):
        return None


@exit_statuses(errors.NotFoundError, errors.AmbiguousError)
@command("logs")
@argument("container_id", metavar="ID")
@option("-f", "--follow", is_flag=True, help="Go on until the container ends.")
@option("-t", "--timestamps", is_flag=True, help="Put the time before each line.")
@json_option
def logs(session: Session, container_id: str, follow: bool, timestamps: bool) -> None:
    """Show what a detached container has written.

    What it wrote to stderr goes to stderr. On a terminal, colours are shown and other control characters are escaped.
    With --json, a list of {"time", "stream", "text"}; bytes that are no UTF-8 are replaced there.
    """
    from arstore.runtime.stdio.logs import read_log_lines

    if session.json and follow:
        raise UsageError("logs", "--json and --follow exclude each other")
    with session.store() as store:
        container = store.containers.find(container_id)
    lines = read_log_lines(container.path, wait=_waiting(container) if follow else None)
    if session.json:
        write_json([{"time": e.time, "stream": e.stream, "text": e.data.decode("utf-8", "replace")} for e in lines])
        return
    for line in lines:
        stamp = f"{line.time} ".encode() if timestamps else b""
        write_shown(stamp + line.data, to_stderr=line.stream == "stderr", colours=True)


def _waiting(container: Container) -> Callable[[], bool]:
    """For `read_log_lines`: pauses between looks, and says whether the container may write more."""
    first = True

    def wait() -> bool:
        nonlocal first
        if not first:
            time.sleep(FOLLOW_INTERVAL)
        first = False
        state = _state(container)
        return state is not None and state.is_running

    return wait


@command("exec", cls=ContainerCommand, interspersed=False)
@argument("container_id", metavar="ID")
@argument("args", metavar="CMD [ARG]...", nargs=-1, type=RAW)
@option("-i", "--interactive", is_flag=True, help="Pass stdin to the command.")
@option("-t", "--tty", is_flag=True, help="Give the command a terminal.")
@option("-d", "--detach", is_flag=True, help="Return while the command runs; what it writes goes nowhere.")
@option("-e", "--env", metavar="K[=V]", multiple=True, help="A variable; K alone takes this environment's value.")
@option("--env-file", metavar="FILE", multiple=True, help=ENV_FILE_HELP)
@option("-w", "--workdir", metavar="DIR", type=ANY, default="", help="The working directory.")
@option("-u", "--user", metavar="USER[:GROUP]", type=ANY, help="Who the command runs as.")
@json_option
def exec_(
    session: Session,
    /,
    container_id: str,
    args: tuple[str, ...],
    detach: bool,
    interactive: bool,
    tty: bool,
    env: tuple[str, ...],
    env_file: tuple[str, ...],
    workdir: str,
    user: str | None,
) -> int:
    """Run a command in a running container.

    What no option says is as for the container's own command.
    """
    from arstore.runtime.lifecycle.exec import exec_in, start_exec
    from arstore.runtime.spec.options import ExecOptions

    if detach and interactive:
        raise UsageError("exec", "--detach and --interactive exclude each other: nobody would be there to type")

    options = ExecOptions(variables(env_file, env), workdir, user, tty, interactive)
    with session.store() as store:
        container = store.containers.find(container_id)
    if detach:
        start_exec(container.path, args, options)
        return 0
    return status_of(session, exec_in(container.path, args, options))


@exit_statuses(errors.NotFoundError, errors.AmbiguousError)
@command("stop")
@argument("ids", metavar="ID...", nargs=-1, required=True)
@option("-t", "--time", "seconds", metavar="S", type=GRACE, help="Seconds until it is killed.")
@json_option
def stop(session: Session, ids: tuple[str, ...], seconds: float | None) -> None:
    """Stop running containers.

    Each gets its stop signal, and then SIGKILL. It has as many seconds as it was started with (`run --stop-timeout`,
    10) unless -t gives others. One that does not run is left as it is. Prints the ids.
    """
    from arstore.runtime.lifecycle.control import stop as stop_container

    with session.store() as store:
        containers = [store.containers.find(container_id) for container_id in dict.fromkeys(ids)]
    for container in containers:
        # It may end by itself at this moment, or have ended before.
        with suppress(NotFoundError):
            stop_container(container.path, seconds)
        if not session.json:
            write_line(container.id)
    if session.json:
        write_json({"stopped": [container.id for container in containers]})


@exit_statuses(errors.NotFoundError, errors.AmbiguousError)
@command("wait")
@argument("ids", metavar="ID...", nargs=-1, required=True)
@json_option
def wait(session: Session, ids: tuple[str, ...]) -> None:
    """Wait until containers have ended.

    Prints their exit statuses, a line each, in the order in which they are named; -1 for one that never began, or whose
    launcher was killed.
    """
    from arstore.runtime.lifecycle.control import wait as wait_for

    with session.store() as store:
        containers = [store.containers.find(container_id) for container_id in dict.fromkeys(ids)]
    ended = {}
    for container in containers:
        code = wait_for(container.path).exit_code
        ended[container.id] = -1 if code is None else code
        if not session.json:
            write_line(str(ended[container.id]))
    if session.json:
        write_json([{"id": container_id, "exit_code": code} for container_id, code in ended.items()])


@exit_statuses(errors.NotFoundError, errors.AmbiguousError)
@command("kill")
@argument("ids", metavar="ID...", nargs=-1, required=True)
@option("-s", "--signal", "signal_name", metavar="SIGNAL", default="KILL", show_default=True, help="Which one.")
@json_option
def kill(session: Session, ids: tuple[str, ...], signal_name: str) -> None:
    """Send a signal to a running container.

    SIGNAL is a name, with or without SIG, or a number; the container's first process gets it.
    """
    from arstore.runtime.lifecycle.control import kill as send
    from arstore.runtime.lifecycle.signals import parse_signal

    number = parse_signal(signal_name)
    with session.store() as store:
        containers = {found.id: found for found in map(store.containers.find, ids)}
    for container in containers.values():
        send(container.path, number)
    session.done = f"signal {number} is sent"
    if session.json:
        write_json({"killed": list(containers), "signal": number})


@json_option
def _container(_: Session) -> None:
    """Manage containers."""


container = Group(
    "container",
    _container,
    {
        "Commands": {
            "rm": CommandEntry("containers.containers", "container_rm", "Remove containers, with all that they wrote.")
        }
    },
)


@exit_statuses(
    errors.NotFoundError,
    errors.AmbiguousError,
    errors.InUseError,
    errors.MountError,
    errors.MountForbiddenError,
)
@command("rm")
@argument("ids", metavar="ID...", nargs=-1, required=True)
@option("-f", "--force", is_flag=True, help="Kill what runs in it, and unmount it, first.")
@json_option
def container_rm(session: Session, ids: tuple[str, ...], force: bool) -> None:
    """Remove containers, with all that they wrote.

    ID is a container's id, or a unique start of one. Without --force, a container in which something runs, or whose
    root is mounted, is not removed.
    """
    with session.store() as store:
        wanted = list(dict.fromkeys(store.containers.find(container_id).id for container_id in ids))
        for container_id in wanted:
            _remove(store, container_id, force)
    session.done = "the containers are removed"
    if session.json:
        write_json({"removed": wanted})


def _remove(store: Store, container_id: str, force: bool) -> None:
    from arstore.runtime.lifecycle.containers import remove

    may_be_gone = force and _make_idle(store, store.containers.get(container_id))
    try:
        remove(store, container_id)
    except NotFoundError:
        if not may_be_gone:
            raise


def _make_idle(store: Store, container: Container) -> bool:
    """Unmount the root of *container*, and kill what runs in it; whether anything was ever run in it.

    It may end by itself at this moment, and a `run` in the foreground removes its container then.
    """
    from arstore.rootfs.mount import umount_container
    from arstore.runtime.lifecycle import control

    umount_container(store, container)
    state = _state(container)
    if state is not None and state.is_running:
        with suppress(NotFoundError):
            control.kill(container.path)
        with suppress(NotFoundError):
            control.wait(container.path)
    return state is not None
