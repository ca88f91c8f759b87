"""Mapped ids: user namespaces that only carry a map, mounts that apply it, and acting as a mapped user on files."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

from arstore.linux.isolation import capability
from arstore.linux.isolation.namespace import CLONE_NEWUSER, unshare
from arstore.linux.mounting.mount import AT_EMPTY_PATH, OPEN_TREE_CLONE, mount_setattr, open_tree
from arstore.linux.syscall import libc
from arstore.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_MOUNT_ATTR_IDMAP = 0x100000
_EVERY = 2**64 - 1


class IdRange(NamedTuple):
    """Consecutive ids: the first one in the container, the first one of the host, and how many."""

    inside: int
    outside: int
    size: int


def host_id(ranges: Iterable[IdRange], number: int) -> int:
    """Return the host's id for the container's id *number*. Raises ValueError for one that is not mapped."""
    for one in ranges:
        if one.inside <= number < one.inside + one.size:
            return one.outside + number - one.inside
    raise ValueError(number)


def kernel_map(ranges: Iterable[IdRange]) -> str:
    """Return the content of uid_map or gid_map in /proc/PID."""
    return "".join(f"{one.inside} {one.outside} {one.size}\n" for one in ranges)


def user_namespace(uid_map: str, gid_map: str) -> int:
    """Return a descriptor of a new user namespace with these maps, without a process in it. Raises OSError.

    It is made by a child, which ends at once: it must be possible to fork here.
    """
    made_read, made_write = os.pipe()
    end_read, end_write = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.close(end_write)
            unshare(CLONE_NEWUSER)
            os.write(made_write, b"x")
            os.read(end_read, 1)
        finally:
            os._exit(0)
    os.close(made_write)
    try:
        if not os.read(made_read, 1):
            raise PermissionError(1, "this process may not make user namespaces")
        for name, text in (("uid_map", uid_map), ("gid_map", gid_map)):
            fd = os.open(f"/proc/{pid}/{name}", os.O_WRONLY | os.O_CLOEXEC)
            try:
                # The kernel takes the map in one write only.
                os.write(fd, text.encode())
            finally:
                os.close(fd)
        return os.open(f"/proc/{pid}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
    finally:
        for one in (made_read, end_read, end_write):
            os.close(one)
        os.waitpid(pid, 0)


def mapped_clone(fd: int, namespace: int) -> int:
    """Return a detached mount of the open directory *fd*, with the map of a user namespace (Linux 5.12).

    Raises OSError: EINVAL for a file system that cannot be mapped.
    """
    made = open_tree(b"", fd, OPEN_TREE_CLONE | AT_EMPTY_PATH)
    try:
        mount_setattr(made, add=_MOUNT_ATTR_IDMAP, userns_fd=namespace)
    except BaseException:
        os.close(made)
        raise
    return made


@contextmanager
def acting_as(uid: int, gid: int) -> Iterator[None]:
    """Make files as this user, with all capabilities that this thread has, during the context."""
    libc("setfsgid", gid)
    libc("setfsuid", uid)
    # The change has cleared the capabilities for files from the effective set.
    capability.keep_only(_EVERY)
    try:
        yield
    finally:
        libc("setfsuid", os.geteuid())
        libc("setfsgid", os.getegid())
        capability.keep_only(_EVERY)
