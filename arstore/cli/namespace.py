"""Entering a user namespace, for a command of an ordinary user that needs owners or mounts.

It is entered in place, after the configuration was read and before the store is opened. Root enters nothing.
"""

from __future__ import annotations

import os
from contextlib import suppress
from enum import Enum
from typing import TYPE_CHECKING

from arstore.errors import ArstoreError, HostError, MountForbiddenError

if TYPE_CHECKING:
    from arstore.cli.session import Session
    from arstore.linux.isolation.user_namespace import IdMaps

HOST_HINT = "docs/rootless.md shows what a host has to permit"
UNSHARE = "run it in `arstore unshare`, which holds mounts until it ends; `arstore unpack` needs no mount"


class Need(Enum):
    """Reason why a command of an ordinary user needs a user namespace."""

    OWNERS = "owners"
    """It makes or reads files of several owners; where the host permits no namespace, it does what is left."""
    CONTAINERS = "containers"
    """It makes a container: without a namespace it can do nothing."""
    ENTRY = "entry"
    """It runs something in a container that exists: likewise."""
    READING = "reading"
    """It reads files of several owners, and gives them back with these owners."""
    REMOVAL = "removal"
    """It lists or removes files, some of which may belong to subordinate ids."""
    MOUNTS = "mounts"
    """It makes a mount that lasts: only a namespace that the caller keeps can hold it."""


_OF_READERS = frozenset({Need.OWNERS, Need.READING})
"""Needs of commands that can read another user's store."""


def enter(session: Session, need: Need) -> None:
    """Enter a namespace if the command has *need* of it. Raises HostError, MountForbiddenError, UsageError,
    PermissionDeniedError for a container of another user's store, OSError.
    """
    from arstore.disk import granted_ids, namespace_holders
    from arstore.disk.access import require_writable
    from arstore.linux.isolation import rootless

    if need is Need.MOUNTS:
        why = "an ordinary user cannot keep a mount: it would end with this command"
        raise MountForbiddenError("mount", why, UNSHARE)
    root = os.path.abspath(session.directories()[0])
    is_foreign = os.path.exists(root) and os.stat(root).st_uid != os.geteuid()
    if is_foreign and need in {Need.CONTAINERS, Need.ENTRY}:
        require_writable(root)
    if is_foreign and not (need in _OF_READERS and os.access(root, os.R_OK | os.X_OK)):
        # It can only be refused, which is better done where its owner has a name.
        return
    if need is Need.REMOVAL and not granted_ids.are_recorded(root):
        return
    _find_lost_mounts(root, session)
    if stores := session.additional_stores(root):
        from arstore.store.additional import vouch

        vouch(stores)

    def fits(maps: IdMaps) -> bool:
        # Whatever ids a container has, its own namespace is the only way into it.
        return need is Need.ENTRY or maps == rootless.available().maps

    try:
        rootless.keep_home()
        shares = need in {Need.CONTAINERS, Need.ENTRY}
        made = namespace_holders.enter_shared(f"{root}/graph", rootless.enter, fits, shares=shares)
        ids = made or rootless.joined()
    except rootless.RefusedError as error:
        if need is Need.REMOVAL:
            why = f"has files of subordinate ids, which need a user namespace: {error.why}"
            raise HostError(root, why, HOST_HINT) from error
        if need in {Need.CONTAINERS, Need.ENTRY}:
            raise HostError("containers", f"need a user namespace: {error.why}", HOST_HINT) from error
        rootless.refused = f"user namespaces: {error.why}"
        session.debug(rootless.refused)
        return
    if need is not Need.ENTRY and not is_foreign:
        granted_ids.require_same(root, ids.maps)
    if ids.why and need in {Need.OWNERS, Need.CONTAINERS}:
        hint = f"; {ids.hint}" if ids.hint else ""
        session.warn(f"files of all owners get this user as their owner, because {ids.why}{hint}")


def _find_lost_mounts(root: str, session: Session) -> None:
    """Find the recorded mounts whose namespace has ended: inside, the processes of other namespaces are hidden."""
    with suppress(OSError, ArstoreError):
        if os.listdir(f"{root}/mounts"):
            from arstore.disk.paths import Directories
            from arstore.mounts.table import MountState, MountTable
            from arstore.mounts.view import remember_lost

            entries = MountTable(Directories(root, session.directories()[1])).list()
            remember_lost(entry.record.source for entry in entries if entry.state is MountState.STALE)
