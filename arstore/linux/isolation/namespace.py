"""Namespaces: unshare(2), setns(2), and a thread that has a working directory of its own."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING, TypeVar

from arstore.linux.syscall import libc

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

CLONE_FS = 0x200
CLONE_NEWNS, CLONE_NEWPID = 0x20000, 0x20000000

_INITIAL_PID_NAMESPACE = 0xEFFFFFFC
"""A fixed inode number, from the kernel's proc_ns.h."""

_T = TypeVar("_T")


def unshare(flags: int) -> None:
    """Leave what *flags* name (CLONE_) and go on with a fresh one; see unshare(2) for what each needs."""
    libc("unshare", flags)


def setns(fd: int, kind: int = 0) -> None:
    """Join the namespace that *fd* has open, if it is of this CLONE_NEW kind, or those of a pidfd (Linux 5.8)."""
    libc("setns", fd, kind)


def identity(kind: str, pid: int | None = None) -> int:
    """The inode number that tells one namespace of *kind* (`mnt`, `user`…) from another: ours or process *pid*'s.

    Raises OSError: ENOENT when there is no such process, EACCES when it is not ours to know.
    """
    return os.stat(f"/proc/{'self' if pid is None else pid}/ns/{kind}").st_ino


def sees_all_processes() -> bool:
    """Whether /proc shows this process every process of the host: in the first pid namespace, with CAP_SYS_PTRACE.

    Without that capability the namespaces of others' processes are not ours to know.
    """
    from arstore.linux.isolation import capability

    return identity("pid") == _INITIAL_PID_NAMESPACE and capability.has(capability.CAP_SYS_PTRACE)


def is_held(kind: str, number: int) -> bool:
    """Whether anything that can be seen keeps the namespace of this identity: a thread, a descriptor, a bind mount."""
    link = f"{kind}:[{number}]"
    for name in os.listdir("/proc"):
        if name.isdigit() and any(map(link.__eq__, _namespace_links(f"/proc/{name}", kind))):
            return True
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as table:
        return any(line.split(" ", 4)[3] == link for line in table)


def _namespace_links(process: str, kind: str) -> Iterator[str]:
    """What the threads and descriptors of the process in this directory of /proc lead to."""
    for directory, leads in (("task", f"/ns/{kind}"), ("fd", "")):
        with suppress(OSError):
            for name in os.listdir(f"{process}/{directory}"):
                with suppress(OSError):
                    yield os.readlink(f"{process}/{directory}/{name}{leads}")


def in_directory(path: str, action: Callable[[], _T]) -> _T:
    """What *action* returns, or raises, when called with *path* as the working directory.

    It runs in a thread that has left the process's shared working directory (CLONE_FS), so no other thread notices.
    """
    import threading

    result: list[_T] = []
    failure: list[BaseException] = []

    def body() -> None:
        try:
            unshare(CLONE_FS)
            os.chdir(path)
            result.append(action())
        except BaseException as error:  # whatever it is, it belongs to the caller's thread
            failure.append(error)

    thread = threading.Thread(target=body, name="in-directory")
    thread.start()
    thread.join()
    if failure:
        raise failure[0]
    return result[0]
