"""Permission to write to a store: only its owner may write, and only if its file system is writable.

A store belongs to the owner of its root directory. The owner could neither read nor remove what another user, above all
root, writes there. So root reads a user's store, and writes nothing there but leases, which are records of the graph.
See decision 24.
"""

from __future__ import annotations

import os
from enum import Enum

from arstore.errors import HostError, PermissionDeniedError
from arstore.linux.isolation import user_namespace
from arstore.linux.mounting.filesystem import is_read_only, network_type, nobody_can_write

_OVERFLOW = 65534
"""The owner that files of a user without an id in a user namespace seem to have."""


class Access(Enum):
    """Kind of access that this process has to a store."""

    OWNER = "owner"
    GUEST = "guest"
    """Another user's store, of root, who may read it and take its lock."""
    READER = "reader"
    """Another user's store whose lock this process may not take. A copy of its graph is read, if the kernel permits
    that, and its content may be removed meanwhile."""
    FROZEN = "frozen"
    """A store on a read-only file system."""


def access_to(root: str) -> Access:
    """Return what this process may do in the store at *root*, an existing directory. Raises OSError."""
    if is_read_only(root):
        return Access.FROZEN
    if os.stat(root).st_uid == os.geteuid():
        return Access.OWNER
    lock = f"{root}/graph/lock.mdb"
    place = lock if os.path.lexists(lock) else os.path.dirname(lock)
    return Access.GUEST if os.access(place, os.W_OK, effective_ids=True) else Access.READER


def require_writable(root: str) -> None:
    """Raise PermissionDeniedError unless this process may write to the store at *root*. Raises OSError."""
    access = access_to(root)
    if access is Access.FROZEN:
        raise PermissionDeniedError(root, "the store is on a read-only file system, and can only be read")
    if access is not Access.OWNER:
        raise _foreign(root)


def unreadable_store(root: str) -> PermissionDeniedError:
    """Return the error for another user's store that the kernel does not let this process read. Raises OSError."""
    hint = f"use another store with --root, or let {_owner_of(root)} make this one readable"
    return PermissionDeniedError(root, f"belongs to {_owner_of(root)}, and this user may not read it", hint)


def _owner_of(root: str) -> str:
    uid = os.stat(root).st_uid
    return "another user" if not user_namespace.is_initial() and uid == _OVERFLOW else name_of_user(uid)


def _foreign(root: str) -> PermissionDeniedError:
    uid = os.stat(root).st_uid
    owner = name_of_user(uid)
    if os.geteuid() or not user_namespace.is_initial():
        why = f"belongs to {_owner_of(root)}, and this user may only read it"
        return PermissionDeniedError(
            root, why, f"`--additional-store {root}` uses its images with this user's own store"
        )
    why = f"belongs to {owner}, who could not use files that root writes there"
    who = owner if owner != f"user {uid}" else f"'#{uid}'"
    return PermissionDeniedError(root, why, f"run `sudo -u {who} arstore`, or give root the directory with chown")


def name_of_user(uid: int) -> str:
    """Return the name of user *uid*, or `user UID` if it has none."""
    import pwd

    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user {uid}"


def require_lockless(root: str, graph: str) -> None:
    """Raise PermissionDeniedError unless the graph of a frozen store can be read without a lock. Raises OSError."""
    if not nobody_can_write(graph):
        why = "is read-only here but may be written by another path, and the graph's lock cannot be taken"
        hint = "use a path where the store is writable, or a backup or snapshot of it"
        raise PermissionDeniedError(root, why, hint)


def require_local(root: str, place: str) -> None:
    """Raise HostError when *place*, the present or future place of the graph of *root*, is on a network file system.

    LMDB maps its file into memory, and its locks work on one host only (lmdb.h, "Caveats"). Raises OSError.
    """
    fs_type = network_type(place)
    if fs_type:
        why = f"is on a network file system ({fs_type}), where LMDB would damage the store's graph"
        hint = "keep the store on a local disk; `arstore backup` can write there, and `arstore import` read that"
        raise HostError(root, why, hint)


def give_to_owner(fd: int, directory: str) -> None:
    """As root, change the owner of an open file in *directory* to the directory's owner. Raises OSError."""
    if os.geteuid() == 0:
        status = os.stat(directory)
        if os.fstat(fd).st_uid != status.st_uid:
            os.fchown(fd, status.st_uid, status.st_gid)
