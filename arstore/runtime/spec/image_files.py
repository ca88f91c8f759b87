"""Reading an untrusted root file system: no name leads out of it, and opening a file never blocks or floods us.

Names are resolved as chroot(2) would: absolute symlinks start again at the root, `..` stops there. The kernel does it
if openat2(2) exists (Linux 5.6); otherwise the components are walked one by one. The view is the image's, before the
container's own mounts. With volumes it is what the container will see: the walk enters a volume when it comes to its
mount point. Out of scope: changing files.
"""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING

from arstore.errors import ImageConfigError
from arstore.linux.files.openat2 import RESOLVE_IN_ROOT, RESOLVE_NO_MAGICLINKS, openat2

if TYPE_CHECKING:
    from collections.abc import Iterable

_MOST_LINKS = 40
MOST_NAMES = 250_000
"""Maximum number of names looked up for one container: an image may declare a thousand volumes through long links."""


class _Place:
    """A directory on the way to a volume's mount point: its children, and the volume's descriptor, or -1."""

    __slots__ = ("below", "fd")

    def __init__(self) -> None:
        self.below: dict[str, _Place] = {}
        self.fd = -1


class RootDirectory:
    """An open root file system. A context manager; *use_openat2* False forces the walk.

    *volumes* are the container's bind mounts: their mount points in the container, and their sources on the host.
    """

    def __init__(self, path: str, volumes: Iterable[tuple[str, str]] = (), *, use_openat2: bool = True) -> None:
        """Raises OSError."""
        self._fd = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        self._use_openat2 = use_openat2
        self._volumes = _Place()
        self._volume_fds: list[int] = []
        self._names_left = MOST_NAMES
        try:
            for destination, source in sorted(volumes, key=lambda volume: volume[0].count("/")):
                self._add_volume(destination, source)
        except BaseException:
            self.close()
            raise

    def _add_volume(self, destination: str, source: str) -> None:
        place = self._volumes
        for name in filter(None, self.canonical(destination).split("/")):
            place = place.below.setdefault(name, _Place())
        # A volume that another one covers stays open until all are closed.
        place.fd = os.open(source, os.O_PATH | os.O_CLOEXEC)
        self._volume_fds.append(place.fd)
        self._use_openat2 = False

    def close(self) -> None:
        """Close all descriptors."""
        for fd in (self._fd, *self._volume_fds):
            os.close(fd)

    def __enter__(self) -> RootDirectory:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def open(self, path: str, flags: int) -> int:
        """Open *path*, following symlinks inside the root. Raises OSError."""
        if self._use_openat2:
            try:
                return openat2(self._fd, path, flags, RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS)
            except OSError as error:
                if error.errno not in {errno.ENOSYS, errno.EPERM}:
                    raise
                self._use_openat2 = False
        fd, _ = self._walk(path)
        try:
            # The /proc link of an O_PATH descriptor opens exactly the file that was found.
            return fd if flags & os.O_PATH else os.open(f"/proc/self/fd/{fd}", flags | os.O_CLOEXEC)
        finally:
            if not flags & os.O_PATH:
                os.close(fd)

    def stat(self, path: str) -> os.stat_result | None:
        """Return the status of *path*; None if it does not exist, or its symlinks lead in a circle or nowhere."""
        try:
            fd = self.open(path, os.O_PATH)
        except OSError as error:
            if error.errno in _NOT_THERE:
                return None
            raise
        try:
            return os.fstat(fd)
        finally:
            os.close(fd)

    def canonical(self, path: str) -> str:
        """Return *path* below the root, absolute and with symlinks resolved as far as it exists.

        Everything after the first missing component is appended unchanged. Raises OSError (ELOOP).
        """
        fd, names = self._walk(path, missing_ok=True)
        os.close(fd)
        return "/" + "/".join(names)

    def read(self, path: str, limit: int) -> bytes | None:
        """Return the content of the regular file *path*, at most *limit* bytes; None if it does not exist.

        A FIFO or a device is never opened for reading. Raises ImageConfigError for another type, or a larger file.
        """
        try:
            found = self.open(path, os.O_PATH)
        except OSError as error:
            if error.errno in _NOT_THERE:
                return None
            raise
        try:
            about = os.fstat(found)
            if not stat.S_ISREG(about.st_mode):
                raise ImageConfigError(path, "is not a regular file in the container's root file system")
            if about.st_size > limit:
                raise ImageConfigError(path, f"is larger than {limit >> 20} MiB in the container's root file system")
            fd = os.open(f"/proc/self/fd/{found}", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        finally:
            os.close(found)
        with open(fd, "rb") as file:
            return file.read(limit)

    def has_volume(self, path: str) -> bool:
        """Whether *path*, which is canonical, is a volume's mount point or below one."""
        place: _Place | None = self._volumes
        for name in filter(None, path.split("/")):
            if place is None or place.fd >= 0:
                break
            place = place.below.get(name)
        return place is not None and place.fd >= 0

    def make_directories(self, path: str, owner: tuple[int, int]) -> None:
        """Make the missing parts of the directory *path*, 0755; a new one belongs to *owner* (uid and gid).

        Nothing is made in a volume. Raises NotADirectoryError, OSError.
        """
        place = self.canonical(path)
        about = self.stat(place)
        if about is not None:
            if not stat.S_ISDIR(about.st_mode):
                raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), path)
            return
        if self.has_volume(place):
            return
        fd = os.dup(self._fd)
        try:
            for name in filter(None, place.split("/")):
                made = _make_directory(fd, name)
                child = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=fd)
                os.close(fd)
                fd = child
                if made:
                    os.fchmod(fd, 0o755)
            os.fchown(fd, *owner)
        finally:
            os.close(fd)

    def _walk(self, path: str, *, missing_ok: bool = False) -> tuple[int, list[str]]:
        """Follow *path* component by component; return an O_PATH descriptor, and the names that lead to it.

        If a component is missing and *missing_ok*, the rest is resolved by name only.
        """
        todo = [c for c in reversed(path.split("/")) if c not in {"", "."}]
        links = 0
        with _Stack(self._fd, self._volumes) as stack:
            while todo:
                name = todo.pop()
                self._names_left -= 1
                if self._names_left < 0:
                    why = f"leads, with what was looked up before, through more than {MOST_NAMES} names"
                    raise ImageConfigError(path if len(path) <= _LONGEST_SHOWN else f"{path[:_LONGEST_SHOWN]}…", why)
                if name == "..":
                    stack.pop()
                    continue
                if (place := stack.place_of(name)) is not None and place.fd >= 0:
                    stack.push(os.dup(place.fd), name)
                    continue
                try:
                    fd = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=stack.top)
                except OSError as error:
                    if error.errno in _ABSENT and place is not None:
                        # The runtime will make it, empty except for the way to the volume.
                        stack.push(os.dup(stack.top), name)
                        continue
                    if missing_ok and error.errno in _ABSENT:
                        return stack.take(), _lexical([*stack.names, name, *reversed(todo)])
                    raise
                target = _link_target(fd)
                if target is None:
                    stack.push(fd, name)
                    continue
                os.close(fd)
                links += 1
                if links > _MOST_LINKS:
                    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)
                if target.startswith("/"):
                    stack.clear()
                todo.extend(c for c in reversed(target.split("/")) if c not in {"", "."})
            if path.endswith("/") and not stat.S_ISDIR(os.fstat(stack.top).st_mode):
                raise OSError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), path)
            return stack.take(), list(stack.names)


_LONGEST_SHOWN = 60
_ABSENT = frozenset({errno.ENOENT, errno.ENOTDIR})
_NOT_THERE = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG, errno.EINVAL})


class _Stack:
    """The directories from the root to the current position of a walk: descriptors, names, and volumes below."""

    def __init__(self, root_fd: int, volumes: _Place) -> None:
        self._root = root_fd
        self._fds: list[int] = []
        self._places: list[_Place | None] = [volumes]
        self.names: list[str] = []

    def __enter__(self) -> _Stack:
        return self

    def __exit__(self, *_: object) -> None:
        for fd in self._fds:
            os.close(fd)

    @property
    def top(self) -> int:
        return self._fds[-1] if self._fds else self._root

    def place_of(self, name: str) -> _Place | None:
        """Return the node of *name* in the top directory on the way to a volume; None if there is none."""
        place = self._places[-1]
        return None if place is None else place.below.get(name)

    def push(self, fd: int, name: str) -> None:
        self._places.append(self.place_of(name))
        self._fds.append(fd)
        self.names.append(name)

    def pop(self) -> None:
        if self._fds:
            os.close(self._fds.pop())
            self._places.pop()
            self.names.pop()

    def clear(self) -> None:
        while self._fds:
            self.pop()

    def take(self) -> int:
        """Return the descriptor of the directory entered last; the caller has to close it."""
        return self._fds.pop() if self._fds else os.dup(self._root)


def _make_directory(parent_fd: int, name: str) -> bool:
    try:
        os.mkdir(name, 0o755, dir_fd=parent_fd)
    except FileExistsError:
        return False
    return True


def _link_target(fd: int) -> str | None:
    """Return the target of the symlink *fd*; None if it is not a symlink."""
    if not stat.S_ISLNK(os.fstat(fd).st_mode):
        return None
    return os.readlink("", dir_fd=fd)


def _lexical(names: list[str]) -> list[str]:
    clean: list[str] = []
    for name in names:
        if name == "..":
            del clean[-1:]
        else:
            clean.append(name)
    return clean
