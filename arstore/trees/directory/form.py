"""The tree form `directory`: a layer's files, extracted into `fs/` of the tree's directory.

`fs/` is what overlayfs takes as a lower layer: a whiteout is a character device 0:0, an opaque directory has the
attribute `trusted.overlay.opaque=y`. An implied directory has the default metadata (0755, 0:0, time 0); `adaptation`
corrects it where a chain shows other metadata. Overlayfs ignores the mark on the root of a layer, so code that puts a
stack together has to leave out the layers below an opaque root (`MergedView.mounted`).

In a user namespace, the directory has another name, the attribute begins with `user.`, and other files stand for what
cannot be made there (`substitutes`). Only root, of the host or of a namespace, can build a tree, because only root
can change owners: other users get OSError (EPERM).
"""

from __future__ import annotations

import errno
import os
import stat
from contextlib import contextmanager
from typing import TYPE_CHECKING

from arstore.disk.rmtree import remove_tree_at
from arstore.errors import StoreDamagedError
from arstore.linux.files.openat2 import RESOLVE_BENEATH, RESOLVE_NO_SYMLINKS, openat2
from arstore.linux.files.xattr import read_xattrs
from arstore.tar.entry import Entry, Kind
from arstore.tar.limits import ACCEPTED, Limits
from arstore.trees.format import FileRange, LowerDirectory, Node
from arstore.trees.forms import DIRECTORY, LISTING, SINGLE, USER
from arstore.trees.inode_entry import KINDS, OPAQUE, OVERLAY, USER_OPAQUE, USER_OVERLAY, inode_entry, overlay_prefix

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from arstore.linux.isolation.user_namespace import IdMaps
    from arstore.tar.steps import Steps
    from arstore.trees.contents.row import Row
    from arstore.trees.directory.builder import DirectoryBuilder
    from arstore.trees.folders import Folder
    from arstore.trees.format import Made
    from arstore.trees.forms import Properties
    from arstore.workers.shared_budget import Account

_GUARD = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS
_LOOK = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC


class DirectoryFormat:
    """Trees of extracted files, in the form *properties*; *maps* are the ids of a user namespace, None for the host."""

    modules: tuple[str, ...] = (
        "arstore.trees.directory.builder",
        "arstore.trees.directory.contents",
        "arstore.trees.directory.mapped",
    )

    def __init__(self, properties: Properties = DIRECTORY, maps: IdMaps | None = None) -> None:
        self.name = properties.name
        self.properties = properties
        self._files = properties.files[0]
        self._maps = maps

    def builder(
        self,
        tree_fd: int,
        limits: Limits = ACCEPTED,
        account: Account | None = None,
        steps: Steps | None = None,
    ) -> DirectoryBuilder:
        """Return a builder that fills the empty directory *tree_fd*. Raises OSError."""
        # Imported late: most commands only mount.
        from arstore.trees.directory.builder import DirectoryBuilder

        if not self._is_mapped:
            return DirectoryBuilder(tree_fd, self._files, limits, account, steps)
        from arstore.linux.isolation.user_namespace import current
        from arstore.trees.directory.mapped import MappedMetadata

        one_owner = self.properties is SINGLE
        metadata = MappedMetadata(self._maps or current(), one_owner=one_owner, strict=limits.strict_xattrs)
        return DirectoryBuilder(tree_fd, self._files, limits, account, steps, metadata, USER_OPAQUE)

    @contextmanager
    def lower(self, tree_path: str) -> Iterator[LowerDirectory]:
        """Open the tree as a layer of an overlay. Raises OSError."""
        path = f"{tree_path}/{self._files}"
        fd = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            yield LowerDirectory(fd, path)
        finally:
            os.close(fd)

    def lookup(self, tree_fd: int, path: bytes) -> Node | None:
        """Return the node at *path*, or the file that ends the path early. Raises OSError."""
        try:
            fd, found = openat2(tree_fd, self._below(path), _LOOK, _GUARD), path
        except FileNotFoundError:
            return None
        except OSError as error:
            if error.errno not in {errno.ELOOP, errno.ENOTDIR, errno.ENAMETOOLONG, errno.ENOSYS, errno.EPERM}:
                raise
            fd, found = self._reach(tree_fd, path)
        if fd < 0:
            return None
        try:
            node = _node(fd, found, self._opaque)
        finally:
            os.close(fd)
        return self._meant(tree_fd, node) if self._is_mapped else node

    def open_file(self, tree_fd: int, path: bytes) -> FileRange:
        """Return the content of the regular file at *path*. Raises FileNotFoundError, OSError."""
        fd, found = self._reach(tree_fd, path)
        try:
            status = os.fstat(fd) if fd >= 0 and found == path else None
            if status is None or not stat.S_ISREG(status.st_mode):
                raise FileNotFoundError(errno.ENOENT, "not a regular file of the tree", path)
            return FileRange(os.open(f"/proc/self/fd/{fd}", os.O_RDONLY | os.O_CLOEXEC), 0, status.st_size)
        finally:
            if fd >= 0:
                os.close(fd)

    def rows(self, tree_fd: int) -> Iterator[Row]:
        """Yield a row for each name in the tree. Raises OSError."""
        from arstore.trees.directory.contents import rows

        return rows(tree_fd, self._files, self._opaque, has_substitutes=self._is_mapped)

    def folders(self, tree_fd: int) -> Folder:
        """Return the root directory, with the bytes of the files in each directory. Raises OSError."""
        from arstore.trees.directory.folders import folders

        return folders(tree_fd, self._files)

    def glance(self, parent_fd: int, name: str, sums: Mapping[str, str]) -> tuple[str, int]:
        """Find a missing directory of files, or a missing listing if one was made. Raises OSError."""
        fd = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent_fd)
        try:
            names = os.listdir(fd)
        finally:
            os.close(fd)
        if self._files not in names:
            return f"has no directory {self._files}", 0
        return "" if LISTING in names or LISTING not in sums else f"has no {LISTING}", 0

    def fault(self, tree_fd: int, made: Made, report: Callable[[int], None]) -> str:
        """Find differences from the listing; without a listing, only a missing directory. Raises OSError."""
        if self._files not in os.listdir(tree_fd):
            return f"has no directory {self._files}"
        digest = made.sums.get(LISTING)
        if digest is None:
            return ""
        from arstore.trees.directory.verification import differences, listing_of

        try:
            listed = listing_of(tree_fd, digest)
        except StoreDamagedError as error:
            return f"its {error.what} {error.why}"
        # The ids of a tree in a user namespace are shown correctly only there.
        inside = not self._is_mapped or self._maps is not None
        has_owners = inside and not (self._is_mapped and (self.properties is SINGLE or self._has_single_id))
        return differences(tree_fd, self._files, listed, report, owners=has_owners, inside=inside)

    def remove(self, parent_fd: int, name: str) -> None:
        """Delete the tree directory *name* and everything in it. Raises OSError."""
        remove_tree_at(parent_fd, os.fsencode(name))

    @property
    def _is_mapped(self) -> bool:
        """Whether trees are for mounts in a user namespace."""
        return self.properties in {USER, SINGLE}

    @property
    def _has_single_id(self) -> bool:
        return self._maps is not None and self._maps.is_single

    @property
    def _opaque(self) -> bytes:
        return USER_OPAQUE if self._is_mapped else OPAQUE

    def _below(self, path: bytes) -> bytes:
        return self._files.encode() + b"/" + path if path else self._files.encode()

    def _reach(self, tree_fd: int, path: bytes) -> tuple[int, bytes]:
        """Open *path* one component at a time; return an O_PATH descriptor of the end, and its path; -1 for nothing."""
        return _reached(os.open(self._files, _LOOK, dir_fd=tree_fd), path)

    def _meant(self, tree_fd: int, node: Node) -> Node:
        """Return *node* of a tree in a user namespace as what its file stands for.

        With a single id, owners are those of the listing.
        """
        from arstore.trees.substitutes import resolved

        if node.whiteout:
            return node
        entry = resolved(node.entry)
        if self._has_single_id:
            from arstore.trees.directory.mapped import listed_owner

            uid, gid = listed_owner(tree_fd, entry)
            entry = entry.replaced(uid=uid, gid=gid)
        return node._replace(entry=entry)


def _reached(fd: int, path: bytes) -> tuple[int, bytes]:
    """Open *path* below *fd*, which is closed; see `DirectoryFormat._reach`."""
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


def _node(fd: int, path: bytes, mark: bytes) -> Node:
    status = os.fstat(fd)
    kind = KINDS.get(stat.S_IFMT(status.st_mode), Kind.FILE)
    if kind is Kind.CHARACTER and status.st_rdev == 0:
        return Node(Entry(path, kind), whiteout=True)
    attributes = read_xattrs(fd, b"")
    xattrs = {name: value for name, value in attributes.items() if not name.startswith((OVERLAY, USER_OVERLAY))}
    entry = inode_entry(fd, path, kind, status, xattrs)
    return Node(entry, opaque=attributes.get(mark) == b"y")


def hides_below(lower: LowerDirectory) -> bool:
    """Return whether the root of a layer is opaque. Overlayfs ignores that, so nothing may be below it in a stack."""
    try:
        return os.getxattr(f"/proc/self/fd/{lower.fd}", overlay_prefix() + b"opaque") == b"y"
    except OSError as error:
        if error.errno in {errno.ENODATA, errno.ENOTSUP}:
            return False
        raise
