"""Processes: the prctl(2) settings that a launcher needs, and whether a process is alive.

Three values identify a process: its pid, its start time and the boot of the machine. A pid alone is used again. Start
times are those of the initial time namespace. A process in another one (time_namespaces(7)) sees all start times
shifted by the offset of that namespace; the functions here subtract it.
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

from arstore.linux.syscall import libc

if TYPE_CHECKING:
    from collections.abc import Iterator

UMASK = 0o022
"""The umask of our own processes: it leaves the owner all rights, and lets no other user write."""

_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER, _PR_GET_CHILD_SUBREAPER, _PR_SET_NO_NEW_PRIVS = 1, 36, 37, 38

_BOOT_ID = "/proc/sys/kernel/random/boot_id"
_FIRST_TIME_NAMESPACE = 0xEFFFFFFA
"""PROC_TIME_INIT_INO of the kernel's proc_ns.h."""
_ENDED = frozenset({b"Z", b"X", b"x"})
"""States of processes that have ended and hold nothing any more."""
_STATE, _START_TIME = 0, 19
"""Indexes in /proc/PID/stat behind the name: fields 3 and 22 of proc_pid_stat(5)."""


def prctl(option: int, *arguments: int) -> int:
    """Call prctl(2) with integer arguments. Raises OSError."""
    padding = (0,) * (4 - len(arguments))
    return libc("prctl", option, *arguments, *padding)


def set_parent_death_signal(number: int) -> None:
    """Have signal *number* sent to this process when the *thread* that created it ends. Raises OSError.

    Compare os.getppid() afterwards: the parent may have ended just before. The kernel clears the setting when the
    process executes a set-user-ID program or changes its credentials.
    """
    prctl(_PR_SET_PDEATHSIG, number)


def become_subreaper() -> None:
    """Become the parent of all descendants whose own parent ends. Raises OSError."""
    prctl(_PR_SET_CHILD_SUBREAPER, 1)


@contextmanager
def as_subreaper() -> Iterator[None]:
    """Be a subreaper (see `become_subreaper`) during the context. Raises OSError."""
    import ctypes

    was = ctypes.c_int()
    prctl(_PR_GET_CHILD_SUBREAPER, ctypes.addressof(was))
    become_subreaper()
    try:
        yield
    finally:
        prctl(_PR_SET_CHILD_SUBREAPER, was.value)


def set_no_new_privileges() -> None:
    """Forbid execve(2) to grant privileges, to this process and its descendants. Raises OSError."""
    prctl(_PR_SET_NO_NEW_PRIVS, 1)


def boot_id() -> str:
    """Return the kernel's random id of this boot, in the form of a UUID. Raises OSError."""
    # Nearly every call of the store needs it: reading without a file object takes a third of the time.
    fd = os.open(_BOOT_ID, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(fd, 64).decode("ascii").strip()
    finally:
        os.close(fd)


def start_time(pid: int) -> int:
    """Return when process *pid* started, in clock ticks since the boot, whatever the caller's time namespace.

    Raises ProcessLookupError when the process does not exist, or is hidden from us.
    """
    return int(_stat_fields(pid)[_START_TIME]) - _shift()


def own_start_time() -> int:
    """Return when this process started, in clock ticks since the boot, whatever pid namespace /proc shows."""
    return int(_stat_fields("self")[_START_TIME]) - _shift()


def _shift() -> int:
    """Return by how many clock ticks this process's time namespace shifts the times since the boot."""
    try:
        current, of_children = (os.stat(f"/proc/self/ns/{name}").st_ino for name in ("time", "time_for_children"))
        # The file has the offsets of the namespace that children get.
        if current == _FIRST_TIME_NAMESPACE or current != of_children:
            return 0
        with open("/proc/self/timens_offsets", encoding="ascii") as file:
            for line in file:
                clock, seconds, nanoseconds = line.split()
                if clock == "boottime":
                    shift = int(seconds) * 1_000_000_000 + int(nanoseconds)
                    return shift * os.sysconf("SC_CLK_TCK") // 1_000_000_000
    except (OSError, ValueError):
        pass  # a kernel before 5.6, without time namespaces
    return 0


def is_alive(pid: int, start: int, boot: str) -> bool:
    """Return whether the process with this pid, start time (as by `start_time`) and boot id still runs.

    A zombie does not run: it holds nothing any more. A process that has the pid but is hidden from us (hidepid) counts
    as alive, because taking it for dead would be the worse mistake.
    """
    if pid <= 0 or boot != boot_id():
        return False
    try:
        fields = _stat_fields(pid)
    except ProcessLookupError:
        return _answers(pid)
    return fields[_STATE] not in _ENDED and int(fields[_START_TIME]) - _shift() == start


def runs(pid: int) -> bool:
    """Return whether some process has this pid and has not ended. A process that is hidden from us counts."""
    try:
        return _stat_fields(pid)[_STATE] not in _ENDED
    except ProcessLookupError:
        return _answers(pid)


def _stat_fields(pid: int | str) -> list[bytes]:
    """Return the fields of /proc/PID/stat behind the name, which may itself contain blanks and parentheses."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            data = file.read()
    except (FileNotFoundError, PermissionError) as error:
        if pid == "self":
            raise
        raise ProcessLookupError(error.errno, os.strerror(error.errno or 0), str(pid)) from error
    return data[data.rindex(b")") + 2 :].split()


def _answers(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except PermissionError:
        return True
    except (ProcessLookupError, OverflowError):
        return False
    return True
