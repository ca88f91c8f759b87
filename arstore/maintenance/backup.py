"""A copy of all images of a store that is in use, as an OCI image layout of its own.

    <directory>/                0700
      oci-layout  index.json    every name, and every image without one, as they were in one moment
      backup.json               which store that was (`destination`)
      blobs/<algorithm>/<hex>   what they consist of

It is a moment's state: the images are leased before the first byte is copied, so whatever others import, remove or
collect meanwhile does not matter. Every byte that is copied is hashed on its way. What an earlier backup has copied
stays, and is not copied again; it is read again only when that is asked for. Trees are made anew by an import. Not part
of it: containers, and what pipelines share.

Locking: flock(2) on the directory, one backup at a time. Crash: `index.json` is replaced last, when all that it needs
is durable, so the directory always holds the last backup that was finished; what a killed one has copied the next one
finds.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
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
"""What the names of files begin with that are not whole yet."""


@dataclass(slots=True)
class BackupReport:
    """What a backup did: images and blobs that it holds now; blobs and bytes copied; blobs removed; images and names
    that it listed before and does not list any more.
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
    """The content of a store at one moment: blobs with their sizes (those of attachments, too), and which images are
    indexes of others.
    """

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
    """Bring the backup in *directory*, which is made if it is missing, up to what *store* holds now.

    *verify* reads what it has already, and copies again what has been altered; *prune* removes blobs that nothing in it
    needs any more; *replace* takes the place of a backup of another store.

    Raises ConflictError when the directory holds something else, or another store is in the way; UsageError when this
    store is; BackupRefusedError as `destination.compare`; InUseError when another backup goes there; MissingBlobError
    and StoreDamagedError for a blob of the store that cannot be copied: the backup is the earlier one then. OSError.
    """
    directory = os.path.realpath(directory)
    refuse_stores(directory, store.directories, "a backup")
    # Before anything is made: a store that cannot be read backs up nothing.
    store.graph.verify()
    with naming(directory), _opened_destination(directory), all_leased(store.graph, "backup", _state) as state:
        loss = compare(directory, state.writer, state.index, replace)
        report = BackupReport(state.images, len(state.blobs), forgotten_images=loss.images, forgotten_names=loss.names)
        # First, because they take room: of what killed backups left nothing is ever used again.
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
        # The record first: it knows the index that it finds, and the one that follows.
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
    with contextlib.suppress(FileNotFoundError), open(f"{directory}/{INDEX}", "rb") as file:
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
        # A backup stands on nothing else: what lies in an additional store is copied too.
        blob = snapshot.blob(name) or snapshot.lent(name)
        if blob is not None:
            wanted[Digest(name)] = blob.size
        else:
            raise MissingBlobError(name, "is not in the store", f"{BRING_BACK}, or remove its image")
    indexes = [digest for digest, image in images if image.is_index]
    return _State(len(images), indexes, wanted, index_document(snapshot), Writer.of(snapshot))


@contextlib.contextmanager
def _opened_destination(directory: str) -> Iterator[None]:
    """Make the directory what it has to be, and lock it."""
    with contextlib.suppress(FileExistsError):
        os.mkdir(directory, 0o700)
        # A parent that may be passed through and not read cannot be synced either.
        with contextlib.suppress(PermissionError):
            sync_directory(os.path.dirname(directory))
    names = set(own_names(directory))
    if names and not {LAYOUT, "blobs"} & names:
        raise ConflictError(directory, "holds something else than a backup", "name an empty or a new directory")
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise InUseError(directory, "another backup is being made there") from error
        os.fchmod(fd, 0o700)
        for below in ("blobs", *(f"blobs/{algorithm}" for algorithm in HEX_LENGTHS)):
            with contextlib.suppress(FileExistsError):
                os.mkdir(f"{directory}/{below}", 0o700)
        yield
    finally:
        os.close(fd)


def _take(store: Store, directory: str, digest: Digest, size: int, verify: bool) -> bool:
    """Have the blob in the backup; whether it had to be copied."""
    parent = f"{directory}/blobs/{digest.algorithm}"
    place = f"{parent}/{digest.hex}"
    if _is_there(place, digest, size, verify):
        return False
    partial = f"{parent}/{_PARTIAL}{os.urandom(8).hex()}"
    try:
        _copy(store.blob_path(digest), partial, digest)
        os.rename(partial, place)
    finally:
        with contextlib.suppress(FileNotFoundError):
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
    """A verified and durable copy, which shares its bytes on disk where the file system can."""
    try:
        source_fd = os.open(source, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError as error:
        raise MissingBlobError(digest, "its file is missing from the store", "`arstore check` tells more") from error
    try:
        target_fd = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            shared = reflink(source_fd, target_fd)
            found = _pass_on(source_fd, -1 if shared else target_fd, digest)
            if found != digest:
                raise StoreDamagedError(digest, "its file has been altered", "`arstore check` tells more")
            os.fdatasync(target_fd)
        finally:
            os.close(target_fd)
    finally:
        os.close(source_fd)


def _pass_on(source_fd: int, target_fd: int, digest: Digest) -> Digest:
    """Read a file to its end, write it where *target_fd* is not -1, and return its digest."""
    state = digest.new_hash()
    while data := os.read(source_fd, CHUNK):
        state.update(data)
        if target_fd >= 0:
            write_all(target_fd, data)
    return Digest.finished(digest.algorithm, state)


def _put_document(directory: str, name: str, data: bytes) -> None:
    """Replace a document by one that is durable."""
    replace_file(f"{directory}/{name}", data, f"{directory}/{_PARTIAL}{os.urandom(8).hex()}", durable=True)


def _clear(directory: str, needed: AbstractSet[str] | None) -> int:
    """Remove what killed backups left, and blobs that are not among *needed*; how many blobs that were."""
    count = 0
    for parent, algorithm in [(directory, ""), *((f"{directory}/blobs/{a}", a) for a in HEX_LENGTHS)]:
        for name in os.listdir(parent):
            unneeded = bool(algorithm) and needed is not None and f"{algorithm}:{name}" not in needed
            if name.startswith(_PARTIAL) or unneeded:
                os.unlink(f"{parent}/{name}")
                count += not name.startswith(_PARTIAL)
    return count
