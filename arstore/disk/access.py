"""Who may write to a store: its owner, where its file system can be written to, and nobody else.

A store belongs to the owner of its root directory. What another user writes there, root above all, the owner could
neither read nor remove; so root reads a user's store and writes nothing but leases, which are records of the graph.
Decision 24.
"""

from __future__ import annotations

import enum
import os

from arstore.errors import HostError, PermissionDeniedError
from arstore.linux.mounting.filesystem import is_read_only, network_type, nobody_can_write


class Access(enum.Enum):
    """What this process may do in a store."""

    OWNER = "owner"
    GUEST = "guest"
    """Another user's store: it may be read, as far as the kernel permits."""
    FROZEN = "frozen"
    """A store on a read-only file system."""


def access_to(root: str) -> Access:
    """What this process may do in the store at *root*, an existing directory. Raises OSError."""
    if is_read_only(root):
        return Access.FROZEN
    return Access.OWNER if os.stat(root).st_uid == os.geteuid() else Access.GUEST


def require_writable(root: str) -> None:
    """Raise PermissionDeniedError unless this process may write to the store at *root*; OSError."""
    access = access_to(root)
    if access is Access.FROZEN:
        raise PermissionDeniedError(root, "the store is on a read-only file system, and can only be read")
    if access is Access.GUEST:
        raise _foreign(root)


def _foreign(root: str) -> PermissionDeniedError:
    uid = os.stat(root).st_uid
    owner = name_of_user(uid)
    if os.geteuid():
        return PermissionDeniedError(root, f"belongs to {owner}, and this user may not use it")
    why = f"belongs to {owner}, who could not use what root writes there"
    who = owner if owner != f"user {uid}" else f"'#{uid}'"
    return PermissionDeniedError(root, why, f"run `sudo -u {who} arstore`, or give root the directory with chown")


def name_of_user(uid: int) -> str:
    """The name of a user, or `user UID` for one without a name."""
    import pwd

    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user {uid}"


def require_lockless(root: str, graph: str) -> None:
    """Raise PermissionDeniedError unless the graph of a frozen store can be read without a lock; OSError."""
    if not nobody_can_write(graph):
        why = "is read-only here, but others may write to it by another path, and the graph's lock cannot be taken"
        hint = "use a path where the store can be written to, or a backup or snapshot of it"
        raise PermissionDeniedError(root, why, hint)


def require_local(root: str, place: str) -> None:
    """Raise HostError when *place*, where the graph of the store at *root* is or is to be, is on a network file system.

    LMDB maps its file into memory and takes locks that hold on one host (lmdb.h, "Caveats"). Raises OSError.
    """
    fs_type = network_type(place)
    if fs_type:
        why = f"is on a network file system ({fs_type}), on which LMDB would damage the store's graph"
        hint = "keep the store on a local disk; `arstore backup` can write there, and `arstore import` read that"
        raise HostError(root, why, hint)


def give_to_owner(fd: int, directory: str) -> None:
    """Give a file in *directory*, perhaps a new one, to that directory's owner, when this is root. Raises OSError."""
    if os.geteuid() == 0:
        status = os.stat(directory)
        if os.fstat(fd).st_uid != status.st_uid:
            os.fchown(fd, status.st_uid, status.st_gid)
