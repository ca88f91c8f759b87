"""`arstore.unshare`: a program of an ordinary user becomes root in a user namespace."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

from arstore.errors import HostError, UsageError
from arstore.values import NamedTuple

if TYPE_CHECKING:
    from arstore.linux.isolation.user_namespace import IdMaps


class Namespace(NamedTuple):
    """The ids of a user namespace: the numbers of *users* and *groups*, and *why* these are 1; "" if they are more."""

    users: int
    groups: int
    why: str = ""


def unshare() -> Namespace:
    """Move this process into a new user namespace and mount namespace, where it is root, and return the ids there.

    A store that is opened afterwards builds trees, mounts and keeps owners as for root. Mounts end with the last
    process in the namespace. There is no way back. A process that is root already, of the host or of a namespace, only
    gets the mount namespace.

    Call it at the start of a program: it must have one thread, and files that are open keep the rights that they have.

    Raises:
        UsageError: the process has other threads.
        HostError: this host does not permit it; the error gives the reason.
    """
    from arstore.linux.isolation import namespace, rootless, user_namespace

    if threading.active_count() > 1:
        raise UsageError("unshare", "needs a process with one thread", "call it before threads are started")
    if os.geteuid() == 0:
        try:
            namespace.unshare(namespace.CLONE_NEWNS)
            user_namespace.keep_mounts_private()
        except OSError as error:
            raise HostError("unshare", "this process may not make a mount namespace") from error
        if user_namespace.is_initial():
            everyone = (1 << 32) - 1
            return Namespace(everyone, everyone)
        return _described(user_namespace.current())
    try:
        ids = rootless.enter()
    except rootless.RefusedError as error:
        raise HostError("unshare", error.why, "docs/rootless.md shows what a host has to permit") from error
    return _described(ids.maps, ids.why)


def _described(maps: IdMaps, why: str = "") -> Namespace:
    users, groups = (sum(one.length for one in ranges) for ranges in maps)
    return Namespace(users, groups, why or ("the namespace maps one id" if maps.is_single else ""))
