"""Holders: the processes that keep a store's user namespace alive.

A user namespace ends with its last process, and no process of arstore stays only to hold one. But a command that acts
on a running container, as `exec` does, must be in its user namespace: another one has no rights over it, even with the
same ids.
So the commands of an ordinary user share one namespace per store as long as any of them, or a container, lives.

`graph/namespaces` has a line `PID START BOOT` for each process that has entered one. A command that comes joins the
namespace of the first that is alive, or else makes one, and adds itself; an exclusive lock on the file keeps two that
come at once from making two. Out of scope: which ids a new namespace has (`linux.isolation`).
"""

from __future__ import annotations

import fcntl
import os
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, TypeVar

from arstore.disk.owner import Owner
from arstore.linux.isolation import user_namespace
from arstore.linux.isolation.namespace import identity

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from arstore.linux.isolation.user_namespace import IdMaps

_T = TypeVar("_T")

FILE = "namespaces"

_LIMIT = 1 << 20


def enter_shared(
    graph: str, make: Callable[[], _T], fits: Callable[[IdMaps], bool] = lambda _maps: True, *, shares: bool = True
) -> _T | None:
    """Join the user namespace that the store with the directory *graph* has, if its ids *fit*, or else call *make*,
    which enters a new one; return its result, None if one was joined.

    Unless it *shares* the namespace, this process is not recorded, and the files of the store stay as they are: no
    process needs the namespace of a command that starts no container. The process must have one thread. Raises the
    errors of *make*.
    """
    made = None
    with _holders(graph, make=shares) as holders:
        if not any(_join(one, fits) for one in holders or ()):
            made = make()
        if shares and holders is not None:
            holders.append(Owner.current())
    return made


def hold(graph: str) -> None:
    """Let other commands join the user namespace of this process as long as it lives, if it is in one."""
    if user_namespace.is_initial():
        return
    with _holders(graph) as holders:
        if holders is not None:
            holders.append(Owner.current())


def _join(holder: Owner, fits: Callable[[IdMaps], bool]) -> bool:
    """Return whether this process is now in the user namespace of *holder*."""
    try:
        if identity("user", holder.pid) == identity("user") or not fits(user_namespace.maps_of(holder.pid)):
            return False
        fd = os.open(f"/proc/{holder.pid}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
        try:
            # Checked after opening: the pid may have been used again.
            if not holder.runs_here():
                return False
            user_namespace.join(fd)
        finally:
            os.close(fd)
    except OSError:
        return False
    return True


@contextmanager
def _holders(graph: str, *, make: bool = True) -> Iterator[list[Owner] | None]:
    """Yield the processes in the file that are alive, for changes, with the file locked; None if it cannot be used.

    A missing file is made only with *make*.
    """
    flags = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | (os.O_CREAT if make else 0)
    try:
        fd = os.open(f"{graph}/{FILE}", flags, 0o600)
    except OSError:
        # There is no store yet, or it is another user's.
        yield None
        return
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        found = [one for one in map(_parsed, os.pread(fd, _LIMIT, 0).splitlines()) if one is not None]
        alive = [one for one in dict.fromkeys(found) if one.runs_here() or one.is_elsewhere]
        try:
            yield alive
        finally:
            text = "".join(f"{one.pid} {one.start} {one.boot}\n" for one in dict.fromkeys(alive)).encode()
            # A full disk must not keep a command from running.
            with suppress(OSError):
                os.pwrite(fd, text, 0)
                os.ftruncate(fd, len(text))
    finally:
        os.close(fd)


def _parsed(line: bytes) -> Owner | None:
    words = line.decode("ascii", "replace").split()
    if len(words) != 3 or not (words[0].isdigit() and words[1].isdigit()):
        return None
    return Owner(int(words[0]), int(words[1]), words[2])
