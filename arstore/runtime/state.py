"""What is known of a container that runs or ran: `<container>/state.json`, written by its launcher, read by anyone.

The file is replaced atomically. It says what the launcher last knew; whether that is still so is found out by asking
for the processes it names, each by pid, start time and boot, so that a reboot or a SIGKILL of the launcher needs no
cleaning up. Times are seconds since the epoch. Out of scope: the store's own record of the container.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, replace
from typing import Literal

from arstore.errors import NotFoundError, StoreDamagedError
from arstore.linux.process import boot_id, is_alive, start_time

STATE_NAME = "state.json"

_LIMIT = 1 << 20

Status = Literal["starting", "running", "exited", "failed", "dead"]
"""`exited`: its process ended, `failed`: it never began, `dead`: its launcher was killed and nobody knows how it
ended.
"""


@dataclass(slots=True, frozen=True)
class ProcessId:
    """One process for good: its pid in the host's namespace, when it started (clock ticks since the boot), and the
    boot.
    """

    pid: int
    start: int
    boot: str

    @classmethod
    def of(cls, pid: int) -> ProcessId:
        """The process that has this pid now. Raises ProcessLookupError."""
        return cls(pid, start_time(pid), boot_id())

    def is_alive(self) -> bool:
        """Whether it still runs."""
        return is_alive(self.pid, self.start, self.boot)


@dataclass(slots=True, frozen=True)
class RunState:
    """A container's state. *keeper* is PID 1 of the launcher's namespaces, *process* the container's own first
    process.
    """

    id: str
    status: Status
    runtime: str
    launcher: ProcessId
    keeper: ProcessId
    process: ProcessId | None = None
    args: tuple[str, ...] = ()
    detached: bool = False
    tty: bool = False
    stop_signal: int = 15
    created: float = 0.0
    started: float | None = None
    finished: float | None = None
    exit_code: int | None = None
    error: str = ""

    @property
    def is_running(self) -> bool:
        """Whether it may have processes."""
        return self.status in {"starting", "running"}


def write_state(directory: str, state: RunState) -> None:
    """Replace the file. Raises OSError."""
    path = os.path.join(directory, STATE_NAME)
    temporary = f"{path}.tmp"
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        with open(fd, "w", encoding="utf-8") as file:
            file.write(json.dumps(asdict(state)))
    except OSError as error:
        error.filename = temporary
        raise
    os.rename(temporary, path)


def status(directory: str) -> RunState:
    """The state as it is now: a launcher that is gone without a word makes the container `dead`.

    Raises NotFoundError when the container was never started, StoreDamagedError when the file is not a state.
    """
    state = _read(directory)
    if not state.is_running or state.keeper.is_alive():
        return state
    # Between the look at the file and the look at the process, the launcher may have said the last word.
    state = _read(directory)
    return replace(state, status="dead") if state.is_running and not state.launcher.is_alive() else state


def _read(directory: str) -> RunState:
    path = os.path.join(directory, STATE_NAME)
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        raise NotFoundError(os.path.basename(directory), "the container was never started") from None
    with open(fd, "rb") as file:
        data = file.read(_LIMIT)
    try:
        fields = json.loads(data)
        fields["args"] = tuple(fields["args"])
        for name in ("launcher", "keeper", "process"):
            if fields[name] is not None:
                fields[name] = ProcessId(**fields[name])
        return RunState(**fields)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise StoreDamagedError(path, "is not a container's state") from error
