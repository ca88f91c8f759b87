"""The mount table: every mount that outlives the command which made it, recorded so that none can leak.

    <root>/mounts/<id>.json        the records: the store's, whichever path, runroot or namespace it is reached by
    <runroot>/mounts/<id>/         the directory that is mounted on when the user names none
    <runroot>/mounts/<id>.json     records of a store on a read-only file system, and of older versions of arstore

A record is published first, then the mount is made, and both are told from the kernel's own table afterwards: by the
mount's source, `arstore:<id>@<store>`, which no other mount has. A record stays as long as the mounted file system
lives, also after the mount was detached, or where it is mounted only in namespaces that cannot be looked into
(`view`). A record whose boot is over is dropped by the first who lists, and so is one that came with a copy of
another store. Directories below the runroot are made and removed here; a target of the user's is never removed.
Locking and file format: `record`. Out of scope: mounts that live in a container's own mount namespace and end
with it.
"""

from __future__ import annotations

import contextlib
import enum
import errno
import os
import time
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


class MountState(enum.Enum):
    """What has become of a record."""

    MOUNTED = "mounted"
    PENDING = "pending"
    """A process is mounting or unmounting it at this moment, or it is used where this process cannot look."""
    DETACHED = "detached"
    """`umount` has ended it, and a process or another mount namespace still uses it; the record goes with that use."""
    STALE = "stale"
    """Nothing uses it any more: somebody called umount(8), or the process that wanted to mount died."""


class MountEntry(NamedTuple):
    """A record with its state, and every place where it is mounted: the target, and where users moved or bound it."""

    record: MountRecord
    state: MountState
    places: tuple[str, ...] = ()


class MountTable:
    """The records of one store; any number of processes may use it at once."""

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
        """Record and make a mount at *target*, an existing directory; without one, in a directory of its own.

        Raises ConflictError when the id is taken or *target* shows an image already, NotFoundError when it does not
        exist, MountError and MountForbiddenError; OSError. After any of these nothing is left.
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
            except BaseException:  # an interrupt may come between the mount and our knowing of it
                self._undo(record)
                raise
        return record

    def umount(self, mount_id: str, *, lazy: bool = False) -> bool:
        """End the mount, and its record; *lazy* detaches it at once and lets those who use it go on.

        Where it has been unmounted by other means, only the record goes. Returns whether nothing uses it any more:
        otherwise the record stays, and goes with that use. Raises NotFoundError, InUseError, MountForbiddenError,
        MountError; OSError.
        """
        with self._held(mount_id) as held:
            record, view = held.record, view_of(held.record)
            places = view.places(record)
            if view.may_be_elsewhere(record) and (places or view.lives(record)):
                raise MountError(record.target, "is mounted in another mount namespace", "unmount it there")
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
        """Every record of this boot, by age; those of an earlier one are dropped."""
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
        """This store's records, each with whether somebody is at work on it."""
        found: dict[str, tuple[MountRecord, bool]] = {}
        for place in (self.directory, self.targets):
            for mount_id in mountrecord.record_ids(place):
                with contextlib.suppress(NotFoundError):
                    record, busy = mountrecord.read(place, mount_id)
                    if not self._is_of_another_store(record):
                        found.setdefault(mount_id, (self._placed(record), busy))
                    elif place == self.directory:
                        # It came with a copy of that store. Below a runroot that both use it is that store's own.
                        with contextlib.suppress(OSError):
                            mountrecord.withdraw(place, mount_id)
        return found.values()

    def of_container(self, container_id: str) -> MountEntry | None:
        """The mount of this container's root, or what is left of it; None where there is none."""
        return next(
            (e for e in self.list() if e.record.container == container_id and e.state is not MountState.STALE), None
        )

    def find(self, path_or_id: str) -> MountRecord:
        """The mount of this id, of this container, or at this path; else the only one of which an id begins so.

        At a path with several, the latest. Raises NotFoundError, AmbiguousError.
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
            raise NotFoundError(path_or_id, "nothing is mounted by this path or id", "`arstore mounts` lists all")
        if len(begins) > 1:
            raise AmbiguousError(path_or_id, "begins the ids of " + ", ".join(record.id for record in begins))
        return begins[0]

    def prune(self) -> tuple[str, ...]:
        """Remove the records of mounts that are gone; return the ids of those that were still there."""
        gone = []
        for entry in self.list():
            if entry.state is MountState.STALE:
                with contextlib.suppress(NotFoundError):
                    self.umount(entry.record.id)
                    gone.append(entry.record.id)
        return tuple(gone)

    def add(self, record: MountRecord) -> None:
        """Record a mount that the caller makes, whose source it has to give to the kernel.

        Raises ConflictError; OSError.
        """
        with self._published(record):
            pass

    def remove(self, mount_id: str) -> None:
        """Remove a record, and the directory that was made for it, without unmounting anything.

        Raises NotFoundError; OSError.
        """
        with self._held(mount_id) as held:
            self._forget(held.record)

    def _new_record(
        self, target: str | None, mount_id: str | None, read_only: bool, image: str, container: str
    ) -> MountRecord:
        name = os.urandom(6).hex() if mount_id is None else mountrecord.check_id(mount_id)
        # A name that somebody chose may come again.
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
            why = "is no directory" if os.path.lexists(target) else "no such directory"
            raise NotFoundError(target, why, "make it, or leave the target out")
        shown = mount_at(target)
        if shown is not None and any(shown.source == entry.record.source for entry in self.list()):
            raise ConflictError(target, "shows an image already", f"`arstore umount {target}` ends that")

    @contextlib.contextmanager
    def _published(self, record: MountRecord) -> Iterator[Held]:
        """*record*, with its lock. Raises as `record.published`."""
        name = f"{record.id}{mountrecord.SUFFIX}"
        taken = any(os.path.lexists(f"{place}/{name}") for place in (self.directory, self.targets))
        # Not by what an earlier boot has left, which the list drops.
        if taken and any(entry.record.id == record.id for entry in self.list()):
            raise mountrecord.taken(record.id)
        with mountrecord.published(self._place(), record) as held:
            yield held

    def _place(self) -> str:
        """Where new records go: into the root, or below the runroot when the root cannot be written to."""
        with contextlib.suppress(OSError):
            os.makedirs(self.directory, mode=0o700, exist_ok=True)
        if os.access(self.directory, os.W_OK):
            return self.directory
        os.makedirs(self.targets, mode=0o700, exist_ok=True)
        return self.targets

    @contextlib.contextmanager
    def _held(self, mount_id: str) -> Iterator[Held]:
        with mountrecord.held(self._place_of(mount_id), mount_id) as held:
            yield held._replace(record=self._placed(held.record))

    def _place_of(self, mount_id: str) -> str:
        """Where the record of this id is."""
        name = f"{mountrecord.check_id(mount_id)}{mountrecord.SUFFIX}"
        is_below = not os.path.lexists(f"{self.directory}/{name}") and os.path.lexists(f"{self.targets}/{name}")
        return self.targets if is_below else self.directory

    def _placed(self, record: MountRecord) -> MountRecord:
        """*record*; one that could not be read gets the target that it would have by default."""
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
        # It was mounted when its lock was asked for, perhaps, and unmounted since.
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
        with contextlib.suppress(NotFoundError), self._held(record.id) as held:
            if held.record.source == record.source and held.record.boot == record.boot:
                self._forget(held.record)

    def _forget(self, record: MountRecord) -> None:
        self._remove_target(record)
        self._withdraw(record.id)

    def _remove_target(self, record: MountRecord) -> None:
        if record.own_target and not record.detached:
            # What somebody put there while nothing was mounted is not ours to delete.
            with contextlib.suppress(OSError):
                os.rmdir(record.target)
                reached("mount.target-removed")

    def _withdraw(self, mount_id: str) -> None:
        mountrecord.withdraw(self._place_of(mount_id), mount_id)
        reached("mount.forgotten")


def _is_on_overlay(path: str) -> bool:
    """Whether *path* lies on an overlay: one of several file systems may give directories other inode numbers later."""
    from arstore.linux.mounting.mountinfo import read_mounts

    number = mount_id_at(path)
    return any(info.mount_id == number and info.fs_type == "overlay" for info in read_mounts())


def _umount(info: MountInfo, record: MountRecord, lazy: bool) -> None:
    place = info.mount_point
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
