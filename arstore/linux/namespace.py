"""Namespaces: unshare(2), setns(2), and a thread that has a working directory of its own."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, TypeVar

from arstore.linux.syscall import libc

if TYPE_CHECKING:
    from collections.abc import Callable

CLONE_FS, CLONE_FILES = 0x200, 0x400
CLONE_NEWTIME, CLONE_NEWNS, CLONE_NEWCGROUP = 0x80, 0x20000, 0x2000000
CLONE_NEWUTS, CLONE_NEWIPC, CLONE_NEWUSER = 0x4000000, 0x8000000, 0x10000000
CLONE_NEWPID, CLONE_NEWNET = 0x20000000, 0x40000000

_INITIAL_USER_NAMESPACE = 0xEFFFFFFD

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


def in_initial_user_namespace() -> bool:
    """Whether capabilities of this process count for the whole host: needed for `trusted.*` xattrs and device nodes."""
    return identity("user") == _INITIAL_USER_NAMESPACE


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
