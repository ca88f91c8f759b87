"""Containers: a writable upper directory over an image's trees, recorded so that the image is kept while they exist.

    containers/<id>/upper, work     directories that overlayfs writes to
    containers/<id>/whole           an empty file with an attribute; a copy without it has lost extended attributes
    containers/<id>/record          a copy of its record in the graph, for a rebuild of the graph
    containers/<id>/run.json        how it was asked to be run (`container_document`)
    containers/<id>/uses            volumes and further images that it uses (`container_uses`)
    containers/<id>/…               files of the runtime package (bundle, log, state)

Its id never changes. `rename` gives it a name; until then its id is its name. Names are unique, and a name that is free
may be the id of another container.

An *ephemeral* container belongs to one process and is removed with it. If that process was killed, the next process
that looks finds the owner dead (`dead`) and removes the container.
"""

from __future__ import annotations

import os
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from arstore.disk.owner import Owner
from arstore.disk.staging import Ingest
from arstore.errors import (
    AmbiguousError,
    ConflictError,
    InUseError,
    InvalidReferenceError,
    NotFoundError,
    StoreDamagedError,
)
from arstore.graph.record_checksum import is_sealed, sealed, unsealed
from arstore.graph.records import ContainerRecord, RecordCodec
from arstore.linux.files.reading import read_start
from arstore.linux.files.sync import sync_directory
from arstore.linux.files.writing import replace_file
from arstore.linux.files.xattr import read_xattrs, set_xattr
from arstore.linux.isolation.user_namespace import is_initial
from arstore.mounts.upper_in_use import require_unused
from arstore.pattern import pattern
from arstore.trace import reached
from arstore.trees.inode_entry import OVERLAY, USER_OVERLAY
from arstore.values import NamedTuple

if TYPE_CHECKING:
    from arstore.disk.paths import Directories
    from arstore.graph.graph import Graph
    from arstore.graph.snapshot import Snapshot
    from arstore.graph.write import Change
    from arstore.store.container_uses import Uses

_MARKED, _MARKS = "whole", ("trusted.arstore", "user.arstore")
"""A file, and the attribute that it has: the second one where only the host's root could set the first."""
_RECORD = "record"
_LONGEST_RECORD = 4096
MIN_PREFIX = 2
"""Characters of an id that are enough to name its container, if no other id starts with them."""

_NAMED = 4
"""Maximum number of containers that an error lists."""

_ID = pattern(r"[a-zA-Z0-9][a-zA-Z0-9_.-]{0,62}")


class Container(NamedTuple):
    """A container as recorded; `path` is its directory."""

    id: str
    record: ContainerRecord
    path: str
    graph: str

    @property
    def name(self) -> str:
        """The name that it was given last, by default its id."""
        return self.record.name or self.id

    @property
    def upper(self) -> str:
        """The directory that receives what is written."""
        return f"{self.path}/upper"

    @property
    def work(self) -> str:
        """The work directory that overlayfs needs next to it."""
        return f"{self.path}/work"

    @property
    def abandoned(self) -> bool:
        """Whether the container is ephemeral and its process is dead."""
        record = self.record
        return record.ephemeral and not Owner(record.pid, record.start, record.boot).is_alive(self.graph)

    @property
    def has_lost_attributes(self) -> bool:
        """Whether its files were copied without extended attributes."""
        try:
            return not {*_MARKS} & {*os.listxattr(f"{self.path}/{_MARKED}", follow_symlinks=False)}
        except OSError:
            return False

    def verify_whole(self) -> None:
        """Require that its files have their extended attributes, some of which mark deleted files.

        Raises StoreDamagedError.
        """
        if self.has_lost_attributes:
            why = "its files lost their extended attributes when it was copied; deleted files would reappear"
            hint = "copy it again with extended attributes (docs/backup.md), or remove it"
            raise StoreDamagedError(f"container {self.id}", why, hint)


class Containers:
    """The containers of one store."""

    def __init__(self, directories: Directories, graph: Graph) -> None:
        self._directories = directories
        self._graph = graph

    def create(
        self, image: str, container_id: str = "", ephemeral: bool = False, uses: Uses | None = None
    ) -> Container:
        """Create a container over the image of this digest; *container_id* "" generates an id.

        If *container_id* is the id of a container that was renamed, it becomes the name of the new container, whose id
        is generated. It is not durable before `keep`. An *ephemeral* one need not be, because it ends with its process.

        Raises InvalidReferenceError for an invalid id, ConflictError for an id in use, NotFoundError when the image,
        or something else that it *uses*, was removed, OSError.
        """
        name = ""
        if container_id:
            _check_name(container_id)
            with self._graph.read() as snapshot:
                _require_free(snapshot, container_id)
                name = "" if snapshot.container(container_id) is None else container_id
        if not container_id or name:
            container_id = os.urandom(6).hex()
        owner = Owner.announced(self._directories.graph)
        identity = (owner.pid, owner.start, owner.boot) if ephemeral else (0, 0, "")
        record = ContainerRecord(image, time.time(), ephemeral, *identity, name=name)
        container = Container(container_id, record, self._directories.container(container_id), self._directories.graph)
        with Ingest(self._directories) as ingest:
            staged = ingest.directory("container")
            os.mkdir(f"{staged}/upper", 0o755)
            os.mkdir(f"{staged}/work", 0o700)
            _mark(staged)
            write_record(staged, container_id, record)
            if uses:
                from arstore.store.container_uses import write_uses

                write_uses(staged, uses)
            reached("container.staged")
            with self._graph.write() as change:
                _require_free(change, name or container_id)
                if change.container(container_id) is not None:
                    raise _in_use(container_id)
                if change.image(image) is None:
                    raise NotFoundError(f"image {image}", "it was removed")
                if uses:
                    self._require(uses, change)
                _clear(container.path, ingest)
                ingest.note_places([f"containers/{container_id}"])
                ingest.place(staged, container.path)
                reached("container.placed")
                change.put_container(container_id, record)
            reached("container.recorded")
        return container

    def _require(self, uses: Uses, change: Change) -> None:
        """Require that everything in *uses* still exists. Raises NotFoundError."""
        found = {
            "volume": ((name, os.path.isdir(self._directories.volume(name))) for name in uses.volumes),
            "image": ((digest, change.image(digest) is not None) for digest in uses.images),
            "container": ((one, change.container(one) is not None) for one in uses.containers),
        }
        for kind, things in found.items():
            for name, exists in things:
                if not exists:
                    raise NotFoundError(f"{kind} {name}", "was removed in the meantime")
        for one in uses.containers:
            # Without this directory, its removal does not look for containers that use it.
            os.makedirs(f"{self._directories.container(one)}/volumes", mode=0o700, exist_ok=True)

    def get(self, container_id: str) -> Container:
        """Return the container with this id. Raises NotFoundError."""
        with self._graph.read() as snapshot:
            record = snapshot.container(container_id)
        if record is None:
            raise NotFoundError(f"container {container_id}", "no such container", "`arstore ps --all` lists them")
        return Container(container_id, record, self._directories.container(container_id), self._directories.graph)

    def find(self, text: str) -> Container:
        """Return the container with this name, or else this id, or else the only one whose id starts with it.

        Raises NotFoundError, AmbiguousError.
        """
        with self._graph.read() as snapshot:
            ids = [_exactly(snapshot, text) or text]
            if len(text) >= MIN_PREFIX and snapshot.container(ids[0]) is None:
                ids = snapshot.containers_with_prefix(text, _NAMED + 1)
        if len(ids) > 1:
            more = ", ..." if len(ids) > _NAMED else ""
            raise AmbiguousError(text, f"is the start of more than one container's id: {', '.join(ids[:_NAMED])}{more}")
        return self.get(ids[0] if ids else text)

    def find_exactly(self, text: str) -> Container:
        """Return the container with this name, or else this id. Raises NotFoundError."""
        with self._graph.read() as snapshot:
            container_id = _exactly(snapshot, text)
        return self.get(container_id or text)

    def rename(self, container_id: str, name: str) -> None:
        """Give the container the name *name*; its id stays, and its old name is free.

        Raises InvalidReferenceError for an invalid name, ConflictError for one in use, NotFoundError, OSError.
        """
        _check_name(name)
        with self._graph.write() as change:
            record = change.container(container_id)
            if record is None:
                raise NotFoundError(f"container {container_id}", "was removed meanwhile")
            if name == (record.name or container_id):
                return
            _require_free(change, name)
            record = record._replace(name="" if name == container_id else name)
            # For a rebuild of the graph. Until the commit, the graph has the old name, and that counts.
            write_record(self._directories.container(container_id), container_id, record, durable=True)
            reached("container.name-written")
            change.put_container(container_id, record)
        reached("container.renamed")

    def list(self) -> list[Container]:
        """Return all containers, sorted by id."""
        with self._graph.read() as snapshot:
            found = list(snapshot.containers())
        graph = self._directories.graph
        return [Container(i, record, self._directories.container(i), graph) for i, record in found]

    def keep(self, container_id: str) -> None:
        """Make an ephemeral container outlive its process and a power cut. Raises NotFoundError, OSError.

        Its directories are synced. Files below them are as durable as the process that wrote them has made them.
        """
        container = self.get(container_id)
        path, lasting = container.path, container.record._replace(ephemeral=False, pid=0, start=0, boot="")
        write_record(path, container_id, lasting, durable=True)
        _sync_file(f"{path}/{_MARKED}")
        _sync_file(f"{path}/uses")
        for directory in (f"{path}/upper", f"{path}/work", path, self._directories.containers):
            sync_directory(directory)
        with self._graph.write() as change:
            record = change.container(container_id)
            if record is None:
                raise NotFoundError(f"container {container_id}", "was removed meanwhile")
            change.put_container(container_id, record._replace(ephemeral=False, pid=0, start=0, boot=""))
        reached("container.kept")

    def belong(self, container_id: str, owner: Owner) -> None:
        """Make the container ephemeral: it is removed once the process *owner* has ended.

        Raises NotFoundError, OSError.
        """
        with self._graph.write() as change:
            record = change.container(container_id)
            if record is None:
                raise NotFoundError(f"container {container_id}", "was removed meanwhile")
            record = record._replace(ephemeral=True, pid=owner.pid, start=owner.start, boot=owner.boot)
            write_record(self._directories.container(container_id), container_id, record)
            change.put_container(container_id, record)
        reached("container.lent")

    def remove(self, container_id: str) -> int:
        """Remove the container's record and directory; return the bytes on disk that this freed.

        The caller has made sure that nothing runs or is mounted. The kernel is asked again, as far as it can answer.
        A container that another one uses (`--volumes-from`, `--requires`) stays.
        Raises NotFoundError, InUseError, OSError.
        """
        container = self.get(container_id)
        with self._graph.spare_given_up(), Ingest(self._directories) as ingest:
            ingest.note_places([f"containers/{container_id}"])
            if not container.record.ephemeral:
                self._announce_removal(container)
            with self._graph.write() as change:
                # A process that mounts the container needs this lock too, and finds no record of it afterwards.
                require_unused(container.upper, f"container {container.id}")
                self._require_no_borrower(container_id, change)
                change.delete("containers", container_id)
            reached("container.forgotten")
            with self._graph.write() as change:
                if change.container(container_id) is None:
                    _clear(container.path, ingest)
            reached("container.moved")
            ingest.forget_places()
        return ingest.freed

    def _require_no_borrower(self, container_id: str, change: Change) -> None:
        """Raise InUseError if another container uses private volumes of this one, or requires it."""
        if not os.path.isdir(f"{self._directories.container(container_id)}/volumes"):
            return
        from arstore.store.container_uses import every_use

        for other, uses in every_use(self._directories, change):
            if container_id in uses.containers and other != container_id:
                why = f"is used by container {other}"
                raise InUseError(f"container {container_id}", why, f"run `arstore container rm {other}` first")

    def _announce_removal(self, container: Container) -> None:
        """Record durably, next to its files, that the container is being removed; a full disk does not prevent it."""
        with suppress(OSError):
            write_record(container.path, container.id, container.record._replace(ephemeral=True), durable=True)
            sync_directory(container.path)


def _check_name(name: str) -> None:
    if not _ID.fullmatch(name):
        why = "not a container id: letters, digits, `_`, `.` and `-`, at most 63"
        raise InvalidReferenceError(repr(name), why)


def _exactly(snapshot: Snapshot, text: str) -> str:
    """Return the id of the container with this name, or else this id; "" if there is none."""
    return snapshot.container_named(text) or (text if snapshot.container(text) is not None else "")


def _require_free(snapshot: Snapshot, name: str) -> None:
    """Raise ConflictError if a container has this *name*. The id of a renamed container is free as a name."""
    record = snapshot.container(name)
    if snapshot.container_named(name) is not None or (record is not None and not record.name):
        raise _in_use(name)


def _in_use(name: str) -> ConflictError:
    return ConflictError(f"container {name}", "this id is in use", "choose another --name")


def write_record(directory: str, container_id: str, record: ContainerRecord, durable: bool = False) -> None:
    """Write the container's record next to its files. Raises OSError."""
    data = sealed(_sealed_as(container_id), RecordCodec.encode(record))
    replace_file(f"{directory}/{_RECORD}", data, f"{directory}/{_RECORD}.new", durable=durable)


def read_record(directory: str, container_id: str) -> ContainerRecord | None:
    """Return the record next to a container's files; None if it is missing or cannot be read."""
    key = _sealed_as(container_id)
    with suppress(OSError, ValueError, TypeError, RecursionError):
        data = read_start(f"{directory}/{_RECORD}", _LONGEST_RECORD)
        if is_sealed(key, data):
            return RecordCodec.decode(ContainerRecord, unsealed(key, data))
    return None


def _sealed_as(container_id: str) -> bytes:
    return f"containers/{container_id}".encode("utf-8", "surrogateescape")


def holds_files(directory: str) -> bool:
    """Whether something was written in the container with this directory. Raises OSError."""
    with suppress(FileNotFoundError, NotADirectoryError), os.scandir(f"{directory}/upper") as entries:
        return next(entries, None) is not None
    return False


def _mark(directory: str) -> None:
    """Make a file with an attribute, which detects copies without attributes; no file if the user may not set one."""
    path = f"{directory}/{_MARKED}"
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        os.setxattr(fd, _MARKS[not is_initial()], b"y")
    except OSError:
        os.unlink(path)
    finally:
        os.close(fd)


def _sync_file(path: str) -> None:
    """Make a file and its attributes durable; do nothing if it does not exist."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _clear(path: str, ingest: Ingest) -> None:
    """Move a container directory out of its place, if it exists: one left by a crash, or one to be deleted."""
    if os.path.lexists(path):
        ingest.take(path, "removed-container")


def copy_root_attributes(source_fd: int, target: str) -> None:
    """Give the directory *target* the mode, owner, times and xattrs of the directory *source_fd* (O_PATH will do).

    This is for the root of a container's upper directory, which an overlay shows as `/`. Raises OSError.
    """
    status = os.fstat(source_fd)
    fd = os.open(target, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        os.fchown(fd, status.st_uid, status.st_gid)
        os.fchmod(fd, status.st_mode & 0o7777)
        for name, value in read_xattrs(source_fd, b"").items():
            if not name.startswith((OVERLAY, USER_OVERLAY)):
                set_xattr(fd, b"", name, value)
        os.utime(fd, ns=(status.st_atime_ns, status.st_mtime_ns))
    finally:
        os.close(fd)
