"""Volumes that an image declares: private directories of the container, which begin as copies of what the image has
there.

They live in `<container>/volumes/<name>`, outside the container's upper directory, and go with the container. A copy
is made under a temporary name and renamed, so one that was interrupted is not taken for whole. Modes, owners, times,
xattrs, hard links, devices and sparse content's bytes are kept. Out of scope: named volumes, which arstore does not
have.
"""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING

from arstore.digest import short_hash
from arstore.errors import ImageConfigError
from arstore.linux.files.copying import copy_range, reflink
from arstore.linux.files.xattr import read_xattrs, set_xattr
from arstore.runtime.spec.options import Volume

if TYPE_CHECKING:
    from arstore.runtime.spec.image_files import RootDirectory

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_MODE = 0o755


def private_volumes(directory: str, places: tuple[str, ...], root: RootDirectory) -> list[Volume]:
    """One volume for each of *places*, the container's paths; those that exist since an earlier run are used again.

    Raises ImageConfigError when the image has something else than a directory there, OSError.
    """
    if not places:
        return []
    base = os.path.join(directory, "volumes")
    os.makedirs(base, mode=0o700, exist_ok=True)
    return [Volume(_private_volume(base, place, root), place) for place in places]


def _private_volume(base: str, place: str, root: RootDirectory) -> str:
    name = short_hash(os.fsencode(place), 8)
    path = os.path.join(base, name)
    if os.path.isdir(path):
        return path
    partial = f"{path}.partial"
    if os.path.isdir(partial):
        import shutil

        shutil.rmtree(partial)
    os.mkdir(partial, _MODE)
    os.chmod(partial, _MODE)
    _fill_volume(partial, place, root)
    os.rename(partial, path)
    return path


def _fill_volume(target: str, place: str, root: RootDirectory) -> None:
    about = root.stat(place)
    if about is None:
        return
    if not stat.S_ISDIR(about.st_mode):
        raise ImageConfigError(f"volume {place!r}", "is not a directory in the image")
    source_fd = root.open(place, os.O_RDONLY | os.O_DIRECTORY)
    try:
        target_fd = os.open(target, _DIRECTORY)
        try:
            _Copy().directory(source_fd, target_fd)
        finally:
            os.close(target_fd)
    finally:
        os.close(source_fd)


class _Copy:
    """Copies one tree, by descriptors: no name of the image is ever resolved as a path of the host."""

    def __init__(self) -> None:
        self._links: dict[tuple[int, int], str] = {}
        self._base = -1

    def directory(self, source_fd: int, target_fd: int, prefix: str = "") -> None:
        if not prefix:
            self._base = target_fd
        for name in os.listdir(source_fd):
            self._member(source_fd, target_fd, name, prefix + name)
        _metadata(source_fd, b"", target_fd, b"", os.fstat(source_fd))

    def _member(self, source_fd: int, target_fd: int, name: str, path: str) -> None:
        about = os.stat(name, dir_fd=source_fd, follow_symlinks=False)
        if stat.S_ISDIR(about.st_mode):
            self._subdirectory(source_fd, target_fd, name, path)
            return
        if about.st_nlink > 1:
            first = self._links.setdefault((about.st_dev, about.st_ino), path)
            if first != path:
                os.link(first, name, src_dir_fd=self._base, dst_dir_fd=target_fd, follow_symlinks=False)
                return
        if stat.S_ISREG(about.st_mode):
            _file(source_fd, target_fd, name)
        elif stat.S_ISLNK(about.st_mode):
            os.symlink(os.readlink(name, dir_fd=source_fd), name, dir_fd=target_fd)
        else:
            os.mknod(name, about.st_mode, about.st_rdev, dir_fd=target_fd)
        _metadata(source_fd, os.fsencode(name), target_fd, os.fsencode(name), about)

    def _subdirectory(self, source_fd: int, target_fd: int, name: str, path: str) -> None:
        os.mkdir(name, 0o700, dir_fd=target_fd)
        inner_source = os.open(name, _DIRECTORY, dir_fd=source_fd)
        try:
            inner_target = os.open(name, _DIRECTORY, dir_fd=target_fd)
            try:
                self.directory(inner_source, inner_target, path + "/")
            finally:
                os.close(inner_target)
        finally:
            os.close(inner_source)


def _file(source_fd: int, target_fd: int, name: str) -> None:
    source = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=source_fd)
    try:
        target = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600, dir_fd=target_fd)
        try:
            if not reflink(source, target):
                copy_range(source, 0, target, os.fstat(source).st_size)
        finally:
            os.close(target)
    finally:
        os.close(source)


def _metadata(source_fd: int, source: bytes, target_fd: int, target: bytes, about: os.stat_result) -> None:
    """Owner first, since chown clears the setuid bits and file capabilities; times last."""
    name: int | bytes = target or target_fd
    directory = target_fd if target else None
    if target:
        os.chown(name, about.st_uid, about.st_gid, dir_fd=directory, follow_symlinks=False)
    else:
        os.fchown(target_fd, about.st_uid, about.st_gid)
    _xattrs(source_fd, source, target_fd, target)
    if not stat.S_ISLNK(about.st_mode):
        os.chmod(name, stat.S_IMODE(about.st_mode), dir_fd=directory)
    times = (about.st_atime_ns, about.st_mtime_ns)
    if target:
        os.utime(name, ns=times, dir_fd=directory, follow_symlinks=False)
    else:
        os.utime(target_fd, ns=times)


def _xattrs(source_fd: int, source: bytes, target_fd: int, target: bytes) -> None:
    try:
        found = read_xattrs(source_fd, source)
    except OSError as error:
        if error.errno == errno.EOPNOTSUPP:
            return
        raise
    for name, value in found.items():
        set_xattr(target_fd, target, name, value)
