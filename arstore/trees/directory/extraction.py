"""Extraction: the entries of one layer onto disk, below one open directory.

Every name is reached through directory descriptors (`open_directories`); `placement` decides where it belongs.
Directories stay private until the end, when they get their metadata, children first. The caller handles marks:
`builder` writes them for overlayfs, `unpacker` removes files.

A crash leaves an unnamed tree, which is deleted and not repaired.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from typing import TYPE_CHECKING

from arstore.disk.rmtree import remove_tree_at
from arstore.errors import LimitError
from arstore.linux.files.xattr import remove_acls
from arstore.tar.entry import Entry, Kind, shown
from arstore.tar.steps import EXTRACTED
from arstore.trees.directory.checksums import runs_of
from arstore.trees.directory.content import write_content, write_hashed
from arstore.trees.directory.open_directories import Descriptors
from arstore.trees.placement import Placement
from arstore.trees.relocation import NOTHING
from arstore.trees.skeleton import DirectoryNode, default_entry, joined

if TYPE_CHECKING:
    from arstore.disk.free_space import Room
    from arstore.trees.directory.checksums import Recorder
    from arstore.trees.format import Content
    from arstore.trees.memory_quota import Allowance
    from arstore.trees.metadata import Metadata

_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_TYPES = {Kind.CHARACTER: stat.S_IFCHR, Kind.BLOCK: stat.S_IFBLK, Kind.FIFO: stat.S_IFIFO}


class Extraction(Placement):
    """Extracts one layer into the empty directory *root_fd*, which belongs to the caller."""

    def __init__(
        self,
        root_fd: int,
        metadata: Metadata,
        recorder: Recorder | None = None,
        allowance: Allowance | None = None,
        room: Room | None = None,
    ) -> None:
        super().__init__(allowance, metadata.attributes)
        self.shape.root.fd = root_fd
        self.metadata = metadata
        self.descriptors = Descriptors(self._unlink, self.count_inode)
        self._room = room
        self._recorder = recorder
        self.latest = -1
        """The inode number of the last regular file that was recorded."""
        _end_inheritance(root_fd)

    def count_inode(self) -> None:
        """Count an inode that is about to be created.

        Raises LimitError past the steps, NoSpaceError before the file system runs out of inodes, OSError.
        """
        self._allowance.step(EXTRACTED)
        self._count_name()

    def _count_name(self) -> None:
        """Count a name that is about to be created: on some file systems a hard link also takes an inode."""
        if self._room is not None:
            self._room.note_inode()

    def apply_directories(self, nodes: list[DirectoryNode]) -> None:
        """Set the metadata of *nodes* (parents first), the last first. Raises TarError, OSError."""
        for node in reversed(nodes):
            fd = self.descriptors.open(node)
            entry = node.entry or default_entry(node.path)
            self.metadata.apply(fd, entry)
            if self._recorder is not None:
                self._recorder.add_directory(node.path, entry, os.fstat(fd), fd)

    def discard(self, node: DirectoryNode, name: bytes) -> None:
        """Remove *name* from *node*, whatever it is, if it exists. Raises OSError."""
        child = node.children.pop(name, None)
        if isinstance(child, DirectoryNode):
            self._drop_directory(child)
        self._drop_file(node, name)

    def close(self) -> None:
        """Close every descriptor except that of the root."""
        self.descriptors.close()

    # --- members ----------------------------------------------------------------------------------------------------

    def _make_directory(self, node: DirectoryNode) -> None:
        if not node.made:
            self.descriptors.open(node)

    def _make_file(self, node: DirectoryNode, name: bytes, entry: Entry, content: Content) -> None:
        if name in node.children:
            self._replace(node, name)
        parent = self.descriptors.open(node)
        self.count_inode()
        mode = self.metadata.creation_mode(entry)
        try:
            fd = os.open(name, _NEW_FILE, mode, dir_fd=parent)
        except FileExistsError:
            self._unlink(parent, name)
            fd = os.open(name, _NEW_FILE, mode, dir_fd=parent)
        try:
            if self._recorder is None:
                write_content(fd, entry, content)
                self.metadata.apply(fd, entry, created=True)
            else:
                self._record_file(self._recorder, node, name, entry, content, fd)
        finally:
            os.close(fd)
        self.files += 1
        self.size += entry.size

    def _record_file(
        self, recorder: Recorder, node: DirectoryNode, name: bytes, entry: Entry, content: Content, fd: int
    ) -> None:
        """Write content and metadata, and record both."""
        kind, data = b"f", write_hashed(fd, entry, content)
        self.metadata.apply(fd, entry, created=True)
        if entry.sparse is not None:
            kind, data = b"s", data + runs_of(entry)
        if entry.xattrs or self.metadata.has_marked(entry):
            recorder.add_attributed(node, name, kind, entry, data, os.fstat(fd), fd)
        else:
            recorder.add(node, name, kind, entry, entry.size, data)
        self.latest = os.fstat(fd).st_ino

    def _record_name(
        self, node: DirectoryNode, name: bytes, kind: bytes, entry: Entry, size: int = 0, data: bytes = b""
    ) -> None:
        """Record a name that is neither a file nor a directory."""
        if self._recorder is not None:
            self._recorder.add(node, name, kind, entry, size, data)

    def _make_symlink(self, node: DirectoryNode, name: bytes, entry: Entry) -> None:
        parent = self.descriptors.open(node)
        self.count_inode()
        try:
            os.symlink(entry.link, name, dir_fd=parent)
        except FileExistsError:
            self._unlink(parent, name)
            os.symlink(entry.link, name, dir_fd=parent)
        self.metadata.apply_to_name(parent, name, entry)
        self._record_name(node, name, b"l", entry, data=entry.link)
        self.files += 1

    def _make_node(self, node: DirectoryNode, name: bytes, entry: Entry) -> None:
        is_device = entry.kind is not Kind.FIFO
        if is_device and self.metadata.substitutes_devices:
            self._make_file(node, name, self.metadata.substitute(entry), NOTHING)
            return
        if is_device and not self.metadata.makes_devices:
            self.metadata.devices.note(entry.path)
            self._hide(joined(node.path, [name]))
            return
        parent = self.descriptors.open(node)
        number = os.makedev(entry.major, entry.minor) if is_device else 0
        self.count_inode()
        os.mknod(name, _TYPES[entry.kind] | entry.mode & 0o777, number, dir_fd=parent)
        self.metadata.apply_to_name(parent, name, entry)
        self._record_name(node, name, entry.kind.value.encode(), entry, size=number)
        self.files += 1

    def _make_link(self, source: DirectoryNode, last: bytes, node: DirectoryNode, name: bytes) -> bool:
        if not source.made:
            return False
        source_fd = self.descriptors.open(source)
        parent = self.descriptors.open(node, keep=source)
        self._count_name()
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
                raise LimitError(shown(name), "more hard links to one file than the file system permits") from error
            raise
        self.files += 1
        if self._recorder is not None:
            self._recorder.note(node, name, b"h", joined(source.path, [last]))
        return True

    # --- what is in the way -----------------------------------------------------------------------------------------

    def _exists(self, node: DirectoryNode, name: bytes) -> bool:
        if not node.made:
            return False
        try:
            os.stat(name, dir_fd=self.descriptors.open(node), follow_symlinks=False)
        except OSError as error:
            if error.errno in {errno.ENOENT, errno.ENAMETOOLONG}:
                return False
            raise
        return True

    def _drop_file(self, node: DirectoryNode, name: bytes) -> None:
        if node.made:
            with contextlib.suppress(FileNotFoundError):
                self._unlink(self.descriptors.open(node), name)
                if self._recorder is not None:
                    self._recorder.note(node, name, b"-")

    def _drop_directory(self, child: DirectoryNode) -> None:
        self.descriptors.forget(child)
        if self._recorder is not None:
            self._recorder.drop_directory(child.path)
        if child.made and child.parent is not None:
            remove_tree_at(self.descriptors.open(child.parent), child.name, self._gone)

    def _unlink(self, parent_fd: int, name: bytes) -> None:
        self._gone(os.stat(name, dir_fd=parent_fd, follow_symlinks=False))
        os.unlink(name, dir_fd=parent_fd)

    def _gone(self, status: os.stat_result) -> None:
        self.files -= 1
        if stat.S_ISREG(status.st_mode) and status.st_nlink == 1:
            self.size -= status.st_size


def link_name(source_fd: int, source: bytes, parent_fd: int, name: bytes) -> None:
    """Call link(2) without following symlinks. Raises OSError."""
    os.link(source, name, src_dir_fd=source_fd, dst_dir_fd=parent_fd, follow_symlinks=False)


def _end_inheritance(root_fd: int) -> None:
    """Remove from the root what new files would inherit: ACLs and the setgid bit of its parent."""
    remove_acls(root_fd)
    mode = os.fstat(root_fd).st_mode
    if mode & stat.S_ISGID:
        os.fchmod(root_fd, mode & 0o777)
