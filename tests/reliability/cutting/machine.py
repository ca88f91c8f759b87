"""Machines: processes that see one boot and have the disks of that boot, and end all at once.

A machine consists of new pid and mount namespaces with a new /proc, over whose boot id another one is mounted. When
its first process is killed, the kernel ends all others, and its mounts disappear.
"""

from __future__ import annotations

import ctypes
import os
import signal
import tempfile
import uuid
from contextlib import suppress
from typing import TYPE_CHECKING

from support.forking import guarded

from reliability.cutting.disk import call

if TYPE_CHECKING:
    from collections.abc import Callable

_NEWNS, _NEWPID = 0x00020000, 0x20000000
_REC_PRIVATE = 0x4000 | 0x40000
_PR_SET_PDEATHSIG = 1
_BOOT_ID = "/proc/sys/kernel/random/boot_id"


def _libc(name: str, *arguments: object) -> None:
    library = ctypes.CDLL(None, use_errno=True)
    if getattr(library, name)(*arguments):
        code = ctypes.get_errno()
        raise OSError(code, f"{name}: {os.strerror(code)}")


class Machine:
    """A machine that runs *work*, which gets the descriptor that `pipe` reads from, and then ends."""

    def __init__(self, work: Callable[[int], object]) -> None:
        reading, writing = os.pipe()
        self._keeper = os.fork()
        if self._keeper == 0:
            os.close(reading)
            # It ends with the exercise, however that ends.
            _libc("prctl", _PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
            guarded(lambda: _boot(work, writing))
        os.close(writing)
        self.pipe = reading

    def cut(self) -> None:
        """Kill all its processes at once."""
        with suppress(ProcessLookupError):
            os.kill(self._keeper, signal.SIGKILL)
        self.wait()

    def wait(self) -> int:
        """Wait for its end; return the wait status of its work."""
        _, status = os.waitpid(self._keeper, 0)
        os.close(self.pipe)
        return status


def result(work: Callable[[], bytes]) -> bytes:
    """Run *work* in a new machine and return its result. Raises ChildProcessError if it fails."""

    def told(pipe: int) -> None:
        data = memoryview(work())
        while data:
            data = data[os.write(pipe, data) :]

    machine = Machine(told)
    with os.fdopen(os.dup(machine.pipe), "rb") as file:
        said = file.read()
    if machine.wait():
        raise ChildProcessError("the work in a machine has failed")
    return said


def _boot(work: Callable[[int], object], pipe: int) -> None:
    """In the keeper: start the first process, and exit as it does; if the keeper is killed, the kernel ends it."""
    _libc("unshare", _NEWNS | _NEWPID)
    _libc("mount", None, b"/", None, _REC_PRIVATE, None)
    first = os.fork()
    if first == 0:
        _libc("prctl", _PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        guarded(lambda: _first(work, pipe))
    os.close(pipe)
    _, status = os.waitpid(first, 0)
    if status:
        raise SystemExit(1)


def _first(work: Callable[[int], object], pipe: int) -> None:
    call("mount", "-t", "proc", "proc", "/proc")
    with tempfile.NamedTemporaryFile("w", prefix="boot-id-") as file:
        file.write(f"{uuid.uuid4()}\n")
        file.flush()
        call("mount", "--bind", file.name, _BOOT_ID)
    work(pipe)


def leave_mounts_alone() -> None:
    """Move this process to a new mount namespace, so that no mount is left when it ends."""
    _libc("unshare", _NEWNS)
    _libc("mount", None, b"/", None, _REC_PRIVATE, None)
