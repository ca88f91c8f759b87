"""`exec`, `stop`, `wait` and `kill`: manage existing containers."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from arstore import errors
from arstore.cli.command import ContainerCommand, command, exit_statuses, json_option, needing
from arstore.cli.containers.ended import status_of
from arstore.cli.containers.options.shared import ENV_FILE_HELP, GRACE, variables
from arstore.cli.containers.options.stream import detach_keys_option, keys_of
from arstore.cli.namespace import Need
from arstore.cli.parameter import ANY, RAW, argument, option
from arstore.cli.terminal.output import write_json, write_line
from arstore.errors import NotFoundError, UsageError

if TYPE_CHECKING:
    from arstore.cli.session import Session


@needing(Need.ENTRY)
@command("exec", cls=ContainerCommand, interspersed=False)
@argument("container_id", metavar="ID")
@argument("args", metavar="CMD [ARG]...", nargs=-1, type=RAW)
@option("-i", "--interactive", is_flag=True, help="Pass stdin to the command.")
@option("-t", "--tty", is_flag=True, help="Give the command a terminal.")
@option("-d", "--detach", is_flag=True, help="Run the command in the background, and discard its output.")
@option(
    "-e", "--env", metavar="K[=V]", multiple=True, help="Set a variable; K alone takes its value from the environment."
)
@option("--env-file", metavar="FILE", multiple=True, help=ENV_FILE_HELP)
@option("-w", "--workdir", metavar="DIR", type=ANY, default="", help="Set the working directory.")
@option("-u", "--user", metavar="USER[:GROUP]", type=ANY, help="Run the command as this user.")
@detach_keys_option
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
    detach_keys: str,
) -> int:
    """Run a command in a running container.

    Settings without an option are those of the container's own command. The exit status is that of the command. With
    -it on a terminal, the keys ctrl-p ctrl-q leave it running; then, the exit status is 0.

    Example:

    arstore exec -it web sh
    """
    from arstore.runtime.lifecycle.exec import exec_attached, exec_in, start_exec
    from arstore.runtime.spec.options import ExecOptions
    from arstore.runtime.stdio.attach import Attach

    if detach and interactive:
        raise UsageError("exec", "--detach and --interactive exclude each other")

    options = ExecOptions(variables(env_file, env), workdir, user, tty, interactive)
    with session.store() as store:
        container = store.containers.find(container_id)
    if detach:
        start_exec(container.path, args, options)
        return 0
    keys = keys_of(detach_keys)
    if Attach(keys=keys).needs_daemon(interactive=interactive, tty=tty):
        return status_of(session, exec_attached(container.path, args, options, keys))
    return status_of(session, exec_in(container.path, args, options))


@exit_statuses(errors.NotFoundError, errors.AmbiguousError, errors.InUseError)
@command("stop")
@argument("ids", metavar="ID...", nargs=-1, required=True)
@option("-t", "--time", "seconds", metavar="S", type=GRACE, help="Seconds between the stop signal and SIGKILL.")
@json_option
def stop(session: Session, ids: tuple[str, ...], seconds: float | None) -> None:
    """Stop running containers.

    Each container gets its stop signal, and SIGKILL if it is still running after S seconds. S is that of -t, or else of
    `run --stop-timeout`, or else 10. Containers that are not running are left alone. A container with a restart policy
    is not started again. A paused container is refused.

    Prints the ids.

    Example:

    arstore stop -t 30 web
    """
    with session.library() as store:
        found = store.containers.find(*ids)
        for container in found:
            # The container may have ended and been removed by itself.
            with suppress(NotFoundError):
                (done,) = store.containers.stop(container, timeout=seconds)
                if done.killed:
                    why = f"did not end within {done.timeout:g} s after signal {done.signal}, and was killed"
                    session.warn(f"container {container.id} {why}")
            if not session.json:
                write_line(container.id)
    if session.json:
        write_json({"stopped": [container.id for container in found]})


@exit_statuses(errors.NotFoundError, errors.AmbiguousError)
@command("wait")
@argument("ids", metavar="ID...", nargs=-1, required=True)
@json_option
def wait(session: Session, ids: tuple[str, ...]) -> None:
    """Wait until containers have ended.

    Prints their exit statuses, one per line, in the given order; -1 for a container whose command never began, or whose
    launcher was killed. For a container with a restart policy, waits for the end of its present run.

    Example:

    arstore wait web
    """
    ended = {}
    with session.library() as store:
        for container in store.containers.find(*ids):
            code = store.containers.wait(container).exit_code
            ended[container.id] = -1 if code is None else code
            if not session.json:
                write_line(str(ended[container.id]))
    if session.json:
        write_json([{"id": container_id, "exit_code": code} for container_id, code in ended.items()])


@exit_statuses(errors.NotFoundError, errors.AmbiguousError)
@command("kill")
@argument("ids", metavar="ID...", nargs=-1, required=True)
@option("-s", "--signal", "signal_name", metavar="SIGNAL", default="KILL", show_default=True, help="The signal.")
@json_option
def kill(session: Session, ids: tuple[str, ...], signal_name: str) -> None:
    """Send a signal to running containers.

    SIGNAL is a name, with or without SIG, or a number. The container's first process gets it. A paused container gets
    it when it goes on, except for KILL. After any signal, a restart policy does not start the container again. Prints
    nothing.

    Example:

    arstore kill --signal HUP web
    """
    from arstore.runtime.lifecycle.signals import parse_signal

    number = parse_signal(signal_name)
    with session.library() as store:
        found = store.containers.find(*ids)
        store.containers.kill(*found, signal=number)
    session.done = f"signal {number} was sent"
    if session.json:
        write_json({"killed": [container.id for container in found], "signal": number})
