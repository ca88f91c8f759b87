"""Changes in an upper directory, as the members of a layer.

Overlayfs has its own forms of changes (Documentation/filesystems/overlayfs.rst, "whiteouts and opaque directories",
"Nesting overlayfs mounts"); a layer expresses them by names (image-spec layer.md, "Representing Changes"):

    character device 0:0, or an empty file with trusted.overlay.whiteout     .wh.NAME
    directory with trusted.overlay.opaque=y                                  the directory, and .wh..wh..opq in it
    everything else                                                          itself, whole

Marks that hide nothing in the lower layers are left out: the kernel makes every new directory opaque. Sparse files are
written in full, because the specification advises against sparse members. Sockets cannot be stored: each is counted,
and hides what it hid. Attributes of overlayfs or of this host (SELinux' label, EVM's signature) are dropped. Names that
begin with `.wh.` would be read back as whiteouts, so they are refused, as umoci does.

The order depends on the names alone: a directory, then the other files in it, then each of its subdirectories.
"""

from __future__ import annotations

import errno
import os
import stat
from contextlib import contextmanager
from typing import TYPE_CHECKING, NoReturn

from arstore.digest import CHUNK
from arstore.errors import InUseError, LimitError, StoreDamagedError, TarError
from arstore.linux.files.openat2 import RESOLVE_BENEATH, RESOLVE_NO_SYMLINKS, openat2
from arstore.linux.files.opening import DIRECTORY
from arstore.linux.files.xattr import read_xattrs
from arstore.linux.isolation.user_namespace import current, is_initial
from arstore.tar.entry import Entry, Kind, shown
from arstore.tar.limits import DEFAULT_LIMITS
from arstore.tar.names import NAME_MAX
from arstore.tar.whiteout import OPAQUE_NAME, PREFIX
from arstore.trees.format import Node
from arstore.trees.inode_entry import KINDS, inode_entry, overlay_prefix
from arstore.trees.metadata import SkippedEntries
from arstore.trees.substitutes import meant

if TYPE_CHECKING:
    from collections.abc import Collection, Generator, Iterable, Iterator

    from arstore.trees.merged_view import MergedView

_WHITEOUT, _OPAQUE = b"whiteout", b"opaque"
_ELSEWHERE = (b"redirect", b"metacopy")
"""Overlayfs's own attributes, without their prefix."""
_DROPPED = (b"trusted.overlay.", b"user.overlay.", b"security.selinux", b"security.evm")

_LOOK = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
_READ = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC
_GUARD = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS
_GONE = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ESTALE})


class UpperChanges:
    """The members of the layer that an upper directory makes, and the content of the current one (an EntryReader).

    *upper_fd* is the directory, *lower* the view of the layers below, *left_out* the paths to leave out. `sockets`
    counts the files that could not be stored. The descriptors belong to the caller.
    """

    def __init__(self, upper_fd: int, lower: MergedView, left_out: Collection[bytes] = ()) -> None:
        self.sockets = SkippedEntries()
        self._upper = upper_fd
        self._lower = lower
        self._left_out = left_out
        self._links: dict[tuple[int, int], bytes] = {}
        self._current = -1
        self._entry = Entry(b"", Kind.DIRECTORY)

    def __iter__(self) -> Iterator[Entry]:
        """Yield the members, the root first.

        Raises InUseError when the directory changes at the same time, TarError or LimitError for files that a layer
        cannot hold, StoreDamagedError for files that mounts of this store never make, OSError.
        """
        todo = [b""]
        while todo:
            path = todo.pop()
            try:
                with opened_below(self._upper, path, DIRECTORY) as fd:
                    below = yield from self._directory(fd, path)
            except OSError as error:
                if error.errno not in _GONE:
                    raise
                _refuse_to_guess(path, error)
            todo.extend(reversed(below))

    def chunks(self) -> Iterator[bytes]:
        """Yield the current file's content. Raises InUseError when it has become shorter, OSError."""
        left = self._entry.size
        fd = os.open(f"/proc/self/fd/{self._current}", _READ)
        try:
            while left and (data := os.read(fd, min(left, CHUNK))):
                left -= len(data)
                yield data
        finally:
            os.close(fd)
        if left:
            _refuse_to_guess(self._entry.path)

    def _directory(self, fd: int, path: bytes) -> Generator[Entry, None, list[bytes]]:
        """Yield the members of one directory, except subdirectories; return the paths of those."""
        node = read_node(fd, path)
        yield node.entry
        if node.opaque and self._hides_directory(path):
            yield _mark(path, OPAQUE_NAME)
        below = []
        for name in sorted(map(os.fsencode, os.listdir(fd))):
            child = path + b"/" + name if path else name
            if child in self._left_out:
                continue
            _check_name(child, name)
            self._current = os.open(name, _LOOK, dir_fd=fd)
            try:
                if stat.S_ISDIR(os.fstat(self._current).st_mode):
                    below.append(child)
                    continue
                entry = self._member(self._current, path, child)
                if entry is not None:
                    yield entry
            finally:
                os.close(self._current)
        return below

    def _member(self, fd: int, parent: bytes, path: bytes) -> Entry | None:
        """Return the member for a file that is not a directory; None if it has none."""
        node = read_node(fd, path)
        status = os.fstat(fd)
        if stat.S_ISSOCK(status.st_mode):
            self.sockets.note(path)
        if node.whiteout:
            name = path.rpartition(b"/")[2]
            return self._whiteout(parent, name) if exists(self._lower, path) else None
        if status.st_nlink > 1:
            first = self._links.setdefault((status.st_dev, status.st_ino), path)
            if first != path:
                entry = node.entry
                return Entry(path, Kind.HARDLINK, entry.mode, entry.uid, entry.gid, entry.mtime, link=first)
        self._entry = owned_as_below(node.entry, self._lower)
        return self._entry

    @staticmethod
    def _whiteout(parent: bytes, name: bytes) -> Entry:
        if len(PREFIX) + len(name) > NAME_MAX:
            why = "was removed, but its name is too long for a whiteout in a layer"
            raise TarError(shown(parent + b"/" + name), why)
        return _mark(parent, PREFIX + name)

    def _hides_directory(self, path: bytes) -> bool:
        node = self._lower.lookup(path)
        return node is not None and node.entry.path == path and node.entry.kind is Kind.DIRECTORY


def unused_mount_points(upper_fd: int, lower: MergedView, mount_points: Iterable[bytes]) -> frozenset[bytes]:
    """Return those of *mount_points*, and of their parents, that a runtime created and nothing else uses.

    A runtime creates what its mounts need and the image lacks: an empty directory or an empty file, which the mount
    then covers. Paths that exist in the lower layers, or are not empty, are not returned. Exception: a directory of the
    lower layers (b"" for the root) is returned if it has nothing else in the upper layer, and its metadata differs from
    the lower one only in the time, which the creation changed. Raises OSError.
    """
    wanted = set(mount_points)
    above = {b""}
    for path in wanted:
        while path := path.rpartition(b"/")[0]:
            above.add(path)
    found: set[bytes] = set()
    for path in sorted(wanted | above, key=lambda path: (path.count(b"/"), bool(path)), reverse=True):
        if not _is_empty(upper_fd, path, found, path in wanted):
            continue
        if not exists(lower, path) or _is_only_touched(upper_fd, path, lower):
            found.add(path)
    return frozenset(found)


def exists(view: MergedView, path: bytes) -> bool:
    """Return whether *view* shows something at *path*. Raises OSError."""
    node = view.lookup(path)
    return node is not None and node.entry.path == path and not node.whiteout


def owned_as_below(entry: Entry, lower: MergedView) -> Entry:
    """Return *entry* with the owner that a symlink or FIFO of the layers below has there, if there is only one id here.

    Such files cannot have the attribute that says whose they are (`trees.substitutes`). Raises OSError.
    """
    if entry.kind not in (Kind.SYMLINK, Kind.FIFO) or is_initial() or not current().is_single:
        return entry
    node = lower.lookup(entry.path)
    if node is None or node.entry.path != entry.path or (node.entry.kind, node.entry.link) != (entry.kind, entry.link):
        return entry
    return entry.replaced(uid=node.entry.uid, gid=node.entry.gid)


def read_node(fd: int, path: bytes) -> Node:
    """Return the meaning of an inode of an overlay layer, open as *fd* (O_PATH will do) and found at *path*.

    A socket counts as a whiteout: a layer cannot hold it, and it hides what lower layers have. Raises StoreDamagedError
    for an inode whose content overlayfs keeps elsewhere, OSError.
    """
    status = os.fstat(fd)
    kind = KINDS.get(stat.S_IFMT(status.st_mode))
    if kind is None or (kind is Kind.CHARACTER and status.st_rdev == 0):
        return Node(Entry(path, kind or Kind.FILE), whiteout=True)
    attributes = _attributes(fd)
    prefix = overlay_prefix()
    for name in (prefix + one for one in _ELSEWHERE):
        if name in attributes:
            why = f"has the attribute {shown(name)}, so its content is elsewhere; mounts of this store never do that"
            raise StoreDamagedError(shown(path), why)
    if kind is Kind.FILE and not status.st_size and prefix + _WHITEOUT in attributes:
        return Node(Entry(path, kind), whiteout=True)
    xattrs = {name: value for name, value in sorted(attributes.items()) if not name.startswith(_DROPPED)}
    entry = meant(inode_entry(fd, path, kind, status, xattrs))
    return Node(entry, opaque=kind is Kind.DIRECTORY and attributes.get(prefix + _OPAQUE) == b"y")


@contextmanager
def opened_below(root_fd: int, path: bytes, flags: int = _LOOK) -> Iterator[int]:
    """Open *path* below the directory *root_fd*, following no symlink, during the context; yield the descriptor.

    Raises LimitError for a path that a layer cannot hold, OSError.
    """
    _check_limits(path)
    fd = _open_below(root_fd, path, flags | os.O_NOFOLLOW)
    try:
        yield fd
    finally:
        os.close(fd)


def _open_below(root_fd: int, path: bytes, flags: int) -> int:
    try:
        return openat2(root_fd, path or b".", flags, _GUARD)
    except OSError as error:
        # The path may be one byte too long for a single call, and openat2(2) may be missing or filtered.
        if error.errno not in {errno.ENAMETOOLONG, errno.ENOSYS, errno.EPERM}:
            raise
    *parents, last = path.split(b"/")
    fd = os.open(b".", DIRECTORY, dir_fd=root_fd)
    try:
        for name in parents:
            below = os.open(name, DIRECTORY, dir_fd=fd)
            os.close(fd)
            fd = below
        return os.open(last or b".", flags, dir_fd=fd)
    finally:
        os.close(fd)


def _attributes(fd: int) -> dict[bytes, bytes]:
    try:
        return read_xattrs(fd, b"")
    except OSError as error:
        if error.errno == errno.ENOTSUP:
            return {}
        raise


def _is_empty(upper_fd: int, path: bytes, nothing: set[bytes], or_file: bool) -> bool:
    """Return whether *path* is a directory with nothing but *nothing* in it, or (*or_file*) an empty file."""
    try:
        with opened_below(upper_fd, path) as fd:
            status = os.fstat(fd)
            if not stat.S_ISDIR(status.st_mode):
                is_empty_file = stat.S_ISREG(status.st_mode) and not status.st_size
                return or_file and is_empty_file and not read_node(fd, path).whiteout
            start = path + b"/" if path else b""
            return all(start + os.fsencode(name) in nothing for name in os.listdir(f"/proc/self/fd/{fd}"))
    except OSError as error:
        if error.errno in _GONE:
            return False
        raise


def _is_only_touched(upper_fd: int, path: bytes, lower: MergedView) -> bool:
    """Return whether *path* is a directory, not empty, that differs from the lower one only in its time."""
    node = lower.lookup(path)
    if node is None or node.entry.kind is not Kind.DIRECTORY:
        return False
    with opened_below(upper_fd, path) as fd:
        own = read_node(fd, path)
        if own.entry.kind is not Kind.DIRECTORY or own.opaque or not os.listdir(f"/proc/self/fd/{fd}"):
            return False
    return own.entry.replaced(mtime=node.entry.mtime, offset=node.entry.offset) == node.entry


def _mark(directory: bytes, name: bytes) -> Entry:
    return Entry(directory + b"/" + name if directory else name, Kind.FILE, mode=0)


def _check_name(path: bytes, name: bytes) -> None:
    if name.startswith(PREFIX):
        why = "a layer cannot hold a name that begins with .wh., which would mean a removal"
        raise TarError(shown(path), why, "rename it, or remove it")
    _check_limits(path)


def _check_limits(path: bytes) -> None:
    if len(path) > DEFAULT_LIMITS.path or path.count(b"/") >= DEFAULT_LIMITS.depth:
        why = f"layers hold paths of at most {DEFAULT_LIMITS.path} bytes and {DEFAULT_LIMITS.depth} components"
        raise LimitError(shown(path[:100]) + "...", why)


def _refuse_to_guess(path: bytes, cause: OSError | None = None) -> NoReturn:
    raise InUseError(shown(path) or "/", "changed while it was read", "stop what writes to the container") from cause
