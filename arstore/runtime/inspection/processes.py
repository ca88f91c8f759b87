"""The processes of a container, from the host's /proc: those of its pid namespace, and of namespaces below it.

Nothing is run in the container, and its own /proc is not read: both belong to it. Names and arguments come from
hostile processes; they are cut to a length, and the caller has to escape them. Sources: proc(5), namespaces(7).
"""

from __future__ import annotations

import fcntl
import os
from contextlib import suppress
from typing import TYPE_CHECKING

from arstore.linux.isolation.namespace import identity
from arstore.values import NamedTuple

if TYPE_CHECKING:
    from arstore.disk.owner import Owner

_PARENT = 0xB702
"""NS_GET_PARENT, ioctl_ns(2)."""
_LONGEST_FILE = 64 << 10
_LONGEST_ARGS = 4096
_TICKS = os.sysconf("SC_CLK_TCK")
_PTS = range(136, 144)
_TTY = 4


class Process(NamedTuple):
    """A process; pids are those in the container, `ppid` is 0 for a parent outside. Times are in seconds."""

    host_pid: int
    pid: int
    ppid: int
    pgid: int
    comm: str
    args: str
    state: str
    uids: tuple[int, ...]
    """Real, effective, saved and file system user; so are *gids*."""
    gids: tuple[int, ...]
    groups: tuple[int, ...]
    tty: str
    nice: int
    cpu: float
    """Processor time used."""
    started: float
    """Since the boot."""
    memory: int
    """Resident bytes."""
    virtual: int
    capabilities: dict[str, int]
    """Bit masks: amb, bnd, eff, inh, prm."""
    seccomp: int
    label: str


def processes(first: Owner) -> list[Process]:
    """Return the processes of the container with the *first* process, by pid.

    Those that end meanwhile are left out. Raises FileNotFoundError when the container has ended.
    """
    namespace = identity("pid", first.pid)
    depth = len(_status(first.pid)["NSpid"].split())
    if not first.runs_here():
        raise FileNotFoundError(first.pid)
    found: dict[int, tuple[dict[str, str], int]] = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            with suppress(OSError, KeyError, ValueError, IndexError):
                status = _status(int(name))
                ids = status["NSpid"].split()
                if len(ids) >= depth and _is_inside(int(name), len(ids) - depth, namespace):
                    found[int(name)] = (status, int(ids[depth - 1]))
    made = []
    for host_pid, (status, pid) in found.items():
        with suppress(OSError, KeyError, ValueError, IndexError):
            made.append(_process(host_pid, pid, status, depth, {one: inner for one, (_, inner) in found.items()}))
    return sorted(made, key=lambda one: one.pid)


def uptime() -> float:
    """Return the seconds since the boot."""
    return float(_read("/proc/uptime").split()[0])


def _is_inside(pid: int, above: int, namespace: int) -> bool:
    """Whether the pid namespace of *pid* is the one with this identity, or so many generations below it."""
    if not above:
        return identity("pid", pid) == namespace
    fd = os.open(f"/proc/{pid}/ns/pid", os.O_RDONLY | os.O_CLOEXEC)
    try:
        for _ in range(above):
            parent = fcntl.ioctl(fd, _PARENT)
            os.close(fd)
            fd = parent
        return os.fstat(fd).st_ino == namespace
    finally:
        os.close(fd)


def _process(host_pid: int, pid: int, status: dict[str, str], depth: int, pids: dict[int, int]) -> Process:
    text = _read(f"/proc/{host_pid}/stat")
    comm, _, rest = text.partition("(")[2].rpartition(")")
    fields = rest.split()
    masks = {name: int(status[f"Cap{name.capitalize()}"], 16) for name in ("amb", "bnd", "eff", "inh", "prm")}
    return Process(
        host_pid=host_pid,
        pid=pid,
        ppid=pids.get(int(fields[1]), 0),
        pgid=int(status.get("NSpgid", "").split()[depth - 1]),
        comm=comm,
        args=_args(host_pid) or f"[{comm}]",
        state=fields[0],
        uids=tuple(map(int, status["Uid"].split())),
        gids=tuple(map(int, status["Gid"].split())),
        groups=tuple(map(int, status["Groups"].split())),
        tty=_tty(int(fields[4])),
        nice=int(fields[16]),
        cpu=(int(fields[11]) + int(fields[12])) / _TICKS,
        started=int(fields[19]) / _TICKS,
        memory=int(fields[21]) * os.sysconf("SC_PAGE_SIZE"),
        virtual=int(fields[20]),
        capabilities=masks,
        seccomp=int(status.get("Seccomp", "0")),
        label=_label(host_pid),
    )


def _args(pid: int) -> str:
    return _read(f"/proc/{pid}/cmdline", _LONGEST_ARGS).rstrip("\0").replace("\0", " ")


def _label(pid: int) -> str:
    with suppress(OSError):
        return _read(f"/proc/{pid}/attr/current").strip("\0\n")
    return ""


def _tty(number: int) -> str:
    """Return the name of a terminal for its device number, as stat has it; ? for none."""
    major, minor = os.major(number), os.minor(number)
    if major in _PTS:
        return f"pts/{(major - _PTS.start) * 256 + minor}"
    return f"tty{minor}" if major == _TTY else "?"


def _status(pid: int) -> dict[str, str]:
    lines = (line.partition(":") for line in _read(f"/proc/{pid}/status").splitlines())
    return {name: value.strip() for name, _, value in lines}


def _read(path: str, most: int = _LONGEST_FILE) -> str:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(fd, most).decode("utf-8", "surrogateescape")
    finally:
        os.close(fd)
