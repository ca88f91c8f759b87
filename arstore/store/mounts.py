"""The mount table: every mount that outlives the command which made it, recorded so that none can leak.

A record is published first, then the mount is made, and both are told from the kernel's own table afterwards: by the
mount's source, `arstore:<id>`, which no other mount has. A record whose boot is over is dropped by the first who lists.
Directories under the runroot are made and removed here; a target of the user's is never removed. Locking and file
format: `mountrecord`. Out of scope: mounts that live in a container's own mount namespace and end with it.
"""

from __future__ import annotations

import contextlib
import enum
import errno
import os
import time
from typing import TYPE_CHECKING, NamedTuple

from arstore.errors import (
    AmbiguousError,
    ConflictError,
    InUseError,
    MountError,
    MountForbiddenError,
    NotFoundError,
    naming,
)
from arstore.linux import mount, namespace
from arstore.linux.mountinfo import find_mounts, mount_at, mount_id_at, read_mounts
from arstore.linux.process import boot_id
from arstore.store import mountrecord, overlay
from arstore.store.mountrecord import SOURCE_PREFIX, MountRecord
from arstore.trace import reached

if TYPE_CHECKING:
    from arstore.linux.mountinfo import MountInfo

_SHORTEST_PREFIX = 2


class MountState(enum.Enum):
    """What has become of a record."""

    MOUNTED = "mounted"
    PENDING = "pending"
    """A process is mounting or unmounting it at this moment, or its mount namespace lives and cannot be looked into."""
    STALE = "stale"
    """Nothing is mounted any more: somebody used umount(8), or the process that wanted to mount died."""


class MountEntry(NamedTuple):
    """A record with its state, and every place where it is mounted: the target, and where users moved or bound it."""

    record: MountRecord
    state: MountState
    places: tuple[str, ...] = ()


class MountTable:
    """The records below `<runroot>/mounts/`; any number of processes may use it at once."""

    def __init__(self, runroot: str) -> None:
        self.directory = f"{os.path.realpath(runroot)}/mounts"

    def mount(
        self,
        description: overlay.Overlay,
        target: str | None = None,
        *,
        mount_id: str | None = None,
        image: str = "",
        container: str = "",
    ) -> MountRecord:
        """Record and make a mount at *target*, an existing directory; without one, in a directory of its own.

        Raises ConflictError when the id is taken or *target* shows an image already, NotFoundError when it does not
        exist, MountError and MountForbiddenError; OSError. After any of these nothing is left.
        """
        record = self._record(target, mount_id, description.read_only, image, container)
        os.makedirs(self.directory, mode=0o700, exist_ok=True)
        if not record.own_target:
            self._check_target(record.target)
        with naming(self.directory), mountrecord.published(self.directory, record):
            reached("mount.recorded")
            try:
                if record.own_target:
                    os.mkdir(record.target, 0o700)
                    reached("mount.target-made")
                overlay.perform(description._replace(source=record.source), record.target)
                reached("mount.mounted")
            except BaseException:  # an interrupt may come between the mount and our knowing of it
                self._undo(record)
                raise
        return record

    def umount(self, mount_id: str, *, lazy: bool = False) -> None:
        """End the mount, and its record; *lazy* detaches it at once and lets those who use it go on.

        Where it has been unmounted by other means, only the record goes. Raises NotFoundError, InUseError,
        MountForbiddenError, MountError; OSError.
        """
        with mountrecord.held(self.directory, mount_id) as record:
            for info in _mounted(record, _Tables(record.source)):
                _umount(info, record, lazy)
            reached("mount.unmounted")
            self._forget(record)

    def list(self) -> tuple[MountEntry, ...]:
        """Every record of this boot, by age; those of an earlier one are dropped."""
        found: list[tuple[MountRecord, bool]] = []
        for mount_id in mountrecord.record_ids(self.directory):
            with contextlib.suppress(NotFoundError):
                found.append(mountrecord.read(self.directory, mount_id))
        boot = boot_id()
        # The table is read after the locks: a mount that was finished by then is in it.
        tables = _Tables()
        entries: list[MountEntry] = []
        for record, busy in sorted(found, key=lambda item: item[0].created):
            if record.boot != boot:
                self._drop(record)
            elif (entry := self._entry(record, busy, tables)) is not None:
                entries.append(entry)
        return tuple(entries)

    def find(self, path_or_id: str) -> MountRecord:
        """The mount of this id, of this container, at this path, or whose id alone begins so.

        At a path with several, the latest. Raises NotFoundError, AmbiguousError.
        """
        entries = self.list()
        path = os.path.realpath(path_or_id)
        for same in (
            [e.record for e in entries if e.record.id == path_or_id],
            [e.record for e in entries if path in {e.record.target, *e.places}],
            [e.record for e in entries if path_or_id and e.record.container == path_or_id],
        ):
            if same:
                return same[-1]
        begins = [e.record for e in entries if e.record.id.startswith(path_or_id)]
        if len(path_or_id) < _SHORTEST_PREFIX or not begins:
            raise NotFoundError(path_or_id, "nothing is mounted by this path or id", "`arstore mounts` lists all")
        if len(begins) > 1:
            raise AmbiguousError(path_or_id, "begins the ids of " + ", ".join(record.id for record in begins))
        return begins[0]

    def prune(self) -> tuple[str, ...]:
        """Remove what is stale; the ids."""
        stale = tuple(entry.record.id for entry in self.list() if entry.state is MountState.STALE)
        for mount_id in stale:
            with contextlib.suppress(NotFoundError):
                self.umount(mount_id)
        return stale

    def add(self, record: MountRecord) -> None:
        """Record a mount that the caller makes, whose source it has to give to the kernel.

        Raises ConflictError; OSError.
        """
        os.makedirs(self.directory, mode=0o700, exist_ok=True)
        with mountrecord.published(self.directory, record):
            pass

    def remove(self, mount_id: str) -> None:
        """Remove a record, and the directory that was made for it, without unmounting anything.

        Raises NotFoundError; OSError.
        """
        with mountrecord.held(self.directory, mount_id) as record:
            self._forget(record)

    def _record(
        self, target: str | None, mount_id: str | None, read_only: bool, image: str, container: str
    ) -> MountRecord:
        name = os.urandom(6).hex() if mount_id is None else mountrecord.check_id(mount_id)
        # A name that somebody chose may come again, in this store or in another.
        tag = "" if mount_id is None else f".{os.urandom(4).hex()}"
        return MountRecord(
            id=name,
            target=f"{self.directory}/{name}" if target is None else os.path.realpath(target),
            source=f"{SOURCE_PREFIX}{name}{tag}",
            read_only=read_only,
            boot=boot_id(),
            namespace=namespace.identity("mnt"),
            created=time.time(),
            image=image,
            container=container,
            own_target=target is None,
        )

    def _check_target(self, target: str) -> None:
        if not os.path.isdir(target):
            why = "is no directory" if os.path.lexists(target) else "no such directory"
            raise NotFoundError(target, why, "make it, or leave the target out")
        shown = mount_at(target)
        if shown is not None and any(shown.source == entry.record.source for entry in self.list()):
            raise ConflictError(target, "shows an image already", f"`arstore umount {target}` ends that")

    def _entry(self, record: MountRecord, busy: bool, tables: _Tables) -> MountEntry | None:
        places = tuple(info.mount_point for info in _mounted(record, tables))
        if places:
            return MountEntry(record, MountState.MOUNTED, places)
        if not busy and record.namespace in tables.hidden:
            busy = True
        elif not busy:
            # It was mounted when its lock was asked for, perhaps, and unmounted since.
            try:
                _, busy = mountrecord.read(self.directory, record.id)
            except NotFoundError:
                return None
        return MountEntry(record, MountState.PENDING if busy else MountState.STALE)

    def _undo(self, record: MountRecord) -> None:
        if _shown(record) is not None:
            mount.umount(record.target, mount.MNT_DETACH | mount.UMOUNT_NOFOLLOW)
        self._forget(record)

    def _drop(self, record: MountRecord) -> None:
        with contextlib.suppress(NotFoundError), mountrecord.held(self.directory, record.id) as current:
            if current.boot == record.boot:
                self._forget(current)

    def _forget(self, record: MountRecord) -> None:
        if record.own_target:
            # What somebody put there while nothing was mounted is not ours to delete.
            with contextlib.suppress(OSError):
                os.rmdir(record.target)
                reached("mount.target-removed")
        mountrecord.withdraw(self.directory, record.id)
        reached("mount.forgotten")


class _Tables:
    """The kernel's mount tables, each read when it is first asked for, by mount namespace; of one *source* if given."""

    def __init__(self, source: str = "") -> None:
        self.own = namespace.identity("mnt")
        self.hidden: set[int] = set()
        """Namespaces in which there are only processes that do not see the whole tree (chroot(2))."""
        self._source = source
        self._read: dict[int, list[MountInfo]] = {}

    def of(self, identity: int) -> list[MountInfo]:
        """The mounts of the namespace of this identity; none when no process that we can see lives in it."""
        if identity not in self._read:
            self._read[identity] = self._table() if identity == self.own else self._table_elsewhere(identity)
        return self._read[identity]

    def _table(self, pid: int | None = None) -> list[MountInfo]:
        return find_mounts(self._source, pid) if self._source else read_mounts(pid)

    def _table_elsewhere(self, identity: int) -> list[MountInfo]:
        """Of another mount namespace, by way of a process that lives there and has its whole tree before it."""
        for name in os.listdir("/proc"):
            if name.isdigit():
                with contextlib.suppress(OSError):
                    if namespace.identity("mnt", int(name)) != identity:
                        continue
                    if os.readlink(f"/proc/{name}/root") == "/":
                        self.hidden.discard(identity)
                        return self._table(int(name))
                    self.hidden.add(identity)
        return []


def _mounted(record: MountRecord, tables: _Tables) -> list[MountInfo]:
    """The record's mount wherever it is to be seen in its namespace, what lies deeper first."""
    found = [info for info in tables.of(record.namespace) if info.fs_type == "overlay" and info.source == record.source]
    if not found and record.namespace == tables.own and (shown := _shown(record)) is not None:
        # The table can miss a mount while others come and go; asking for the place cannot.
        found = [shown]
    return sorted(found, key=lambda info: info.mount_point, reverse=True)


def _shown(record: MountRecord) -> MountInfo | None:
    """The record's mount where it was made; None when something else, or nothing, is there."""
    try:
        shown = mount_at(record.target)
    except OSError:
        return None
    return shown if shown is not None and shown.source == record.source else None


def _umount(info: MountInfo, record: MountRecord, lazy: bool) -> None:
    place = info.mount_point
    if record.namespace != namespace.identity("mnt"):
        raise MountError(place, "is mounted in another mount namespace", "unmount it there")
    if mount_id_at(place) != info.mount_id:
        # Gone meanwhile, or not on top: the whole table tells which.
        shown = mount_at(place)
        if shown is None:
            return
        if shown.source != record.source:
            raise InUseError(place, f"another mount ({shown.source}) lies over it")
    try:
        _patiently(place, mount.UMOUNT_NOFOLLOW | (mount.MNT_DETACH if lazy else 0))
    except OSError as error:
        if error.errno == errno.EBUSY:
            raise InUseError(place, "is in use", "`arstore umount --force` detaches it all the same") from error
        if error.errno == errno.EPERM:
            raise MountForbiddenError(place, "this process may not unmount") from error
        # Gone meanwhile: a shared mount takes its copies with it.
        if error.errno != errno.EINVAL:
            raise


def _patiently(place: str, flags: int) -> None:
    """umount2(2), tried again while it says EBUSY: whoever lists the mounts at this moment holds one for an instant."""
    for pause in (0.001, 0.004, 0.016):
        try:
            mount.umount(place, flags)
        except OSError as error:
            if error.errno != errno.EBUSY:
                raise
            time.sleep(pause)
        else:
            return
    mount.umount(place, flags)
