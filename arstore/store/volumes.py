"""Named volumes: directories of the store that containers share, and that outlive them.

    volumes/<name>/data          what containers see
    volumes/<name>/volume.json   the volume's labels and time, with a checksum
    volumes/<name>/new           present until a container has used the volume (`runtime.spec.mounts.sources`)

A volume appears complete, by a rename from an ingest, and disappears by a rename into one. Locking: the write
transaction of the graph covers both, and the record of a container that uses the volume; a process that fills a new
volume holds flock(2) on its directory. Collection never removes a volume.
"""

from __future__ import annotations

import errno
import json
import os
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from arstore.disk.staging import Ingest
from arstore.errors import ConflictError, InUseError, InvalidReferenceError, NotFoundError, StoreDamagedError
from arstore.graph.record_checksum import is_sealed, sealed, unsealed
from arstore.linux.files.reading import read_start
from arstore.linux.files.sync import sync_directory
from arstore.linux.files.writing import replace_file
from arstore.store.container_uses import every_use
from arstore.trace import reached
from arstore.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

    from arstore.disk.paths import Directories
    from arstore.graph.graph import Graph

DATA, NEW = "data", "new"
_DOCUMENT = "volume.json"
_LONGEST = 1 << 20
_LONGEST_NAME = 255
_MODE = 0o755


class StoredVolume(NamedTuple):
    """A volume as recorded; `path` is its directory, and `created` seconds since 1970."""

    name: str
    labels: Mapping[str, str]
    created: float
    path: str

    @property
    def mountpoint(self) -> str:
        """The directory that containers see."""
        return f"{self.path}/{DATA}"

    @property
    def is_new(self) -> bool:
        """Whether no container has used it yet."""
        return os.path.exists(f"{self.path}/{NEW}")


class Volumes:
    """The volumes of one store."""

    def __init__(self, directories: Directories, graph: Graph) -> None:
        self._directories = directories
        self._graph = graph

    def create(self, name: str = "", labels: Mapping[str, str] | None = None) -> StoredVolume:
        """Create a volume, durably; *name* "" generates a name.

        Raises InvalidReferenceError for an invalid name, ConflictError for a name in use, OSError.
        """
        name = name or os.urandom(32).hex()
        _check_name(name)
        # As it is read back: in the file, it is in microseconds.
        created = round(time.time() * 1e6) / 1e6
        made = StoredVolume(name, dict(labels or {}), created, self._directories.volume(name))
        if os.path.lexists(made.path):
            raise _in_use(name)
        with Ingest(self._directories) as ingest:
            staged = ingest.directory("volume")
            os.mkdir(f"{staged}/{DATA}", _MODE)
            os.chmod(f"{staged}/{DATA}", _MODE)
            _write(staged, made)
            with open(f"{staged}/{NEW}", "x", encoding="ascii"):
                pass
            sync_directory(staged)
            reached("volume.staged")
            with self._graph.write():
                os.makedirs(self._directories.volumes, mode=0o700, exist_ok=True)
                try:
                    # rename(2) would replace an empty directory, but a volume's is never empty.
                    ingest.place(staged, made.path)
                except OSError as error:
                    if error.errno in {errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR}:
                        raise _in_use(name) from error
                    raise
            sync_directory(self._directories.volumes)
            sync_directory(self._directories.root)
            reached("volume.placed")
        return made

    def ensure(self, name: str) -> StoredVolume:
        """Return the volume *name*, which is created if it is missing. Raises the errors of `create` and `get`."""
        _check_name(name)
        if not os.path.lexists(self._directories.volume(name)):
            with suppress(ConflictError):
                return self.create(name)
        return self.get(name)

    def get(self, name: str) -> StoredVolume:
        """Return the volume with this name. Raises NotFoundError, StoreDamagedError for an unreadable record."""
        path = self._directories.volume(name) if _is_name(name) else ""
        if not path or not os.path.isdir(path):
            raise NotFoundError(f"volume {name}", "no such volume", "`arstore volume ls` lists them")
        document = _read(path)
        if document is None:
            why = "its record is damaged; its content is as it was"
            hint = f"copy {path}/{DATA} if you need it, then `arstore volume rm {name}`"
            raise StoreDamagedError(f"volume {name}", why, hint)
        labels, created = document
        return StoredVolume(name, labels, created, path)

    def names(self) -> list[str]:
        """Return the names of all volumes, sorted. Raises OSError."""
        try:
            found = os.listdir(self._directories.volumes)
        except FileNotFoundError:
            return []
        return sorted(name for name in found if _is_name(name) and os.path.isdir(self._directories.volume(name)))

    def users(self) -> dict[str, list[str]]:
        """Return the ids of the containers that use each volume; volumes without users are left out.

        Raises StoreDamagedError, OSError.
        """
        found: dict[str, list[str]] = {}
        with self._graph.read() as snapshot:
            for container_id, uses in every_use(self._directories, snapshot):
                for name in uses.volumes:
                    found.setdefault(name, []).append(container_id)
        return found

    def remove(self, name: str) -> int:
        """Remove a volume with all its content; return the bytes on disk that this freed.

        Raises NotFoundError, InUseError when a container uses it, OSError.
        """
        with self._graph.spare_given_up(), Ingest(self._directories) as ingest:
            with self._graph.write() as change:
                users = [one for one, uses in every_use(self._directories, change) if name in uses.volumes]
                if users:
                    why = f"is used by container {', '.join(users)}"
                    raise InUseError(f"volume {name}", why, f"run `arstore container rm {users[0]}` first")
                path = self._directories.volume(name) if _is_name(name) else ""
                if not path or not os.path.isdir(path):
                    raise NotFoundError(f"volume {name}", "no such volume", "`arstore volume ls` lists them")
                # Gone before its content is: a power cut must not leave half of a volume.
                ingest.take(path, "removed-volume")
                reached("volume.moved")
            sync_directory(self._directories.volumes)
        return ingest.freed


def mend(directories: Directories, name: str) -> None:
    """Write a new record, without labels, for a volume whose record is damaged. Raises OSError."""
    path = directories.volume(name)
    if _read(path) is None:
        os.makedirs(f"{path}/{DATA}", _MODE, exist_ok=True)
        _write(path, StoredVolume(name, {}, os.stat(path).st_mtime, path))
        sync_directory(path)


def damaged_volumes(directories: Directories) -> list[str]:
    """Return the names of the volumes whose record cannot be read. Raises OSError."""
    try:
        found = sorted(os.listdir(directories.volumes))
    except FileNotFoundError:
        return []
    return [
        name
        for name in found
        if _is_name(name) and os.path.isdir(directories.volume(name)) and _read(directories.volume(name)) is None
    ]


def _check_name(name: str) -> None:
    if not _is_name(name):
        why = "not a volume's name: letters, digits, `_`, `.` and `-`, at most 255, and first a letter or digit"
        raise InvalidReferenceError(repr(name), why)


def _is_name(name: str) -> bool:
    return (
        0 < len(name) <= _LONGEST_NAME
        and name.isascii()
        and name[0].isalnum()
        and name.replace("_", "").replace(".", "").replace("-", "").isalnum()
    )


def _in_use(name: str) -> ConflictError:
    return ConflictError(f"volume {name}", "exists already", "choose another name, or use --ignore")


def _key(name: str) -> bytes:
    return f"volumes/{name}".encode()


def _write(directory: str, volume: StoredVolume) -> None:
    # A whole number, so that the file's size does not depend on the moment.
    document = {"labels": dict(volume.labels), "created": round(volume.created * 1e6)}
    data = sealed(_key(volume.name), json.dumps(document).encode())
    replace_file(f"{directory}/{_DOCUMENT}", data, f"{directory}/{_DOCUMENT}.new", durable=True)


def _read(path: str) -> tuple[dict[str, str], float] | None:
    """Return the labels and the time (in the file in microseconds) of the volume in *path*; None if unreadable."""
    key = _key(os.path.basename(path))
    with suppress(OSError, ValueError, TypeError, RecursionError):
        data = read_start(f"{path}/{_DOCUMENT}", _LONGEST)
        if is_sealed(key, data):
            found = json.loads(unsealed(key, data))
            labels = {str(name): str(value) for name, value in found["labels"].items()}
            return labels, int(found["created"]) / 1e6
    return None
