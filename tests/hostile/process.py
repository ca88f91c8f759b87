"""A command to its end, with the memory that it took, or to the end of its time.

Memory is told twice: of the largest process, by the kernel, and of all processes of the command together, each page
counted once (the Pss of /proc/PID/smaps_rollup), looked at twenty times a second.
"""

from __future__ import annotations

import os
import re
import select
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path


_SMALL = """
import os, sys
pid = os.posix_spawnp(sys.argv[2], sys.argv[2:], os.environ, setsigdef=(13, 25))
_, status, usage = os.wait4(pid, 0)
os.write(int(sys.argv[1]), b"%d" % usage.ru_maxrss)
code = os.waitstatus_to_exitcode(status)
if code < 0:
    os.kill(os.getpid(), -code)
os._exit(code)
"""
"""Starts a command from a small process: the kernel counts in the size of the one that starts another."""


_EVERY = 50
"""Milliseconds between two looks at the memory of a command."""


@dataclass(frozen=True)
class Ended:
    """How a command ended. `memory` is the largest resident size of it or of one of its children, in bytes, `together`
    what all its processes had at a time."""

    words: tuple[str, ...]
    status: int
    out: bytes = field(repr=False)
    err: str
    memory: int
    together: int
    hung: bool = False

    @property
    def last(self) -> str:
        """The last line of stderr."""
        return (self.err.splitlines() or [""])[-1]


@contextmanager
def piped(data: Sequence[Path]) -> Iterator[IO[bytes]]:
    """A pipe with what these files hold, one after the other; nothing when there are none."""
    if not data:
        with open(os.devnull, "rb") as nothing:
            yield nothing
        return
    with subprocess.Popen(["cat", "--", *data], stdout=subprocess.PIPE, stdin=subprocess.DEVNULL) as cat:
        try:
            assert cat.stdout is not None
            yield cat.stdout
        finally:
            cat.kill()


def ended(words: Sequence[str], environment: Mapping[str, str], timeout: float, data: Sequence[Path] = ()) -> Ended:
    """Run *words*, with a pipe of the files *data* as stdin, at most *timeout* seconds; then its session is killed."""
    with (
        tempfile.TemporaryFile() as out,
        tempfile.TemporaryFile() as err,
        tempfile.TemporaryFile() as size,
        piped(data) as stdin,
    ):
        started = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", _SMALL, str(size.fileno()), *words],
            stdin=stdin,
            stdout=out,
            stderr=err,
            cwd="/",
            env=dict(environment),
            start_new_session=True,
            pass_fds=(size.fileno(),),
        )
        pidfd = os.pidfd_open(started.pid)
        try:
            waiting = select.poll()
            waiting.register(pidfd, select.POLLIN)
            end, together = time.monotonic() + timeout, 0
            while not waiting.poll(_EVERY) and time.monotonic() < end:
                together = max(together, _sizes(started.pid))
            hung = not waiting.poll(0)
            if hung:
                os.killpg(started.pid, signal.SIGKILL)
            _, status = os.waitpid(started.pid, 0)
        finally:
            os.close(pidfd)
        started.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        err.seek(0)
        size.seek(0)
        said = err.read().decode("utf-8", "backslashreplace")
        return Ended(tuple(words), started.returncode, out.read(), said, int(size.read() or 0) << 10, together, hung)


def _sizes(session: int) -> int:
    """What the processes of *session* have in memory together, in bytes, but for the one that leads it."""
    total = 0
    for name in filter(str.isdecimal, os.listdir("/proc")):
        # Any of them may go meanwhile.
        with suppress(OSError):
            if int(name) != session and os.getsid(int(name)) == session:
                with open(f"/proc/{name}/smaps_rollup", "rb") as file:
                    found = re.search(rb"^Pss: *([0-9]+) kB", file.read(), re.MULTILINE)
                total += int(found[1]) << 10 if found else 0
    return total
