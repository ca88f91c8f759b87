"""Extraction: the entries of one layer onto disk, below one open directory.

Every name is reached through directory descriptors (`descriptors`), every path is followed inside the root (`shape`).
The last entry at a path wins. Directories stay private until the end, when they get their metadata, children first;
whiteouts and opaque marks wait until then too, because they speak of lower layers alone, whatever their place in the
archive. What they become is the caller's part: `directory` makes what overlayfs understands, `unpack` removes files.

Not in scope: what lower layers have. A member device 0:0 is what overlayfs takes for a whiteout, and is taken as one.
A crash leaves a tree without a name; nothing is repaired, it is thrown away.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from typing import TYPE_CHECKING

from arstore.errors import LimitError, TarError, UnsafePathError
from arstore.store.descriptors import Descriptors
from arstore.store.metadata import Metadata
from arstore.store.removal import remove_tree
from arstore.store.shape import Directory, Missing, Shape, default_entry
from arstore.tar.entry import Entry, Kind, shown
from arstore.tar.whiteout import PREFIX, Mark, classify

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from arstore.store.tree import Content

    Answer = Callable[[Entry, Directory, bytes], bool]

_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_NO_NAMES = frozenset({b"", b".", b".."})
_LONGEST_TARGET = 4095
_INHERITED = ("system.posix_acl_default",)
_MOST_MAJOR, _MOST_MINOR = (1 << 12) - 1, (1 << 20) - 1
_TYPES = {Kind.CHARACTER: stat.S_IFCHR, Kind.BLOCK: stat.S_IFBLK, Kind.FIFO: stat.S_IFIFO}


class Extraction:
    """One layer on its way into the empty directory *root_fd*, which stays the caller's.

    *answer* is asked for a hard link whose target this layer lacks: whether it has made the name from elsewhere.
    """

    def __init__(self, root_fd: int, metadata: Metadata, answer: Answer | None = None) -> None:
        self.shape = Shape()
        self.shape.root.fd = root_fd
        self.metadata = metadata
        self.descriptors = Descriptors(self._unlink)
        self.files = 0
        self.size = 0
        self.absent_links: list[tuple[bytes, bytes]] = []
        self._answer = answer
        self._whiteouts: list[bytes] = []
        self._opaque: list[bytes] = []
        self._parent: tuple[bytes, Directory] | None = None
        self._makers: dict[Kind, Callable[[Directory, bytes, Entry], None]] = {
            Kind.DIRECTORY: self._add_directory,
            Kind.SYMLINK: self._add_symlink,
            Kind.HARDLINK: self._add_link,
            Kind.CHARACTER: self._add_node,
            Kind.BLOCK: self._add_node,
            Kind.FIFO: self._add_node,
        }
        _end_inheritance(root_fd)

    def add(self, entry: Entry, content: Content) -> None:
        """Take one entry.

        Raises UnsafePathError, TarError, LimitError, OSError.
        """
        path = entry.path
        if PREFIX in path and self._take_mark(path):
            return
        parent, _, name = path.rpartition(b"/")
        if not name:
            self._add_root(entry)
            return
        if name in _NO_NAMES or b"\0" in path:
            raise UnsafePathError(shown(path), "not a name that a file can have")
        if self._parent is not None and self._parent[0] == parent:
            node = self._parent[1]
        else:
            node = self.shape.directory(parent)
            self._parent = (parent, node)
        if entry.kind is Kind.FILE:
            self._add_file(node, name, entry, content)
        else:
            self._makers[entry.kind](node, name, entry)

    def settle(self) -> list[Directory]:
        """Make all directories, with the marks that are on them; return them, parents first.

        A directory that is new because it, or one above it, hides the lower layers gets the default metadata unless it
        has its own. Raises UnsafePathError, OSError.
        """
        for path in self._opaque:
            if (node := self._marked(path)) is not None:
                node.opaque = True
        for path in self._whiteouts:
            parent, _, name = path.rpartition(b"/")
            if (node := self._marked(parent)) is not None:
                node.whiteouts.add(name)
        nodes = self.shape.all()
        hidden: set[Directory] = set()
        for node in nodes:
            if not node.made:
                self.descriptors.open(node)
            for child in [child for child in node.directories() if child.name in node.whiteouts]:
                node.whiteouts.discard(child.name)
                child.opaque = True
                child.entry = child.entry or default_entry(child.path)
            if node in hidden:
                node.entry = node.entry or default_entry(node.path)
            if node.opaque or node in hidden:
                node.whiteouts.clear()
                hidden.update(node.directories())
        return nodes

    def apply_directories(self, nodes: list[Directory]) -> None:
        """Give *nodes* (parents first) their metadata, the last first. Raises TarError, OSError."""
        for node in reversed(nodes):
            self.metadata.apply(self.descriptors.open(node), node.entry or default_entry(node.path))

    def discard(self, node: Directory, name: bytes) -> None:
        """Remove *name* from *node*, whatever it is, if it is there. Raises OSError."""
        self._replace(node, name)
        self._drop(node, name)

    def close(self) -> None:
        """Close every descriptor but the root's."""
        self.descriptors.close()

    # --- marks ------------------------------------------------------------------------------------------------------

    def _take_mark(self, path: bytes) -> bool:
        mark, hidden = classify(path)
        if mark is Mark.WHITEOUT:
            self._whiteouts.append(hidden)
        elif mark is Mark.OPAQUE:
            self._opaque.append(hidden)
        return mark is not Mark.NONE

    def _marked(self, path: bytes) -> Directory | None:
        """The directory that a mark is about; None when this layer has something else there, which hides all below."""
        node, missing = self.shape.walk(path)
        if missing and (missing[0] in node.children or self._exists(node, missing[0])):
            return None
        for name in missing:
            node = node.add(name)
        return node

    def _exists(self, node: Directory, name: bytes) -> bool:
        if not node.made:
            return False
        try:
            os.stat(name, dir_fd=self.descriptors.open(node), follow_symlinks=False)
        except OSError as error:
            if error.errno in {errno.ENOENT, errno.ENAMETOOLONG}:
                return False
            raise
        return True

    # --- members ----------------------------------------------------------------------------------------------------

    def _add_root(self, entry: Entry) -> None:
        if entry.kind is not Kind.DIRECTORY:
            raise UnsafePathError("/", "the root of a layer can only be a directory")
        self.shape.root.entry = entry

    def _add_directory(self, node: Directory, name: bytes, entry: Entry) -> None:
        child = node.children.get(name)
        if not isinstance(child, Directory):
            child = node.add(name)
            self._parent = None
        child.entry = entry

    def _add_file(self, node: Directory, name: bytes, entry: Entry, content: Content) -> None:
        if name in node.children:
            self._replace(node, name)
        parent = self.descriptors.open(node)
        mode = self.metadata.creation_mode(entry)
        try:
            fd = os.open(name, _NEW_FILE, mode, dir_fd=parent)
        except FileExistsError:
            self._unlink(parent, name)
            fd = os.open(name, _NEW_FILE, mode, dir_fd=parent)
        try:
            _write(fd, entry, content)
            self.metadata.apply(fd, entry, created=True)
        finally:
            os.close(fd)
        self.files += 1
        self.size += entry.size

    def _add_symlink(self, node: Directory, name: bytes, entry: Entry) -> None:
        target = entry.link
        if not target or b"\0" in target or len(target) > _LONGEST_TARGET:
            raise TarError(shown(entry.path), "the target of the symbolic link is empty, too long or contains a NUL")
        self._replace(node, name)
        parent = self.descriptors.open(node)
        try:
            os.symlink(target, name, dir_fd=parent)
        except FileExistsError:
            self._unlink(parent, name)
            os.symlink(target, name, dir_fd=parent)
        self.metadata.apply_to_name(parent, name, entry)
        node.children[name] = target
        self.files += 1

    def _add_node(self, node: Directory, name: bytes, entry: Entry) -> None:
        is_device = entry.kind is not Kind.FIFO
        if entry.kind is Kind.CHARACTER and not entry.major and not entry.minor:
            self._whiteouts.append(entry.path)
            return
        if is_device and not (0 <= entry.major <= _MOST_MAJOR and 0 <= entry.minor <= _MOST_MINOR):
            raise TarError(shown(entry.path), f"no device has the number {entry.major}:{entry.minor}")
        self._replace(node, name)
        parent = self.descriptors.open(node)
        with contextlib.suppress(FileNotFoundError):
            self._unlink(parent, name)
        if is_device and not self.metadata.privileged:
            self.metadata.devices.note(entry.path)
            self._whiteouts.append(entry.path)
            return
        number = os.makedev(entry.major, entry.minor) if is_device else 0
        os.mknod(name, _TYPES[entry.kind] | entry.mode & 0o777, number, dir_fd=parent)
        self.metadata.apply_to_name(parent, name, entry)
        self.files += 1

    # --- hard links -------------------------------------------------------------------------------------------------

    def _add_link(self, node: Directory, name: bytes, entry: Entry) -> None:
        parent, _, last = entry.link.rpartition(b"/")
        if last in _NO_NAMES or b"\0" in entry.link:
            raise TarError(shown(entry.path), "a hard link to a directory")
        source, missing = self.shape.walk(parent)
        if source is node and last == name and not missing:
            return
        target = None if missing else source.children.get(last)
        # What only a lower layer can answer: a directory that is merely implied may be a symlink there, and a target
        # that goes away because the link takes the place of its directory may still be there.
        below = isinstance(target, Directory) and target.entry is None
        if isinstance(target, Directory) and not below:
            raise TarError(shown(entry.path), "a hard link to a directory")
        there = node.children.get(name)
        below = below or (isinstance(there, Directory) and source.is_below(there))
        self._replace(node, name)
        if isinstance(target, Missing):
            self._drop(node, name)
            node.children[name] = target
        elif missing or below or not self._link(source, last, node, name):
            self._drop(node, name)
            self._link_to_lower(node, name, entry)
        elif isinstance(target, bytes):
            node.children[name] = target

    def _link(self, source: Directory, last: bytes, node: Directory, name: bytes) -> bool:
        """Make the link; False when the target does not exist."""
        if not source.made:
            return False
        source_fd = self.descriptors.open(source)
        parent = self.descriptors.open(node, keep=source)
        try:
            try:
                link_name(source_fd, last, parent, name)
            except FileExistsError:
                self._unlink(parent, name)
                link_name(source_fd, last, parent, name)
        except FileNotFoundError:
            return False
        except OSError as error:
            if error.errno == errno.EMLINK:
                raise LimitError(shown(name), "more hard links to one file than the file system keeps") from error
            raise
        self.files += 1
        return True

    def _link_to_lower(self, node: Directory, name: bytes, entry: Entry) -> None:
        if self._answer is not None and self._answer(entry, node, name):
            self.files += 1
            return
        self.absent_links.append((entry.path, entry.link))
        node.children[name] = Missing.LINK

    # --- what is in the way -----------------------------------------------------------------------------------------

    def _replace(self, node: Directory, name: bytes) -> None:
        """Forget what the shape knows at *name*. A directory goes from the disk too, anything else stays there."""
        child = node.children.pop(name, None)
        if child is None:
            return
        self._parent = None
        if isinstance(child, Directory):
            self.descriptors.forget(child)
            if child.made:
                remove_tree(self.descriptors.open(node), name, self._gone)

    def _drop(self, node: Directory, name: bytes) -> None:
        if node.made:
            with contextlib.suppress(FileNotFoundError):
                self._unlink(self.descriptors.open(node), name)

    def _unlink(self, parent_fd: int, name: bytes) -> None:
        self._gone(os.stat(name, dir_fd=parent_fd, follow_symlinks=False))
        os.unlink(name, dir_fd=parent_fd)

    def _gone(self, status: os.stat_result) -> None:
        self.files -= 1
        if stat.S_ISREG(status.st_mode) and status.st_nlink == 1:
            self.size -= status.st_size


def link_name(source_fd: int, source: bytes, parent_fd: int, name: bytes) -> None:
    """link(2) that follows nothing. Raises OSError."""
    os.link(source, name, src_dir_fd=source_fd, dst_dir_fd=parent_fd, follow_symlinks=False)


def _end_inheritance(root_fd: int) -> None:
    """Take from the root what new files would inherit: a default ACL, the setgid bit."""
    for attribute in _INHERITED:
        with contextlib.suppress(OSError):
            os.removexattr(root_fd, attribute)
    mode = os.fstat(root_fd).st_mode
    if mode & stat.S_ISGID:
        os.fchmod(root_fd, mode & 0o777)


def _write(fd: int, entry: Entry, content: Content) -> None:
    if entry.sparse is not None:
        _write_sparse(fd, entry, entry.sparse, content)
        return
    written = 0
    if entry.size:
        for chunk in content.chunks():
            written += _write_all(fd, chunk)
    if written != entry.size:
        raise TarError(shown(entry.path), f"has {written} bytes of content, {entry.size} were announced")


def _write_sparse(fd: int, entry: Entry, runs: list[tuple[int, int]], content: Content) -> None:
    """Write only the runs that hold data; what lies between them stays a hole."""
    try:
        os.ftruncate(fd, entry.size)
    except (OSError, OverflowError) as error:
        if isinstance(error, OSError) and error.errno not in {errno.EFBIG, errno.EINVAL}:
            raise
        raise LimitError(shown(entry.path), "larger than a file can be here") from error
    chunks: Iterable[bytes | memoryview] = content.chunks() if any(length for _, length in runs) else ()
    rest = memoryview(b"")
    source = iter(chunks)
    for offset, length in runs:
        if offset < 0 or length < 0 or offset + length > entry.size:
            raise TarError(shown(entry.path), "its sparse map points outside the file")
        os.lseek(fd, offset, os.SEEK_SET)
        while length:
            rest = rest or memoryview(next(source, b""))
            if not rest:
                raise TarError(shown(entry.path), "its sparse map promises more content than there is")
            taken = rest[:length]
            _write_all(fd, taken)
            rest = rest[len(taken) :]
            length -= len(taken)


def _write_all(fd: int, data: bytes | memoryview) -> int:
    written = os.write(fd, data)
    while written < len(data):
        written += os.write(fd, memoryview(data)[written:])
    return written
