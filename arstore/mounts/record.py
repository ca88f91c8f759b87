"""The record of one mount: a small JSON file, written before the mount is made and deleted after it is gone.

Format: `<id>.json`, 0600, one object with the fields of MountRecord. Locking: a process that works on a mount holds
flock(2) on its record, so a record that is neither mounted nor locked was left by a process that died. Facts learned
later are written in place by the holder of the lock; those fields come last and have a fixed width, so the others never
move. Crash: a file gets its name only when it is complete. It is not synced, because it is valid for one boot only; a
record that a power cut emptied is read as a blank one.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
from typing import TYPE_CHECKING

from arstore.errors import ConflictError, InvalidReferenceError, NotFoundError
from arstore.linux.files.writing import write_all
from arstore.linux.isolation import namespace
from arstore.linux.process import boot_id
from arstore.mounts.leftovers import passing_name
from arstore.pattern import pattern
from arstore.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

SUFFIX = ".json"
SOURCE_PREFIX = "arstore:"
STORE_MARK = "@"
"""In a source, the text after the last of these is the mark of the store."""

_ID = pattern(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}")
_LARGEST = 1 << 16


class MountRecord(NamedTuple):
    """One mount, as it was requested.

    `source` is the device in the kernel's table, by which the mount is found. `image` is the digest of the mounted
    image, `container` the id of the writable container, or "". `target` is valid in the boot `boot` and the mount
    namespace with the inode number `namespace`; `created` is in seconds since the epoch. `own_target` is set if the
    target was created for this mount. `device` is the mounted file system's st_dev, 0 while unknown; `sign` is a number
    that never changes on that file system, 0 if there is none (`superblock.Live`). `detached` is set if we ended the
    mount while something still used the file system.
    """

    id: str
    target: str
    source: str
    read_only: bool
    boot: str
    namespace: int
    created: float
    image: str = ""
    container: str = ""
    own_target: bool = False
    device: int = 0
    sign: int = 0
    detached: bool = False


class Held(NamedTuple):
    """A record whose lock is held, and the descriptor of its file."""

    record: MountRecord
    fd: int

    def learn(self, changed: MountRecord) -> MountRecord:
        """Write facts found out about the mount: only the last fields may differ. Raises OSError."""
        os.pwrite(self.fd, _encoded(changed), 0)
        return changed


def check_id(mount_id: str) -> str:
    """Return *mount_id* if it can be a file name here. Raises InvalidReferenceError otherwise."""
    if _ID.fullmatch(mount_id) is None or mount_id.endswith(SUFFIX):
        raise InvalidReferenceError(repr(mount_id)[:140], "not a mount id (letters, digits, `_`, `.` and `-`)")
    return mount_id


def record_ids(directory: str) -> list[str]:
    """Return the ids of all records in *directory*, sorted; none when it does not exist. Raises OSError."""
    try:
        names = os.listdir(directory)
    except FileNotFoundError:
        return []
    ids = [name.removesuffix(SUFFIX) for name in names if name.endswith(SUFFIX)]
    return sorted(mount_id for mount_id in ids if _ID.fullmatch(mount_id))


@contextlib.contextmanager
def published(directory: str, record: MountRecord) -> Iterator[Held]:
    """Create the file of *record* in *directory*, and hold its lock during the context.

    Raises ConflictError when the id is taken, and OSError.
    """
    check_id(record.id)
    with contextlib.ExitStack() as stack:
        fd = _unpublished(directory, stack)
        fcntl.flock(fd, fcntl.LOCK_EX)
        _write_record(fd, record)
        _link(fd, directory, record.id)
        yield Held(record, fd)


@contextlib.contextmanager
def held(directory: str, mount_id: str) -> Iterator[Held]:
    """Open the record with this id, and wait for its lock.

    Raises NotFoundError, OSError.
    """
    path = f"{directory}/{check_id(mount_id)}{SUFFIX}"
    while True:
        try:
            fd = _open(path, mount_id, os.O_RDWR)
        except OSError as error:
            if error.errno != errno.EROFS:
                raise
            fd = _open(path, mount_id)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            # The previous holder of the lock may have deleted the record, and another process may have made a new one.
            if not _is_named(fd, path):
                continue
            yield Held(_decode(fd, directory, mount_id), fd)
            return
        finally:
            os.close(fd)


def read(directory: str, mount_id: str) -> tuple[MountRecord, bool]:
    """Return the record with this id, and whether a process is working on it.

    Raises NotFoundError, OSError.
    """
    fd = _open(f"{directory}/{check_id(mount_id)}{SUFFIX}", mount_id)
    try:
        try:
            # Lock first: then nothing that a holder of the lock writes in the meantime is taken as final.
            fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
            busy = False
        except BlockingIOError:
            busy = True
        return _decode(fd, directory, mount_id), busy
    finally:
        os.close(fd)


def withdraw(directory: str, mount_id: str) -> None:
    """Delete the record, if it exists. Raises OSError."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(f"{directory}/{check_id(mount_id)}{SUFFIX}")


def _open(path: str, mount_id: str, mode: int = os.O_RDONLY) -> int:
    try:
        return os.open(path, mode | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        raise NotFoundError(mount_id, "no mount has this id") from None


def _is_named(fd: int, path: str) -> bool:
    try:
        return os.path.samestat(os.fstat(fd), os.stat(path, follow_symlinks=False))
    except FileNotFoundError:
        return False


def _unpublished(directory: str, stack: contextlib.ExitStack) -> int:
    """Return a new file without a final name; a temporary name is deleted when *stack* ends."""
    try:
        fd = os.open(directory, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600)
    except OSError as error:
        # Some file systems do not have nameless files: NFS, and overlayfs before 6.1.
        if error.errno not in {errno.EOPNOTSUPP, errno.EISDIR}:
            raise
        path = f"{directory}/{passing_name('')}"
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        stack.callback(os.unlink, path)
    stack.callback(os.close, fd)
    return fd


def _write_record(fd: int, record: MountRecord) -> None:
    write_all(fd, _encoded(record))


def _encoded(record: MountRecord) -> bytes:
    """Return the file's content. Records that differ only in facts learned later have equal lengths and beginnings."""
    fields = record._asdict()
    device, sign, detached = (fields.pop(name) for name in ("device", "sign", "detached"))
    learned = f'"device": {device:20d}, "sign": {sign:20d}, "detached": {json.dumps(detached):>5}'
    return f"{json.dumps(fields)[:-1]}, {learned}}}\n".encode("ascii")


def _link(fd: int, directory: str, mount_id: str) -> None:
    """Give the file its name, which must be free: link(2) does not replace, as rename(2) would."""
    dir_fd = os.open(directory, os.O_PATH | os.O_DIRECTORY)
    try:
        # Only with a directory descriptor does os.link follow the link in /proc to the file itself.
        os.link(f"/proc/self/fd/{fd}", f"{mount_id}{SUFFIX}", dst_dir_fd=dir_fd, follow_symlinks=True)
    except FileExistsError:
        raise taken(mount_id) from None
    finally:
        os.close(dir_fd)


def taken(mount_id: str) -> ConflictError:
    """Return the error for an id that another mount has."""
    return ConflictError(mount_id, "a mount with this id exists", f"`arstore umount {mount_id}` ends it")


def _decode(fd: int, directory: str, mount_id: str) -> MountRecord:
    try:
        fields = json.loads(os.pread(fd, _LARGEST, 0))
        record = MountRecord(**fields)
        is_sound = record.id == mount_id and _is_typed(record)
    except (ValueError, TypeError, RecursionError):
        return _blank(directory, mount_id)
    return record if is_sound else _blank(directory, mount_id)


def _is_typed(record: MountRecord) -> bool:
    """Return whether all fields have their types, and the target is a path. Raises UnicodeEncodeError if it is not."""
    texts = (record.target, record.source, record.boot, record.image, record.container)
    numbers = (record.namespace, record.created, record.device)
    return (
        all(isinstance(text, str) for text in texts)
        and all(isinstance(number, (int, float)) for number in numbers)
        and record.target.startswith("/")
        and b"\0" not in os.fsencode(record.target)
        and record.source.startswith(SOURCE_PREFIX)
        and isinstance(record.read_only, bool)
        and isinstance(record.own_target, bool)
        and isinstance(record.device, int)
        and isinstance(record.sign, int)
        and isinstance(record.detached, bool)
    )


def is_blank(record: MountRecord) -> bool:
    """Return whether this replaces a record that could not be read."""
    return not record.created


def shows(record: MountRecord, source: str) -> bool:
    """Return whether a mount with this *source* belongs to *record*; by id alone, if the record could not be read."""
    if source == record.source:
        return True
    name = source.rpartition(STORE_MARK)[0]
    return is_blank(record) and (name == record.source or name.startswith(f"{record.source}."))


def _blank(directory: str, mount_id: str) -> MountRecord:
    """Return a replacement for a record that cannot be read: a mount in its default place, so that it can be ended."""
    return MountRecord(
        id=mount_id,
        target=f"{directory}/{mount_id}",
        source=f"{SOURCE_PREFIX}{mount_id}",
        read_only=True,
        boot=boot_id(),
        namespace=namespace.identity("mnt"),
        created=0.0,
        own_target=True,
    )
