"""Owners: the process that something in a store belongs to, which is garbage once that process has ended.

A process is told by pid, start time and boot; outside the first pid namespace the boot has that namespace's inode
number behind it, `<boot>+<inode>`. People are shown this, and in the first namespace /proc answers for it, unless the
start time differs: /proc shifts it in a time namespace (`linux.process` takes that off, earlier versions did not). A
process in another pid namespace cannot be looked up by its pid. So each process that owns something in a store also
holds a lock on one byte of `graph/owners`, at an offset that its identity tells, as long as it works on that store, or
a worker does that it has forked: the kernel drops the lock with the process, and tells of it alike in every namespace.

Out of scope: hosts that share one file system over a network, which no store may be on.
"""

from __future__ import annotations

import os
from contextlib import suppress

from arstore.disk.access import give_to_owner
from arstore.linux.files.filelock import is_locked, lock_byte
from arstore.linux.isolation.namespace import identity
from arstore.linux.process import boot_id, is_alive, own_start_time, runs, start_time
from arstore.values import NamedTuple

FILE = "owners"

_FIRST_PID_NAMESPACE = 0xEFFFFFFC
"""PROC_PID_INIT_INO of the kernel's proc_ns.h."""

_announced: dict[str, tuple[int, int]] = {}
"""By the graph's path: which process has announced itself there, and the descriptor that holds its lock."""


class Owner(NamedTuple):
    """A process, told apart from every other that ever had its pid."""

    pid: int
    start: int
    boot: str

    @classmethod
    def current(cls) -> Owner:
        """The process that asks."""
        return cls(os.getpid(), own_start_time(), own_boot())

    @classmethod
    def of(cls, pid: int) -> Owner:
        """The process that has this pid now. Raises ProcessLookupError."""
        return cls(pid, start_time(pid), own_boot())

    @classmethod
    def announced(cls, graph: str) -> Owner:
        """The process that asks, which from now on can be found alive from every namespace; *graph* is a directory."""
        owner = cls.current()
        pid, _ = _announced.get(graph, (0, -1))
        if pid != owner.pid:
            # On a file system without such locks, or one that is full, others go by the pid alone.
            with suppress(OSError):
                fd = os.open(f"{graph}/{FILE}", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
                give_to_owner(fd, graph)
                _announced[graph] = (owner.pid, fd)
                lock_byte(fd, owner._offset)
        return owner

    def is_alive(self, graph: str = "") -> bool:
        """Whether the process still runs; *graph* is the directory in which it was announced.

        One in another namespace that nothing can be known of counts as alive: to take it for dead would be worse.
        """
        boot, _, inner = self.boot.partition("+")
        if self.pid <= 0 or boot != boot_id():
            return False
        own = identity("pid")
        theirs = int(inner) if inner.isascii() and inner.isdigit() else _FIRST_PID_NAMESPACE
        if own == theirs == _FIRST_PID_NAMESPACE:
            if is_alive(self.pid, self.start, boot):
                return True
            if not runs(self.pid):
                return False
            # The pid is used again, or this process's start time was taken in another time namespace: the lock tells.
        present = _is_present(graph, self._offset) if graph else None
        if present is not None:
            return present
        return own != theirs or is_alive(self.pid, self.start, boot)

    @property
    def is_elsewhere(self) -> bool:
        """Whether its pid counts in another pid namespace than ours, so that it can be neither seen nor signalled."""
        return self.boot != own_boot() and self.boot.partition("+")[0] == boot_id()

    def runs_here(self) -> bool:
        """Whether it still runs, as far as this process sees it: one in another pid namespace does not count."""
        return self.boot == own_boot() and is_alive(self.pid, self.start, boot_id())

    def directory_name(self) -> str:
        """A fresh name for a directory of this process."""
        return f"{self.pid}-{self.start}-{self.boot}-{os.urandom(4).hex()}"

    @classmethod
    def of_directory(cls, name: str) -> Owner | None:
        """The process that a name made by `directory_name` tells of; None for any other name."""
        pid, _, rest = name.partition("-")
        start, _, rest = rest.partition("-")
        boot, _, _ = rest.rpartition("-")
        if not (pid.isascii() and pid.isdigit() and start.isascii() and start.isdigit() and boot):
            return None
        return cls(int(pid), int(start), boot)

    @property
    def _offset(self) -> int:
        # Of 60 bits, as a file offset allows, 22 are the largest pid's. The boot is the same for all that ask.
        namespace = int(self.boot.partition("+")[2] or 0)
        return (self.pid & 0x3FFFFF) << 38 | (self.start & 0xFFFFFF) << 14 | namespace & 0x3FFF


def own_boot() -> str:
    """This boot, with our pid namespace behind it unless that is the first: where our pids count."""
    namespace = identity("pid")
    return boot_id() if namespace == _FIRST_PID_NAMESPACE else f"{boot_id()}+{namespace}"


def lock_of(graph: str) -> int:
    """The descriptor by which this process is known to be alive in the store of *graph*; -1 when there is none."""
    pid, fd = _announced.get(graph, (0, -1))
    return fd if pid == os.getpid() else -1


def withdraw(graph: str) -> None:
    """Take the announcement of this process back: it owns nothing any more in the store of *graph*."""
    pid, fd = _announced.get(graph, (0, -1))
    if pid == os.getpid():
        del _announced[graph]
        os.close(fd)


def _is_present(graph: str, offset: int) -> bool | None:
    """Whether somebody holds the lock at *offset*; None where that cannot be told."""
    try:
        fd = os.open(f"{graph}/{FILE}", os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        return is_locked(fd, offset)
    except OSError:
        return None
    finally:
        os.close(fd)
