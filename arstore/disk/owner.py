"""Owners: processes that something in a store belongs to. What they own is garbage once the process has ended.

An owner is identified by pid, start time and boot. Outside the initial pid namespace, the boot is followed by the inode
number of the pid namespace: `<boot>+<inode>`. Messages show these values. In the initial namespace /proc is enough to
find out whether an owner is alive, unless the start time differs: /proc shifts it in a time namespace (`linux.process`
subtracts that, earlier versions did not). A process in another pid namespace cannot be looked up by its pid. So each
process that owns something in a store also locks one byte of `graph/owners`, at an offset made from its identity. The
lock lasts as long as the process, or a worker that it forked, works on that store. The kernel drops the lock when the
process ends, and shows it in every namespace.

Not here: hosts that share one file system over a network. A store on such a file system is refused.
"""

from __future__ import annotations

import os

from arstore.builtin import suppress
from arstore.disk.access import give_to_owner
from arstore.linux.files.filelock import is_locked, lock_byte
from arstore.linux.isolation.namespace import identity
from arstore.linux.process import boot_id, is_alive, own_start_time, runs, start_time
from arstore.values import NamedTuple

FILE = "owners"

_FIRST_PID_NAMESPACE = 0xEFFFFFFC
"""PROC_PID_INIT_INO of the kernel's proc_ns.h."""

_announced: dict[str, tuple[int, int]] = {}
"""By the path of the graph: the process that has announced itself there, and the descriptor that holds its lock."""


class Owner(NamedTuple):
    """A process, distinguished from all other processes that had its pid."""

    pid: int
    start: int
    boot: str

    @classmethod
    def current(cls) -> Owner:
        """Return this process."""
        return cls(os.getpid(), own_start_time(), own_boot())

    @classmethod
    def of(cls, pid: int) -> Owner:
        """Return the process that has this pid now. Raises ProcessLookupError."""
        return cls(pid, start_time(pid), own_boot())

    @classmethod
    def announced(cls, graph: str) -> Owner:
        """Return this process, and make it visible as alive to all namespaces; *graph* is a directory."""
        owner = cls.current()
        pid, _ = _announced.get(graph, (0, -1))
        if pid != owner.pid:
            # Where the file system has no locks of this kind, or is full, other processes go by the pid alone.
            with suppress(OSError):
                fd = os.open(f"{graph}/{FILE}", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
                give_to_owner(fd, graph)
                _announced[graph] = (owner.pid, fd)
                lock_byte(fd, owner._offset)
        return owner

    def is_alive(self, graph: str = "") -> bool:
        """Return whether the process still runs; *graph* is the directory in which it was announced.

        A process in another namespace counts as alive when nothing is known: taking it for dead would be worse.
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
            # Either the pid is used again, or the start time was taken in another time namespace: the lock decides.
        present = _is_present(graph, self._offset) if graph else None
        if present is not None:
            return present
        return own != theirs or is_alive(self.pid, self.start, boot)

    @property
    def is_elsewhere(self) -> bool:
        """Whether its pid belongs to another pid namespace than ours, so that we can neither see nor signal it."""
        return self.boot != own_boot() and self.boot.partition("+")[0] == boot_id()

    def runs_here(self) -> bool:
        """Return whether it runs and we can see it: a process in another pid namespace does not count."""
        return self.boot == own_boot() and is_alive(self.pid, self.start, boot_id())

    def directory_name(self) -> str:
        """Return a new name for a directory of this process."""
        return f"{self.pid}-{self.start}-{self.boot}-{os.urandom(4).hex()}"

    @classmethod
    def of_directory(cls, name: str) -> Owner | None:
        """Return the process in a name made by `directory_name`; None for any other name."""
        pid, _, rest = name.partition("-")
        start, _, rest = rest.partition("-")
        boot, _, _ = rest.rpartition("-")
        if not (pid.isascii() and pid.isdigit() and start.isascii() and start.isdigit() and boot):
            return None
        return cls(int(pid), int(start), boot)

    @property
    def _offset(self) -> int:
        # A file offset has 60 bits; the largest pid has 22. The boot is left out: all callers share it.
        namespace = int(self.boot.partition("+")[2] or 0)
        return (self.pid & 0x3FFFFF) << 38 | (self.start & 0xFFFFFF) << 14 | namespace & 0x3FFF


def own_boot() -> str:
    """Return the id of this boot, followed by our pid namespace unless that is the initial one."""
    namespace = identity("pid")
    return boot_id() if namespace == _FIRST_PID_NAMESPACE else f"{boot_id()}+{namespace}"


def lock_of(graph: str) -> int:
    """Return the descriptor of this process's lock in the store of *graph*; -1 if there is none."""
    pid, fd = _announced.get(graph, (0, -1))
    return fd if pid == os.getpid() else -1


def withdraw(graph: str) -> None:
    """Withdraw the announcement of this process: it owns nothing any more in the store of *graph*."""
    pid, fd = _announced.get(graph, (0, -1))
    if pid == os.getpid():
        del _announced[graph]
        os.close(fd)


def _is_present(graph: str, offset: int) -> bool | None:
    """Return whether a process holds the lock at *offset*; None if that cannot be found out."""
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
