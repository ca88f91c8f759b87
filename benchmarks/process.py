"""Running the measured commands: each in its own process group, timed from fork to the end of its process.

Every contender is started in the same way, also those in another root directory, so that starting costs the same for
all. Everything runs in a PID namespace whose first process is this one (see `ground`): processes that a command leaves
behind become its children, and can be found and ended.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from benchmarks.measure import MeasurementError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from resource import struct_rusage

_TAIL = 400
_INTERVAL = 0.004


@dataclass(slots=True, frozen=True)
class Command:
    """A program with its arguments, its environment and its root directory."""

    argv: Sequence[str]
    env: Mapping[str, str] = field(default_factory=dict)
    root: str = "/"

    def with_arguments(self, *arguments: str) -> Command:
        """The same command with more arguments."""
        return Command((*self.argv, *arguments), self.env, self.root)


@dataclass(slots=True, frozen=True)
class Done:
    """The result of a command: wall-clock and CPU seconds, output, and the bytes of memory of its largest process."""

    seconds: float
    cpu: float
    status: int
    stdout: str
    stderr: str
    max_rss: int


class Started:
    """A running command. The caller that starts one must end it (`finish`, `stop`)."""

    def __init__(self, command: Command) -> None:
        self.command = command
        self._files = [os.memfd_create(name, os.MFD_CLOEXEC) for name in ("stdout", "stderr")]
        self.began = time.perf_counter()
        self.pid = os.fork()
        if self.pid == 0:
            _become(command, self._files)

    def finish(self, watch: Callable[[int], None] | None = None) -> Done:
        """Wait for the end; meanwhile call *watch* with the pid repeatedly. The process group is gone afterwards."""
        try:
            status, usage, seconds = self._wait(watch)
        finally:
            self._close_group()
        out, err = (_content(fd) for fd in self._files)
        self._release()
        cpu = usage.ru_utime + usage.ru_stime
        return Done(seconds, cpu, os.waitstatus_to_exitcode(status), out, err, usage.ru_maxrss * 1024)

    def _wait(self, watch: Callable[[int], None] | None) -> tuple[int, struct_rusage, float]:
        while True:
            if watch is not None:
                watch(self.pid)
            pid, status, usage = os.wait4(self.pid, 0 if watch is None else os.WNOHANG)
            if pid:
                self.pid = 0
                return status, usage, time.perf_counter() - self.began
            time.sleep(_INTERVAL)

    def stop(self) -> None:
        """End the command by a signal that it can handle, then by force."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGTERM)
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            if os.waitpid(self.pid, os.WNOHANG)[0]:
                self.pid = 0
                break
            time.sleep(0.02)
        self._close_group()
        self._release()

    def output(self) -> str:
        """The end of its stderr so far."""
        return _content(self._files[1])[-_TAIL:]

    def written(self) -> str:
        """All of its stdout and stderr so far, as far as that is kept."""
        return "".join(_content(fd) for fd in self._files)

    def _close_group(self) -> None:
        """End the command if it still runs. No other process is in its process group."""
        if self.pid:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)
            with contextlib.suppress(ChildProcessError):
                os.waitpid(self.pid, 0)
            self.pid = 0

    def _release(self) -> None:
        for fd in self._files:
            os.close(fd)
        self._files = []


def _become(command: Command, files: Sequence[int]) -> None:
    """Become the command, in the child, or exit."""
    try:
        os.setsid()
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        null = os.open(os.devnull, os.O_RDONLY)
        for number, fd in enumerate((null, *files)):
            os.dup2(fd, number)
        if command.root != "/":
            os.chroot(command.root)
        os.chdir("/")
        os.execvpe(command.argv[0], list(command.argv), dict(command.env))
    except OSError as error:
        os.write(2, f"{command.argv[0]}: {error.strerror}\n".encode())
    finally:
        os._exit(127)


def _content(fd: int) -> str:
    return os.pread(fd, 1 << 24, 0).decode("utf-8", "replace")


def execute(command: Command, watch: Callable[[int], None] | None = None) -> Done:
    """Run *command* to its end. Raises MeasurementError with its last message if its status is not 0."""
    done = Started(command).finish(watch)
    if done.status != 0:
        said = [line for line in done.stderr.splitlines() if line.strip() and "level=warning" not in line]
        what = os.path.basename(command.argv[0])
        raise MeasurementError(f"{what}: {said[-1][-_TAIL:] if said else 'no message'} (status {done.status})")
    return done


def descendants(pid: int) -> Iterator[int]:
    """*pid* and all processes below it."""
    yield pid
    with contextlib.suppress(OSError):
        for task in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{task}/children", encoding="ascii") as file:
                children = file.read().split()
            for child in children:
                yield from descendants(int(child))


def end_orphans(keep: Sequence[int] = ()) -> None:
    """End all processes of the PID namespace but this one and those below *keep*. For its first process only."""
    if os.getpid() != 1:
        return
    kept = {1, *(child for pid in keep for child in descendants(pid))}
    for _ in range(100):
        others = [int(name) for name in os.listdir("/proc") if name.isdigit() and int(name) not in kept]
        for pid in others:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        if not others:
            return
        time.sleep(0.01)
