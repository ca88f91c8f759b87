"""Mounting an index over its tar: detached, read-only, and gone with the last descriptor or overlay that uses it.

    Linux 6.12 and later     EROFS reads both files itself
    before, and on file systems where EROFS cannot read files (tmpfs)
                             through two loop devices, which the kernel detaches with the mount
    before Linux 6.15        overlayfs does not take a detached mount as a layer: it is attached below the tree's
                             directory until the overlay is made

Reads go through the page cache of the tar. With the kernel's `directio`, file content would be in memory once and not
twice while one mount reads it. But it was slower in every measurement (docs/design/erofs.md): 1.3 to 1.7 times for the
first reader, 3 times for the second mount of the same tar. The second copy in the cache can be reclaimed.

Each new mount has its own superblock and page cache. So if a live process holds a mount of the same index
(`shared_mounts`), that one is cloned where the kernel can do so (Linux 6.15).

A process that is killed leaves nothing behind, except a mount before Linux 6.15, which `mounts.unrecorded` finds.
"""

from __future__ import annotations

import errno
import os
from contextlib import ExitStack, contextmanager, suppress
from enum import Enum
from functools import cache, lru_cache
from typing import TYPE_CHECKING

from arstore.disk.owner import Owner
from arstore.linux import features
from arstore.linux.mounting import loop, mount
from arstore.linux.mounting.mountinfo import read_mounts
from arstore.trees.erofs.shared_mounts import file_system
from arstore.trees.format import LowerDirectory, Origin
from arstore.trees.forms import INDEX, MERGED_INDEX, TAR

if TYPE_CHECKING:
    from collections.abc import Iterator

    from arstore.trees.erofs.shared_mounts import SharedMounts

ATTACHED_PREFIX = ".mounted-"
"""Prefix of the directories on which mounts are attached; the name of the process follows."""

_ATTRIBUTES = mount.MOUNT_ATTR_RDONLY | mount.MOUNT_ATTR_NODEV | mount.MOUNT_ATTR_NOSUID
"""An overlay has its own attributes; these protect the layer's mount if a process reaches it directly."""
_DIRECTORY = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
_STACKED = frozenset({"overlay", "ecryptfs", "erofs"})


class Way(Enum):
    """How the kernel reads the two files; AUTO takes the first of the others that works here."""

    AUTO = "auto"
    FILES = "files"
    LOOP = "loop"


@contextmanager
def lower_directory(
    tree_path: str, way: Way = Way.AUTO, detached: bool | None = None, shared: SharedMounts | None = None
) -> Iterator[LowerDirectory]:
    """Mount the tree in the directory *tree_path* during the context.

    *detached* None: depends on whether this kernel's overlayfs can take a detached mount. A detached mount is cloned
    from one in *shared* if possible. Raises OSError with the kernel's own message, StoreDamagedError.
    """
    detached = _takes_detached() if detached is None else detached
    before = _origin(tree_path) if detached and shared is not None else None
    clone = shared.clone(before) if shared is not None and before is not None else None
    fd = mounted(tree_path, way) if clone is None else clone
    try:
        if detached:
            # If the tree was replaced in the meantime, it is unknown which of the two this mount shows.
            yield LowerDirectory(fd, "", before if before is not None and _origin(tree_path) == before else None)
        else:
            with _attached(fd, tree_path) as path:
                yield LowerDirectory(fd, path)
    finally:
        os.close(fd)


def mounted(tree_path: str, way: Way = Way.AUTO) -> int:
    """Return a detached mount of the tree in the directory *tree_path*, merged or not.

    Raises OSError with the kernel's own message, StoreDamagedError for a merged index that does not name its devices.
    """
    if way is Way.FILES or (way is Way.AUTO and not _is_stacked(os.stat(tree_path).st_dev)):
        try:
            return _mount_files(tree_path)
        except OSError as error:
            if way is Way.FILES or error.errno != errno.ENOTBLK:
                raise
    return _mount_loops(tree_path)


def _origin(tree_path: str) -> Origin | None:
    """Return the identity of the index that is in the directory *tree_path* now, merged or not."""
    for name in (INDEX, MERGED_INDEX):
        with suppress(OSError):
            fd = os.open(f"{tree_path}/{name}", os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
            try:
                status = os.fstat(fd)
                return Origin(os.path.basename(tree_path), status.st_dev, status.st_ino, file_system(fd))
            finally:
                os.close(fd)
    return None


def _files(tree_path: str) -> list[str]:
    """Return the index in the directory *tree_path*, then the files of its devices, relative to that directory."""
    path = f"{tree_path}/{MERGED_INDEX}"
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return [INDEX, TAR]
    try:
        from arstore.trees.erofs.devices import device_files

        return [MERGED_INDEX, *device_files(fd, path)]
    finally:
        os.close(fd)


def _mount_files(tree_path: str) -> int:
    files = _files(tree_path)
    if len(os.fsencode(tree_path)) + 1 + max(map(len, files)) <= mount.MAX_STRING:
        return _mount([f"{tree_path}/{file}" for file in files], tree_path)
    fd = os.open(tree_path, _DIRECTORY)
    try:
        return _mount([f"/proc/self/fd/{fd}/{file}" for file in files], tree_path)
    finally:
        os.close(fd)


def _mount(files: list[str], what: str, read_only: bool = False) -> int:
    """Mount EROFS from *files*, the index first; set *read_only* for devices (the file system always is)."""
    fs_fd = mount.fsopen("erofs")
    try:
        mount.fsconfig_string(fs_fd, "source", files[0])
        for file in files[1:]:
            mount.fsconfig_string(fs_fd, "device", file)
        if read_only:
            mount.fsconfig_flag(fs_fd, "ro")
        mount.fsconfig_create(fs_fd)
        return mount.fsmount(fs_fd, _ATTRIBUTES)
    except OSError as error:
        said = "; ".join([error.strerror or str(error), *mount.messages(fs_fd)])
        raise OSError(error.errno, said, what) from error
    finally:
        os.close(fs_fd)


def _mount_loops(tree_path: str) -> int:
    with ExitStack() as stack:
        devices = []
        for file in _files(tree_path):
            path = f"{tree_path}/{file}"
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
            stack.callback(os.close, fd)
            device = loop.attach(fd, path)
            stack.callback(os.close, device)
            devices.append(loop.path_of(device))
        return _mount(devices, tree_path, read_only=True)


@contextmanager
def _attached(mount_fd: int, tree_path: str) -> Iterator[str]:
    """Attach a detached mount below *tree_path*; yield its path."""
    path = f"{tree_path}/{ATTACHED_PREFIX}{Owner.current().directory_name()}"
    os.mkdir(path, 0o700)
    try:
        target = os.open(path, _DIRECTORY)
        try:
            mount.move_mount(mount_fd, target, path)
        finally:
            os.close(target)
        try:
            yield path
        finally:
            mount.umount(path, mount.MNT_DETACH | mount.UMOUNT_NOFOLLOW)
    finally:
        os.rmdir(path)


def forget_attached(tree_path: str) -> None:
    """Unmount mounts that killed processes left attached below *tree_path*. Raises OSError."""
    for name in os.listdir(tree_path):
        if name.startswith(ATTACHED_PREFIX):
            path = f"{tree_path}/{name}"
            with suppress(OSError):
                mount.umount(path, mount.MNT_DETACH | mount.UMOUNT_NOFOLLOW)
            os.rmdir(path)


@cache
def _takes_detached() -> bool:
    return features.layers_by_fd().available


@lru_cache(maxsize=16)
def _is_stacked(device: int) -> bool:
    """Return whether a file system is stacked on another: EROFS on its files, plus an overlay, would be too deep."""
    numbers = (os.major(device), os.minor(device))
    return any((info.major, info.minor) == numbers and info.fs_type in _STACKED for info in read_mounts())
