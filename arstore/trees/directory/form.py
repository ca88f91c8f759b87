"""The tree form `directory`: a layer's files, extracted into `fs/` of the tree's directory.

What overlayfs takes from a lower layer is what `fs/` holds: a whiteout is a character device 0:0, an opaque directory
has the attribute `trusted.overlay.opaque=y`. A directory that the layer only implies has the default metadata (0755,
0:0, time 0); `adaptation` makes good for it where a chain shows another. Overlayfs never looks at the mark on the root
of a layer, so whoever puts a stack together has to leave out what lies below an opaque root (`MergedView.mounted`).

Only root can build it, because only root can give files away: others get OSError (EPERM).
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from typing import TYPE_CHECKING

from arstore.disk.rmtree import remove_tree_at
from arstore.errors import StoreDamagedError
from arstore.linux.files.openat2 import RESOLVE_BENEATH, RESOLVE_NO_SYMLINKS, openat2
from arstore.linux.files.xattr import read_xattrs
from arstore.tar.entry import Entry, Kind
from arstore.tar.limits import ACCEPTED, Limits
from arstore.trees.format import FileRange, LowerDirectory, Node
from arstore.trees.forms import DIRECTORY, FILES, LISTING
from arstore.trees.inode_entry import KINDS, OPAQUE, OVERLAY, inode_entry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from arstore.tar.steps import Steps
    from arstore.trees.directory.builder import DirectoryBuilder
    from arstore.trees.format import Made
    from arstore.workers.shared_budget import Account

_GUARD = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS
_LOOK = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC


class DirectoryFormat:
    """Trees of extracted files."""

    name = DIRECTORY.name
    properties = DIRECTORY
    modules: tuple[str, ...] = ("arstore.trees.directory.builder",)

    def builder(
        self,
        tree_fd: int,
        limits: Limits = ACCEPTED,
        account: Account | None = None,
        steps: Steps | None = None,
    ) -> DirectoryBuilder:
        """A builder that fills the empty directory *tree_fd*. Raises OSError."""
        # Imported late: most commands only mount.
        from arstore.trees.directory.builder import DirectoryBuilder

        return DirectoryBuilder(tree_fd, FILES, limits, account, steps)

    @contextlib.contextmanager
    def lower(self, tree_path: str) -> Iterator[LowerDirectory]:
        """The tree as a layer of an overlay. Raises OSError."""
        path = f"{tree_path}/{FILES}"
        fd = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            yield LowerDirectory(fd, path)
        finally:
            os.close(fd)

    def lookup(self, tree_fd: int, path: bytes) -> Node | None:
        """The node at *path*, or the one that stands in the way to it. Raises OSError."""
        try:
            fd, found = openat2(tree_fd, _below_files(path), _LOOK, _GUARD), path
        except FileNotFoundError:
            return None
        except OSError as error:
            if error.errno not in {errno.ELOOP, errno.ENOTDIR, errno.ENAMETOOLONG, errno.ENOSYS, errno.EPERM}:
                raise
            fd, found = _reach(tree_fd, path)
        if fd < 0:
            return None
        try:
            return _node(fd, found)
        finally:
            os.close(fd)

    def open_file(self, tree_fd: int, path: bytes) -> FileRange:
        """The regular file at *path*. Raises FileNotFoundError, OSError."""
        fd, found = _reach(tree_fd, path)
        try:
            status = os.fstat(fd) if fd >= 0 and found == path else None
            if status is None or not stat.S_ISREG(status.st_mode):
                raise FileNotFoundError(errno.ENOENT, "not a regular file of the tree", path)
            return FileRange(os.open(f"/proc/self/fd/{fd}", os.O_RDONLY | os.O_CLOEXEC), 0, status.st_size)
        finally:
            if fd >= 0:
                os.close(fd)

    def glance(self, parent_fd: int, name: str, sums: Mapping[str, str]) -> tuple[str, int]:
        """No directory of files, or no listing where one was made. Raises OSError."""
        fd = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent_fd)
        try:
            names = os.listdir(fd)
        finally:
            os.close(fd)
        if FILES not in names:
            return f"has no directory {FILES}", 0
        return "" if LISTING in names or LISTING not in sums else f"has no {LISTING}", 0

    def fault(self, tree_fd: int, made: Made, report: Callable[[int], None]) -> str:
        """What is not as its listing says; without a listing, only that the directory is gone. Raises OSError."""
        if FILES not in os.listdir(tree_fd):
            return f"has no directory {FILES}"
        digest = made.sums.get(LISTING)
        if digest is None:
            return ""
        from arstore.trees.directory.verification import differences, listing_of

        try:
            listed = listing_of(tree_fd, digest)
        except StoreDamagedError as error:
            return f"its {error.what} {error.why}"
        return differences(tree_fd, FILES, listed, True, report)

    def remove(self, parent_fd: int, name: str) -> None:
        """Delete the tree directory *name* and all that is in it. Raises OSError."""
        remove_tree_at(parent_fd, os.fsencode(name))


def _below_files(path: bytes) -> bytes:
    return FILES.encode() + b"/" + path if path else FILES.encode()


def _reach(tree_fd: int, path: bytes) -> tuple[int, bytes]:
    """Go to *path* one component at a time: an O_PATH descriptor of where that ends, and its path; -1 for nothing."""
    fd = os.open(FILES, _LOOK, dir_fd=tree_fd)
    names = path.split(b"/") if path else []
    for depth, name in enumerate(names):
        if name in (b"", b".", b".."):
            os.close(fd)
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL), path)
        if not stat.S_ISDIR(os.fstat(fd).st_mode):
            return fd, b"/".join(names[:depth])
        try:
            below = os.open(name, _LOOK, dir_fd=fd)
        except FileNotFoundError:
            return -1, path
        finally:
            os.close(fd)
        fd = below
    return fd, path


def _node(fd: int, path: bytes) -> Node:
    status = os.fstat(fd)
    kind = KINDS.get(stat.S_IFMT(status.st_mode), Kind.FILE)
    if kind is Kind.CHARACTER and status.st_rdev == 0:
        return Node(Entry(path, kind), whiteout=True)
    attributes = read_xattrs(fd, b"")
    xattrs = {name: value for name, value in attributes.items() if not name.startswith(OVERLAY)}
    entry = inode_entry(fd, path, kind, status, xattrs)
    return Node(entry, opaque=attributes.get(OPAQUE) == b"y")


def hides_below(lower: LowerDirectory) -> bool:
    """Whether the root of a layer is opaque: overlayfs does not look, so nothing may be put below it in a stack."""
    try:
        return os.getxattr(f"/proc/self/fd/{lower.fd}", OPAQUE) == b"y"
    except OSError as error:
        if error.errno in {errno.ENODATA, errno.ENOTSUP}:
            return False
        raise
