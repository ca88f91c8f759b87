"""Running the health checks of a container, and their results: `<container>/health.json`.

The launcher starts a check when the container has started, and then at each interval; `arstore healthcheck run` does it
at any time. A check is an `exec` in a process of its own, whose end nothing waits for. Its result is added to the file,
which is replaced atomically, with the lock of byte 0 of `health.lock` held: a scheduled check that finds another one
running is left out. The file belongs to one run of the container, and is removed before the next. Out of scope: what a
check is, see `spec.health`.
"""

from __future__ import annotations

import json
import os
import select
import signal
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from arstore.errors import ArstoreError, ConflictError, InUseError, NotFoundError
from arstore.linux.files.filelock import lock_byte, wait_for_byte
from arstore.linux.files.reading import read_start
from arstore.linux.files.writing import replace_file
from arstore.runtime.lifecycle.child import close_others
from arstore.runtime.lifecycle.signals import FORWARDED, exit_status
from arstore.runtime.lifecycle.state import status
from arstore.runtime.spec.health import KILL, RESTART, STOP
from arstore.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from arstore.runtime.spec.health import HealthCheck

HEALTH_NAME = "health.json"
STARTING, HEALTHY, UNHEALTHY = "starting", "healthy", "unhealthy"

_LOCK = "health.lock"
_KEPT = 5
"""Results that are kept, podman's number."""
_LONGEST_OUTPUT = 500
"""Characters of a check's output that are kept, podman's number."""
_LIMIT = 1 << 16
_FAILED = 1
_SHORTEST = 0.1
"""Seconds between the starts of two checks, whatever the interval is."""


class Result(NamedTuple):
    """One check: times since the epoch, the exit status (0 or 1), and the beginning of the output."""

    start: float
    end: float
    exit_code: int
    output: str


class HealthState(NamedTuple):
    """A container's health: `starting`, `healthy` or `unhealthy`, failures in a row, and the last results."""

    status: str = STARTING
    failing: int = 0
    log: tuple[Result, ...] = ()


def health_state(directory: str) -> HealthState | None:
    """Return the health of the container in *directory*; None if it has no checks, or the file cannot be read."""
    with suppress(OSError, ValueError, KeyError, TypeError, RecursionError):
        fields: dict[str, Any] = json.loads(read_start(f"{directory}/{HEALTH_NAME}", _LIMIT))
        log = tuple(Result(**one) for one in fields["log"])
        return HealthState(str(fields["status"]), int(fields["failing"]), log)
    return None


def _write(directory: str, health: HealthState) -> None:
    fields = health._asdict() | {"log": [one._asdict() for one in health.log]}
    path = f"{directory}/{HEALTH_NAME}"
    replace_file(path, json.dumps(fields).encode(), f"{path}.new")


def begin(directory: str, check: HealthCheck | None) -> None:
    """Begin a run of the container in *directory* with its *check*, if it has one.

    A full disk does not prevent the run: results are not recorded then.
    """
    with suppress(OSError):
        if check is None:
            os.unlink(f"{directory}/{HEALTH_NAME}")
        else:
            _write(directory, HealthState())


def after(health: HealthState, result: Result, check: HealthCheck, age: float) -> HealthState:
    """Return the health after *result*, in a container that was started *age* seconds before."""
    log = (*health.log, result)[-_KEPT:]
    if result.exit_code == 0:
        return HealthState(HEALTHY, 0, log)
    if health.status == STARTING and age < check.start_period:
        return health._replace(log=log)
    failing = health.failing + 1
    return HealthState(UNHEALTHY if failing >= check.retries else health.status, failing, log)


def run_check(directory: str, check: HealthCheck, *, waits: bool = True) -> tuple[Result, HealthState]:
    """Run *check* in the container in *directory* and record the result; end an unhealthy one if *check* says so.

    If another check is running, wait for its end, or raise ConflictError unless this one *waits*. Raises NotFoundError
    if the container is not running, OSError. An LMDB environment must not be open.
    """
    state = status(directory)
    if state.status != "running" or state.started is None:
        raise NotFoundError(f"container {state.id}", "is not running")
    with _alone(directory, state.id, waits):
        start = time.time()
        code, output = _executed(directory, check)
        text = output.decode("utf-8", "replace")[:_LONGEST_OUTPUT]
        result = Result(start, time.time(), 0 if code == 0 else _FAILED, text)
        health = after(health_state(directory) or HealthState(), result, check, start - state.started)
        if status(directory).keeper == state.keeper:
            _write(directory, health)
    if health.status == UNHEALTHY:
        _act(directory, check.on_failure)
    return result, health


def _act(directory: str, action: str) -> None:
    """End an unhealthy container, if that is asked for."""
    from arstore.runtime.lifecycle import control

    actions: dict[str, Callable[[str], object]]
    actions = {KILL: control.kill, RESTART: control.end_run, STOP: control.stop}
    if action in actions:
        # It may have ended, or have been paused, in the meantime.
        with suppress(NotFoundError, InUseError):
            actions[action](directory)


@contextmanager
def _alone(directory: str, container_id: str, waits: bool) -> Iterator[None]:
    fd = os.open(f"{directory}/{_LOCK}", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        try:
            (wait_for_byte if waits else lock_byte)(fd, 0)
        except (BlockingIOError, PermissionError):
            raise ConflictError(f"container {container_id}", "another health check is running in it") from None
        yield
    finally:
        os.close(fd)


def _executed(directory: str, check: HealthCheck) -> tuple[int, bytes]:
    """Return the exit status and the beginning of the output; a check that takes too long is killed, and has failed."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        _be_executor(directory, check.args, writing)
    os.close(writing)
    deadline = time.monotonic() + check.timeout
    try:
        output, is_late = _output(reading, deadline)
    finally:
        os.close(reading)
    if is_late:
        # What it has started in the container is killed with it (`exec`).
        os.kill(pid, signal.SIGKILL)
        output += b"\nthe check took longer than %g s and was killed" % check.timeout
    code = exit_status(os.waitpid(pid, 0)[1])
    return (_FAILED if is_late else code), output


def _output(fd: int, deadline: float) -> tuple[bytes, bool]:
    """Read up to the end, which means that the command has ended; return whether the *deadline* came first."""
    found = b""
    while True:
        ready, _, _ = select.select([fd], [], [], max(0.0, deadline - time.monotonic()))
        if not ready:
            return found, True
        data = os.read(fd, _LIMIT)
        if not data:
            return found, False
        found = (found + data)[: 4 * _LONGEST_OUTPUT]


def _be_executor(directory: str, args: tuple[str, ...], output: int) -> None:
    """Execute the command in the container, with its output to the pipe, and end this process."""
    code = _FAILED
    try:
        null = os.open(os.devnull, os.O_RDONLY)
        os.dup2(null, 0)
        os.dup2(output, 1)
        os.dup2(output, 2)
        close_others()
        from arstore.runtime.lifecycle.exec import exec_in

        try:
            code = exec_in(directory, args).status
        except (ArstoreError, OSError) as error:
            os.write(2, str(error).encode(errors="replace"))
    finally:
        os._exit(code)


class Schedule:
    """The launcher's part: when the next check is due."""

    def __init__(self, directory: str, check: HealthCheck | None) -> None:
        self._directory = directory
        self._check = check
        self.due: float | None = None
        """The time of the next check, a value of time.monotonic(); None for none."""

    def begin(self) -> None:
        """Begin a run."""
        begin(self._directory, self._check)

    def started(self) -> None:
        """The container has started: the first check is due."""
        if self._check is not None and self._check.interval > 0:
            self.due = time.monotonic()

    def perform(self) -> None:
        """Start the check that is due, in a process of its own, and wait for nothing."""
        check = self._check
        if check is None or self.due is None:
            return
        self.due = max(self.due + max(check.interval, _SHORTEST), time.monotonic())
        middle = os.fork()
        if middle == 0:
            try:
                for number in FORWARDED:
                    signal.signal(number, signal.SIG_DFL)
                os.setsid()
                if os.fork() == 0:
                    self._be_checker(check)
            finally:
                os._exit(0)
        os.waitpid(middle, 0)

    def _be_checker(self, check: HealthCheck) -> None:
        null = os.open(os.devnull, os.O_RDWR)
        for number in range(3):
            os.dup2(null, number)
        close_others()
        os.chdir("/")
        with suppress(ArstoreError, OSError):
            run_check(self._directory, check, waits=False)
