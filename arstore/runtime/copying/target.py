"""A directory as the target of a copy: entries are made below it, and nothing outside is reached through a symlink.

Each entry's parent is opened below the directory without following symlinks. A file gets its content under another name
and is then renamed into place, so a name has the old content or all of the new. Modes, owners and times are set on
descriptors, those of directories at the end. A mount point in a container is never replaced: from outside of its mount
namespace, the kernel would do it, and unmount what is there. Out of scope: which owner an entry gets, see `Owners`.
"""

from __future__ import annotations

import errno
import os
import stat
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING

from arstore.disk.rmtree import remove_tree_at
from arstore.errors import ConflictError, NotFoundError
from arstore.linux.files.opening import DIRECTORY
from arstore.linux.files.xattr import set_xattr
from arstore.linux.isolation.user_namespace import current, is_initial
from arstore.linux.mounting.mountinfo import mount_id_of
from arstore.rootfs.upper import opened_below
from arstore.runtime.spec.image_files import RootDirectory
from arstore.tar.entry import Entry, Kind, shown
from arstore.trees.substitutes import DEVICE, of_device
from arstore.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

    from arstore.runtime.copying.copy import Destination
    from arstore.runtime.copying.entries import Content, Copied
    from arstore.trees.metadata import SkippedEntries

_PLAIN = 0o1777
_NEW_EMPTY = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
_FILES_OWN = (b"user.",)
_DEVICES = (Kind.CHARACTER, Kind.BLOCK)


class Owners(NamedTuple):
    """Owners and rights that entries keep: *owner* replaces their uid and gid.

    Entries that come out of a container are not *trusted*, and get no privileges: they lose the set-user-ID and
    set-group-ID bits and attributes other than `user.`, and device nodes are left out.
    """

    owner: tuple[int, int] | None
    trusted: bool


class Target:
    """The directory *fd*, for the duration of a copy; `finish` sets what has to be set last."""

    def __init__(
        self, where: Destination, what: str, owners: Owners, skipped: SkippedEntries, *, overwrite: bool
    ) -> None:
        """*what* names the place in errors; with *overwrite*, directories and other files replace each other."""
        self._fd = where.fd
        self._root = where.root
        self._base = where.path
        self._what = what
        self._owners = owners
        self._skipped = skipped
        self._overwrite = overwrite
        self._directories: list[Entry] = []
        self.count = 0
        """Entries that were made."""

    def add(self, copied: Copied) -> None:
        """Make one entry. Raises ConflictError, NotFoundError, OSError with the name of the entry."""
        try:
            self._add(copied)
        except OSError as error:
            error.filename = self._name(copied.entry)
            raise

    def _add(self, copied: Copied) -> None:
        entry = copied.entry
        if entry.kind in _DEVICES and not self._owners.trusted:
            self._skipped.note(entry.path)
            return
        self.count += 1
        if not entry.path:
            # The directory itself, which exists.
            return
        with self._opened(entry.parent) as parent:
            if entry.kind is Kind.DIRECTORY:
                if self._make_directory(parent, entry):
                    self._directories.append(entry)
                return
            self._make_way(parent, entry)
            if entry.kind is Kind.HARDLINK:
                self._link(parent, copied)
            elif entry.kind is Kind.FILE:
                self._write(parent, entry, copied.content)
            else:
                self._make_node(parent, entry)

    def finish(self) -> None:
        """Set owners, modes and times of the directories that were made. Raises OSError."""
        for entry in reversed(self._directories):
            with suppress(FileNotFoundError, NotADirectoryError), self._opened(entry.path) as fd:
                self._dress(fd, entry)

    @contextmanager
    def _opened(self, path: bytes) -> Iterator[int]:
        """Open a directory below this one; a missing one is made, as tars need not have entries for them.

        In a container, symlinks on the way to it are followed, in the container's root: `/lib` may be one.
        """
        fd = self._open(path)
        try:
            yield fd
        finally:
            os.close(fd)

    def _open(self, path: bytes) -> int:
        try:
            with opened_below(self._fd, path, DIRECTORY) as found:
                return os.dup(found)
        except FileNotFoundError:
            parent = self._open(path.rpartition(b"/")[0])
            try:
                self._make_directory(parent, Entry(path, Kind.DIRECTORY))
            finally:
                os.close(parent)
            with opened_below(self._fd, path, DIRECTORY) as found:
                os.fchmod(found, 0o755)
                os.fchown(found, *(self._owners.owner or (0, 0)))
                return os.dup(found)
        except OSError as error:
            if self._root < 0 or error.errno not in {errno.ELOOP, errno.ENOTDIR}:
                raise
        return self._open_in_root(path, os.O_RDONLY)

    def _open_in_root(self, path: bytes, flags: int) -> int:
        with RootDirectory(f"/proc/self/fd/{self._root}") as root:
            return root.open(f"{self._base}/{os.fsdecode(path)}", flags | os.O_DIRECTORY)

    def _leads_to_directory(self, entry: Entry, about: os.stat_result) -> bool:
        """Whether a symlink in the container leads to a directory in it, which is as good as a directory."""
        if self._root < 0 or not stat.S_ISLNK(about.st_mode):
            return False
        try:
            os.close(self._open_in_root(entry.path, os.O_PATH))
        except OSError:
            return False
        return True

    def _about(self, parent: int, name: bytes) -> os.stat_result | None:
        try:
            return os.stat(name, dir_fd=parent, follow_symlinks=False)
        except FileNotFoundError:
            return None

    def _make_directory(self, parent: int, entry: Entry) -> bool:
        about = self._about(parent, entry.name)
        if about is not None and (stat.S_ISDIR(about.st_mode) or self._leads_to_directory(entry, about)):
            return False
        if about is not None:
            if not self._overwrite:
                raise self._conflict(entry, "exists and is not a directory")
            self._remove(parent, entry)
        os.mkdir(entry.name, 0o700, dir_fd=parent)
        return True

    def _make_way(self, parent: int, entry: Entry) -> None:
        """Refuse to replace a directory by something else, or remove it. A file is replaced at the end."""
        about = self._about(parent, entry.name)
        if about is not None and stat.S_ISDIR(about.st_mode):
            if not self._overwrite:
                raise self._conflict(entry, "exists and is a directory")
            if _has_mounts(parent, entry.name):
                raise ConflictError(self._name(entry), "is a mount point, or has one in it, and is not replaced")
            remove_tree_at(parent, entry.name)

    def _name(self, entry: Entry) -> str:
        return f"{self._what.rstrip('/')}/{shown(entry.path)}"

    def _conflict(self, entry: Entry, why: str) -> ConflictError:
        return ConflictError(self._name(entry), why, "--overwrite replaces it")

    def _write(self, parent: int, entry: Entry, content: Content | None) -> None:
        temporary = b".arstore-cp-" + os.urandom(6).hex().encode()
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        fd = os.open(temporary, flags, 0o600, dir_fd=parent)
        try:
            if content is not None:
                content.copy_to(fd)
            self._dress(fd, entry)
            if _is_mount_point(parent, entry.name):
                self._write_in_place(parent, entry, fd)
                os.unlink(temporary, dir_fd=parent)
            else:
                os.rename(temporary, entry.name, src_dir_fd=parent, dst_dir_fd=parent)
        except BaseException:
            with suppress(OSError):
                os.unlink(temporary, dir_fd=parent)
            raise
        finally:
            os.close(fd)

    def _write_in_place(self, parent: int, entry: Entry, source: int) -> None:
        """Give a file that is a mount point, and cannot be replaced, the content of the file *source*."""
        from arstore.linux.files.copying import copy_range

        look = os.open(entry.name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
        try:
            if not stat.S_ISREG(os.fstat(look).st_mode):
                raise OSError(errno.EBUSY, os.strerror(errno.EBUSY), entry.name)
            fd = os.open(f"/proc/self/fd/{look}", os.O_WRONLY | os.O_TRUNC | os.O_CLOEXEC)
        finally:
            os.close(look)
        try:
            copy_range(source, 0, fd, os.fstat(source).st_size)
        finally:
            os.close(fd)

    def _link(self, parent: int, copied: Copied) -> None:
        entry = copied.entry
        self._remove(parent, entry)
        link_parent, _, link_name = entry.link.rpartition(b"/")
        try:
            with self._opened(link_parent) as other:
                os.link(link_name, entry.name, src_dir_fd=other, dst_dir_fd=parent, follow_symlinks=False)
        except OSError as error:
            if copied.content is None:
                raise NotFoundError(shown(entry.link), f"{shown(entry.path)} cannot be a hard link to it") from error
            self._write(parent, entry, copied.content)

    def _make_node(self, parent: int, entry: Entry) -> None:
        self._remove(parent, entry)
        if entry.kind is Kind.SYMLINK:
            os.symlink(entry.link, entry.name, dir_fd=parent)
            with suppress(OSError):
                os.chown(entry.name, *self._owner(entry), dir_fd=parent, follow_symlinks=False)
                os.utime(entry.name, ns=(entry.mtime, entry.mtime), dir_fd=parent, follow_symlinks=False)
            return
        if entry.kind is Kind.FIFO:
            os.mkfifo(entry.name, 0o600, dir_fd=parent)
        elif not is_initial():
            fd = os.open(entry.name, _NEW_EMPTY, 0o600, dir_fd=parent)
            os.setxattr(fd, DEVICE, of_device(entry))
            os.close(fd)
        else:
            kind = stat.S_IFCHR if entry.kind is Kind.CHARACTER else stat.S_IFBLK
            os.mknod(entry.name, kind | 0o600, os.makedev(entry.major, entry.minor), dir_fd=parent)
        with ExitStack() as stack:
            # Not the name, which may be another inode by now.
            look = os.open(entry.name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
            stack.callback(os.close, look)
            if stat.S_ISLNK(os.fstat(look).st_mode):
                return
            place = f"/proc/self/fd/{look}"
            os.chown(place, *self._owner(entry))
            os.chmod(place, self._mode(entry))
            os.utime(place, ns=(entry.mtime, entry.mtime))

    def _remove(self, parent: int, entry: Entry) -> None:
        if _is_mount_point(parent, entry.name):
            raise ConflictError(self._name(entry), "is a mount point, and is not replaced")
        with suppress(FileNotFoundError):
            os.unlink(entry.name, dir_fd=parent)

    def _owner(self, entry: Entry) -> tuple[int, int]:
        if not is_initial() and current().is_single:
            return 0, 0
        return (entry.uid, entry.gid) if self._owners.owner is None else self._owners.owner

    def _mode(self, entry: Entry) -> int:
        return entry.mode & (0o7777 if self._owners.trusted else _PLAIN)

    def _dress(self, fd: int, entry: Entry) -> None:
        """Set owner, attributes, mode and times of an open file or directory."""
        with suppress(PermissionError):
            os.fchown(fd, *self._owner(entry))
        for name, value in entry.xattrs.items():
            if self._owners.trusted or name.startswith(_FILES_OWN):
                with suppress(OSError):
                    set_xattr(fd, b"", name, value)
        os.fchmod(fd, self._mode(entry))
        os.utime(fd, ns=(entry.mtime, entry.mtime))


def _is_mount_point(parent: int, name: bytes) -> bool:
    """Return whether something is mounted at *name*, in whatever mount namespace the directory *parent* is."""
    try:
        fd = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
    except FileNotFoundError:
        return False
    try:
        return mount_id_of(fd) != mount_id_of(parent)
    finally:
        os.close(fd)


def _has_mounts(parent: int, name: bytes) -> bool:
    """Return whether something is mounted at the directory *name*, or somewhere below it."""
    own = mount_id_of(parent)
    todo = [name]
    while todo:
        path = todo.pop()
        with suppress(FileNotFoundError, NotADirectoryError), opened_below(parent, path, DIRECTORY) as fd:
            if mount_id_of(fd) != own:
                return True
            with os.scandir(fd) as entries:
                for one in entries:
                    if one.is_dir(follow_symlinks=False):
                        todo.append(path + b"/" + os.fsencode(one.name))
                    elif _is_mount_point(fd, os.fsencode(one.name)):
                        return True
    return False
