"""Supervision of one process in a container, from the runtime's start to the process's end; runs in a child of arstore.

The runtime is run detached: it starts the process and ends, and the process becomes the child of the reaper (PID 1 of
the launcher's pid namespace, or a subreaper of `exec`). So no runtime stays in memory, the process's exit status
arrives by wait(2) unchanged, and signals reach it by kill(2).
"""

from __future__ import annotations

import fcntl
import os
import signal
from contextlib import suppress
from typing import TYPE_CHECKING

from arstore.errors import ArstoreError, RuntimeFailedError, reportable
from arstore.linux.syscall import libc
from arstore.runtime.driver import read_log
from arstore.runtime.lifecycle.signals import FORWARDED, exit_status
from arstore.runtime.stdio.streams import Stdio, Streams
from arstore.runtime.stdio.terminal import Console
from arstore.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import NoReturn

    from arstore.runtime.driver import Runtime
    from arstore.runtime.lifecycle.channel import Sender

_ENDING = frozenset({signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT})
_RESET = signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}
"""A program starts with default actions for all signals, including real-time ones, whatever the caller ignores."""
_HIGH = 10
_PER_LINUX32 = 0x8
"""personality(2)."""
_LONGEST_REASON = 1024
_STARTING_GRACE = 2.0
"""Seconds that a runtime has to finish starting a process that is to be ended."""


class Errand(NamedTuple):
    """A command of the runtime: *argv* takes the console's socket name ("" for none). *what* names it in errors."""

    runtime: Runtime
    argv: Callable[[str], list[str]]
    pid_file: str
    log: str
    what: str
    console: str = ""
    preserved: tuple[int, ...] = ()
    """Descriptors above 2 that the runtime, and so the process, gets."""
    seen: int = -1
    """A pipe that ends when the launcher has looked up the process, which must not be reaped before; -1 for none."""
    is_32_bit: bool = False
    """Whether the process sees a 32-bit machine: older runtimes ignore `linux.personality`, but pass on their own."""


class Keeper:
    """Starts and supervises one process. Signals are caught at once, and delivered when the process exists."""

    def __init__(self, stdio: Stdio, report: Sender) -> None:
        self._stdio = stdio
        self._report = report
        self._streams: Streams | None = None
        self._pid = 0
        self._runtime_pid = 0
        self._gave_up = False
        self._early: list[int] = []
        self._ended = False

    def catch_signals(self, orphaned: int | None = None) -> None:
        """Catch the forwarded signals, blocked until now; *orphaned* is sent when the parent ends."""
        if orphaned is not None:
            signal.signal(orphaned, self._on_orphaned)
        for number in FORWARDED:
            signal.signal(number, self._on_signal)
        signal.signal(signal.SIGALRM, self._give_up)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, FORWARDED)

    def attend(self, errand: Errand) -> None:
        """Start the process and stay until it has ended and all its output has been passed on; send its status.

        Raises RuntimeFailedError, CommandNotFoundError or CommandNotExecutableError if the runtime fails, OSError.
        """
        streams = Streams(self._stdio, self._deliver)
        console = Console(errand.console) if self._stdio.tty else None
        reaper = _Reaper()
        self._runtime_pid = _spawn(errand.argv(console.path if console else ""), streams, errand)
        failed = reaper.wait_for(self._runtime_pid) != 0
        self._runtime_pid = 0
        signal.setitimer(signal.ITIMER_REAL, 0)
        if failed:
            if self._gave_up:
                why = f"{os.path.basename(errand.runtime.path)} was stopped before it had started the process"
                raise RuntimeFailedError(errand.what, why)
            log = read_log(errand.log)
            raise errand.runtime.failure(log, streams.printed(), errand.what)
        pid = _read_pid(errand.pid_file)
        if console is not None:
            streams.attach(console.receive())
            console.close()
        self._streams = streams
        self._report.send("started", pid=pid)
        self._pid = pid
        streams.start()
        for number in self._early:
            self._deliver(number)
        if errand.seen >= 0:
            os.read(errand.seen, 1)
        status = reaper.wait_for(pid)
        self._pid, self._ended = 0, True
        code = exit_status(status)
        self._report.send("exited", status=code)
        for stream, error in streams.drain(code).items():
            self._report.send("unwritten", stream=stream, errno=error.errno or 0)
        if streams.lost:
            self._report.send("lost", size=streams.lost)

    def run_to_end(self, argv: list[str]) -> None:
        """Run a command of the runtime to its end, without input or output; how it ends does not matter."""
        null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        pid = os.fork()
        if pid == 0:
            _become(argv, (null, null, null), null)
        os.close(null)
        with suppress(ChildProcessError):
            os.waitpid(pid, 0)

    def _on_signal(self, number: int, _: object) -> None:
        if self._ended:
            # Only output without a reader can keep us here; a process that asks us to end has waited long enough.
            if number in _ENDING:
                os._exit(0)
        elif self._pid:
            self._deliver(number)
        else:
            self._early.append(number)
            if number in _ENDING:
                # The process gets it once the runtime has started it; a hanging runtime must not delay it forever.
                signal.setitimer(signal.ITIMER_REAL, _STARTING_GRACE)

    def _give_up(self, _number: int, _frame: object) -> None:
        """Kill a runtime that does not end by itself."""
        if self._runtime_pid:
            self._gave_up = True
            with suppress(ProcessLookupError):
                os.kill(self._runtime_pid, signal.SIGKILL)

    def _on_orphaned(self, _number: int, _frame: object) -> None:
        """End the process, even if it is only about to start, because the caller has ended."""
        if self._pid:
            self._deliver(signal.SIGKILL)
        elif self._ended:
            os._exit(0)
        else:
            self._early.append(signal.SIGKILL)
            signal.setitimer(signal.ITIMER_REAL, _STARTING_GRACE)

    def _deliver(self, number: int) -> None:
        if number == signal.SIGWINCH and self._streams is not None and self._stdio.tty:
            self._streams.resize()
            return
        # From a client's thread, the process may just have ended; 0 would be a group of processes.
        if pid := self._pid:
            with suppress(ProcessLookupError):
                os.kill(pid, number)


class _Reaper:
    """Reaps every child, and keeps the status of those not waited for yet: a process may end before its runtime."""

    def __init__(self) -> None:
        self._statuses: dict[int, int] = {}

    def wait_for(self, pid: int) -> int:
        """Return the wait status of *pid*.

        Raises RuntimeFailedError if it is not our child, because the runtime did not leave it to its reaper.
        """
        while pid not in self._statuses:
            try:
                reaped, status = os.waitpid(-1, 0)
            except ChildProcessError as error:
                why = "the runtime has started it outside of our control"
                raise RuntimeFailedError(f"process {pid}", why) from error
            self._statuses[reaped] = status
        return self._statuses.pop(pid)


def _spawn(argv: list[str], streams: Streams, errand: Errand | None = None) -> int:
    """Start the runtime with the container's streams; return its process id. Raises RuntimeFailedError.

    posix_spawn(3) is not used, because in glibc it makes the program ignore two real-time signals.
    """
    reading, writing = os.pipe()
    try:
        pid = os.fork()
        if pid == 0:
            _become(argv, streams.given, writing, errand)
        os.close(writing)
        code = os.read(reading, _LONGEST_REASON)
    finally:
        os.close(reading)
        streams.handed_over()
    if code:
        os.waitpid(pid, 0)
        raise RuntimeFailedError(argv[0], f"cannot be executed: {code.decode(errors='replace')}")
    return pid


def _become(argv: list[str], given: tuple[int, ...], report: int, errand: Errand | None = None) -> NoReturn:
    """Become the runtime; if that fails, write the reason to *report*, which the new program does not inherit."""
    try:
        # High numbers first: a given descriptor may itself be one of 0 to 2, which dup2 would overwrite.
        for number, fd in enumerate([fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, _HIGH) for fd in given]):
            os.dup2(fd, number)
        if errand is not None:
            for fd in errand.preserved:
                os.set_inheritable(fd, True)
            if errand.is_32_bit:
                libc("personality", _PER_LINUX32)
        for each in _RESET:
            signal.signal(each, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        # Files that the runtime makes in the container, such as mount points, must be accessible to its users.
        os.umask(0o022)
        os.execve(argv[0], argv, {"PATH": os.environ.get("PATH", os.defpath)})
    except BaseException as error:  # the end of this process: an error not reported here is lost
        failure = reportable(error, "")
        why = failure.why if isinstance(failure, ArstoreError) else str(failure.strerror)
        os.write(report, why.encode(errors="replace")[:_LONGEST_REASON])
    finally:
        os._exit(127)


def _read_pid(path: str) -> int:
    try:
        with open(path, encoding="ascii") as file:
            pid = int(file.read().strip())
    except (OSError, ValueError) as error:
        raise RuntimeFailedError("runtime", f"wrote no process id to {os.path.basename(path)}") from error
    return pid
