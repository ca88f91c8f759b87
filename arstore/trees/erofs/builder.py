"""Building an index: entries in, `layer.erofs` out.

A file's content is not read: its inode points to its place in the tar. Content that is not in a tar (a file that an
adapted layer copies from a lower one, without an `offset`) is written into the index itself, before everything else.
The same entries always give the same bytes.

Memory: some hundred bytes per member, limited by the layer's allowance. A crash leaves a file without a super block.
"""

from __future__ import annotations

import os
import struct
from typing import TYPE_CHECKING

from arstore.errors import LimitError
from arstore.tar.entry import Entry, Kind, shown
from arstore.tar.limits import ACCEPTED, Limits
from arstore.trees.attributes import Attributes
from arstore.trees.erofs import format as layout
from arstore.trees.erofs.attributes import SharedAttributes, taken
from arstore.trees.erofs.directories import attributes_of
from arstore.trees.erofs.image import Image
from arstore.trees.erofs.inline_content import FilePart, OwnContent
from arstore.trees.erofs.inodes import EXTENDED, LARGEST_TAIL, MODE_HIGH, WrittenInode, altered, packed
from arstore.trees.format import Needs, TreeStat, UnrepresentableError
from arstore.trees.forms import INDEX, TAR
from arstore.trees.memory_quota import NAME, Allowance
from arstore.trees.metadata import MODE_BITS
from arstore.trees.placement import Placement
from arstore.trees.skeleton import MAX_NAME

if TYPE_CHECKING:
    from collections.abc import Iterator

    from arstore.tar.steps import Steps
    from arstore.trees.erofs.attributes import Attribute
    from arstore.trees.erofs.inodes import Record
    from arstore.trees.format import Content
    from arstore.trees.skeleton import DirectoryNode
    from arstore.workers.shared_budget import Account

_FILE, _LINK = 0o100000, 0o120777
_TYPES = {Kind.CHARACTER: 0o020000, Kind.BLOCK: 0o060000, Kind.FIFO: 0o010000}
_REGULAR_HIGH = 0o10
_EXTENT = struct.Struct("<8xQI")
"""Size and address of an extended inode."""
_WHITEOUT = Entry(b"", Kind.CHARACTER)
_SAMPLE = 15
_SAMPLED = NAME * (_SAMPLE + 1)
_USUAL_NAME = 48
"""Bytes of a name that `NAME` accounts for."""
# Aliases, because these are looked up for every file.
_TAR_START, _BLOCK_BITS, _IN_BLOCK = layout.TAR_START, layout.BLOCK_BITS, layout.BLOCK - 1


class ErofsBuilder(Placement):
    """Makes the index of one layer in the directory *tree_fd*; the caller writes the tar there.

    When `finish` is called, the tar must contain all entries. *tree_fd* belongs to the caller.
    """

    def __init__(
        self,
        tree_fd: int,
        limits: Limits = ACCEPTED,
        account: Account | None = None,
        steps: Steps | None = None,
    ) -> None:
        allowance = Allowance(limits, index=True, account=account, steps=steps)
        super().__init__(allowance, Attributes(limits.strict_xattrs))
        self._tree_fd = tree_fd
        self._fd = os.open(INDEX, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600, dir_fd=tree_fd)
        self._records: dict[DirectoryNode, dict[bytes, Record]] = {}
        self._node: DirectoryNode | None = None
        self._here: dict[bytes, Record] = {}
        self._attributed: list[WrittenInode] = []
        self._times: dict[int, int] = {}
        self._made = 0
        self.latest = -1
        self._tar_end = layout.TAR_START
        self._content = OwnContent(self._fd)

    def finish(self) -> tuple[Needs, TreeStat]:
        """Write the index.

        Raises UnsafePathError, TarError, LimitError, UnrepresentableError, OSError.
        """
        nodes = self.decide_marks()
        masked = [node.path for node in nodes if node.whiteouts and self._write_whiteouts(node)]
        implied = [node.path for node in nodes if node.entry is None]
        self._keep_within_tar()
        if self._tar_end - layout.TAR_START > layout.TAR_BLOCKS:
            raise UnrepresentableError(b"", "the tar is too long")
        shared = SharedAttributes(self._attributes(nodes))
        image = Image(self._records, shared, self._epoch(nodes), self._content.end, self._made)
        image.write(self._fd, self.shape.root, self._tar_end - layout.TAR_START)
        marked = [node.path for node in nodes if node.marked]
        dropped = self.attributes.dropped
        needs = Needs(sorted(implied), self.absent_links, sorted(masked), sorted(marked), self.passed, dropped)
        return needs, TreeStat(self.files + len(nodes) - 1, self.size)

    def close(self) -> None:
        """Close the index's descriptor."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _write_whiteouts(self, node: DirectoryNode) -> bool:
        """Write the whiteouts of *node*; return whether it has any. A name that the layer has a file at gets none."""
        here = self._records.setdefault(node, {})
        wanted = [name for name in sorted(node.whiteouts - node.children.keys()) if name not in here]
        for name in wanted:
            _check_name(name, name)
            self._made += 1
            here[name] = packed(_WHITEOUT, _TYPES[Kind.CHARACTER], self._made)
        return bool(wanted)

    def _epoch(self, nodes: list[DirectoryNode]) -> int:
        """Return the most frequent time (ns) of inodes, by a sample: those can be compact."""
        for node in nodes:
            self._count_time(node.entry.mtime if node.entry is not None else 0)
        return max(self._times, key=lambda time: (self._times[time], -time))

    def _attributes(self, nodes: list[DirectoryNode]) -> Iterator[tuple[Attribute, ...]]:
        """Yield the attributes of every inode that has any, once per inode."""
        for node in nodes:
            if node.opaque or (node.entry is not None and node.entry.xattrs):
                yield attributes_of(node)
        for inode in self._attributed:
            if inode.links:
                yield inode.attributes

    # --- members ----------------------------------------------------------------------------------------------------

    def _make_file(self, node: DirectoryNode, name: bytes, entry: Entry, content: Content) -> None:
        if name in node.children:
            self._replace(node, name)
        here = self._here if node is self._node else self._records_of(node)
        if name in here:
            self._drop_file(node, name)
        size = entry.size
        address = 0
        if size:
            offset = entry.offset
            if entry.sparse is not None or not offset or offset & _IN_BLOCK:
                address = self._content.take(entry, content)
            else:
                address = _TAR_START + (offset >> _BLOCK_BITS)
                end = address + (size + _IN_BLOCK >> _BLOCK_BITS)
                if end > self._tar_end:
                    self._tar_end = end
        here[name] = self._inode_record(name, entry, _FILE | entry.mode & MODE_BITS, size, address, layout.PLAIN)
        self.latest = self._made
        self.files += 1
        self.size += size

    def _make_symlink(self, node: DirectoryNode, name: bytes, entry: Entry) -> None:
        here = self._records_of(node)
        self._drop_file(node, name)
        target = entry.link
        record = self._inode_record(name, entry, _LINK, len(target), 0, layout.INLINE)
        if isinstance(record, WrittenInode):
            record.data = target
        elif len(target) > LARGEST_TAIL:
            record = WrittenInode(record, (), target)
        else:
            record += target
        here[name] = record
        self.files += 1

    def _make_node(self, node: DirectoryNode, name: bytes, entry: Entry) -> None:
        number = 0 if entry.kind is Kind.FIFO else layout.device_number(entry.major, entry.minor)
        mode = _TYPES[entry.kind] | entry.mode & MODE_BITS
        self._records_of(node)[name] = self._inode_record(name, entry, mode, 0, number, layout.PLAIN)
        self.files += 1

    def _make_link(self, source: DirectoryNode, last: bytes, node: DirectoryNode, name: bytes) -> bool:
        there = self._records.get(source, {})
        record = there.get(last)
        if record is None:
            return False
        _check_name(name, name)
        if isinstance(record, bytes):
            record = there[last] = WrittenInode(record[:EXTENDED], (), record[EXTENDED:])
        record.links += 1
        self._allowance.hold(NAME + 2 * len(name))
        self._drop_file(node, name)
        self._records_of(node)[name] = record
        self.files += 1
        return True

    def _make_directory(self, node: DirectoryNode) -> None:
        if node.parent is not None and self._exists(node.parent, node.name):
            self._drop_file(node.parent, node.name)
            node.fresh = True

    def _inode_record(self, name: bytes, entry: Entry, mode: int, size: int, address: int, data_layout: int) -> Record:
        """Return the inode of *entry*. Raises TarError, LimitError, UnrepresentableError."""
        if len(name) > _USUAL_NAME:
            _check_name(name, entry.path)
            self._allowance.hold(2 * len(name))
        self._made = number = self._made + 1
        if number & _SAMPLE == 1:
            self._count_time(entry.mtime)
            self._allowance.hold(_SAMPLED)
        head = packed(entry, mode, number, size, address, 1, data_layout)
        if entry.xattrs and (found := taken(entry)):
            self._allowance.hold_xattrs(entry)
            inode = WrittenInode(head, found)
            self._attributed.append(inode)
            return inode
        return head

    def _count_time(self, mtime: int) -> None:
        self._times[mtime] = self._times.get(mtime, 0) + 1

    # --- the end of the tar -----------------------------------------------------------------------------------------

    def _keep_within_tar(self) -> None:
        """Copy the last file into the index if the tar lacks the padding after it (umoci writes such tars).

        The kernel reads whole blocks; up to Linux 6.18 at least, an incomplete block is an error.
        """
        try:
            tar = os.open(TAR, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW, dir_fd=self._tree_fd)
        except FileNotFoundError:
            return
        try:
            size = os.fstat(tar).st_size
            if size < (self._tar_end - layout.TAR_START) * layout.BLOCK:
                for here in self._records.values():
                    for name, record in here.items():
                        if self._is_last(record):
                            here[name] = self._copied(name, record, tar)
                self._tar_end = layout.TAR_START + size // layout.BLOCK
        finally:
            os.close(tar)

    def _is_last(self, record: Record) -> bool:
        """Return whether a file ends where the last one in the tar ends."""
        head = record.head if isinstance(record, WrittenInode) else record
        if head[MODE_HIGH] >> 4 != _REGULAR_HIGH:
            return False
        size, address = _EXTENT.unpack_from(head)
        return bool(size) and address + layout.blocks(size) == self._tar_end

    def _copied(self, name: bytes, record: Record, tar: int) -> Record:
        """Return *record* with its content in the index."""
        head = record.head if isinstance(record, WrittenInode) else record
        size, address = _EXTENT.unpack_from(head)
        part = FilePart(tar, (address - layout.TAR_START) * layout.BLOCK, size)
        head = altered(head, 0, address=self._content.take(Entry(name, Kind.FILE, size=size), part))
        if isinstance(record, WrittenInode):
            record.head = head
            return record
        return head

    # --- what is there ----------------------------------------------------------------------------------------------

    def _records_of(self, node: DirectoryNode) -> dict[bytes, Record]:
        """Return the records of *node*, cached for the next file."""
        if node is not self._node:
            self._node = node
            self._here = self._records.setdefault(node, {})
        return self._here

    def _exists(self, node: DirectoryNode, name: bytes) -> bool:
        return name in self._records.get(node, {})

    def _drop_file(self, node: DirectoryNode, name: bytes) -> None:
        here = self._records.get(node)
        if here and (record := here.pop(name, None)) is not None:
            self._gone(record)

    def _drop_directory(self, child: DirectoryNode) -> None:
        self._node = None
        todo = [child]
        while todo:
            node = todo.pop()
            for record in self._records.pop(node, {}).values():
                self._gone(record)
            todo.extend(node.directories())

    def _gone(self, record: Record) -> None:
        self.files -= 1
        if isinstance(record, WrittenInode):
            record.links -= 1
            if record.links:
                return
            head = record.head
        else:
            head = record
        if head[MODE_HIGH] >> 4 == _REGULAR_HIGH:
            self.size -= _EXTENT.unpack_from(head)[0]


def _check_name(name: bytes, path: bytes) -> None:
    if len(name) > MAX_NAME:
        raise LimitError(shown(path[:120]), "a name is longer than the kernel permits")
