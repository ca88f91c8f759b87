"""A walk through the root: every file and directory below it, its size, and what it belongs to.

It counts as `du -sB1 ROOT/` does: it follows no symlink below the root, and descends into mounts. Device numbers cannot
be used for decisions: on an overlay, files have other numbers than directories, and on btrfs each subvolume has its
own. They only distinguish hard links of different file systems.

It reads only names and inodes. It opens directories but no file, least of all `graph/lock.mdb`, because closing that
would drop LMDB's locks.
"""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING

from arstore.builtin import MappingProxyType, partial, suppress
from arstore.digest import HEX_LENGTHS
from arstore.disk.paths import KEPT_ASIDE, RESERVED, is_of_the_disk, opened
from arstore.disk.rmtree import BLOCK
from arstore.maintenance.scan.cache import Listings
from arstore.maintenance.scan.size_table import Sizes
from arstore.maintenance.scan.totals import Freed, Survey

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from arstore.disk.paths import Directories
    from arstore.maintenance.scan.totals import Known

_LONG = 700
"""Length in characters at which a new base is opened: with 4 bytes each and a name, a path must fit PATH_MAX."""

_HEX = "0123456789abcdef"
_BY_LENGTH = {length: algorithm for algorithm, length in HEX_LENGTHS.items()}
_DIVIDED = "trees"
"""The directory whose entries are divided into parts."""

_KINDS = {"blobs": "blobs", "trees": "trees", "containers": "containers", "ingest": "ingests"}
"""The fields of `Freed`, by directory below the root."""

_SHARED_BY_PIPELINES = "pipelines"
_FRAME = RESERVED - {_SHARED_BY_PIPELINES}
_MOST_LOOKED_AT = 10_000
"""Entries of a directory below the root, and of its subdirectories, that are searched for `images`."""

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class Parts:
    """A survey of everything below the root in parts, each of which another process can do.

    Trees are divided by their first digit; part 0, the largest, is the rest. Files that vanish during the survey are
    skipped. The trees of a part are listed when the process does its first part.
    """

    COUNT = 1 + len(_HEX)

    def __init__(self, directories: Directories) -> None:
        self._directories = directories
        self._device = os.stat(directories.trees).st_dev
        self._listings: Listings | None = None
        self._trees: dict[str, list[str]] = {}

    def remember(self, found: Survey) -> None:
        """Save listings for the next survey from the *found* total of all parts."""
        if found.marks:
            listings = self._known_listings()
            listings.remember(self._directories.runroot, self._device, found.marks, len(found.trees))

    def _known_listings(self) -> Listings:
        if self._listings is None:
            self._listings = Listings.of(self._directories.runroot, self._device)
        return self._listings

    def survey(self, number: int) -> Survey:
        """Survey the part with this number. Raises OSError."""
        directories = self._directories
        if not number:
            return _Surveyor(directories).run(but=_DIVIDED)
        if not self._trees:
            self._trees = {digit: [] for digit in _HEX}
            for name in _names_below(f"{directories.root}/{_DIVIDED}"):
                self._trees.get(name[0], self._trees["0"]).append(name)
        return _Surveyor(directories, listings=self._known_listings()).trees(self._trees[_HEX[number - 1]])


def outline(directories: Directories, known: Known) -> Survey:
    """Return everything that is not *known*, quickly: directories are not measured and count 0. Raises OSError."""
    return _Outliner(directories, known.names()).run()


def weigh(directories: Directories, names: Iterable[str]) -> int:
    """Return the bytes of these files and directories below the root, with all their content. Raises OSError."""
    return sum(_Surveyor(directories).weigh(names).values())


def freed(directories: Directories, names: Iterable[str]) -> Freed:
    """Return the bytes that are freed by deleting these files and directories below the root. Raises OSError.

    A file that also has a name elsewhere counts nothing.
    """
    surveyor = _Surveyor(directories)
    sizes = surveyor.weigh(names)
    surveyor.leave_out_kept(sizes)
    return Freed(**sizes)


class _Surveyor:
    def __init__(
        self,
        directories: Directories,
        known: Mapping[str, frozenset[str]] = MappingProxyType({}),
        listings: Listings | None = None,
    ) -> None:
        self._root = directories.root
        self._runroot = _first_below(directories.root, directories.runroot)
        self._known = known
        self._listings = listings
        self._found = Survey()
        self._at = "frame", ""
        """The table and key under which the current file counts."""
        self._names_left: dict[int, int] = {}
        """Number of names that were not met, of each file with several, by device and inode."""

    def run(self, but: str = "") -> Survey:
        """Survey everything, except the content of the directory *but*."""
        found = self._found
        found.frame += self._own(os.stat(self._root))
        for name in _names_below(self._root):
            path = f"{self._root}/{name}"
            match name:
                case _ if name == but:
                    self._parent(path)
                case "blobs":
                    self._blobs(path)
                case "trees":
                    self._parent(path)
                    self.trees(self._unknown(path, "trees"))
                case "containers":
                    self._parent(path)
                    self._directories(path, self._unknown(path, "containers"), "containers", str)
                case "volumes":
                    self._parent(path)
                    self._directories(path, _names_below(path), "volumes", str)
                case "ingest":
                    self._parent(path)
                    self._directories(path, _names_below(path), "ingests", str)
                case _ if self._is_frame(name, path):
                    self._at = "frame", ""
                    found.frame += self._whole(path)
                case _:
                    self._other(name, path)
        return found

    def trees(self, names: Iterable[str]) -> Survey:
        """Survey these *names* in `trees/`, without that directory itself."""
        path = f"{self._root}/trees"
        if self._listings:
            with opened(path) as directory:
                self._as_listed(directory, names, self._listings)
        else:
            self._directories(path, names, "trees", _tree_key)
        return self._found

    def _as_listed(self, directory: int, names: Iterable[str], listings: Listings) -> None:
        """Do the same, without listing directories that *listings* know; *directory* is `trees/`, open."""
        found: dict[str, int] = {}
        others = []
        for name in names:
            key = _tree_key(name)
            size = self._size_as_listed(directory, name, listings) if key else None
            if size is None:
                others.append(name)
            else:
                found[key] = size
        self._found.trees.extend(Sizes(found, found.values()))
        if others:
            self._directories(f"{self._root}/trees", others, "trees", _tree_key)
            self._found.trees.sort()

    def _size_as_listed(self, directory: int, name: str, listings: Listings) -> int | None:
        """Return the bytes of a tree whose content is known from *listings*, else None."""
        try:
            status = os.lstat(name, dir_fd=directory)
            files = listings.names(status)
            if not files:
                return None
            blocks = status.st_blocks
            found = []
            for file in files:
                status = os.lstat(f"{name}/{file}", dir_fd=directory)
                if not stat.S_ISREG(status.st_mode):
                    return None
                found.append(status)
        except (FileNotFoundError, NotADirectoryError):
            return None
        self._at = "trees", _tree_key(name)
        return blocks * BLOCK + sum(map(self._own, found))

    def weigh(self, names: Iterable[str]) -> dict[str, int]:
        """Return the bytes of *names*, by field of `Freed`."""
        sizes = dict.fromkeys(Freed._fields, 0)
        for name in names:
            kind = _KINDS.get(name.partition("/")[0], "others")
            self._at = kind, name
            sizes[kind] += self._whole(f"{self._root}/{name}")
        return sizes

    def leave_out_kept(self, sizes: dict[str, int]) -> None:
        """Subtract files with names that were not met."""
        for inode, left in self._names_left.items():
            if left:
                kind, _, size = self._found.linked[inode]
                sizes[kind] -= size

    def _parent(self, path: str) -> None:
        """Count a directory of the layout, without its content."""
        self._found.frame += self._size(path, os.lstat(path), alone=True)

    def _unknown(self, parent: str, table: str) -> list[str]:
        return _names_below(parent, self._known.get(table, frozenset()))

    def _blobs(self, blobs: str) -> None:
        self._parent(blobs)
        for algorithm in _names_below(blobs):
            path = f"{blobs}/{algorithm}"
            if algorithm in HEX_LENGTHS and _is_directory(path):
                self._parent(path)
                self._files(path, self._unknown(path, "blobs"), "blobs", partial(_blob_digest, algorithm))
            else:
                self._strange(path)

    def _files(self, parent: str, names: Iterable[str], table: str, key: Callable[[str], str]) -> None:
        """Enter those of *names* in the directory *parent* that are files into *table*, by *key*."""
        found: dict[str, int] = {}
        lstat, is_file = os.lstat, stat.S_ISREG
        with opened(parent) as directory:
            for name in names:
                try:
                    status = lstat(name, dir_fd=directory)
                except FileNotFoundError:
                    continue
                what = key(name)
                if not (what and is_file(status.st_mode)):
                    self._strange(f"{parent}/{name}")
                elif status.st_nlink == 1:
                    found[what] = status.st_blocks * BLOCK
                else:
                    self._at = table, what
                    found[what] = self._size("", status)
        sizes = self._found.tables()[table]
        sizes.extend(Sizes(found, found.values()))

    def _directories(self, parent: str, names: Iterable[str], table: str, key: Callable[[str], str]) -> None:
        """Do the same for directories, with all their content."""
        sizes = self._found.tables()[table]
        with opened(parent) as directory:
            for name in names:
                what = key(name)
                try:
                    fd = os.open(name, _DIRECTORY, dir_fd=directory) if what else -1
                except FileNotFoundError:
                    continue
                except OSError as error:
                    if error.errno not in {errno.ENOTDIR, errno.ELOOP}:
                        raise
                    fd = -1
                if fd < 0:
                    self._strange(f"{parent}/{name}")
                    continue
                try:
                    self._at = table, what
                    sizes.put(what, self._opened_size(fd, f"{parent}/{name}"))
                finally:
                    os.close(fd)

    def _strange(self, path: str) -> None:
        name = path[len(self._root) + 1 :]
        self._at = "strange", name
        self._found.strange.put(name, self._whole(path))

    def _is_frame(self, name: str, path: str) -> bool:
        """Whether *path*, with this *name* below the root, belongs to the layout itself, or to the file system."""
        if name in _FRAME or name == self._runroot:
            return True
        return is_of_the_disk(name, path) or (name.startswith(KEPT_ASIDE) and _is_directory(path))

    def _other(self, name: str, path: str) -> None:
        """Count a path outside the layout: directories through which pipelines hand over images, or a stray."""
        if is_exchange(name, path):
            self._at = "exchange", ""
            self._found.exchange += self._whole(path)
        else:
            self._strange(path)

    def _whole(self, path: str) -> int:
        """Return the bytes of *path* and everything below it; 0 if it does not exist."""
        try:
            status = os.lstat(path)
        except (FileNotFoundError, NotADirectoryError):
            return 0
        return self._size(path, status)

    def _size(self, path: str, status: os.stat_result, alone: bool = False) -> int:
        """Return the bytes of a file or directory with this *status*; *alone*, without the content."""
        if alone or not stat.S_ISDIR(status.st_mode):
            return self._own(status)
        return status.st_blocks * BLOCK + self._far_below([path])

    def _opened_size(self, fd: int, path: str) -> int:
        """Return the bytes of the open directory *fd*, and of all its content.

        Most trees have two files, and there are many trees: starting from the open directory saves the kernel two of
        three lookups of *path*.
        """
        lstat, is_directory = os.lstat, stat.S_ISDIR
        status = os.fstat(fd)
        total = status.st_blocks * BLOCK
        below: list[str] = []
        names = os.listdir(fd)
        if self._listings is not None and (mark := self._listings.mark(status, names)) is not None:
            self._found.marks[status.st_ino] = mark
        for name in names:
            try:
                status = lstat(name, dir_fd=fd)
            except FileNotFoundError:
                continue
            if status.st_nlink == 1:
                total += status.st_blocks * BLOCK
            else:
                total += self._own(status)
            if is_directory(status.st_mode):
                below.append(f"{path}/{name}")
        return total + self._far_below(below) if below else total

    def _far_below(self, paths: list[str]) -> int:
        """Return the bytes of everything in these directories; a container may have made paths of any length."""
        base = _Base()
        total = 0
        todo = [(base, path) for path in paths]
        while todo:
            base, path = todo.pop()
            moved = None
            if len(path) > _LONG:
                try:
                    moved = base.moved(path)
                except FileNotFoundError:
                    continue
            for name, status in _listed(base, path):
                total += self._own(status)
                if stat.S_ISDIR(status.st_mode):
                    todo.append((moved, name) if moved is not None else (base, f"{path}/{name}"))
        return total

    def _own(self, status: os.stat_result) -> int:
        if status.st_nlink > 1 and not stat.S_ISDIR(status.st_mode):
            inode = status.st_dev << 64 | status.st_ino
            self._found.owners.setdefault(inode, set()).add(self._at)
            self._names_left[inode] = self._names_left.get(inode, status.st_nlink) - 1
            if inode in self._found.linked:
                return 0
            self._found.linked[inode] = (*self._at, status.st_blocks * BLOCK)
        return status.st_blocks * BLOCK


class _Outliner(_Surveyor):
    """Skips everything that would only be read for its size."""

    def _size(self, path: str, status: os.stat_result, alone: bool = False) -> int:
        return 0

    def _opened_size(self, fd: int, path: str) -> int:
        return 0


class _Base:
    """A directory that paths start from, open as long as a path needs it; -1 is the process's working directory."""

    __slots__ = ("fd",)

    def __init__(self, fd: int = -1) -> None:
        self.fd = fd

    def moved(self, path: str) -> _Base:
        """Return the base at the directory *path*. Raises OSError."""
        return _Base(os.open(path, _DIRECTORY, dir_fd=self.at))

    @property
    def at(self) -> int | None:
        """The value for `dir_fd`."""
        return None if self.fd < 0 else self.fd

    def __del__(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)


def _listed(base: _Base, path: str) -> Iterator[tuple[str, os.stat_result]]:
    """Yield name and status of each entry of the directory *path*, relative to *base*; nothing if it is gone.

    Yields nothing for a directory that this user may not read, such as `lost+found`: du(1) continues as well.
    """
    try:
        fd = os.open(path, _DIRECTORY, dir_fd=base.at)
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return
    try:
        for name in sorted(os.listdir(fd)):
            with suppress(FileNotFoundError):
                yield name, os.stat(name, dir_fd=fd, follow_symlinks=False)
    finally:
        os.close(fd)


def _first_below(root: str, path: str) -> str:
    """Return the name below *root* on the way to *path*; "" if *path* is not below it."""
    root, path = f"{os.path.realpath(root)}/", os.path.realpath(path)
    return path.removeprefix(root).partition("/")[0] if path.startswith(root) else ""


def is_exchange(name: str, path: str) -> bool:
    """Whether *path*, with this *name* below the root, is a place where pipelines hand over images (`pipeline.load`).

    That is `pipelines`, or a directory below which a directory `images` exists, as in the path of an image's name.
    """
    if not _is_directory(path):
        return False
    if name == _SHARED_BY_PIPELINES:
        return True
    looked_at = 0
    todo = [path]
    while todo and looked_at < _MOST_LOOKED_AT:
        directory = todo.pop()
        with suppress(OSError), os.scandir(directory) as entries:
            for entry in entries:
                looked_at += 1
                if looked_at == _MOST_LOOKED_AT:
                    break
                if entry.is_dir(follow_symlinks=False):
                    if entry.name == "images":
                        return True
                    todo.append(entry.path)
    return False


def _blob_digest(algorithm: str, name: str) -> str:
    """Return the digest of the blob with this file name; "" if it is not one."""
    return f"{algorithm}:{name}" if len(name) == HEX_LENGTHS[algorithm] and not name.strip(_HEX) else ""


def _tree_key(name: str) -> str:
    """Return the key of the tree with this directory name; "" if it is not one."""
    algorithm = _BY_LENGTH.get(len(name))
    return f"{algorithm}:{name}" if algorithm and not name.strip(_HEX) else ""


def _names_below(path: str, known: frozenset[str] = frozenset()) -> list[str]:
    """Return the names in the directory *path*, sorted, except *known* ones; empty if it is gone."""
    try:
        return sorted(name for name in os.listdir(path) if name not in known)
    except (FileNotFoundError, NotADirectoryError):
        return []


def _is_directory(path: str) -> bool:
    return os.path.isdir(path) and not os.path.islink(path)
