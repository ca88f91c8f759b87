"""The directories of one pipeline, and the files that its last run left there.

    <root>/<image name>/images/          where the pipeline leaves its images; its container has this directory
    <root>/<image name>/.taken/          the files of `images` while they are imported (`custody`)
    <root>/<image name>/failed/<time>/   files of a failed run, unread, until they are discarded
    <root>/<image name>/.last            {"state": "running" | "ended" | …, "image": …, "boot": …}: the last run

`.last` is written before the container starts, and again when it has ended with status 0. It is removed when all its
images have been imported; if they are kept, it says `kept` instead. It is not synced: after a power cut it may have the
older state, and a run that had succeeded counts as failed; its files are set aside, and not lost. Nothing in these
directories is trusted; a container can reach only `images`.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import stat
import time
from typing import TYPE_CHECKING

from arstore.digest import Digest
from arstore.disk.paths import RESERVED
from arstore.disk.rmtree import remove_tree_at
from arstore.errors import HostError, InUseError, InvalidReferenceError
from arstore.linux.files.reading import read_start
from arstore.linux.files.writing import replace_file
from arstore.linux.process import boot_id
from arstore.oci.reference import parse_name
from arstore.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

IMAGES, FAILED, TAKEN, _LAST = "images", "failed", ".taken", ".last"
RUNNING, ENDED, KEPT = "running", "ended", "kept"

_LARGEST = 4096
_ATTEMPTS = 20
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class LastRun(NamedTuple):
    """The last run, as recorded: its state ("" if unknown), its image, and its boot."""

    state: str = ""
    image: str = ""
    boot: str = ""

    @property
    def has_ended(self) -> bool:
        """Whether its container ended with status 0."""
        return self.state == ENDED

    @property
    def was_kept(self) -> bool:
        """Whether all its images have been imported, and were kept on request."""
        return self.state == KEPT

    @property
    def may_be_torn(self) -> bool:
        """Whether the host has rebooted since, so that the files may be incomplete."""
        return self.boot != boot_id()


def images_directory(root: str, digest: str, names: tuple[str, ...]) -> str:
    """Return `<root>/<image name>/images`, without the tag; for an image without a name, use the start of its digest.

    Raises InvalidReferenceError for a name that collides with a directory of the store.
    """
    if not names:
        return f"{root}/{Digest(digest).short}/{IMAGES}"
    repository = parse_name(names[0]).repository
    parts = repository.split("/")
    if parts[0] in RESERVED or {IMAGES, FAILED} & set(parts):
        why = "collides, as a pipeline's name, with a directory of the store"
        raise InvalidReferenceError(repository, why, "give it another name with --name")
    return f"{root}/{repository}/{IMAGES}"


@contextlib.contextmanager
def made(root: str, path: str) -> Iterator[int]:
    """Open *path* below *root*, and make missing directories, one component at a time. Symlinks are refused.

    Raises HostError if a component is not a directory, OSError.
    """
    fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    so_far = root
    try:
        for part in os.path.relpath(path, root).split("/"):
            so_far = f"{so_far}/{part}"
            is_new = False
            with contextlib.suppress(FileExistsError), _called(so_far):
                os.mkdir(part, 0o755, dir_fd=fd)
                is_new = True
            child = _opened_directory(part, fd, so_far)
            os.close(fd)
            fd = child
            if is_new:
                # Independent of the umask: the container's user needs access.
                os.fchmod(fd, 0o755)
        yield fd
    finally:
        os.close(fd)


@contextlib.contextmanager
def _called(path: str) -> Iterator[None]:
    """Make an OSError name *path*, because the call knew only a part of it."""
    try:
        yield
    except OSError as error:
        error.filename, error.filename2 = path, None
        raise


def _opened_directory(name: str, parent_fd: int, path: str) -> int:
    """Open the directory *name*; *path* is its full path. Raises HostError for anything else, OSError."""
    try:
        return os.open(name, _DIRECTORY, dir_fd=parent_fd)
    except OSError as error:
        if error.errno not in {errno.ENOTDIR, errno.ELOOP}:
            error.filename = path
            raise
        is_link = stat.S_ISLNK(os.stat(name, dir_fd=parent_fd, follow_symlinks=False).st_mode)
        why = "is a symlink, and symlinks are not followed here" if is_link else "is not a directory"
        raise HostError(path, why, "move it away, and load again") from error


def last_run(place_fd: int) -> LastRun:
    """Return the content of `.last` in the pipeline's directory; an empty record if it cannot be read."""
    try:
        about = json.loads(read_start(_LAST, _LARGEST, place_fd))
        return LastRun(str(about["state"]), str(about["image"]), str(about["boot"]))
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return LastRun()


def write_last(place_fd: int, state: str, image: str) -> None:
    """Record the state of the run of *image*. Raises OSError."""
    document = json.dumps(LastRun(state, image, boot_id())._asdict()).encode()
    replace_file(_LAST, document, f"{_LAST}.new", dir_fd=place_fd)


def forget_last(place_fd: int) -> None:
    """Remove `.last`: the last run has no files left."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(_LAST, dir_fd=place_fd)


def is_empty(place_fd: int) -> bool:
    """Whether both `images` and `.taken` have no files. Raises OSError."""
    if _has(place_fd, TAKEN):
        return False
    fd = os.open(IMAGES, _DIRECTORY, dir_fd=place_fd)
    try:
        with os.scandir(fd) as entries:
            return next(iter(entries), None) is None
    finally:
        os.close(fd)


def _has(place_fd: int, name: str) -> bool:
    try:
        os.stat(name, dir_fd=place_fd, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def set_aside(place: str, place_fd: int) -> str:
    """Move the images directory, unread, to `failed/<time>`, and make an empty one; return the new path.

    *place* is the pipeline's directory, open as *place_fd*. Raises HostError if it cannot be moved, OSError.
    """
    with contextlib.suppress(FileExistsError):
        os.mkdir(FAILED, 0o700, dir_fd=place_fd)
    failed_fd = _opened_directory(FAILED, place_fd, f"{place}/{FAILED}")
    try:
        name = _free_name(failed_fd)
        os.rename(IMAGES, name, src_dir_fd=place_fd, dst_dir_fd=failed_fd)
        with contextlib.suppress(FileNotFoundError):
            # Files that could not be moved back, because their place was occupied.
            os.rename(TAKEN, f"{name}{TAKEN}", src_dir_fd=place_fd, dst_dir_fd=failed_fd)
    except OSError as error:
        if error.errno not in {errno.EBUSY, errno.EXDEV}:
            raise
        why = "has files of a failed run and is a separate file system, which cannot be set aside"
        raise HostError(f"{place}/{IMAGES}", why, "empty it, or load with --resume-leavings") from error
    finally:
        os.close(failed_fd)
    with made(place, f"{place}/{IMAGES}"):
        pass
    return f"{place}/{FAILED}/{name}"


def _free_name(failed_fd: int) -> str:
    taken = set(os.listdir(failed_fd))
    now = time.strftime("%Y%m%dT%H%M%S")
    names = (now if number == 1 else f"{now}.{number}" for number in range(1, len(taken) + 2))
    return next(name for name in names if name not in taken)


class FailedRun(NamedTuple):
    """Files of a failed run: their directory, and the bytes that they use on disk."""

    path: str
    size: int


def failed_runs(place: str) -> list[FailedRun]:
    """Return the failed runs of the pipeline's directory *place*, oldest first. Raises OSError."""
    try:
        names = sorted(os.listdir(f"{place}/{FAILED}"))
    except (FileNotFoundError, NotADirectoryError):
        return []
    return [FailedRun(path, _size(path)) for path in (f"{place}/{FAILED}/{name}" for name in names)]


def discard(runs: list[FailedRun]) -> None:
    """Delete the files of these runs; no symlink is followed.

    Raises InUseError if a process with a descriptor of one keeps making files in it, OSError.
    """
    for run in runs:
        parent, name = os.path.split(run.path)
        fd = os.open(parent, _DIRECTORY)
        try:
            _discard_one(run.path, fd, os.fsencode(name))
        finally:
            os.close(fd)
        with contextlib.suppress(OSError):
            os.rmdir(parent)


def _discard_one(path: str, parent_fd: int, name: bytes) -> None:
    for _ in range(_ATTEMPTS):
        try:
            with contextlib.suppress(FileNotFoundError):
                remove_tree_at(parent_fd, name)
        except OSError as error:
            # A new entry was made between the deletion of the last file and of the directory.
            if error.errno not in {errno.ENOTEMPTY, errno.EEXIST}:
                raise
        else:
            return
    raise InUseError(path, "a process keeps making files in it", "stop the container of that process, and try again")


def _size(path: str) -> int:
    """Return the bytes that *path* and everything below it use on disk; unreadable entries do not count."""
    total = 0
    todo = [path]
    while todo:
        place = todo.pop()
        with contextlib.suppress(OSError):
            status = os.lstat(place)
            total += status.st_blocks * 512
            if stat.S_ISDIR(status.st_mode):
                todo += [f"{place}/{name}" for name in os.listdir(place)]
    return total
