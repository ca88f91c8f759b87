"""Running a command to its end or to its timeout, and measuring its memory.

Memory is measured twice: the kernel's value for the largest process, and the sum over all processes of the command,
with each page counted once (the Pss of /proc/PID/smaps_rollup), sampled twenty times a second. Disk space is sampled
too, less often if that takes long. CPU seconds are the kernel's, for all processes.
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
os.write(int(sys.argv[1]), b"%d %f" % (usage.ru_maxrss, usage.ru_utime + usage.ru_stime))
code = os.waitstatus_to_exitcode(status)
if code < 0:
    os.kill(os.getpid(), -code)
os._exit(code)
"""
"""Starts a command from a small process: the kernel counts the size of the parent in that of its children."""


_EVERY = 50
"""Milliseconds between two samples of a command's memory."""


@dataclass(frozen=True)
class Ended:
    """How a command ended. `memory` is the largest resident size of it or of one of its children, in bytes, `together`
    the peak of all its processes at once; `processor` CPU seconds; `disk` and `inodes` the peaks of both."""

    words: tuple[str, ...]
    status: int
    out: bytes = field(repr=False)
    err: str
    memory: int
    together: int
    hung: bool = False
    processor: float = 0.0
    disk: int = 0
    inodes: int = 0

    @property
    def last(self) -> str:
        """The last line of stderr."""
        return (self.err.splitlines() or [""])[-1]


@contextmanager
def piped(data: Sequence[Path]) -> Iterator[IO[bytes]]:
    """A pipe with the content of these files, one after the other; None without files."""
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


def ended(
    words: Sequence[str],
    environment: Mapping[str, str],
    timeout: float,
    data: Sequence[Path] = (),
    place: Path | None = None,
) -> Ended:
    """Run *words*, with a pipe of the files *data* as stdin, at most *timeout* seconds; then its session is killed.

    Disk space is measured below *place*.
    """
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
            files = _Files(place)
            while not waiting.poll(_EVERY) and time.monotonic() < end:
                together = max(together, _sizes(started.pid))
                files.look()
            files.look(at_once=True)
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
        memory, _, processor = size.read().partition(b" ")
        return Ended(
            tuple(words),
            started.returncode,
            out.read(),
            said,
            int(memory or 0) << 10,
            together,
            hung,
            float(processor or 0),
            files.bytes,
            files.inodes,
        )


class _Files:
    """Peaks of the bytes on disk and of the inodes below *place*, beyond what was there before."""

    def __init__(self, place: Path | None) -> None:
        self._place = place
        self._next = 0.0
        self._before = _used(place)
        self.bytes = self.inodes = 0

    def look(self, *, at_once: bool = False) -> None:
        """Take a sample, unless the last one is too recent for the time that it takes."""
        start = time.monotonic()
        if start < self._next and not at_once:
            return
        used, inodes = _used(self._place)
        self.bytes = max(self.bytes, used - self._before[0])
        self.inodes = max(self.inodes, inodes - self._before[1])
        self._next = start + 10 * (time.monotonic() - start)


def _used(place: Path | None) -> tuple[int, int]:
    used = inodes = 0
    todo = [os.fspath(place)] if place is not None else []
    while todo:
        # Any of them may disappear meanwhile.
        with suppress(OSError), os.scandir(todo.pop()) as listing:
            for each in listing:
                with suppress(OSError):
                    used += each.stat(follow_symlinks=False).st_blocks * 512
                    inodes += 1
                    if each.is_dir(follow_symlinks=False):
                        todo.append(each.path)
    return used, inodes


def _sizes(session: int) -> int:
    """Memory of the processes of *session* together, in bytes, without that of its leader."""
    total = 0
    for name in filter(str.isdecimal, os.listdir("/proc")):
        # Any of them may disappear meanwhile.
        with suppress(OSError):
            if int(name) != session and os.getsid(int(name)) == session:
                with open(f"/proc/{name}/smaps_rollup", "rb") as file:
                    found = re.search(rb"^Pss: *([0-9]+) kB", file.read(), re.MULTILINE)
                total += int(found[1]) << 10 if found else 0
    return total
