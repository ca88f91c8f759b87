"""What the kernel says of recorded mounts: where they are to be seen, and whether their file systems still live.

Mount tables tell what is visible, by mount namespace, and only as far as processes that live there can be looked up.
Whether a file system lives at all is asked by its device number (`linux.mounting.superblock`), with the same answer in
every namespace: so a mount that this process cannot see, because it is in a container's mount namespace or was detached
while something used it, still counts. Where neither way gives an answer the mount counts as alive: to take it for gone
would be the worse mistake.
"""

from __future__ import annotations

import contextlib
import os
import time
from typing import TYPE_CHECKING

from arstore.linux.isolation import namespace
from arstore.linux.mounting.mountinfo import find_mounts, mount_at, read_mounts
from arstore.linux.mounting.superblock import OVERLAY, Live, look, magic
from arstore.mounts.record import is_blank, shows

if TYPE_CHECKING:
    from collections.abc import Iterator

    from arstore.linux.mounting.mountinfo import MountInfo
    from arstore.mounts.record import MountRecord

_PAUSES = (0.001, 0.002, 0.004, 0.008, 0.016)
"""Seconds between looks at a file system that lives and is not to be seen."""


class MountView:
    """The kernel's mount tables, each read when it is first asked for, by mount namespace; of one *source* if given."""

    def __init__(self, source: str = "") -> None:
        self.own = namespace.identity("mnt")
        self._source = source
        self._tables: dict[int, list[MountInfo]] = {}
        self._hidden: set[int] = set()
        """Namespaces that exist, or may, and whose whole table cannot be read."""

    def places(self, record: MountRecord) -> list[MountInfo]:
        """The record's mount wherever it is to be seen in its namespace, or else in ours; what lies deeper first."""
        for identity in dict.fromkeys((record.namespace, self.own)):
            found = [info for info in self._table(identity) if info.fs_type == "overlay" and shows(record, info.source)]
            if not found and identity == self.own and (shown := shown_at(record)) is not None:
                # The table can miss a mount while others come and go; asking for the place cannot.
                found = [shown]
            if found:
                return sorted(found, key=lambda info: info.mount_point, reverse=True)
        return []

    def may_be_elsewhere(self, record: MountRecord) -> bool:
        """Whether the record's mount is in another mount namespace than ours, or may be."""
        if record.namespace == self.own:
            return False
        table = self._table(record.namespace)
        return record.namespace in self._hidden or any(shows(record, info.source) for info in table)

    def lives(self, record: MountRecord) -> bool:
        """Whether the file system of *record*, which has no places that can be seen, is still used by something."""
        live = _is_live(record) if record.device else None
        if live is None:
            self._table(record.namespace)
            return record.namespace in self._hidden
        # Its number may be another file system's by now: one that lives for a moment, is mounted somewhere, or is held
        # by a process.
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

    def _is_taken(self, record: MountRecord, table: list[MountInfo]) -> bool:
        number = (os.major(record.device), os.minor(record.device))
        return any(
            (info.major, info.minor) == number and not (info.fs_type == "overlay" and shows(record, info.source))
            for info in table
        )

    def _every_table(self) -> Iterator[list[MountInfo]]:
        """The whole table of every mount namespace that a visible process lives in, ours first."""
        yield read_mounts()
        seen = {self.own}
        for identity, pid in _residents():
            if identity not in seen:
                with contextlib.suppress(OSError):
                    table = read_mounts(pid)
                    seen.add(identity)
                    yield table

    def _table(self, identity: int) -> list[MountInfo]:
        """The mounts of the namespace of this identity; none when it cannot be looked into, or is gone."""
        if identity not in self._tables:
            self._tables[identity] = self._read_mounts() if identity == self.own else self._read_elsewhere(identity)
        return self._tables[identity]

    def _read_mounts(self, pid: int | None = None) -> list[MountInfo]:
        return find_mounts(self._source, pid) if self._source else read_mounts(pid)

    def _read_elsewhere(self, identity: int) -> list[MountInfo]:
        """By way of a process that lives in that mount namespace and has its whole tree before it."""
        self._hidden.add(identity)
        inhabited = False
        for found, pid in _residents():
            if found == identity:
                inhabited = True
                with contextlib.suppress(OSError):
                    if os.readlink(f"/proc/{pid}/root") == "/":
                        self._hidden.discard(identity)
                        return self._read_mounts(pid)
        if not inhabited and namespace.sees_all_processes() and not namespace.is_held("mnt", identity):
            self._hidden.discard(identity)
        return []


def _is_live(record: MountRecord) -> bool | None:
    """Whether the file system that has the record's number lives, and may be the record's; None if that is not said."""
    live = look(record.device)
    return live.sign == record.sign if isinstance(live, Live) else live


def _held_with(device: int) -> Iterator[int]:
    """The types of what processes that can be seen hold open on the file system of this number."""
    for name in os.listdir("/proc"):
        if name.isdigit():
            with contextlib.suppress(OSError):
                for fd in os.listdir(f"/proc/{name}/fd"):
                    with contextlib.suppress(OSError):
                        path = f"/proc/{name}/fd/{fd}"
                        if os.stat(path).st_dev == device:
                            yield magic(path)


def view_of(record: MountRecord) -> MountView:
    """A view for this record alone, which costs less."""
    return MountView("" if is_blank(record) else record.source)


def shown_at(record: MountRecord) -> MountInfo | None:
    """The record's mount where it was made; None when something else, or nothing, is there."""
    try:
        shown = mount_at(record.target)
    except OSError:
        return None
    return shown if shown is not None and shows(record, shown.source) else None


def _residents() -> Iterator[tuple[int, int]]:
    """The mount namespace and the pid of every process that can be seen."""
    for name in os.listdir("/proc"):
        if name.isdigit():
            with contextlib.suppress(OSError):
                yield namespace.identity("mnt", int(name)), int(name)
