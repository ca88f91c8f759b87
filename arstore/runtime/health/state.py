"""The health of a container: when its checks are due, and their results, `<container>/health.json`.

The launcher starts a check when the container has started, and then at each interval; `arstore healthcheck run` does it
at any time. A check is an `exec` in another process, whose end nothing waits for. Its result is added to the file,
which is replaced atomically, with the lock of byte 0 of `health.lock` held: a scheduled check that finds another one
running is left out. The file belongs to one run of the container, and is removed before the next. Out of scope: what a
check is, see `spec.health`, and running one, see `health_run`.
"""

from __future__ import annotations

import json
import os
import signal
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from arstore.errors import ArstoreError
from arstore.linux.files.reading import read_start
from arstore.linux.files.writing import replace_file
from arstore.runtime.lifecycle.child import close_others
from arstore.runtime.lifecycle.signals import FORWARDED
from arstore.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

    from arstore.runtime.spec.health import HealthCheck, HealthLog

HEALTH_NAME = "health.json"
STARTING, HEALTHY, UNHEALTHY = "starting", "healthy", "unhealthy"

_LIMIT = 16 << 20
_LOG_MODE = 0o700
"""podman's."""
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
    startup: int = 0
    """How often the startup check still has to succeed before the other one is made."""


def check_now(check: HealthCheck, health: HealthState | None) -> HealthCheck:
    """Return the check to make: the startup check, until it has succeeded."""
    return check.startup if check.startup is not None and health is not None and health.startup else check


def health_state(directory: str) -> HealthState | None:
    """Return the health of the container in *directory*; None if it has no checks, or the file cannot be read."""
    with suppress(OSError, ValueError, KeyError, TypeError, RecursionError):
        fields: dict[str, Any] = json.loads(read_start(f"{directory}/{HEALTH_NAME}", _LIMIT))
        log = tuple(Result(**one) for one in fields["log"])
        return HealthState(str(fields["status"]), int(fields["failing"]), log, int(fields.get("startup", 0)))
    return None


def write_health(directory: str, health: HealthState) -> None:
    """Replace the file. Raises OSError."""
    fields = health._asdict() | {"log": [one._asdict() for one in health.log]}
    path = f"{directory}/{HEALTH_NAME}"
    replace_file(path, json.dumps(fields).encode(), f"{path}.new")


def copy_out(directory: str, health: HealthState, log: HealthLog) -> None:
    """Write *health* in podman's form to the directory of --health-log-destination, if there is one. Raises OSError."""
    if not log.directory:
        return
    from arstore.runtime.stdio.logs import log_time

    results = [
        {"Start": log_time(one.start), "End": log_time(one.end), "ExitCode": one.exit_code, "Output": one.output}
        for one in health.log
    ]
    fields = {"Status": health.status, "FailingStreak": health.failing, "Log": results or None}
    path = f"{log.directory}/{os.path.basename(directory)}-healthcheck.log"
    replace_file(path, json.dumps(fields, separators=(",", ":")).encode(), f"{path}.new", mode=_LOG_MODE)


def begin(directory: str, check: HealthCheck | None) -> None:
    """Begin a run of the container in *directory* with its *check*, if it has one.

    A full disk does not prevent the run: results are not recorded then.
    """
    with suppress(OSError):
        if check is None:
            os.unlink(f"{directory}/{HEALTH_NAME}")
        else:
            health = HealthState(startup=check.successes if check.startup is not None else 0)
            write_health(directory, health)
            copy_out(directory, health, check.log)


def after(health: HealthState, result: Result, check: HealthCheck, age: float) -> HealthState:
    """Return the health after *result*, in a container that was started *age* seconds before."""
    log = (*health.log, result)[-check.log.results :]
    if check.startup is not None and health.startup:
        return _after_startup(health._replace(log=log), result, check.startup)
    if result.exit_code == 0:
        return HealthState(HEALTHY, 0, log)
    if health.status == STARTING and age < check.start_period:
        return health._replace(log=log)
    failing = health.failing + 1
    return HealthState(UNHEALTHY if failing >= check.retries else health.status, failing, log)


def _after_startup(health: HealthState, result: Result, check: HealthCheck) -> HealthState:
    """Return the health after *result* of the startup check: no number of failures makes a container unhealthy, unless
    it is then started again.
    """
    if result.exit_code == 0:
        return health._replace(failing=0, startup=health.startup - 1)
    failing = health.failing + 1
    return health._replace(failing=failing, status=UNHEALTHY if 0 < check.retries <= failing else health.status)


class Schedule:
    """The launcher's part: when the next check is due."""

    def __init__(self, directory: str, check: HealthCheck | None, run: Callable[[str, HealthCheck], object]) -> None:
        """*run* runs the check and waits for its end."""
        self._directory = directory
        self._check = check
        self._run = run
        self.due: float | None = None
        """The time of the next check, a value of time.monotonic(); None for none."""

    def begin(self) -> None:
        """Begin a run."""
        begin(self._directory, self._check)

    def started(self) -> None:
        """The container has started: the first check is due."""
        check = self._check
        if check is not None and (check if check.startup is None else check.startup).interval > 0:
            self.due = time.monotonic()

    def perform(self) -> None:
        """Start the check that is due in another process, and wait for nothing."""
        check = self._check
        if check is None or self.due is None:
            return
        interval = check.interval
        if check.startup is not None:
            # Where checks are not made at an interval, the health is looked at all the same, until they are.
            interval = check_now(check, health_state(self._directory)).interval or check.startup.interval
        self.due = max(self.due + max(interval, _SHORTEST), time.monotonic())
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
            self._run(self._directory, check)
