"""The kernel's view of recorded mounts: where they are visible, and whether their file systems are still alive.

Mount tables show what is visible, by mount namespace, and only if a process in that namespace can be looked up.
`linux.mounting.superblock` asks by device number whether a file system is alive at all, with the same answer in every
namespace. So a mount still counts when this process cannot see it, because it is in a container's mount namespace or
was detached while in use. If neither way gives an answer, the mount counts as alive: taking it for gone would be the
worse mistake.
"""

from __future__ import annotations

import os
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from arstore.linux.isolation import namespace, user_namespace
from arstore.linux.mounting.mountinfo import find_mounts, mount_at, read_mounts
from arstore.linux.mounting.superblock import OVERLAY, Live, look, magic
from arstore.mounts.record import is_blank, shows

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from arstore.linux.mounting.mountinfo import MountInfo
    from arstore.mounts.record import MountRecord

_PAUSES = (0.001, 0.002, 0.004, 0.008, 0.016)
"""Seconds between checks of a file system that is alive but not visible."""


class MountView:
    """The kernel's mount tables by mount namespace, each read when first needed; limited to *source*, if given."""

    def __init__(self, source: str = "") -> None:
        self.own = namespace.identity("mnt")
        self._source = source
        self._tables: dict[int, list[MountInfo]] = {}
        self._hidden: set[int] = set()
        """Namespaces that exist, or may exist, and whose whole table cannot be read."""

    def places(self, record: MountRecord) -> list[MountInfo]:
        """Return the record's mounts that are visible in its namespace, or else in ours; deeper ones first."""
        for identity in dict.fromkeys((record.namespace, self.own)):
            found = [info for info in self._table(identity) if info.fs_type == "overlay" and shows(record, info.source)]
            if not found and identity == self.own and (shown := shown_at(record)) is not None:
                # The table can miss a mount while others come and go; a query for one place cannot.
                found = [shown]
            if found:
                return sorted(found, key=lambda info: info.mount_point, reverse=True)
        return []

    def may_be_elsewhere(self, record: MountRecord) -> bool:
        """Return whether the record's mount is, or may be, in another mount namespace than ours."""
        if record.namespace == self.own:
            return False
        table = self._table(record.namespace)
        return record.namespace in self._hidden or any(shows(record, info.source) for info in table)

    def lives(self, record: MountRecord) -> bool:
        """Return whether the file system of *record*, which is visible nowhere, is still in use."""
        if record.source in _lost:
            return False
        live = _is_live(record) if record.device else None
        if live is None:
            self._table(record.namespace)
            return record.namespace in self._hidden
        if live and _is_of_lost_namespace():
            # Only processes of this user could hold it, and none of those that live does.
            return self._is_held_by_own(record)
        # Its device number may belong to another file system by now: one that lives for a moment, is mounted
        # somewhere, or is held by a process.
        for pause in _PAUSES:
            if not live:
                return False
            time.sleep(pause)
            live = _is_live(record)
        return (
            bool(live)
            and not any(self._is_taken(record, table) for table in self._every_table())
            and all(kind == OVERLAY for kind in _held_with(record.device))
        )

    def _is_held_by_own(self, record: MountRecord) -> bool:
        """Return whether a process of this user has the record's mount in its namespace, or a file open on it."""
        for table in self._every_table():
            if any(info.fs_type == "overlay" and shows(record, info.source) for info in table):
                return True
        return any(kind == OVERLAY for kind in _held_with(record.device))

    def _is_taken(self, record: MountRecord, table: list[MountInfo]) -> bool:
        number = (os.major(record.device), os.minor(record.device))
        return any(
            (info.major, info.minor) == number and not (info.fs_type == "overlay" and shows(record, info.source))
            for info in table
        )

    def _every_table(self) -> Iterator[list[MountInfo]]:
        """Yield the whole table of every mount namespace that a visible process lives in, ours first."""
        yield read_mounts()
        seen = {self.own}
        for identity, pid in _residents():
            if identity not in seen:
                with suppress(OSError):
                    table = read_mounts(pid)
                    seen.add(identity)
                    yield table

    def _table(self, identity: int) -> list[MountInfo]:
        """Return the mounts of the namespace with this identity; none when it is gone, or cannot be looked into."""
        if identity not in self._tables:
            self._tables[identity] = self._read_mounts() if identity == self.own else self._read_elsewhere(identity)
        return self._tables[identity]

    def _read_mounts(self, pid: int | None = None) -> list[MountInfo]:
        return find_mounts(self._source, pid) if self._source else read_mounts(pid)

    def _read_elsewhere(self, identity: int) -> list[MountInfo]:
        """Read the table through a process in that mount namespace whose root is the namespace's root."""
        self._hidden.add(identity)
        inhabited = False
        for found, pid in _residents():
            if found == identity:
                inhabited = True
                with suppress(OSError):
                    if os.readlink(f"/proc/{pid}/root") == "/":
                        self._hidden.discard(identity)
                        return self._read_mounts(pid)
        if not inhabited and namespace.sees_all_processes() and not namespace.is_held("mnt", identity):
            self._hidden.discard(identity)
        return []


_lost: set[str] = set()
"""Sources of mounts that are known to be gone (`remember_lost`)."""


def remember_lost(sources: Iterable[str]) -> None:
    """Take the mounts with these sources for gone: a user has found that out before it entered a user namespace."""
    _lost.update(sources)


def _is_of_lost_namespace() -> bool:
    """Return whether mounts of this store's user are all in user namespaces, whose processes are all visible here.

    That is so for an ordinary user outside of them. Seen from inside of one, the processes of the others are hidden.
    """
    return os.geteuid() != 0 and user_namespace.is_initial() and namespace.sees_own_processes()


def _is_live(record: MountRecord) -> bool | None:
    """Return whether the file system with the record's device number lives and may be the record's; None if unknown."""
    live = look(record.device)
    return live.sign == record.sign if isinstance(live, Live) else live


def _held_with(device: int) -> Iterator[int]:
    """Yield the file system types of open files, of visible processes, on the device with this number."""
    for name in os.listdir("/proc"):
        if name.isdigit():
            with suppress(OSError):
                for fd in os.listdir(f"/proc/{name}/fd"):
                    with suppress(OSError):
                        path = f"/proc/{name}/fd/{fd}"
                        if os.stat(path).st_dev == device:
                            yield magic(path)


def view_of(record: MountRecord) -> MountView:
    """Return a view for this record alone, which is cheaper."""
    return MountView("" if is_blank(record) else record.source)


def shown_at(record: MountRecord) -> MountInfo | None:
    """Return the record's mount at its target; None when something else, or nothing, is mounted there."""
    try:
        shown = mount_at(record.target)
    except OSError:
        return None
    return shown if shown is not None and shows(record, shown.source) else None


def _residents() -> Iterator[tuple[int, int]]:
    """Yield the mount namespace and the pid of every visible process."""
    for name in os.listdir("/proc"):
        if name.isdigit():
            with suppress(OSError):
                yield namespace.identity("mnt", int(name)), int(name)
