"""User namespaces: the ids that this process's namespace maps, and entering a new one in place.

user_namespaces(7). Ids inside a namespace are mapped to ids of its parent. An id that is not mapped cannot own a new
file, and files that it owns appear to belong to the overflow id (65534).

A process may map only its own id. Other ids are mapped for it by newuidmap(1) and newgidmap(1), which are privileged
and accept the ids that the host grants its user (`subordinate`). They have to run outside the new namespace, so
children that were forked before wait there until it exists.
"""

from __future__ import annotations

import functools
import os
from typing import TYPE_CHECKING

from arstore.linux.isolation.namespace import CLONE_NEWNS, CLONE_NEWUSER, setns, unshare
from arstore.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

_INITIAL = 0xEFFFFFFD
"""Inode number of the initial user namespace: PROC_USER_INIT_INO of the kernel's proc_ns.h."""
_NS_GET_USERNS = 0xB701
_OF_ROOT = "/var/lib"
"""A directory that belongs to root on every host and in every container."""
_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
_ANOTHER_ROOT = 1
"""The number of an ordinary user who is called root by a namespace and by the one around it."""
_MOST_SAID = 4096
"""Bytes of a helper's messages that are kept."""

MAPPERS = ("newuidmap", "newgidmap")
"""The programs that map subordinate ids, of the package uidmap or shadow."""


class IdRange(NamedTuple):
    """*length* ids from *inside* on, which are the ids from *outside* on in the parent namespace."""

    inside: int
    outside: int
    length: int


class IdMaps(NamedTuple):
    """The mapped ids of users and groups."""

    uids: tuple[IdRange, ...]
    gids: tuple[IdRange, ...]

    @property
    def is_single(self) -> bool:
        """Whether only one user or group is mapped, so that files cannot have several owners."""
        return any(sum(one.length for one in ranges) <= 1 for ranges in self)

    def has_uid(self, uid: int) -> bool:
        """Return whether a file in the namespace can belong to *uid*."""
        return _contains(self.uids, uid)

    def has_gid(self, gid: int) -> bool:
        """Return whether a file in the namespace can belong to the group *gid*."""
        return _contains(self.gids, gid)


def _contains(ranges: Iterable[IdRange], number: int) -> bool:
    return any(one.inside <= number < one.inside + one.length for one in ranges)


class MapperError(OSError):
    """The mapping program *program* failed; *said* is its message."""

    def __init__(self, program: str, said: str) -> None:
        super().__init__(f"{program}: {said}")
        self.program = program
        self.said = said


@functools.cache
def is_initial() -> bool:
    """Return whether this process is in the host's user namespace. The answer is kept until `enter`."""
    try:
        return os.stat("/proc/self/ns/user").st_ino == _INITIAL
    except OSError:
        # A kernel without user namespaces, or no /proc.
        return True


@functools.cache
def current() -> IdMaps:
    """Return the maps of this process's user namespace; they are kept until `enter`. Raises OSError."""
    return IdMaps(_ranges("/proc/self/uid_map"), _ranges("/proc/self/gid_map"))


def maps_of(pid: int) -> IdMaps:
    """Return the maps of the user namespace of process *pid*, to ids of our own namespace. Raises OSError."""
    return IdMaps(_ranges(f"/proc/{pid}/uid_map"), _ranges(f"/proc/{pid}/gid_map"))


def _ranges(path: str) -> tuple[IdRange, ...]:
    with open(path, encoding="ascii") as file:
        return tuple(IdRange(*map(int, line.split())) for line in file)


def outside_uid() -> int:
    """Return this process's effective user id in the parent of its user namespace. Raises OSError."""
    uid = os.geteuid()
    if is_initial():
        return uid
    return next((one.outside + uid - one.inside for one in current().uids if _contains((one,), uid)), uid)


def owns_mounts() -> bool:
    """Return whether the mount namespace belongs to the user namespace, so that root there may mount (ioctl_ns(2))."""
    import fcntl

    try:
        fd = os.open("/proc/self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
        try:
            owner = fcntl.ioctl(fd, _NS_GET_USERNS)
        finally:
            os.close(fd)
        try:
            return os.fstat(owner).st_ino == os.stat("/proc/self/ns/user").st_ino
        finally:
            os.close(owner)
    except OSError:
        # EPERM: the owner is outside.
        return False


def acting_uid() -> int:
    """Return the user whose directories apply: 0 for the host's root, and for root in a container with its own files.

    The root of any other user namespace is an ordinary user of this host: its directories belong to a root who does not
    exist in the namespace.
    """
    uid = os.geteuid()
    if uid or is_initial():
        return uid
    try:
        if os.stat(_OF_ROOT).st_uid == uid:
            return 0
    except OSError:
        return 0
    return outside_uid() or _ANOTHER_ROOT


def maps_for(uid: int, gid: int, uids: Iterable[tuple[int, int]], gids: Iterable[tuple[int, int]]) -> IdMaps:
    """Return maps of root to *uid* and *gid*, and of the ids from 1 on to the ranges (first, count), in their order."""
    return IdMaps(_laid_out(uid, uids), _laid_out(gid, gids))


def _laid_out(own: int, ranges: Iterable[tuple[int, int]]) -> tuple[IdRange, ...]:
    found = [IdRange(0, own, 1)]
    for first, count in ranges:
        found.append(IdRange(found[-1].inside + found[-1].length, first, count))
    return tuple(found)


def enter(maps: IdMaps, programs: tuple[str, str] | None) -> None:
    """Move this process into a new user namespace with *maps*, and a new mount namespace, as root there.

    *programs* are the paths of newuidmap and newgidmap; without them, *maps* must be of this process's own ids. Mounts
    made in the namespace are not seen outside. The process must have one thread. Raises MapperError if a program
    refuses the maps; the process is then in a namespace without ids, and can only end or report. Raises OSError if the
    kernel refuses the namespace; nothing has changed then.
    """
    rows = zip(programs, maps, strict=True) if programs is not None else ()
    mappers = [_Mapper(path, os.getpid(), ranges) for path, ranges in rows]
    try:
        unshare(CLONE_NEWUSER | CLONE_NEWNS)
        is_initial.cache_clear()
        current.cache_clear()
        for mapper in mappers:
            mapper.start()
        for mapper in mappers:
            mapper.finish()
    finally:
        for mapper in mappers:
            mapper.close()
    if programs is None:
        map_own_ids(maps)
    keep_mounts_private()


def join(fd: int) -> None:
    """Move this process into the user namespace open as *fd*, and a new mount namespace, as root there.

    The namespace must be one that this user has made. The process must have one thread. Raises OSError.
    """
    setns(fd, CLONE_NEWUSER)
    is_initial.cache_clear()
    current.cache_clear()
    unshare(CLONE_NEWNS)
    keep_mounts_private()


def map_own_ids(maps: IdMaps) -> None:
    """Map this process's own user and group, of a new namespace, where none are mapped yet. Raises OSError."""
    if not _ranges("/proc/self/uid_map"):
        _write("/proc/self/uid_map", _text(maps.uids))
    if not _ranges("/proc/self/gid_map"):
        # Without privileges outside, a group map is accepted only after setgroups(2) is given up.
        _write("/proc/self/setgroups", "deny")
        _write("/proc/self/gid_map", _text(maps.gids))
    current.cache_clear()


def _text(ranges: Iterable[IdRange]) -> str:
    return "\n".join(" ".join(map(str, one)) for one in ranges)


def _write(path: str, text: str) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, text.encode())
    finally:
        os.close(fd)


def keep_mounts_private() -> None:
    """Let mounts of the host arrive here, and none of ours leave: the kernel's rule, made explicit."""
    from arstore.linux.mounting.mount import MS_REC, MS_SLAVE, mount

    mount("none", "/", "", MS_REC | MS_SLAVE, "")


class _Mapper:
    """A child outside the new namespace that runs one mapping program for process *pid* once `start` is called."""

    def __init__(self, path: str, pid: int, rows: tuple[IdRange, ...]) -> None:
        self._path = path
        go, self._go = os.pipe2(os.O_CLOEXEC)
        self._said, said = os.pipe2(os.O_CLOEXEC)
        self._pid = os.fork()
        if self._pid == 0:
            try:
                # The parent may end before it has a namespace: the pipe then ends without a byte.
                os.close(self._go)
                if os.read(go, 1):
                    os.dup2(said, 1)
                    os.dup2(said, 2)
                    words = [str(number) for row in rows for number in row]
                    os.execve(path, [os.path.basename(path), str(pid), *words], {"PATH": _PATH, "LC_ALL": "C"})
            finally:
                os._exit(1)
        os.close(go)
        os.close(said)

    def start(self) -> None:
        os.write(self._go, b".")

    def finish(self) -> None:
        said = b""
        while len(said) < _MOST_SAID and (more := os.read(self._said, _MOST_SAID)):
            said += more
        status = os.waitstatus_to_exitcode(os.waitpid(self._pid, 0)[1])
        self._pid = 0
        if status:
            text = said.decode(errors="replace").strip().partition("\n")[0]
            raise MapperError(os.path.basename(self._path), text or f"ended with status {status}")

    def close(self) -> None:
        os.close(self._go)
        os.close(self._said)
        if self._pid:
            os.waitpid(self._pid, 0)
