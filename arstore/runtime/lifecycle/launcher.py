"""Running a container so that the kernel does the clean-up, whichever process is killed.

```
arstore (foreground) or a daemon forked from it (detached): the launcher; state.json, signals, cgroups afterwards
  └─ keeper: PID 1 of a pid namespace, in its own mount namespace; mounts the root file system, runs the OCI runtime
     │       once, then waits, and moves bytes where that is needed
     └─ the container's process, PID 1 of a pid namespace below
```
The keeper dies with the launcher (PR_SET_PDEATHSIG). Because the keeper is PID 1, every process below dies with it; the
mount namespace dies with the last of them, and every mount and the runtime's state with the namespace. Only control
groups stay, empty, for `remove_cgroups`. The keeper has its own session: a terminal's signals reach only the launcher,
which passes on each exactly once.

Locking: the caller's (`containers`). Only the launcher writes state.json. An LMDB environment must not be open in the
calling process. Out of scope: the container's record in the store, and the removal of its directory.
"""

from __future__ import annotations

import os
import signal
import time
from contextlib import ExitStack, nullcontext, suppress
from typing import TYPE_CHECKING

from arstore.disk.cgroups import oom_kills, remove_cgroups
from arstore.disk.namespace_holders import hold
from arstore.disk.owner import Owner, lock_of
from arstore.errors import ArstoreError, InterruptedByUserError, PipelineTimeoutError, RuntimeFailedError
from arstore.runtime.lifecycle.channel import Sender, Unwritten, error_of
from arstore.runtime.lifecycle.child import Child, close_others, spawn
from arstore.runtime.lifecycle.detach import detached
from arstore.runtime.lifecycle.keeper import Errand, Keeper
from arstore.runtime.lifecycle.launch import Launch, prepare
from arstore.runtime.lifecycle.life import Life
from arstore.runtime.lifecycle.signals import held_back, passing_on
from arstore.runtime.lifecycle.state import RunState, StateFile, graph_of
from arstore.runtime.spec.bundle import Bundle
from arstore.runtime.spec.mounts.section import own_mount_points
from arstore.runtime.stdio.logs import LogLimit
from arstore.runtime.stdio.streams import Detached, Stdio
from arstore.runtime.stdio.terminal import raw_mode
from arstore.trace import reached
from arstore.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

    from arstore.runtime.health.state import Schedule
    from arstore.runtime.lifecycle.channel import Event
    from arstore.runtime.lifecycle.state import Status

_LONGEST_ERROR = 4096
_HARMLESS = frozenset({signal.SIGWINCH, signal.SIGCONT})
"""Forwarded signals that are not sent to end a container."""
_KILLED = 128 + signal.SIGKILL
_INSISTENCE, _INSISTENCE_SECONDS = 3, 2.0
_LOOKS = 3
"""How often the kernel's lists of children are read: a list may miss a child while another child ends."""
_GENERATIONS = 3
"""How far below the keeper a container's process may be: crun's helper, its parent, may outlive crun briefly."""


class Ended(NamedTuple):
    """How a container ended: its exit status (128+N if signal N ended it), whether the kernel killed a process in it
    because memory ran out, and the stream that could not take its output.
    """

    status: int
    oom_killed: bool = False
    unwritten: Unwritten | None = None
    detached: bool = False
    """Whether the user has detached from it instead, and it goes on."""
    lost: int = 0
    """Bytes of output that this process was too slow for; -1 for an unknown number at the end."""


def run(launch: Launch) -> Ended:
    """Run the container in the foreground, on this process's standard streams.

    If its restart policy starts it again, that is left to the caller (`Life.last`). Raises the errors that keep it from
    starting: ImageConfigError, CommandNotFoundError, CommandNotExecutableError, MountError, RuntimeFailedError,
    OSError...; PipelineTimeoutError if it had to be stopped after *launch.timeout* seconds.
    """
    options = launch.options
    stdio = Stdio(options.interactive, options.tty, attached=launch.attached)
    watch = _Watch(_absolute(launch), detached=False)
    with launch.attending(), raw_mode(0) if options.tty and options.interactive else nullcontext():
        status = watch.attend(stdio, lambda _: None)
    return Ended(_KILLED if status is None else status, watch.oom_killed, watch.unwritten)


def start(launch: Launch) -> None:
    """Start the container detached from this process; return once it is running. Its output goes to the log, and to
    processes that attach themselves (`stdio.hub`).

    The launcher is a daemon, which calls *launch.on_exit* after the end of a container that has started. Raises the
    errors that keep the container from starting, as `run` does.
    """
    life = launch.life or Life()

    def work(report: Sender) -> None:
        with life.listening():
            try:
                attend(launch, report)
            except (ArstoreError, OSError):
                if not report.is_closed:
                    raise
            launch.on_exit()

    detached(launch.id, work)


def attend(launch: Launch, report: Sender | None = None) -> None:
    """Run the container as its launcher, a daemon; its output goes to the log, and to attached processes.

    The first event is sent to *report*; without one, this is not the daemon's first run of the container. Raises the
    errors of `run`.
    """
    launch = _absolute(launch)
    # Held while this process lives, so that it is known to be alive in every pid namespace.
    graph = graph_of(launch.directory)
    Owner.announced(graph)
    hold(graph)
    kept = None if report is None else (report.fd, lock_of(graph), *launch.kept, *(launch.passed or ()))
    watch = _Watch(launch, detached=True, kept=kept)
    try:
        with launch.attending():
            watch.attend(_detached_stdio(launch), lambda event: _announce(report, event))
    finally:
        _remove_socket(launch.directory)


def _remove_socket(directory: str) -> None:
    from arstore.runtime.stdio.frames import remove_socket

    remove_socket(directory)


def _detached_stdio(launch: Launch) -> Stdio:
    """Open what the streams of a detached container lead to. The keeper inherits it. Raises OSError."""
    from arstore.runtime.stdio.frames import listening

    log, client = launch.options.log, launch.client
    directory = -1
    if log.is_file:
        directory = os.open(launch.directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    detached = Detached(
        log_directory=directory,
        limit=LogLimit(log.size, log.files),
        listener=listening(launch.directory),
        passed=launch.passed,
    )
    if client is not None:
        detached = detached._replace(client=client.fd, ends_with_client=client.ends_container, size=client.size)
    return Stdio(launch.options.interactive, launch.options.tty, detached)


def _announce(report: Sender | None, event: Event) -> None:
    if report is not None:
        report.send(event.name)
        report.close()


class _Watch:
    """The launcher's part in one container's life: lets the keeper work, and maintains state.json."""

    def __init__(self, launch: Launch, *, detached: bool, kept: tuple[int, ...] | None = None) -> None:
        """All other descriptors than *kept* are closed, unless it is None."""
        self._launch = launch
        self._life = launch.life or Life()
        self._detached = detached
        self._kept = kept
        self._child: Child | None = None
        self._interrupts: list[float] = []
        self._deadline: float | None = None
        self._is_waiting = False
        self._is_stopping = False
        self._terminated = False
        self._timed_out = False
        self._file: StateFile | None = None
        self._checks: Schedule | None = None
        self.oom_killed = False
        self.unwritten: Unwritten | None = None
        self._lost = 0
        self._seen = -1

    def attend(self, stdio: Stdio, on_start: Callable[[Event], None]) -> int | None:
        """Supervise from the fork to the last clean-up; return the exit status, None if the keeper was killed.

        Raises the error that the keeper reports, and PipelineTimeoutError.
        """
        launch = self._launch
        # Signals are blocked during the fork, so that none is lost between the fork and the handlers.
        with ExitStack() as stack:
            seen = -1
            with held_back():
                if launch.options.pid_file:
                    seen, self._seen = os.pipe()
                    stack.callback(self._has_seen)
                child = spawn(lambda report: _keep(launch, stdio, report, seen), None, signal.SIGKILL)
                self._child = child
                if seen >= 0:
                    os.close(seen)
                if stdio.detached is not None:
                    # The keeper has them now: a socket is connected as long as one process has it.
                    for fd in stdio.detached.inherited:
                        os.close(fd)
                stack.callback(self._end)
                if launch.passes_signals:
                    stack.enter_context(passing_on(self._pass_on))
            state = self._first_state(child)
            self._file = StateFile(self._launch.directory, state)
            if launch.options.launcher_pid_file:
                from arstore.runtime.lifecycle.id_files import write_id_file

                write_id_file(launch.options.launcher_pid_file, str(os.getpid()))
            self._life.begin(self._file)
            self._begin_checks()
            stack.callback(self._close)
            reached("run.starting")
            child.let_go()
            if self._kept is not None:
                close_others(child.events.fd, child.go_fd, self._seen, *self._kept)
            return self._follow(child, state, on_start)

    def _has_seen(self) -> None:
        """Let the keeper reap the container's process, whose number has been looked up."""
        if self._seen >= 0:
            os.close(self._seen)
            self._seen = -1

    def _begin_checks(self) -> None:
        """Make the schedule of health checks, and remove the results of an earlier run."""
        check = self._launch.health_check
        if check is None and not os.path.lexists(f"{self._launch.directory}/health.json"):
            return
        from arstore.runtime.health.state import Schedule

        self._checks = Schedule(self._launch.directory, check, self._launch.run_check)
        self._checks.begin()

    def _is_unhealthy(self) -> bool:
        from arstore.runtime.health.state import UNHEALTHY, health_state

        health = health_state(self._launch.directory)
        return health is not None and health.status == UNHEALTHY

    def _close(self) -> None:
        """Close the state's file, unless the next run or its failure may have to be recorded in it."""
        if self._file is not None and self._life.last is None:
            self._file.close()

    def _end(self) -> None:
        """End the keeper, which is still running if something failed on this side."""
        child, self._child = self._child, None
        if child is not None:
            child.send_signal(signal.SIGKILL)
            child.wait()
            remove_cgroups(self._launch.directory)

    def _follow(self, child: Child, state: RunState, on_start: Callable[[Event], None]) -> int | None:
        failure: ArstoreError | OSError | None = None
        status: int | None = None
        if self._launch.timeout is not None:
            self._deadline = time.monotonic() + self._launch.timeout
        while event := self._next(child, state):
            if event.name == "started":
                state = self._write_state(self._started(state, child.pid, event.fields["pid"]))
                reached("run.started")
                if self._launch.options.pid_file and state.process is not None:
                    from arstore.runtime.lifecycle.id_files import write_id_file

                    write_id_file(self._launch.options.pid_file, str(state.process.pid))
                self._has_seen()
                on_start(event)
                if self._checks is not None:
                    self._checks.started()
                if self._is_stopping:
                    self._stop(state)
            elif event.name == "exited":
                status = event.fields["status"]
                reached("run.exited")
            elif event.name == "unwritten":
                self.unwritten = Unwritten(event.fields["stream"], event.fields["errno"])
            elif event.name == "lost":
                self._lost = event.fields["size"]
            else:
                failure = error_of(event)
        self._child = None
        child.wait()
        self.oom_killed = oom_kills(self._launch.directory) > 0
        remove_cgroups(self._launch.directory)
        reached("run.ended")
        if state.status == "starting" and (failure is None or self._interrupts):
            if self._life.is_over and self._life.restarts:
                # A user has ended it between two runs, and how the last one ended counts.
                status = state.exit_code
            else:
                failure = self._unstarted()
        self._last_word(state, status, failure)
        reached("run.told")
        if failure is not None:
            raise failure
        if self._timed_out and self._life.last is None:
            why = f"did not finish in {self._launch.timeout:g} seconds and was stopped"
            raise PipelineTimeoutError(self._launch.id, why)
        return status

    def _unstarted(self) -> ArstoreError:
        name = os.path.basename(self._launch.runtime.path)
        if self._interrupts:
            return InterruptedByUserError("", "interrupted")
        if self._timed_out:
            return PipelineTimeoutError(self._launch.id, f"{name} did not start it in {self._launch.timeout:g} seconds")
        return RuntimeFailedError(self._launch.id, f"{name} was stopped before it had started the container")

    def _next(self, child: Child, state: RunState) -> Event | None:
        """Return the next event; when the time is over, stop the container, and then kill it, whatever its state."""
        while True:
            try:
                self._is_waiting = True
                return child.events.receive(self._wake_up())
            except TimeoutError:
                self._is_waiting = False
                if self._checks is not None and (self._deadline is None or time.monotonic() < self._deadline):
                    self._checks.perform()
                elif self._is_stopping:
                    child.send_signal(signal.SIGKILL)
                    self._deadline = None
                else:
                    self._is_stopping = True
                    self._timed_out = not self._terminated
                    self._stop(state)
                    self._deadline = time.monotonic() + self._launch.options.stop_timeout
            finally:
                self._is_waiting = False

    def _wake_up(self) -> float | None:
        """Return the time at which something has to be done, though nothing happens; None for never."""
        due = None if self._checks is None or self._is_stopping else self._checks.due
        return min((one for one in (self._deadline, due) if one is not None), default=None)

    def _stop(self, state: RunState) -> None:
        if state.process is not None:
            with suppress(ProcessLookupError):
                os.kill(state.process.pid, state.stop_signal)

    def _pass_on(self, number: int) -> None:
        """Send a signal to the keeper, which passes it to the container; repeated SIGINT kills everything."""
        if number not in _HARMLESS:
            self._life.end()
        child = self._child
        if child is None:
            return
        if number == signal.SIGTERM and self._launch.stops_on_term and not self._is_stopping:
            # As after a timeout; without the exception, a wait in progress would last until its own end.
            self._terminated, self._deadline = True, 0.0
            if self._is_waiting:
                raise TimeoutError
            return
        if number == signal.SIGINT:
            now = time.monotonic()
            self._interrupts = [*(t for t in self._interrupts if now - t < _INSISTENCE_SECONDS), now]
            if len(self._interrupts) >= _INSISTENCE:
                number = signal.SIGKILL
        child.send_signal(number)

    def _write_state(self, state: RunState) -> RunState:
        return state if self._file is None else self._file.write(state)

    def _first_state(self, child: Child) -> RunState:
        launch = self._launch
        return RunState(
            id=launch.id,
            status="starting",
            runtime=launch.runtime.path,
            launcher=Owner.of(os.getpid()),
            keeper=Owner.of(child.pid),
            args=launch.args,
            detached=self._detached,
            tty=launch.options.tty,
            stop_signal=launch.stop_signal,
            stop_timeout=launch.options.stop_timeout,
            mount_points=own_mount_points(launch.options),
            cgroups=launch.runtime.cgroups,
            created=time.time(),
            exit_code=None if self._life.last is None else self._life.last.exit_code,
            restart_policy=str(self._life),
            restarts=self._life.restarts,
        )

    def _started(self, state: RunState, keeper: int, inner_pid: int) -> RunState:
        return state._replace(status="running", started=time.time(), process=outer_process(keeper, inner_pid))

    def _last_word(self, state: RunState, status: int | None, failure: ArstoreError | OSError | None) -> None:
        end: Status = "failed" if failure is not None else "dead" if status is None else "exited"
        goes_on = failure is None and not self._terminated and self._life.goes_on(status, self._is_unhealthy)
        if goes_on:
            end = "restarting"
        last = state._replace(
            status=end,
            finished=time.time(),
            exit_code=status,
            error="" if failure is None else str(failure)[:_LONGEST_ERROR],
            oom_killed=self.oom_killed,
            timed_out=self._timed_out,
            lost=self._lost,
        )
        if goes_on:
            self._life.last = last
        # The directory may have been removed in the meantime; then the state has no reader left.
        with suppress(FileNotFoundError):
            self._write_state(last)


def outer_process(keeper: int, inner_pid: int) -> Owner | None:
    """Return the process below *keeper* with *inner_pid* in its pid namespace; None if it has been reaped."""
    for _ in range(_LOOKS):
        found = _descendant(keeper, inner_pid, _GENERATIONS)
        if found is not None:
            return found
    return None


def _descendant(parent: int, inner_pid: int, generations: int) -> Owner | None:
    try:
        with open(f"/proc/{parent}/task/{parent}/children", encoding="ascii") as file:
            children = file.read().split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    for pid in children:
        # Any of them, for example a helper of the runtime, may be reaped while we look.
        with suppress(FileNotFoundError, ProcessLookupError):
            with open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as file:
                ids = next((line.split()[1:] for line in file if line.startswith("NSpid:")), [])
            # The first is in our namespace, the last in the container's own, where it is 1.
            if str(inner_pid) in ids[1:-1]:
                return Owner.of(int(pid))
            if generations > 1 and (found := _descendant(int(pid), inner_pid, generations - 1)) is not None:
                return found
    return None


def _absolute(launch: Launch) -> Launch:
    return launch._replace(directory=os.path.abspath(launch.directory))


def _joined(launch: Launch) -> int:
    """Return a descriptor of the network namespace that the container joins, -1 for none."""
    if launch.options.network != "ns":
        return -1
    from arstore.runtime.networking.network import open_namespace

    return open_namespace(launch.options)


def _keep(launch: Launch, stdio: Stdio, report: Sender, seen: int = -1) -> None:
    """Do the keeper's work. *seen* is a pipe that ends when the launcher has looked up the container's process."""
    os.setsid()
    session = Keeper(stdio, report)
    session.catch_signals()
    bundle = Bundle(launch.directory)
    joined = _joined(launch)
    bundle.enter(launch.mount_rootfs)
    if launch.options.isolation.uids:
        bundle.make_reachable(tuple(one.source for one in launch.options.volumes if one.source))
    reached("run.rootfs-placed")
    kept = () if stdio.detached is None else stdio.detached.descriptors
    close_others(report.fd, *kept, joined, seen, *launch.options.preserved_fds)
    prepare(launch, bundle)
    if launch.options.network not in {"none", "host"}:
        from arstore.runtime.networking.network import connect

        connect(launch.options, bundle.network, joined)
    reached("run.prepared")
    session.attend(
        Errand(
            runtime=launch.runtime,
            argv=lambda console: launch.runtime.run(
                bundle.place, launch.id, bundle.path, "run/pid", console, launch.options.preserved_fds
            ),
            pid_file="run/pid",
            log=bundle.place.log,
            what=launch.args[0],
            console="run/console",
            preserved=launch.options.preserved_fds,
            seen=seen,
            is_32_bit=launch.options.isolation.personality == "LINUX32",
        )
    )
    if launch.options.hooks_dirs or launch.options.device_hooks:
        # The runtime runs the hooks of the stage `poststop` when it deletes the container.
        session.run_to_end(launch.runtime.delete(bundle.place, launch.id))
