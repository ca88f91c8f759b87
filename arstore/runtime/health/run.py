"""Running a health check in a container, and acting on its result. Out of scope: when that is done, see `health`."""

from __future__ import annotations

import os
import select
import signal
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from arstore.errors import ArstoreError, ConflictError, InUseError, NotFoundError
from arstore.linux.files.filelock import lock_byte, wait_for_byte
from arstore.runtime.health.state import (
    UNHEALTHY,
    HealthState,
    Result,
    after,
    check_now,
    copy_out,
    health_state,
    write_health,
)
from arstore.runtime.lifecycle import control
from arstore.runtime.lifecycle.child import close_others
from arstore.runtime.lifecycle.exec import exec_in
from arstore.runtime.lifecycle.signals import exit_status
from arstore.runtime.lifecycle.state import status
from arstore.runtime.spec.health import KILL, RESTART, STOP

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from arstore.runtime.spec.health import HealthCheck

_LOCK = "health.lock"
_CHUNK = 1 << 16
_FAILED = 1


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
        before = health_state(directory) or HealthState()
        now = check_now(check, before)
        code, output = _executed(directory, now, 4 * check.log.size)
        text = output.decode("utf-8", "replace")[: check.log.size]
        result = Result(start, time.time(), 0 if code == 0 else _FAILED, text)
        health = after(before, result, check, start - state.started)
        if status(directory).keeper == state.keeper:
            write_health(directory, health)
            with suppress(OSError):
                copy_out(directory, health, check.log)
    if health.status == UNHEALTHY:
        _act(directory, now.on_failure)
    return result, health


def _act(directory: str, action: str) -> None:
    """End an unhealthy container, if that is asked for."""
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


def _executed(directory: str, check: HealthCheck, most: int) -> tuple[int, bytes]:
    """Return the exit status and up to *most* bytes of output; one that takes too long is killed, and has failed."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        _be_executor(directory, check.args, writing)
    os.close(writing)
    deadline = time.monotonic() + check.timeout
    try:
        output, is_late = _output(reading, deadline, most)
    finally:
        os.close(reading)
    if is_late:
        # What it has started in the container is killed with it (`exec`).
        os.kill(pid, signal.SIGKILL)
        output += b"\nthe check took longer than %g s and was killed" % check.timeout
    code = exit_status(os.waitpid(pid, 0)[1])
    return (_FAILED if is_late else code), output


def _output(fd: int, deadline: float, most: int) -> tuple[bytes, bool]:
    """Read up to the end, which means that the command has ended; return whether the *deadline* came first."""
    found = b""
    while True:
        ready, _, _ = select.select([fd], [], [], max(0.0, deadline - time.monotonic()))
        if not ready:
            return found, True
        data = os.read(fd, _CHUNK)
        if not data:
            return found, False
        found = (found + data)[:most]


def _be_executor(directory: str, args: tuple[str, ...], output: int) -> None:
    """Execute the command in the container, with its output to the pipe, and end this process."""
    code = _FAILED
    try:
        null = os.open(os.devnull, os.O_RDONLY)
        os.dup2(null, 0)
        os.dup2(output, 1)
        os.dup2(output, 2)
        close_others()
        try:
            code = exec_in(directory, args).status
        except (ArstoreError, OSError) as error:
            os.write(2, str(error).encode(errors="replace"))
    finally:
        os._exit(code)
