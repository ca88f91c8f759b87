"""The directories of one pipeline, and what its last run left there.

    <root>/<image name>/images/          where the pipeline leaves its images; its container has this one
    <root>/<image name>/.taken/          the files of `images` while they are imported (`custody`)
    <root>/<image name>/failed/<time>/   what a run left that failed, unread, until somebody discards it
    <root>/<image name>/.last            {"state": "running" | "ended" | …, "image": …, "boot": …}: of the last run

`.last` is written before the container starts, again when it has ended with status 0, and removed when everything it
left has been imported; it says `kept` then where that was to stay. It is not synced: after a power cut the older word
counts, and a run that had ended is taken for one that failed, whose leavings are set aside and not lost. Nothing in
these directories is trusted; only `images` can be reached by a container.
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
    """What is known of the last run: how far it came ("" where nobody knows), its image, and the boot it was in."""

    state: str = ""
    image: str = ""
    boot: str = ""

    @property
    def has_ended(self) -> bool:
        """Whether its container ended with status 0."""
        return self.state == ENDED

    @property
    def was_kept(self) -> bool:
        """Whether everything that it left has been imported, and was to stay."""
        return self.state == KEPT

    @property
    def may_be_torn(self) -> bool:
        """Whether the host has started anew since, so that what it left may not be whole."""
        return self.boot != boot_id()


def images_directory(root: str, digest: str, names: tuple[str, ...]) -> str:
    """`<root>/<image name>/images`, the name without its tag; for an image without one, the start of its digest.

    Raises InvalidReferenceError for a name that would lie in a directory of the store's own.
    """
    if not names:
        return f"{root}/{Digest(digest).short}/{IMAGES}"
    repository = parse_name(names[0]).repository
    parts = repository.split("/")
    if parts[0] in RESERVED or {IMAGES, FAILED} & set(parts):
        why = "as a pipeline's name, collides with a directory of the store"
        raise InvalidReferenceError(repository, why, "give it another with --name")
    return f"{root}/{repository}/{IMAGES}"


@contextlib.contextmanager
def made(root: str, path: str) -> Iterator[int]:
    """*path* below *root*, open; made, one component at a time, where it is missing. Symlinks on the way are refused.

    Raises HostError for anything but a directory on the way, OSError.
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
                # Whatever the umask is, the container's user has to get in.
                os.fchmod(fd, 0o755)
        yield fd
    finally:
        os.close(fd)


@contextlib.contextmanager
def _called(path: str) -> Iterator[None]:
    """Have an OSError name *path*, of which the call knew a part."""
    try:
        yield
    except OSError as error:
        error.filename, error.filename2 = path, None
        raise


def _opened_directory(name: str, parent_fd: int, path: str) -> int:
    """The directory *name*, open; *path* is the whole of it. Raises HostError for anything else, OSError."""
    try:
        return os.open(name, _DIRECTORY, dir_fd=parent_fd)
    except OSError as error:
        if error.errno not in {errno.ENOTDIR, errno.ELOOP}:
            error.filename = path
            raise
        is_link = stat.S_ISLNK(os.stat(name, dir_fd=parent_fd, follow_symlinks=False).st_mode)
        why = "is a symlink, which is not followed here" if is_link else "is not a directory"
        raise HostError(path, why, "move it away, and load again") from error


def last_run(place_fd: int) -> LastRun:
    """What `.last` in the pipeline's directory says; nothing where it cannot be read."""
    try:
        about = json.loads(read_start(_LAST, _LARGEST, place_fd))
        return LastRun(str(about["state"]), str(about["image"]), str(about["boot"]))
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return LastRun()


def write_last(place_fd: int, state: str, image: str) -> None:
    """Say how far the run of *image* has come. Raises OSError."""
    document = json.dumps(LastRun(state, image, boot_id())._asdict()).encode()
    replace_file(_LAST, document, f"{_LAST}.new", dir_fd=place_fd)


def forget_last(place_fd: int) -> None:
    """Remove `.last`: nothing of the last run is left."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(_LAST, dir_fd=place_fd)


def is_empty(place_fd: int) -> bool:
    """Whether nothing lies in the images directory, and nothing of it was taken. Raises OSError."""
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
    """Move the images directory, unread, to `failed/<time>`, and make an empty one; the path below *place*.

    *place* is the pipeline's directory, which *place_fd* has open. Raises HostError where it cannot be moved, OSError.
    """
    with contextlib.suppress(FileExistsError):
        os.mkdir(FAILED, 0o700, dir_fd=place_fd)
    failed_fd = _opened_directory(FAILED, place_fd, f"{place}/{FAILED}")
    try:
        name = _free_name(failed_fd)
        os.rename(IMAGES, name, src_dir_fd=place_fd, dst_dir_fd=failed_fd)
        with contextlib.suppress(FileNotFoundError):
            # What could not be given back, because something else was in its place.
            os.rename(TAKEN, f"{name}{TAKEN}", src_dir_fd=place_fd, dst_dir_fd=failed_fd)
    except OSError as error:
        if error.errno not in {errno.EBUSY, errno.EXDEV}:
            raise
        why = "holds what a failed run left and is a file system of its own, which cannot be set aside"
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
    """What a failed run left: where it lies, and the bytes that it takes on disk."""

    path: str
    size: int


def failed_runs(place: str) -> list[FailedRun]:
    """What lies in `failed` of the pipeline's directory *place*, oldest first. Raises OSError."""
    try:
        names = sorted(os.listdir(f"{place}/{FAILED}"))
    except (FileNotFoundError, NotADirectoryError):
        return []
    return [FailedRun(path, _size(path)) for path in (f"{place}/{FAILED}/{name}" for name in names)]


def discard(runs: list[FailedRun]) -> None:
    """Delete these; no symlink is followed.

    Raises InUseError when a process that was given a descriptor of one goes on making files in it, OSError.
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
            # Something has come into a directory between its last file and itself.
            if error.errno not in {errno.ENOTEMPTY, errno.EEXIST}:
                raise
        else:
            return
    raise InUseError(path, "a process goes on making files in it", "end the container that does, and try again")


def _size(path: str) -> int:
    """The bytes that *path* and what is below it take on disk, as far as that can be seen."""
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
