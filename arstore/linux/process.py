"""Processes: the prctl(2) settings that a launcher needs, and who is alive.

A process is known for good by three values: its pid, its start time and the boot that both belong to. A pid alone is
used again. Start times are those of the first time namespace: a process in another one (time_namespaces(7)) is shown
all start times shifted by that namespace's offset, which is taken off here.
"""

from __future__ import annotations

import os

from arstore.linux.syscall import libc

UMASK = 0o022
"""The umask of our own processes: it takes no right from their owner, and lets nobody else write."""

_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER, _PR_SET_NO_NEW_PRIVS = 1, 36, 38

_BOOT_ID = "/proc/sys/kernel/random/boot_id"
_FIRST_TIME_NAMESPACE = 0xEFFFFFFA
"""PROC_TIME_INIT_INO of the kernel's proc_ns.h."""
_ENDED = frozenset({b"Z", b"X", b"x"})
"""States of processes that hold nothing any more."""
_STATE, _START_TIME = 0, 19
"""Places in /proc/PID/stat after the name: fields 3 and 22 of proc_pid_stat(5)."""


def prctl(option: int, *arguments: int) -> int:
    """prctl(2), with integers for arguments."""
    padding = (0,) * (4 - len(arguments))
    return libc("prctl", option, *arguments, *padding)


def set_parent_death_signal(number: int) -> None:
    """Have this signal sent to this process when the *thread* that made it ends.

    Whoever sets it must compare os.getppid() afterwards: the parent may have ended just before. exec of a set-user-ID
    program, or a change of credentials, clears it.
    """
    prctl(_PR_SET_PDEATHSIG, number)


def become_subreaper() -> None:
    """Be the parent of all descendants that lose theirs."""
    prctl(_PR_SET_CHILD_SUBREAPER, 1)


def set_no_new_privileges() -> None:
    """Let no exec raise privileges any more, for this process and its descendants."""
    prctl(_PR_SET_NO_NEW_PRIVS, 1)


def boot_id() -> str:
    """The kernel's random name for this boot, in the form of a UUID."""
    # Asked for by nearly every call of the store: without a file object it costs a third.
    fd = os.open(_BOOT_ID, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(fd, 64).decode("ascii").strip()
    finally:
        os.close(fd)


def start_time(pid: int) -> int:
    """When process *pid* started, in clock ticks since the boot, whatever the time namespace of whoever asks.

    Raises ProcessLookupError when there is no such process (or it may not be seen).
    """
    return int(_stat_fields(pid)[_START_TIME]) - _shift()


def own_start_time() -> int:
    """When this process started, in clock ticks since the boot, whatever pid namespace /proc shows."""
    return int(_stat_fields("self")[_START_TIME]) - _shift()


def _shift() -> int:
    """Clock ticks by which this process's time namespace shifts the times since the boot that it is shown."""
    try:
        current, of_children = (os.stat(f"/proc/self/ns/{name}").st_ino for name in ("time", "time_for_children"))
        # The offsets are told of the namespace that children get.
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
    """Whether the process that had this pid, start time and boot id still runs; *start* is as `start_time` tells it.

    A zombie does not: it holds nothing any more. A process that hides from us (hidepid) but has the pid counts as
    alive, because to take it for dead would be the worse mistake.
    """
    if pid <= 0 or boot != boot_id():
        return False
    try:
        fields = _stat_fields(pid)
    except ProcessLookupError:
        return _answers(pid)
    return fields[_STATE] not in _ENDED and int(fields[_START_TIME]) - _shift() == start


def runs(pid: int) -> bool:
    """Whether any process has this pid and has not ended; one that hides from us counts."""
    try:
        return _stat_fields(pid)[_STATE] not in _ENDED
    except ProcessLookupError:
        return _answers(pid)


def _stat_fields(pid: int | str) -> list[bytes]:
    """The fields of /proc/PID/stat that follow the name, which may itself hold blanks and parentheses."""
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
