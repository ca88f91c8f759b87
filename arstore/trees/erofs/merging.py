"""Merging: one index that shows what an overlay of several layers shows, over the tars of all of them.

It is an index as in `format`, with a device for each file that has content (`devices`): the members' tars, and the
index of a member for content that is not in a tar. Only indexes are read, and no content is copied. The rules are those
of overlayfs (see `trees.merged_view`). The layers below the members are unknown, so marks are kept:

- a whiteout, except below an opaque directory, where it has no effect. Its directory gets `trusted.overlay.origin`,
  which makes overlayfs omit whiteouts even if no other layer has the directory;
- a directory is opaque if a member's was, or if a member has a whiteout or another file below it.

A file has as many links as it has names left. The same indexes always give the same bytes.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from arstore.builtin import ExitStack
from arstore.digest import Digest
from arstore.tar.entry import Entry, Kind
from arstore.trees.erofs import format as layout
from arstore.trees.erofs.attributes import OPAQUE, ORIGIN, SharedAttributes, kept
from arstore.trees.erofs.image import Image
from arstore.trees.erofs.inodes import LARGEST_TAIL, SECOND, WrittenInode
from arstore.trees.erofs.reader import IndexReader
from arstore.trees.erofs.superblock import DeviceRow, damaged
from arstore.trees.format import TreeStat, UnrepresentableError
from arstore.trees.skeleton import DirectoryNode

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from arstore.trees.erofs.attributes import Attribute
    from arstore.trees.erofs.inodes import Record
    from arstore.trees.erofs.reader import FoundInode

MOST_MEMBERS = 1 << 14
"""Each may need two devices, and the number of devices has 16 bits."""

_OPAQUE_NAME = b"trusted.overlay.opaque"
_TYPE, _PERMISSIONS = 0o170000, 0o7777
_FILE, _LINK, _CHARACTER = 0o100000, 0o120000, 0o020000


def merge(members: Sequence[tuple[str, str]], fd: int) -> TreeStat:
    """Write the merged index of *members*, top first, into the empty file *fd*.

    A member is its tree's key, of SHA-256, and the directory with its index. Raises UnrepresentableError when their
    tars have more blocks than can be numbered, StoreDamagedError, OSError.
    """
    if len(members) > MOST_MEMBERS:
        raise UnrepresentableError(b"", "more layers than an index has devices")
    with ExitStack() as stack:
        opened = []
        for key, path in members:
            tree_fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            stack.callback(os.close, tree_fd)
            opened.append(_Member(Digest(key), stack.enter_context(IndexReader(tree_fd, whole=True))))
        return _Merger().run(opened, fd)


class _Member:
    """A layer's index, and the devices for its tar and for the content in its index, once they are used."""

    def __init__(self, key: Digest, index: IndexReader) -> None:
        self.tag = key.hex.encode()
        self.index = index
        self.tar = -1
        self.own = -1
        self.links: dict[int, WrittenInode] = {}
        """Inodes with several names, by their nid."""
        self._entered: set[int] = set()

    def root(self) -> _Source:
        """Return its root directory."""
        return self, self.index.inode(self.index.super.root_nid)

    def enter(self, directory: FoundInode) -> None:
        """Enter a directory, which is allowed once: in a damaged index a directory may contain itself.

        Raises StoreDamagedError.
        """
        if directory.nid in self._entered:
            damaged(self.index.what, f"its inode {directory.nid} is a directory with two parents")
        self._entered.add(directory.nid)


if TYPE_CHECKING:
    _Source = tuple[_Member, FoundInode]
    """A directory of one member."""
    _Todo = tuple[DirectoryNode, list[_Source], bool, bool]
    """A directory, its sources, whether these end with a mark, and whether it is below an opaque directory."""


class _Merger:
    """The merged tree while it is built."""

    def __init__(self) -> None:
        self._records: dict[DirectoryNode, dict[bytes, Record]] = {}
        self._attributes: dict[DirectoryNode, tuple[Attribute, ...]] = {}
        self._attributed: list[tuple[Attribute, ...]] = []
        self._times: dict[int, int] = {}
        self._devices: list[DeviceRow] = []
        self._next = layout.TAR_START
        self._made = 0
        self._entries = 0
        self._size = 0

    def run(self, members: Sequence[_Member], fd: int) -> TreeStat:
        """Merge, and write the index. Raises the errors of `merge`."""
        root = DirectoryNode(None, b"")
        todo: list[_Todo] = [(root, [member.root() for member in members], False, False)]
        while todo:
            todo.extend(self._fill_directory(*todo.pop()))
        shared = SharedAttributes((*self._attributes.values(), *self._attributed))
        epoch = max(self._times, key=lambda time: (self._times[time], -time))
        start = layout.first_block(len(self._devices))
        image = Image(self._records, shared, epoch, start, self._made, lambda node: self._attributes.get(node, ()))
        image.write(fd, root, 0, tuple(self._devices))
        return TreeStat(self._entries, self._size)

    # --- directories ------------------------------------------------------------------------------------------------

    def _fill_directory(self, node: DirectoryNode, sources: list[_Source], ended: bool, hidden: bool) -> list[_Todo]:
        """Decide the content of a directory; return its subdirectories."""
        attributes: Mapping[bytes, bytes] = {}
        for depth, (member, inode) in enumerate(sources):
            member.enter(inode)
            found = member.index.attributes(inode)
            attributes = attributes if depth else found
            if found.get(_OPAQUE_NAME) == b"y":
                ended = True
                del sources[depth + 1 :]
                break
        hidden = hidden or ended
        top = sources[0][1]
        node.entry = Entry(b"", Kind.DIRECTORY, top.mode & _PERMISSIONS, top.uid, top.gid, top.mtime)
        self._count(top.mtime)
        here, below, masked = self._merged_names(sources, hidden)
        self._records[node] = here
        marks = (*([OPAQUE] if ended else []), *([ORIGIN] if masked else []))
        if attributes or marks:
            self._attributes[node] = kept(attributes, *marks)
        todo = []
        for name, (parts, closed) in below.items():
            child = node.children[name] = DirectoryNode(node, name)
            self._entries += 1
            todo.append((child, parts, closed, hidden))
        return todo

    def _merged_names(
        self, sources: list[_Source], hidden: bool
    ) -> tuple[dict[bytes, Record], dict[bytes, tuple[list[_Source], bool]], bool]:
        """Return the content of a directory: inodes, subdirectories with an end flag, and whether it has whiteouts."""
        here: dict[bytes, Record] = {}
        below: dict[bytes, tuple[list[_Source], bool]] = {}
        gone: set[bytes] = set()
        masked = False
        for member, directory in sources:
            index = member.index
            for number in range(layout.blocks(directory.size)):
                for name, nid, kind in index.entries(directory, number):
                    if name in here or name in gone or name in (b".", b".."):
                        continue
                    known = below.get(name)
                    if known is not None:
                        parts, closed = known
                        if closed:
                            continue
                        if kind == layout.DIRECTORY:
                            parts.append((member, index.inode(nid)))
                        else:
                            below[name] = parts, True
                    elif kind == layout.DIRECTORY:
                        below[name] = [(member, index.inode(nid))], False
                    elif (inode := index.inode(nid)).mode & _TYPE == _CHARACTER and not inode.address:
                        if hidden:
                            gone.add(name)
                        else:
                            here[name] = self._inode_record(member, inode)
                            masked = True
                    else:
                        here[name] = self._inode_record(member, inode)
                        self._entries += 1
        return here, below, masked

    # --- inodes -----------------------------------------------------------------------------------------------------

    def _inode_record(self, member: _Member, inode: FoundInode) -> Record:
        """Return the inode in its new form; for another name of an inode, the same record."""
        known = member.links.get(inode.nid)
        if known is not None:
            known.links += 1
            return known
        kind = inode.mode & _TYPE
        target = member.index.target(inode) if kind == _LINK else b""
        address = self._address(member, inode) if kind == _FILE else inode.address
        if kind == _FILE:
            self._size += inode.size
        self._count(inode.mtime)
        self._made += 1
        is_inline = 0 < len(target) <= LARGEST_TAIL
        head = layout.EXTENDED.pack(
            layout.IS_EXTENDED | (layout.INLINE if is_inline else layout.PLAIN) << layout.LAYOUT_SHIFT,
            *(0, inode.mode, 0, inode.size, 0 if target else address, self._made, inode.uid, inode.gid),
            *divmod(inode.mtime, SECOND),
            1,
        )
        attributes = kept(member.index.attributes(inode))
        if attributes:
            self._attributed.append(attributes)
        elif inode.links == 1 and (is_inline or not target):
            return head + target
        record = WrittenInode(head, attributes, target)
        if inode.links > 1:
            member.links[inode.nid] = record
        return record

    def _address(self, member: _Member, inode: FoundInode) -> int:
        """Return the number of a file's first block in the merged index."""
        if not inode.size:
            return 0
        in_tar, start = member.index.extent(inode)
        if member.tar < 0:
            member.tar = self._device(member, member.index.super.tar_blocks)
        if in_tar:
            return member.tar + start // layout.BLOCK
        if member.own < 0:
            member.own = self._device(member, member.index.super.attribute_start)
        return member.own + start // layout.BLOCK

    def _device(self, member: _Member, blocks: int) -> int:
        """Add a device; return the number of its first block."""
        first = self._next
        self._next += blocks
        if self._next - layout.TAR_START > layout.TAR_BLOCKS:
            raise UnrepresentableError(b"", "the tars are too long")
        self._devices.append(DeviceRow(member.tag, blocks, first))
        return first

    def _count(self, mtime: int) -> None:
        self._times[mtime] = self._times.get(mtime, 0) + 1
