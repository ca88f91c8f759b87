"""The state of a container that runs or ran: `<container>/state.json`, written by its launcher, read by anyone.

The file is replaced atomically. It has what the launcher last knew. To find out whether that is still true, a reader
checks the processes that it names, by pid, start time and boot. So a reboot or a SIGKILL of the launcher needs no
clean-up. From another pid namespace, the launcher is checked by the lock that it holds (`disk.owner`). Times are
seconds since the epoch. Out of scope: the store's own record of the container.
"""

from __future__ import annotations

import json
import os
import signal
from contextlib import suppress
from typing import TYPE_CHECKING

from arstore.disk.cgroups import is_frozen
from arstore.disk.owner import Owner
from arstore.errors import NotFoundError, StoreDamagedError
from arstore.values import NamedTuple

if TYPE_CHECKING:
    from typing import Any, Final, Literal

    Status = Literal["starting", "running", "paused", "restarting", "exited", "failed", "dead"]

STATE_NAME = "state.json"

STOP_TIMEOUT = 10.0
"""Seconds that a container has to end after the stop signal, before it is killed."""

_LATER_WRITES = 3
"""Number of writes of a launcher after the first: that the container is running, how the run ended, and that it is not
started again.
"""
_MORE = 8192
"""Bytes reserved for an error's text, and more."""

_LIMIT = 1 << 20
_LATEST = 253_402_300_800
"""The year 10000, from which on a time cannot be written as text."""
_LARGEST_PID = 1 << 22
"""PID_MAX_LIMIT of the kernel."""

STATUSES: Final = ("starting", "running", "paused", "restarting", "exited", "failed", "dead")
"""`paused`: running, and its processes are frozen, `restarting`: its process ended, and its restart policy starts it
again, `exited`: its process ended, `failed`: it never started, `dead`: its launcher was killed, and how it ended is not
known. `paused` and `dead` are found out by the reader, and never in the file.
"""


class RunState(NamedTuple):
    """A container's state. *keeper* is PID 1 of the launcher's namespaces, *process* the container's first process."""

    id: str
    status: Status
    runtime: str
    launcher: Owner
    keeper: Owner
    process: Owner | None = None
    args: tuple[str, ...] = ()
    detached: bool = False
    tty: bool = False
    stop_signal: int = 15
    created: float = 0.0
    started: float | None = None
    finished: float | None = None
    exit_code: int | None = None
    error: str = ""
    oom_killed: bool = False
    """Whether the kernel killed a process in it because memory ran out."""
    stop_timeout: float = STOP_TIMEOUT
    """Seconds between the stop signal and SIGKILL."""
    mount_points: tuple[str, ...] = ()
    """Mount points besides those that every container has or its image asks for."""
    cgroups: bool = True
    """Whether the container has its own control groups."""
    timed_out: bool = False
    """True if it was stopped because its time was over."""
    lost: int = 0
    """Bytes of output that are missing at the end of the log, because the disk was full."""
    restart_policy: str = "no"
    restarts: int = 0
    """How often the restart policy has started it again since it was started by a user."""

    def require_reachable(self) -> None:
        """Raise NotFoundError if its processes are in another pid namespace than ours."""
        if self.keeper.is_elsewhere:
            why = "was started in another pid namespace, and its processes cannot be reached from this one"
            raise NotFoundError(f"container {self.id}", why, "use arstore where it was started")

    @property
    def is_running(self) -> bool:
        """Whether the container has processes, or its launcher may start some."""
        return self.status in {"starting", "running", "paused", "restarting"}


def encoded(state: RunState) -> bytes:
    """Return the content of the file for *state*."""
    fields = state._asdict()
    for name in ("launcher", "keeper", "process"):
        process: Owner | None = fields[name]
        fields[name] = process and process._asdict()
    return json.dumps(fields).encode()


def write_state(directory: str, state: RunState, name: str = f"{STATE_NAME}.tmp") -> None:
    """Replace the file, through a file *name* next to it, which may be a reserved one. Raises OSError."""
    temporary = os.path.join(directory, name)
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        with open(fd, "wb") as file:
            file.write(encoded(state))
            file.truncate()
    except OSError as error:
        error.filename = temporary
        raise
    os.rename(temporary, os.path.join(directory, STATE_NAME))


class StateFile:
    """The file as its launcher writes it: the space for later states is reserved before the container starts.

    So the exit status can be recorded even if the container fills the disk.
    """

    def __init__(self, directory: str, state: RunState) -> None:
        """Write *state*, the first one, and reserve the space. Raises OSError."""
        self._directory = directory
        write_state(directory, state)
        size = 2 * len(encoded(state)) + _MORE
        self._reserved = [f"{STATE_NAME}.{number}" for number in range(_LATER_WRITES)]
        for name in self._reserved:
            _reserve(os.path.join(directory, name), size)

    def write(self, state: RunState) -> RunState:
        """Replace the file by *state*, which is returned. Raises OSError."""
        write_state(self._directory, state, *self._reserved[:1])
        del self._reserved[:1]
        return state

    def close(self) -> None:
        """Delete unused reserved files."""
        for name in self._reserved:
            with suppress(FileNotFoundError):
                os.unlink(os.path.join(self._directory, name))


def _reserve(path: str, size: int) -> None:
    """Make a file with allocated blocks; if the file system cannot allocate them, they are written."""
    # Not truncated: it may have the space that an earlier run has reserved.
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        os.posix_fallocate(fd, 0, size)
    except OSError as error:
        error.filename = path
        raise
    finally:
        os.close(fd)


def status(directory: str) -> RunState:
    """Return the current state; it is `dead` if its launcher ended without recording the end, `paused` if frozen.

    Raises NotFoundError if the container was never started, StoreDamagedError if the file is not a valid state.
    """
    state = _read_state(directory)
    if not state.is_running or state.keeper.runs_here():
        if not (state.status == "running" and state.cgroups and is_frozen(directory)):
            return state
        # Frozen processes of cgroup v1 stay even if their launcher was killed.
        return state._replace(status="paused" if _is_attended(state, directory) else "dead")
    # Between reading the file and checking the process, the launcher may have written the final state.
    attended = _is_attended(state, directory)
    state = _read_state(directory)
    return state._replace(status="dead") if state.is_running and not attended else state


def known_status(directory: str) -> RunState | None:
    """Return the current state; None if nothing was ever run in the container, or the state cannot be read.

    A state file that a power cut has damaged belongs to a run that the cut has ended.
    """
    try:
        return status(directory)
    except (NotFoundError, StoreDamagedError):
        return None


def is_running(directory: str) -> bool:
    """Return whether the container is running, as far as its state can be read."""
    state = known_status(directory)
    return state is not None and state.is_running


def _is_attended(state: RunState, directory: str) -> bool:
    """Whether the launcher is alive, in any pid namespace."""
    launcher = state.launcher
    if not launcher.is_elsewhere:
        return launcher.runs_here()
    return launcher.is_alive(graph_of(directory))


def graph_of(directory: str) -> str:
    """Return the graph of the store whose container has this *directory*."""
    return f"{os.path.dirname(os.path.dirname(os.path.abspath(directory)))}/graph"


def _read_state(directory: str) -> RunState:
    path = os.path.join(directory, STATE_NAME)
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        raise NotFoundError(os.path.basename(directory), "the container was never started") from None
    with open(fd, "rb") as file:
        data = file.read(_LIMIT)
    try:
        return _parsed(json.loads(data))
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise StoreDamagedError(path, "is not a container's state") from error


def _parsed(fields: dict[str, Any]) -> RunState:
    """Raises ValueError, KeyError, TypeError for invalid content: processes are signalled according to it."""
    process = fields["process"]
    state = RunState(
        **{
            **fields,
            "args": tuple(fields["args"]),
            "mount_points": tuple(fields.get("mount_points", ())),
            "launcher": _process(fields["launcher"]),
            "keeper": _process(fields["keeper"]),
            "process": None if process is None else _process(process),
        }
    )
    texts = (state.id, state.runtime, state.error, state.restart_policy, *state.args, *state.mount_points)
    times = [time for time in (state.created, state.started, state.finished) if time is not None]
    if (
        state.status not in STATUSES
        or not all(isinstance(text, str) for text in texts)
        or not all(type(flag) is bool for flag in _flags(state))
        or type(state.stop_timeout) not in {int, float}
        or not state.stop_timeout >= 0
        or not all(type(time) in {int, float} and 0 <= time < _LATEST for time in times)
        or type(state.stop_signal) is not int
        or not 0 < state.stop_signal < signal.NSIG
        or type(state.restarts) is not int
        or type(state.lost) is not int
        or (state.exit_code is not None and type(state.exit_code) is not int)
    ):
        raise ValueError(state.id)
    return state


def _flags(state: RunState) -> tuple[bool, ...]:
    return state.detached, state.tty, state.oom_killed, state.cgroups, state.timed_out


def _process(fields: dict[str, Any]) -> Owner:
    found = Owner(**fields)
    numbers = type(found.pid) is int and type(found.start) is int
    if not numbers or not 0 < found.pid <= _LARGEST_PID or not isinstance(found.boot, str):
        raise ValueError(found.pid)
    return found
