"""Writing an index: from directories and their inodes to the bytes of an EROFS image.

Directories are written depth first, in the order of their names, which is the order of `find` and `ls -R`. The inodes
of a directory's files are adjacent, in the order of its entries; so are the blocks of directories, before all inodes.

An inode may cross a block boundary. But the data after it (its attributes, then a symlink's target or the end of a
directory) must end in the block in which the inode itself ends: the kernel (fs/erofs/inode.c) reads a short target from
that block alone.
"""

from __future__ import annotations

import os
from itertools import chain, islice
from typing import TYPE_CHECKING

from arstore.trees.erofs import format as layout
from arstore.trees.erofs.attributes import words
from arstore.trees.erofs.directories import DirectoryPlace, attributes_of, dirents
from arstore.trees.erofs.inodes import (
    COMPACT,
    EXTENDED,
    LARGEST_TAIL,
    MODE_HIGH,
    TIME,
    WrittenInode,
    altered,
    compacted,
    packed,
    time_of,
)
from arstore.trees.erofs.superblock import SuperBlock, seal
from arstore.trees.format import UnrepresentableError
from arstore.trees.metadata import MODE_BITS
from arstore.trees.skeleton import DirectoryNode, default_entry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from arstore.trees.erofs.attributes import Attribute, SharedAttributes
    from arstore.trees.erofs.inodes import Record
    from arstore.trees.erofs.superblock import DeviceRow

    Records = dict[DirectoryNode, dict[bytes, Record]]

_SLOT_BITS = 5
_PARTS = 1 << 14
_ADDRESS_AT = 16
"""Offset of the address in inodes of both sizes."""
_DIRECTORY = layout.DIRECTORY
_DIRECTORY_MODE = 0o040000
_LINK_HIGH = 0o12
_DEFAULT = default_entry(b"")


class Image:
    """The parts of an index while it is written: data in blocks, then inodes."""

    def __init__(
        self,
        records: Records,
        shared: SharedAttributes,
        epoch: int,
        content_end: int,
        made: int,
        attributes: Callable[[DirectoryNode], tuple[Attribute, ...]] = attributes_of,
    ) -> None:
        """*epoch* (ns) is the time of compact inodes, *content_end* the first free block, *made* the last number.

        *attributes* returns those of a directory. *records* is emptied during writing, because it is most of the
        memory.
        """
        self._records = records
        self._attributes_of = attributes
        self._shared = shared
        self._epoch_ns = epoch
        self._epoch = time_of(epoch)
        self._content_end = content_end
        self._next_block = content_end + layout.blocks(len(shared.area))
        self._made = made
        self._count = 1
        self._data: list[bytes] = []
        # A nid is an inode's number, and readdir(3) takes 0 for a deleted name.
        self._inodes = bytearray(layout.SLOT)
        self._position = layout.SLOT

    def write(
        self, fd: int, root: DirectoryNode, tar_blocks: int, devices: tuple[DeviceRow, ...] | None = None
    ) -> None:
        """Write the index of *root* and everything below it into *fd*, over *tar_blocks* blocks of a tar or *devices*.

        Raises TarError, UnrepresentableError, OSError.
        """
        top = DirectoryPlace(root, self._records.pop(root, {}), 0)
        top.parent_nid = self._reserve(top)
        todo = [top]
        while todo:
            place = todo.pop()
            todo.extend(reversed(self._fill_directory(place)))
            place.records.clear()
        inode_start = self._next_block
        end = inode_start + layout.blocks(self._position)
        if end > layout.TAR_START:
            raise UnrepresentableError(b"", "its index would be too long")
        _write_parts(fd, chain([layout.padded(self._shared.area)], self._data), self._content_end * layout.BLOCK)
        self._inodes += bytes(-self._position % layout.BLOCK)
        _write_at(fd, self._inodes, inode_start * layout.BLOCK)
        start = self._content_end
        block = SuperBlock(top.nid, self._count, self._epoch_ns, end, inode_start, start, tar_blocks, devices)
        seal(fd, block.block())

    # --- directories ------------------------------------------------------------------------------------------------

    def _fill_directory(self, place: DirectoryPlace) -> list[DirectoryPlace]:
        """Assign places to everything in a directory, then write its entries; return the subdirectories."""
        epoch, records, file_types = self._epoch, place.records, layout.FILE_TYPES
        inodes = self._inodes
        position = self._position
        nids: list[int] = []
        types: list[int] = []
        below: list[DirectoryPlace] = []
        for name in place.names:
            record = records.get(name)
            if isinstance(record, bytes):
                if record[TIME] == epoch:
                    record = compacted(record)
                high = record[MODE_HIGH] >> 4
                types.append(file_types[high])
                if high != _LINK_HIGH:
                    nids.append(position >> _SLOT_BITS)
                    inodes += record
                    position += len(record)
                    continue
                self._position = position
                nids.append(self._add_inode(record))
            else:
                self._position = position
                if record is None:
                    types.append(_DIRECTORY)
                    nids.append(self._enter_directory(place, name, below))
                else:
                    types.append(file_types[record.head[MODE_HIGH] >> 4])
                    nids.append(self._put_inode(record))
            position = self._position
        self._position = position
        self._count += len(nids) - 2
        self._write_entries(place, nids, types)
        return below

    def _enter_directory(self, place: DirectoryPlace, name: bytes, below: list[DirectoryPlace]) -> int:
        """Return the nid of the directory *name* in *place*, which is added to *below* if it is new."""
        if name == b".":
            return place.nid
        if name == b"..":
            return place.parent_nid
        node = place.node.children[name]
        assert isinstance(node, DirectoryNode)
        child = DirectoryPlace(node, self._records.pop(node, {}), place.nid)
        below.append(child)
        return self._reserve(child)

    def _reserve(self, place: DirectoryPlace) -> int:
        """Assign a place to a directory's inode, with space for the end of its data; return its nid."""
        node = place.node
        entry = node.entry or _DEFAULT
        found = self._attributes_of(node)
        body = self._shared.body(found) if found else b""
        place.is_inline = len(body) + place.tail <= LARGEST_TAIL
        self._made += 1
        head = packed(
            entry,
            _DIRECTORY_MODE | entry.mode & MODE_BITS,
            self._made,
            (len(place.counts) - 1) * layout.BLOCK + place.tail,
            0,
            place.links,
            layout.INLINE if place.is_inline else layout.PLAIN,
        )
        if body:
            head = altered(head, words(len(body)))
        if head[TIME] == self._epoch:
            head = compacted(head)
        place.head = head + body
        place.nid = self._add_inode(place.head + bytes(place.tail) if place.is_inline else place.head)
        # The entries follow when everything in the directory has its place.
        place.index = place.nid << _SLOT_BITS
        return place.nid

    def _write_entries(self, place: DirectoryPlace, nids: list[int], types: list[int]) -> None:
        """Write a directory's data: whole blocks to the block area, the end behind its inode if it is inline."""
        names = place.names
        if len(place.counts) == 1:
            blocks = [dirents(names, nids, types)]
        else:
            blocks = []
            start = 0
            for count in place.counts:
                end = start + count
                blocks.append(dirents(names[start:end], nids[start:end], types[start:end]))
                start = end
        last = blocks.pop() if place.is_inline else b""
        head = place.head
        if blocks:
            head = head[:_ADDRESS_AT] + self._append(blocks).to_bytes(4, "little") + head[_ADDRESS_AT + 4 :]
        record = head + last
        self._inodes[place.index : place.index + len(record)] = record

    # --- other inodes -----------------------------------------------------------------------------------------------

    def _put_inode(self, inode: WrittenInode) -> int:
        """Assign a place to a WrittenInode, if it has none yet; return its nid."""
        if inode.nid >= 0:
            self._count -= 1
            return inode.nid
        body = self._shared.body(inode.attributes)
        data = inode.data
        is_inline = bool(data) and len(body) + len(data) <= LARGEST_TAIL
        address = None
        if data and not is_inline:
            address, data = self._append([data]), b""
        head = altered(
            inode.head,
            words(len(body)),
            links=inode.links,
            address=address,
            data_layout=layout.INLINE if is_inline else layout.PLAIN,
        )
        if head[TIME] == self._epoch:
            head = compacted(head)
        inode.nid = self._add_inode(head + body + data)
        return inode.nid

    def _add_inode(self, record: bytes) -> int:
        """Add an inode with all that follows it; return its nid.

        Attributes alone have no size limit; with inline data after them, both have at most LARGEST_TAIL bytes.
        """
        position = self._position
        if record[0] >> layout.LAYOUT_SHIFT:
            size = EXTENDED if record[0] & layout.IS_EXTENDED else COMPACT
            if (position + size - 1) % layout.BLOCK + len(record) - size >= layout.BLOCK:
                gap = (COMPACT - size - position) % layout.BLOCK
                self._inodes += bytes(gap)
                position += gap
        self._inodes += record + bytes(-len(record) % layout.SLOT)
        self._position = position + len(record) + -len(record) % layout.SLOT
        return position >> _SLOT_BITS

    def _append(self, data: list[bytes]) -> int:
        """Append *data*, each piece padded to whole blocks, to the blocks; return the number of the first block."""
        first = self._next_block
        for one in data:
            self._data.append(layout.padded(one))
            self._next_block += layout.blocks(len(one))
        return first


def _write_parts(fd: int, parts: Iterable[bytes], offset: int) -> None:
    """Write *parts* one after the other from byte *offset* on, joining many at a time but never all."""
    source = iter(parts)
    while chunk := b"".join(islice(source, _PARTS)):
        _write_at(fd, chunk, offset)
        offset += len(chunk)


def _write_at(fd: int, data: bytes | bytearray, offset: int) -> None:
    with memoryview(data) as view:
        done = 0
        while done < len(view):
            done += os.pwrite(fd, view[done:], offset + done)
