"""The mount table: every mount that outlives its command is recorded, so that none is lost.

    <root>/mounts/<id>.json        the records: one set per store, whatever path, runroot or namespace leads to it
    <runroot>/mounts/<id>/         the default mount point, if the user names none
    <runroot>/mounts/<id>.json     records of a store on a read-only file system, and of older versions of arstore

A record is written first, then the mount is made. Later, a mount is found in the kernel's table by its source,
`arstore:<id>@<store>`, which no other mount has. A record is kept as long as the mounted file system lives, also after
the mount was detached, or if it is mounted only in namespaces that cannot be looked into (`view`). Records of an
earlier boot, and records that came with a copy of another store, are deleted by the next listing. Directories below the
runroot are created and removed here; a target named by the user is never removed. Locking and file format: `record`.
Not here: mounts in a container's own mount namespace, which end with it.
"""

from __future__ import annotations

import errno
import os
import time
from contextlib import contextmanager, suppress
from enum import Enum
from typing import TYPE_CHECKING

from arstore.errors import (
    AmbiguousError,
    ConflictError,
    InUseError,
    MountError,
    MountForbiddenError,
    NotFoundError,
    naming,
)
from arstore.linux.isolation import namespace
from arstore.linux.mounting import mount, superblock
from arstore.linux.mounting.mountinfo import mount_at, mount_id_at
from arstore.linux.process import boot_id
from arstore.mounts import overlay
from arstore.mounts import record as mountrecord
from arstore.mounts.record import SOURCE_PREFIX, STORE_MARK, MountRecord
from arstore.mounts.source import store_mark
from arstore.mounts.view import MountView, shown_at, view_of
from arstore.trace import reached
from arstore.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from arstore.disk.paths import Directories
    from arstore.linux.mounting.mountinfo import MountInfo
    from arstore.mounts.record import Held

_SHORTEST_PREFIX = 2


class MountState(Enum):
    """State of a recorded mount."""

    MOUNTED = "mounted"
    PENDING = "pending"
    """A process is mounting or unmounting it at this moment, or it is used where this process cannot look."""
    DETACHED = "detached"
    """`umount` has ended it, but a process or another mount namespace still uses it; the record stays until then."""
    STALE = "stale"
    """No longer used: it was unmounted with umount(8), or the process that wanted to mount it died."""


class MountEntry(NamedTuple):
    """A record, its state, and the places where it is mounted: the target, and where users moved or bound it."""

    record: MountRecord
    state: MountState
    places: tuple[str, ...] = ()


class MountTable:
    """The mount records of one store. Any number of processes may use it at once."""

    def __init__(self, directories: Directories) -> None:
        self.directory = directories.mounts
        self.targets = directories.targets
        self._root = directories.root
        self._mark = store_mark(directories.root)

    def mount(
        self,
        description: overlay.Overlay,
        target: str | None = None,
        *,
        mount_id: str | None = None,
        image: str = "",
        container: str = "",
    ) -> MountRecord:
        """Record and make a mount at *target*, an existing directory; without *target*, in a new directory.

        Raises ConflictError when the id is taken or an image is mounted at *target* already, NotFoundError when
        *target* does not exist, MountError, MountForbiddenError, OSError. After an error nothing is left.
        """
        record = self._new_record(target, mount_id, description.read_only, image, container)
        if record.own_target:
            os.makedirs(self.targets, mode=0o700, exist_ok=True)
        else:
            self._check_target(record.target)
        with naming(self.directory), self._published(record) as held:
            reached("mount.recorded")
            try:
                if record.own_target:
                    os.mkdir(record.target, 0o700)
                    reached("mount.target-made")
                overlay.perform(description._replace(source=record.source), record.target)
                reached("mount.mounted")
                device = os.stat(record.target).st_dev
                live = superblock.look(device)
                sign = live.sign if isinstance(live, superblock.Live) else 0
                record = held.learn(record._replace(device=device, sign=sign))
            except BaseException:  # an interrupt may come after the mount, before we know of it
                self._undo(record)
                raise
        return record

    def umount(self, mount_id: str, *, lazy: bool = False) -> bool:
        """End the mount, and delete its record; *lazy* detaches it at once, and its users can go on.

        If it was unmounted by other means, only the record is deleted. Return whether nothing uses it any more;
        otherwise the record stays until then. Raises NotFoundError, InUseError, MountForbiddenError, MountError,
        OSError.
        """
        with self._held(mount_id) as held:
            record, view = held.record, view_of(held.record)
            places = view.places(record)
            if view.may_be_elsewhere(record) and (places or view.lives(record)):
                hint = "unmount it there" + (", or end its `arstore unshare`" if os.geteuid() else "")
                raise MountError(record.target, "is mounted in another mount namespace", hint)
            for info in places:
                _umount(info, record, lazy)
            reached("mount.unmounted")
            self._remove_target(record)
            if places or record.detached:
                view = view_of(record)
                if not view.places(record) and view.lives(record):
                    held.learn(record._replace(detached=True))
                    return False
            self._withdraw(record.id)
        return True

    def list(self) -> tuple[MountEntry, ...]:
        """Return the records of this boot, by age, and delete those of earlier boots. Raises OSError."""
        found = self._found()
        if not found:
            return ()
        boot = boot_id()
        # The table is read after the locks: a mount that was finished by then is in it.
        view = MountView()
        entries: list[MountEntry] = []
        for record, busy in sorted(found, key=lambda item: item[0].created):
            if record.boot != boot:
                self._drop_record(record)
            elif (entry := self._mount_entry(record, busy, view)) is not None:
                entries.append(entry)
        return tuple(entries)

    def _found(self) -> Iterable[tuple[MountRecord, bool]]:
        """Return this store's records, each with a flag for a process that is working on it."""
        found: dict[str, tuple[MountRecord, bool]] = {}
        for place in (self.directory, self.targets):
            for mount_id in mountrecord.record_ids(place):
                with suppress(NotFoundError):
                    record, busy = mountrecord.read(place, mount_id)
                    if not self._is_of_another_store(record):
                        found.setdefault(mount_id, (self._placed(record), busy))
                    elif place == self.directory:
                        # It came with a copy of that store. In a runroot shared with that store, it is still valid.
                        with suppress(OSError):
                            mountrecord.withdraw(place, mount_id)
        return found.values()

    def of_container(self, container_id: str) -> MountEntry | None:
        """Return the mount of this container's root, unless it is stale; None if there is none. Raises OSError."""
        return next(
            (e for e in self.list() if e.record.container == container_id and e.state is not MountState.STALE), None
        )

    def find(self, path_or_id: str) -> MountRecord:
        """Return the mount with this id, of this container, or at this path; else the one whose id begins with it.

        Of several mounts at a path, return the latest. Raises NotFoundError, AmbiguousError, OSError.
        """
        entries = self.list()
        path = os.path.realpath(path_or_id)
        attached = [entry for entry in entries if entry.state is not MountState.DETACHED]
        for same in (
            [e.record for e in entries if e.record.id == path_or_id],
            [e.record for e in attached if path in {e.record.target, *e.places}],
            [e.record for e in attached if path_or_id and e.record.container == path_or_id],
        ):
            if same:
                return same[-1]
        begins = [
            e.record
            for e in entries
            if e.record.id.startswith(path_or_id) or (e in attached and e.record.container.startswith(path_or_id))
        ]
        if len(path_or_id) < _SHORTEST_PREFIX or not begins:
            raise NotFoundError(path_or_id, "no mount has this path or id", "`arstore mounts` lists all mounts")
        if len(begins) > 1:
            raise AmbiguousError(path_or_id, "several ids begin with it: " + ", ".join(record.id for record in begins))
        return begins[0]

    def prune(self) -> tuple[str, ...]:
        """Remove the records of mounts that are gone; return their ids. Raises OSError."""
        gone = []
        for entry in self.list():
            if entry.state is MountState.STALE:
                with suppress(NotFoundError):
                    self.umount(entry.record.id)
                    gone.append(entry.record.id)
        return tuple(gone)

    def add(self, record: MountRecord) -> None:
        """Record a mount that the caller makes. The caller has to pass the record's source to the kernel.

        Raises ConflictError, OSError.
        """
        with self._published(record):
            pass

    def remove(self, mount_id: str) -> None:
        """Delete a record, and the directory that was created for it, without unmounting anything.

        Raises NotFoundError, OSError.
        """
        with self._held(mount_id) as held:
            self._forget(held.record)

    def _new_record(
        self, target: str | None, mount_id: str | None, read_only: bool, image: str, container: str
    ) -> MountRecord:
        name = os.urandom(6).hex() if mount_id is None else mountrecord.check_id(mount_id)
        # An id that the user chose may be used again.
        tag = "" if mount_id is None else f".{os.urandom(4).hex()}"
        return MountRecord(
            id=name,
            target=f"{self.targets}/{name}" if target is None else os.path.realpath(target),
            source=f"{SOURCE_PREFIX}{name}{tag}{STORE_MARK}{self._mark}",
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
            why = "is not a directory" if os.path.lexists(target) else "no such directory"
            raise NotFoundError(target, why, "create it, or leave the target out")
        shown = mount_at(target)
        if shown is not None and any(shown.source == entry.record.source for entry in self.list()):
            raise ConflictError(target, "an image is mounted there", f"`arstore umount {target}` ends that mount")

    @contextmanager
    def _published(self, record: MountRecord) -> Iterator[Held]:
        """Publish *record* and hold its lock. Raises ConflictError, OSError."""
        name = f"{record.id}{mountrecord.SUFFIX}"
        taken = any(os.path.lexists(f"{place}/{name}") for place in (self.directory, self.targets))
        # A record of an earlier boot does not count; the list deletes it.
        if taken and any(entry.record.id == record.id for entry in self.list()):
            raise mountrecord.taken(record.id)
        with mountrecord.published(self._place(), record) as held:
            yield held

    def _place(self) -> str:
        """Return the directory for new records: in the root, or below the runroot if the root is not writable."""
        with suppress(OSError):
            os.makedirs(self.directory, mode=0o700, exist_ok=True)
        if os.access(self.directory, os.W_OK):
            return self.directory
        os.makedirs(self.targets, mode=0o700, exist_ok=True)
        return self.targets

    @contextmanager
    def _held(self, mount_id: str) -> Iterator[Held]:
        with mountrecord.held(self._place_of(mount_id), mount_id) as held:
            yield held._replace(record=self._placed(held.record))

    def _place_of(self, mount_id: str) -> str:
        """Return the directory that has the record with this id."""
        name = f"{mountrecord.check_id(mount_id)}{mountrecord.SUFFIX}"
        is_below = not os.path.lexists(f"{self.directory}/{name}") and os.path.lexists(f"{self.targets}/{name}")
        return self.targets if is_below else self.directory

    def _placed(self, record: MountRecord) -> MountRecord:
        """Return *record*; one that could not be read gets the default target."""
        return record._replace(target=f"{self.targets}/{record.id}") if mountrecord.is_blank(record) else record

    def _is_of_another_store(self, record: MountRecord) -> bool:
        mark = record.source.rpartition(STORE_MARK)[2] if STORE_MARK in record.source else ""
        return mark not in {"", self._mark} and not _is_on_overlay(self._root)

    def _mount_entry(self, record: MountRecord, busy: bool, view: MountView) -> MountEntry | None:
        places = tuple(info.mount_point for info in view.places(record))
        if places:
            return MountEntry(record, MountState.MOUNTED, places)
        if busy:
            return MountEntry(record, MountState.PENDING)
        if view.lives(record):
            return MountEntry(record, MountState.DETACHED if record.detached else MountState.PENDING)
        if record.detached:
            self._drop_record(record)
            return None
        # Perhaps it was mounted when its lock was asked for, and was unmounted since.
        try:
            _, busy = mountrecord.read(self._place_of(record.id), record.id)
        except NotFoundError:
            return None
        return MountEntry(record, MountState.PENDING if busy else MountState.STALE)

    def _undo(self, record: MountRecord) -> None:
        if shown_at(record) is not None:
            mount.umount(record.target, mount.MNT_DETACH | mount.UMOUNT_NOFOLLOW)
        self._forget(record)

    def _drop_record(self, record: MountRecord) -> None:
        with suppress(NotFoundError), self._held(record.id) as held:
            if held.record.source == record.source and held.record.boot == record.boot:
                self._forget(held.record)

    def _forget(self, record: MountRecord) -> None:
        self._remove_target(record)
        self._withdraw(record.id)

    def _remove_target(self, record: MountRecord) -> None:
        if record.own_target and not record.detached:
            # Files that were put there while nothing was mounted must not be deleted.
            with suppress(OSError):
                os.rmdir(record.target)
                reached("mount.target-removed")

    def _withdraw(self, mount_id: str) -> None:
        mountrecord.withdraw(self._place_of(mount_id), mount_id)
        reached("mount.forgotten")


def _is_on_overlay(path: str) -> bool:
    """Return whether *path* is on an overlay; one of several file systems may change inode numbers of directories."""
    from arstore.linux.mounting.mountinfo import read_mounts

    number = mount_id_at(path)
    return any(info.mount_id == number and info.fs_type == "overlay" for info in read_mounts())


def _umount(info: MountInfo, record: MountRecord, lazy: bool) -> None:
    place = info.mount_point
    if mount_id_at(place) != info.mount_id:
        # It is gone by now, or is not on top: the whole table shows which.
        shown = mount_at(place)
        if shown is None:
            return
        if shown.source != record.source:
            raise InUseError(place, f"another mount ({shown.source}) is on top of it")
    try:
        _patiently(place, mount.UMOUNT_NOFOLLOW | (mount.MNT_DETACH if lazy else 0))
    except OSError as error:
        if error.errno == errno.EBUSY:
            raise InUseError(place, "is in use", "`arstore umount --force` detaches it anyway") from error
        if error.errno == errno.EPERM:
            raise MountForbiddenError(place, "this process may not unmount") from error
        # Gone in the meantime: unmounting a shared mount also unmounts its copies.
        if error.errno != errno.EINVAL:
            raise


def _patiently(place: str, flags: int) -> None:
    """Call umount2(2), again while it returns EBUSY: a process that lists mounts holds each for an instant.

    On a busy machine that process may have to wait for its next turn, with the mount in its hands: a third of a second.
    """
    for pause in (0.001, 0.004, 0.016, 0.064, 0.256):
        try:
            mount.umount(place, flags)
        except OSError as error:
            if error.errno != errno.EBUSY:
                raise
            time.sleep(pause)
        else:
            return
    mount.umount(place, flags)
