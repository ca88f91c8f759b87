"""A backup: a copy of all images of a store in use, as a separate OCI image layout.

    <directory>/                0700
      oci-layout  index.json    every name, and every image without one, as of one moment
      backup.json               the store that was backed up (`destination`)
      blobs/<algorithm>/<hex>   the blobs of the images

A backup has the state of one moment: the images are leased before the first byte is copied, so imports, removals and
collections in the meantime do not matter. Every byte that is copied is hashed on the way. Blobs of an earlier backup
stay, and are not copied again; they are read again only on request. Trees are not included, because an import makes
them again. Containers, and the directories that pipelines share, are not included either.

Locking: flock(2) on the directory, one backup at a time. Crash: `index.json` is replaced last, when everything that it
needs is durable. So the directory always contains the last finished backup, and the next backup reuses the blobs that a
killed one has copied.
"""

from __future__ import annotations

import fcntl
import os
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING

from arstore.digest import CHUNK, HEX_LENGTHS, Digest
from arstore.disk.paths import own_names
from arstore.errors import BRING_BACK, ConflictError, InUseError, MissingBlobError, StoreDamagedError, naming
from arstore.linux.files.copying import reflink
from arstore.linux.files.sync import sync_directory
from arstore.linux.files.writing import replace_file, write_all
from arstore.maintenance.destination import RECORD, Writer, compare, digest_of, members, record_document
from arstore.store.apart import refuse_stores
from arstore.store.collect.lease import all_leased
from arstore.store.layout import INDEX, LAYOUT, LAYOUT_DOCUMENT, index_document

if TYPE_CHECKING:
    from collections.abc import Iterator
    from collections.abc import Set as AbstractSet

    from arstore.graph.snapshot import Snapshot
    from arstore.store.progress import Progress
    from arstore.store.store import Store

_PARTIAL = ".partial-"
"""Start of the names of incomplete files."""


@dataclass(slots=True)
class BackupReport:
    """The result of a backup: images and blobs that it now contains; blobs and bytes copied; blobs removed; images and
    names that it listed before and no longer lists.
    """

    images: int = 0
    blobs: int = 0
    copied: int = 0
    bytes: int = 0
    pruned: int = 0
    forgotten_images: int = 0
    forgotten_names: int = 0


@dataclass(slots=True, frozen=True)
class _State:
    """The content of a store at one moment: blobs with sizes (attachments too), and the digests of indexes."""

    images: int
    indexes: list[str]
    blobs: dict[Digest, int]
    index: bytes
    writer: Writer


def back_up(
    store: Store,
    directory: str,
    progress: Progress,
    *,
    verify: bool = False,
    prune: bool = False,
    replace: bool = False,
) -> BackupReport:
    """Bring the backup in *directory*, which is made if it is missing, up to the current state of *store*.

    *verify* reads the existing blobs, and copies altered ones again; *prune* removes blobs that nothing in it needs;
    *replace* overwrites a backup of another store.

    Raises ConflictError if the directory is used for something else, or another store is in the way; UsageError if this
    store is; BackupRefusedError (`destination.compare`); InUseError if another backup runs there; MissingBlobError and
    StoreDamagedError for a blob of the store that cannot be copied: the backup then keeps its earlier state. OSError.
    """
    directory = os.path.realpath(directory)
    refuse_stores(directory, store.directories, "a backup")
    # Check this before anything is made: if the store cannot be read, there is nothing to back up.
    store.graph.verify()
    with naming(directory), _opened_destination(directory), all_leased(store.graph, "backup", _state) as state:
        loss = compare(directory, state.writer, state.index, replace)
        report = BackupReport(state.images, len(state.blobs), forgotten_images=loss.images, forgotten_names=loss.names)
        # First, because they take up space: files of killed backups are never used again.
        _clear(directory, None)
        for digest, size in state.blobs.items():
            progress.start(digest, digest.short, size)
            copied = _take(store, directory, digest, size, verify)
            progress.advance(digest, size)
            progress.finish(digest, reused=not copied)
            report.copied += copied
            report.bytes += size if copied else 0
        for algorithm in HEX_LENGTHS:
            sync_directory(f"{directory}/blobs/{algorithm}")
        sync_directory(f"{directory}/blobs")
        _put_document(directory, LAYOUT, LAYOUT_DOCUMENT)
        # The record first: it names the index that is there, and the one that follows.
        _put_document(
            directory, RECORD, record_document(state.writer, {*_index_there(directory), digest_of(state.index)})
        )
        sync_directory(directory)
        _put_document(directory, INDEX, state.index)
        sync_directory(directory)
        needed = {*state.blobs, *members(directory, state.indexes)} if prune else None
        report.pruned = _clear(directory, needed)
    return report


def _index_there(directory: str) -> list[str]:
    with suppress(FileNotFoundError), open(f"{directory}/{INDEX}", "rb") as file:
        return [digest_of(file.read())]
    return []


def _state(snapshot: Snapshot) -> _State:
    wanted: dict[Digest, int] = {}
    images = list(snapshot.images())
    needed = [(digest, image.config, *image.layers) for digest, image in images]
    needed += [(key.partition("/")[2], *one.blobs) for key, one in snapshot.attachments()]
    for name in chain.from_iterable(needed):
        if not name or name in wanted:
            continue
        # A backup depends on no other store: lent blobs are copied too.
        blob = snapshot.blob(name) or snapshot.lent(name)
        if blob is not None:
            wanted[Digest(name)] = blob.size
        else:
            raise MissingBlobError(name, "is not in the store", f"{BRING_BACK}, or remove its image")
    indexes = [digest for digest, image in images if image.is_index]
    return _State(len(images), indexes, wanted, index_document(snapshot), Writer.of(snapshot))


@contextmanager
def _opened_destination(directory: str) -> Iterator[None]:
    """Make the directory and its subdirectories, and lock it."""
    with suppress(FileExistsError):
        os.mkdir(directory, 0o700)
        # A parent that may be traversed but not read cannot be synced.
        with suppress(PermissionError):
            sync_directory(os.path.dirname(directory))
    names = set(own_names(directory))
    if names and not {LAYOUT, "blobs"} & names:
        raise ConflictError(directory, "contains something other than a backup", "name an empty or a new directory")
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise InUseError(directory, "another backup is being made there") from error
        os.fchmod(fd, 0o700)
        for below in ("blobs", *(f"blobs/{algorithm}" for algorithm in HEX_LENGTHS)):
            with suppress(FileExistsError):
                os.mkdir(f"{directory}/{below}", 0o700)
        yield
    finally:
        os.close(fd)


def _take(store: Store, directory: str, digest: Digest, size: int, verify: bool) -> bool:
    """Copy the blob, unless the backup has it; return whether it was copied."""
    parent = f"{directory}/blobs/{digest.algorithm}"
    place = f"{parent}/{digest.hex}"
    if _is_there(place, digest, size, verify):
        return False
    partial = f"{parent}/{_PARTIAL}{os.urandom(8).hex()}"
    try:
        _copy(store.blob_path(digest), partial, digest)
        os.rename(partial, place)
    finally:
        with suppress(FileNotFoundError):
            os.unlink(partial)
    return True


def _is_there(place: str, digest: Digest, size: int, verify: bool) -> bool:
    try:
        fd = os.open(place, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        return os.fstat(fd).st_size == size and (not verify or _pass_on(fd, -1, digest) == digest)
    finally:
        os.close(fd)


def _copy(source: str, target: str, digest: Digest) -> None:
    """Make a verified and durable copy, which shares its bytes on disk if the file system can (reflink)."""
    try:
        source_fd = os.open(source, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError as error:
        raise MissingBlobError(digest, "its file is missing from the store", "`arstore check` shows more") from error
    try:
        target_fd = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            shared = reflink(source_fd, target_fd)
            found = _pass_on(source_fd, -1 if shared else target_fd, digest)
            if found != digest:
                raise StoreDamagedError(digest, "its file has been altered", "`arstore check` shows more")
            os.fdatasync(target_fd)
        finally:
            os.close(target_fd)
    finally:
        os.close(source_fd)


def _pass_on(source_fd: int, target_fd: int, digest: Digest) -> Digest:
    """Read a file to its end, write it to *target_fd* unless that is -1, and return its digest."""
    state = digest.new_hash()
    while data := os.read(source_fd, CHUNK):
        state.update(data)
        if target_fd >= 0:
            write_all(target_fd, data)
    return Digest.finished(digest.algorithm, state)


def _put_document(directory: str, name: str, data: bytes) -> None:
    """Replace a document durably."""
    replace_file(f"{directory}/{name}", data, f"{directory}/{_PARTIAL}{os.urandom(8).hex()}", durable=True)


def _clear(directory: str, needed: AbstractSet[str] | None) -> int:
    """Remove files of killed backups, and blobs that are not in *needed*; return the number of these blobs."""
    count = 0
    for parent, algorithm in [(directory, ""), *((f"{directory}/blobs/{a}", a) for a in HEX_LENGTHS)]:
        for name in os.listdir(parent):
            unneeded = bool(algorithm) and needed is not None and f"{algorithm}:{name}" not in needed
            if name.startswith(_PARTIAL) or unneeded:
                os.unlink(f"{parent}/{name}")
                count += not name.startswith(_PARTIAL)
    return count
