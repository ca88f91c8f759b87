"""Namespaces: unshare(2), setns(2), and a thread with its own working directory."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

from arstore.linux.syscall import libc

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import TypeVar

    _T = TypeVar("_T")

CLONE_FS = 0x200
CLONE_NEWNS, CLONE_NEWUSER, CLONE_NEWPID, CLONE_NEWNET = 0x20000, 0x10000000, 0x20000000, 0x40000000

_INITIAL_PID_NAMESPACE, _INITIAL_USER_NAMESPACE = 0xEFFFFFFC, 0xEFFFFFFD
"""Fixed inode numbers, from the kernel's proc_ns.h."""


def unshare(flags: int) -> None:
    """Leave the namespaces and shared state of *flags* (CLONE_) for new ones; unshare(2) has the privileges needed."""
    libc("unshare", flags)


def setns(fd: int, kind: int = 0) -> None:
    """Join the namespace open as *fd*, if it is of this CLONE_NEW kind, or those of a pidfd (Linux 5.8)."""
    libc("setns", fd, kind)


def identity(kind: str, pid: int | None = None) -> int:
    """Return the inode number that identifies a namespace of *kind* (`mnt`, `user`…): ours or process *pid*'s.

    Raises OSError: ENOENT when the process does not exist, EACCES when we may not look.
    """
    return os.stat(f"/proc/{'self' if pid is None else pid}/ns/{kind}").st_ino


def sees_all_processes() -> bool:
    """Return whether this process sees every process of the host: in the first pid namespace, with CAP_SYS_PTRACE.

    Without that capability, or with one in a user namespace alone, it cannot look up the namespaces of other users'
    processes.
    """
    from arstore.linux.isolation import capability

    return (
        sees_own_processes()
        and identity("user") == _INITIAL_USER_NAMESPACE
        and capability.has(capability.CAP_SYS_PTRACE)
    )


def sees_own_processes() -> bool:
    """Return whether this process sees all processes of its user, also those in user namespaces that the user made."""
    return identity("pid") == _INITIAL_PID_NAMESPACE


def is_held(kind: str, number: int) -> bool:
    """Return whether a visible thread, descriptor or bind mount keeps the namespace with this identity."""
    link = f"{kind}:[{number}]"
    for name in os.listdir("/proc"):
        if name.isdigit() and any(map(link.__eq__, _namespace_links(f"/proc/{name}", kind))):
            return True
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as table:
        return any(line.split(" ", 4)[3] == link for line in table)


def _namespace_links(process: str, kind: str) -> Iterator[str]:
    """Yield the link targets of the threads and descriptors of the process in this directory of /proc."""
    for directory, leads in (("task", f"/ns/{kind}"), ("fd", "")):
        with suppress(OSError):
            for name in os.listdir(f"{process}/{directory}"):
                with suppress(OSError):
                    yield os.readlink(f"{process}/{directory}/{name}{leads}")


def in_directory(path: str, action: Callable[[], _T]) -> _T:
    """Call *action* with *path* as the working directory; return its result, or raise its exception.

    It runs in a thread that has left the process's shared working directory (CLONE_FS), so no other thread is affected.
    """
    import threading

    result: list[_T] = []
    failure: list[BaseException] = []

    def body() -> None:
        try:
            unshare(CLONE_FS)
            os.chdir(path)
            result.append(action())
        except BaseException as error:  # raised in the caller's thread
            failure.append(error)

    thread = threading.Thread(target=body, name="in-directory")
    thread.start()
    thread.join()
    if failure:
        raise failure[0]
    return result[0]
