"""Another process in a running container: `exec`.

A child joins the keeper's pid and mount namespaces, where the runtime's state and the bundle are. It runs `RUNTIME
exec` there, detached, and is the reaper of the new process. It has its own session, as the keeper has. If the caller is
killed, the child gets a signal and kills the process, and vice versa. If both are killed at once, the process stays
until the container ends. Out of scope: finding the container.
"""

from __future__ import annotations

import os
import signal
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING

from arstore.disk.owner import Owner
from arstore.errors import (
    ArstoreError,
    HostError,
    InterruptedByUserError,
    InUseError,
    NotFoundError,
    RuntimeFailedError,
    UsageError,
)
from arstore.linux.isolation.namespace import CLONE_NEWNS, setns
from arstore.linux.process import become_subreaper
from arstore.runtime.driver import OciRuntime, StatePlace
from arstore.runtime.lifecycle.channel import Sender, Unwritten, error_of
from arstore.runtime.lifecycle.child import Child, close_others, spawn
from arstore.runtime.lifecycle.detach import detached
from arstore.runtime.lifecycle.keeper import Errand, Keeper
from arstore.runtime.lifecycle.launcher import Ended, outer_process
from arstore.runtime.lifecycle.signals import FORWARDED, held_back, passing_on
from arstore.runtime.lifecycle.state import RunState, status
from arstore.runtime.spec.bundle import HOME_IS_GIVEN, Bundle
from arstore.runtime.spec.identity.users import require_mapped, require_plain_files, resolve_user
from arstore.runtime.spec.image_files import RootDirectory
from arstore.runtime.spec.options import ExecOptions
from arstore.runtime.spec.process import (
    check_working_directory,
    checked,
    environment,
    home_of,
    identity_section,
    working_directory,
)
from arstore.runtime.stdio.streams import Detached, Stdio
from arstore.runtime.stdio.terminal import raw_mode, window_size

if TYPE_CHECKING:
    from collections.abc import Callable

    from arstore.runtime.spec.defaults import Json

_KILLED = 128 + signal.SIGKILL
_ORPHANED = signal.SIGRTMIN + 5
"""The signal that the child gets when the caller ends; it is not used for anything else."""


def exec_in(directory: str, args: tuple[str, ...], options: ExecOptions | None = None) -> Ended:
    """Run *args* in the container of *directory*, on this process's standard streams; return how it ended.

    Settings that are not in *options* are those of the container's own process. Raises NotFoundError if the container
    is not running, CommandNotFoundError, CommandNotExecutableError, ImageConfigError for the user, RuntimeFailedError,
    OSError. An LMDB environment must not be open.
    """
    options = options or ExecOptions()
    state = _running(directory, args)
    stdio = Stdio(options.interactive, options.tty)
    return _exec(directory, state, args, options, stdio, lambda: None)


def start_exec(directory: str, args: tuple[str, ...], options: ExecOptions | None = None) -> None:
    """Start *args* in the container of *directory*, and return while it is running; its output is discarded.

    Raises the errors of `exec_in`.
    """
    place = os.path.abspath(directory)
    state = _running(directory, args)
    asked = options or ExecOptions()

    _start_exec(place, state, args, asked, Detached())


def exec_attached(directory: str, args: tuple[str, ...], options: ExecOptions, keys: bytes) -> Ended:
    """Run *args* in the container of *directory* by a daemon that this process is attached to; return how it ended.

    The user can leave the process running by typing *keys*; then, its output is discarded. Raises the errors of
    `exec_in`.
    """
    from arstore.runtime.lifecycle.attaching import OwnPair, ended
    from arstore.runtime.stdio.client import Attachment, Client

    place = os.path.abspath(directory)
    state = _running(directory, args)
    attachment = Attachment(keys=keys, interactive=options.interactive, tty=options.tty, signals=FORWARDED)
    with OwnPair() as pair, raw_mode(0):
        _start_exec(place, state, args, options, Detached(client=pair.theirs, size=window_size(0, 1, 2)))
        pair.handed_over()
        return ended(Client(pair.ours, attachment).attend(), _KILLED)


def _start_exec(directory: str, state: RunState, args: tuple[str, ...], options: ExecOptions, given: Detached) -> None:
    """Start *args* in a daemon, and return while it is running."""

    def work(report: Sender) -> None:
        # The client's end must not stay open here: its death has to be noticed.
        close_others(report.fd, *given.descriptors)

        def started() -> None:
            report.send("started")
            report.close()

        _exec(directory, state, args, options, Stdio(options.interactive, options.tty, given), started)

    detached(f"container {state.id}", work)


def _running(directory: str, args: tuple[str, ...]) -> RunState:
    if not args:
        raise UsageError("exec", "no command is given")
    state = status(directory)
    if state.status == "paused":
        raise InUseError(f"container {state.id}", "is paused", f"run `arstore unpause {state.id}` first")
    if state.status != "running":
        raise NotFoundError(f"container {state.id}", "is not running")
    state.require_reachable()
    return state


def _exec(
    directory: str,
    state: RunState,
    args: tuple[str, ...],
    options: ExecOptions,
    stdio: Stdio,
    on_start: Callable[[], None],
) -> Ended:
    with ExitStack() as stack:
        if options.tty and options.interactive and stdio.detached is None:
            stack.enter_context(raw_mode(0))
        pid_namespace, *entrance = (
            stack.enter_context(_Handle(state.keeper, name)).fd for name in ("ns/pid", "ns/mnt", "root")
        )
        with held_back():
            child = spawn(
                lambda report: _attend(os.path.abspath(directory), state, args, options, stdio, entrance, report),
                pid_namespace,
                _ORPHANED,
            )
            for fd in () if stdio.detached is None else stdio.detached.inherited:
                os.close(fd)
            interrupts: list[int] = []

            def pass_on(number: int) -> None:
                if number == signal.SIGINT:
                    interrupts.append(number)
                child.send_signal(number)

            stack.enter_context(passing_on(pass_on))
        child.let_go()
        return _follow(child, on_start, interrupts)


def _elsewhere() -> HostError:
    why = "the container was started in another user namespace, and cannot be entered from this one"
    return HostError("exec", why, "use arstore outside of `unshare`, or in the one where the container was started")


class _Handle:
    """An open namespace or root of a process.

    Raises NotFoundError if the process has ended, HostError for one of another user namespace.
    """

    def __init__(self, process: Owner, name: str) -> None:
        gone = NotFoundError(f"process {process.pid}", "the container has ended")
        try:
            self.fd = os.open(f"/proc/{process.pid}/{name}", os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError as error:
            raise gone from error
        except PermissionError as error:
            raise _elsewhere() from error
        # Checked after opening: the pid may have been reused before.
        if not process.runs_here():
            os.close(self.fd)
            raise gone

    def __enter__(self) -> _Handle:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self.fd)


def _follow(child: Child, on_start: Callable[[], None], interrupts: list[int]) -> Ended:
    """Receive events until the child's end. If the child was killed, kill the process that it left behind.

    *interrupts* has each SIGINT that was passed on.
    """
    result: int | None = None
    process: Owner | None = None
    has_started = False
    unwritten: Unwritten | None = None
    failure: ArstoreError | OSError | None = None
    while event := child.events.receive():
        if event.name == "started":
            has_started = True
            process = outer_process(child.pid, event.fields["pid"])
            on_start()
        elif event.name == "exited":
            result = event.fields["status"]
        elif event.name == "unwritten":
            unwritten = Unwritten(event.fields["stream"], event.fields["errno"])
        elif event.name == "lost":
            pass
        else:
            failure = error_of(event)
    child.wait()
    if failure is not None and interrupts and not has_started:
        failure = InterruptedByUserError("", "interrupted")
    if failure is not None:
        raise failure
    if result is not None:
        return Ended(result, unwritten=unwritten)
    if process is None:
        raise RuntimeFailedError("exec", "it was killed before the command was started")
    if process.runs_here():
        with suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGKILL)
    return Ended(_KILLED)


def _attend(
    directory: str,
    state: RunState,
    args: tuple[str, ...],
    options: ExecOptions,
    stdio: Stdio,
    entrance: list[int],
    report: Sender,
) -> None:
    """Do the child's work in the keeper's namespaces; *entrance* is the keeper's mount namespace and root, open."""
    os.setsid()
    become_subreaper()
    session = Keeper(stdio, report)
    session.catch_signals(_ORPHANED)
    mount_namespace, root = entrance
    setns(mount_namespace, CLONE_NEWNS)
    # setns leads to the namespace's root, which is not the keeper's if arstore itself runs in a chroot.
    os.fchdir(root)
    os.chroot(".")
    bundle = Bundle(directory)
    os.chdir(bundle.path)
    name = f"run/exec-{os.getpid()}"
    os.mkdir(name, 0o700)
    size = window_size(0, 1, 2) if stdio.detached is None else stdio.detached.size
    process = bundle.write_spec(_process(bundle, args, options, size), f"{name}/process.json")
    place = StatePlace(bundle.place.root, os.path.join(bundle.path, name, "log"))
    runtime = OciRuntime(state.runtime, cgroups=state.cgroups)
    session.attend(
        Errand(
            runtime=runtime,
            argv=lambda console: runtime.exec(place, state.id, process, f"{name}/pid", console),
            pid_file=f"{name}/pid",
            log=place.log,
            what=args[0],
            console=f"{name}/console",
            is_32_bit=bundle.spec()["linux"].get("personality") == {"domain": "LINUX32"},
        )
    )
    _clear(name)


def _process(bundle: Bundle, args: tuple[str, ...], options: ExecOptions, size: tuple[int, int] | None = None) -> Json:
    """Return the process in the container's config.json, changed according to *args* and *options*; *size* is that of
    its terminal.
    """
    spec = bundle.spec()
    found: Json = spec["process"]
    for word in args:
        checked(word, "argument")
    found |= {"args": list(args), "terminal": options.tty}
    found.pop("consoleSize", None)
    if options.tty and size is not None:
        found["consoleSize"] = {"height": size[0], "width": size[1]}
    volumes = [(mount["destination"], mount["source"]) for mount in spec["mounts"] if mount["type"] == "bind"]
    with RootDirectory(bundle.rootfs, volumes) as root:
        require_plain_files(root)
        if options.workdir:
            found["cwd"] = working_directory(options.workdir, root)
            check_working_directory(options.workdir, found["cwd"], root)
        env: list[str] = found["env"]
        home = "/"
        if options.user is not None:
            user = require_mapped(resolve_user(options.user, root))
            home = home_of(user, found["cwd"])
            if not bundle.has(HOME_IS_GIVEN):
                env = [variable for variable in env if not variable.startswith("HOME=")]
            names = [name.removeprefix("CAP_") for name in found["capabilities"]["bounding"]]
            found |= identity_section(user, names, umask=found["user"].get("umask", 0o022))
    found["env"] = list(environment(env, options.env, home=home, hostname=spec["hostname"], tty=options.tty))
    return found


def _clear(name: str) -> None:
    """Remove this exec's files from the bundle; the container may end, and the whole bundle vanish, at any moment."""
    with suppress(FileNotFoundError):
        for entry in os.listdir(name):
            os.unlink(os.path.join(name, entry))
        os.rmdir(name)
