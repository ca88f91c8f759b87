"""Preparation of volumes once the root file system is mounted, before the container sees them.

- A new named volume gets a copy of what the image has at its place, or else the container's user as its owner.
- Writes to a *temporary* volume go to a directory of the container, through an overlay over the source.
- A part of a volume (`subpath`) is mounted at a path of the bundle, so that no symlink in it leads out of the volume.
- A volume with `U` is given to the container's user.

All of it happens in the container's mount namespace. Out of scope: which volumes exist (`store.volumes`), and private
volumes (`volumes`).
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from typing import TYPE_CHECKING

from arstore.digest import short_hash
from arstore.disk.rmtree import remove_tree
from arstore.errors import ImageConfigError, NotFoundError, PermissionDeniedError, UsageError, naming
from arstore.linux.files.openat2 import RESOLVE_IN_ROOT, RESOLVE_NO_MAGICLINKS, openat2
from arstore.linux.files.opening import DIRECTORY
from arstore.linux.files.ownership import give_tree
from arstore.linux.mounting.mount import MS_BIND, MS_REC, mount
from arstore.mounts.overlay import Overlay, perform
from arstore.runtime.spec.mounts.private import copy_tree
from arstore.store.volumes import DATA, NEW
from arstore.trace import reached
from arstore.trees.format import LowerDirectory

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import ExitStack

    from arstore.runtime.spec.image_files import RootDirectory
    from arstore.runtime.spec.mounts.volume import Volume

_PARTIAL = "data.partial"


def written_over(directory: str, place: str) -> tuple[str, str]:
    """Make an empty upper and work directory for the temporary volume at *place* of the container in *directory*.

    Return their paths. What an earlier run left there is removed. Raises OSError.
    """
    base = os.path.join(directory, "overlays", short_hash(os.fsencode(place), 8))
    remove_tree(base)
    os.makedirs(f"{base}/work", 0o700)
    os.mkdir(f"{base}/upper", 0o755)
    return f"{base}/upper", f"{base}/work"


def placed(volumes: Sequence[Volume], bundle: str, directory: str) -> tuple[Volume, ...]:
    """Mount temporary volumes and parts of volumes in the *bundle*, and return all volumes with their sources.

    *directory* is the container's. Raises NotFoundError for a part that does not exist, UsageError for a temporary
    volume that is not a directory, MountError, OSError.
    """
    return tuple(_placed(volume, f"{bundle}/volume-{number}", directory) for number, volume in enumerate(volumes))


def _placed(volume: Volume, place: str, directory: str) -> Volume:
    if volume.subpath:
        volume = _part(volume, place)
    if volume.temporary and volume.kind != "image":
        volume = _overlaid(volume, f"{place}-over", directory)
    return volume


def _part(volume: Volume, place: str) -> Volume:
    what = f"{volume.name or volume.source}: {volume.subpath}"
    top = os.open(volume.source, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fd = openat2(top, volume.subpath, os.O_PATH, RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS)
    except OSError as error:
        if error.errno in {errno.ENOENT, errno.ENOTDIR, errno.ELOOP}:
            raise NotFoundError(what, "no such file or directory in the volume") from error
        raise
    finally:
        os.close(top)
    try:
        _make_like(fd, place)
        mount(f"/proc/self/fd/{fd}", place, flags=MS_BIND | MS_REC)
    finally:
        os.close(fd)
    return volume._replace(source=place, subpath="")


def _make_like(fd: int, place: str) -> None:
    """Make an empty directory or file at *place*, to mount the one open as *fd* on."""
    if stat.S_ISDIR(os.fstat(fd).st_mode):
        os.mkdir(place, 0o700)
    else:
        os.close(os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))


def _overlaid(volume: Volume, place: str, directory: str) -> Volume:
    upper, work = written_over(directory, volume.destination)
    try:
        fd = os.open(volume.source, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except NotADirectoryError:
        raise UsageError(volume.source, "O needs a directory") from None
    try:
        status = os.fstat(fd)
        os.chown(upper, status.st_uid, status.st_gid)
        os.chmod(upper, stat.S_IMODE(status.st_mode))
        os.mkdir(place, 0o700)
        nodev, nosuid = "dev" not in volume.options, "suid" not in volume.options
        perform(Overlay((LowerDirectory(fd, ""),), upper, work, nodev=nodev, nosuid=nosuid), place)
    finally:
        os.close(fd)
    return volume._replace(source=place)


def fill_new(volumes: Sequence[Volume], root: RootDirectory, stack: ExitStack) -> list[str]:
    """Copy the image's content into the named volumes that no container has used yet.

    Return the directories of those where the image has nothing, which the container's user is to own (`give_new`). Each
    new volume stays locked until *stack* ends, so that a container that is started at the same time waits. Raises
    ImageConfigError if the image has something other than a directory at the place, LimitError, NoSpaceError, OSError.
    """
    unowned = []
    seen = set()
    for volume in volumes:
        if volume.kind != "volume" or not volume.name or volume.source in seen:
            continue
        seen.add(volume.source)
        home = os.path.dirname(volume.source)
        if not os.path.exists(f"{home}/{NEW}"):
            continue
        lock = os.open(home, DIRECTORY)
        stack.callback(os.close, lock)
        fcntl.flock(lock, fcntl.LOCK_EX)
        if os.path.exists(f"{home}/{NEW}") and not _fill(home, volume, root):
            unowned.append(home)
    return unowned


def _fill(home: str, volume: Volume, root: RootDirectory) -> bool:
    """Fill the new volume in *home*; return False if its owner is still to be set."""
    if os.listdir(f"{home}/{DATA}"):
        # Someone has put files there, or this was done before.
        _settle(home)
        return True
    place = volume.destination
    about = root.stat(place)
    if about is None:
        return False
    if not volume.copies and stat.S_ISDIR(about.st_mode):
        _take_owner(home, about)
        return True
    if not stat.S_ISDIR(about.st_mode):
        raise ImageConfigError(f"volume {volume.name}", f"{place} is not a directory in the image")
    partial = f"{home}/{_PARTIAL}"
    remove_tree(partial)
    with naming(f"volume {volume.name}"):
        copy_tree(place, partial, root)
    reached("volume.copied")
    # An empty directory is replaced by rename(2), in one step.
    os.rename(partial, f"{home}/{DATA}")
    _settle(home)
    reached("volume.filled")
    return True


def _take_owner(home: str, about: os.stat_result) -> None:
    """Give the new volume in *home* the owner and mode of the image's directory, without its content; as in podman."""
    fd = os.open(f"{home}/{DATA}", DIRECTORY)
    try:
        os.fchown(fd, about.st_uid, about.st_gid)
        os.fchmod(fd, stat.S_IMODE(about.st_mode))
    finally:
        os.close(fd)
    _settle(home)


def give_new(homes: Sequence[str], owner: tuple[int, int]) -> None:
    """Make *owner* (uid and gid) the owner of new volumes, which are then new no longer. Raises OSError."""
    for home in homes:
        fd = os.open(f"{home}/{DATA}", DIRECTORY)
        try:
            os.fchown(fd, *owner)
        finally:
            os.close(fd)
        _settle(home)


def give_volumes(volumes: Sequence[Volume], owner: tuple[int, int]) -> None:
    """Give the volumes with `U` to *owner* (uid and gid), with everything in them.

    Raises OSError; PermissionDeniedError for files of other users, which an ordinary user cannot give away.
    """
    for volume in volumes:
        if volume.chown and volume.source:
            what = f"volume {volume.name or volume.source}"
            try:
                with naming(what):
                    give_tree(volume.source, *owner)
            except PermissionError as error:
                why = "option U: this user may not change the owner of all files in it"
                raise PermissionDeniedError(what, why, "they belong to another user; leave out U") from error


def _settle(home: str) -> None:
    try:
        os.unlink(f"{home}/{NEW}")
    except FileNotFoundError:
        return
