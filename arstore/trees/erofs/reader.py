"""Reading an index without a mount: inodes, directories, attributes, and the place of content.

Everything is read when it is needed, by pread(2), and checked against the bounds of the index. A file that arstore did
not write raises StoreDamagedError, never another error.
"""

from __future__ import annotations

import os
import stat
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

from arstore.trees.erofs import format as layout
from arstore.trees.erofs.superblock import damaged, parse
from arstore.trees.forms import INDEX

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import NoReturn

_SECOND = 1_000_000_000
_LARGEST_LINK = 4095
_HEAD = struct.Struct("<H")


@dataclass(slots=True)
class FoundInode:
    """One inode. `mtime` is in ns; `address` is a block number, or a device number; positions are bytes of the index.

    `body` is where its attributes begin and `tail` where they end, which is where inline data is.
    """

    nid: int
    mode: int
    links: int
    size: int
    address: int
    uid: int
    gid: int
    mtime: int
    is_inline: bool
    body: int
    tail: int

    @property
    def is_directory(self) -> bool:
        """Whether the inode is a directory."""
        return stat.S_ISDIR(self.mode)


class IndexReader:
    """The open index of a tree; a context manager that closes it. Every method may raise StoreDamagedError, OSError.

    *whole*: read it into memory at once, for callers that need most of it; `bytes` has it then.
    """

    def __init__(self, tree_fd: int, whole: bool = False) -> None:
        self._bytes: bytes | None = None
        self.bytes = b""
        self.fd = os.open(INDEX, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW, dir_fd=tree_fd)
        try:
            self.what = f"{_directory_name(tree_fd)}/{INDEX}"
            self.size = os.fstat(self.fd).st_size
            self.block = os.pread(self.fd, layout.BLOCK, layout.SUPER_OFFSET)
            self.super = parse(self.block, self.what)
            if whole:
                self.bytes = self._bytes = os.pread(self.fd, self.size, 0)
        except BaseException:
            os.close(self.fd)
            raise
        self._inodes = self.super.inode_start * layout.BLOCK
        self._attributes = self.super.attribute_start * layout.BLOCK

    def __enter__(self) -> IndexReader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the descriptor."""
        os.close(self.fd)

    # --- inodes -----------------------------------------------------------------------------------------------------

    def inode(self, nid: int) -> FoundInode:
        """Return the inode *nid*."""
        place = self._inodes + nid * layout.SLOT
        data = self._read_at(place, layout.COMPACT.size)
        form = _HEAD.unpack_from(data)[0]
        if form & layout.IS_EXTENDED:
            data = self._read_at(place, layout.EXTENDED.size)
            _, words, mode, _, size, address, _, uid, gid, seconds, rest, links = layout.EXTENDED.unpack(data)
            mtime = seconds * _SECOND + rest
        else:
            _, words, mode, links, size, _, address, _, uid, gid, _ = layout.COMPACT.unpack(data)
            mtime = self.super.epoch
        kind = form >> layout.LAYOUT_SHIFT
        if kind not in (layout.PLAIN, layout.INLINE) or mode >> 12 not in layout.FILE_TYPES:
            self._damaged(nid, "has an unknown type")
        body = place + len(data)
        tail = body + (layout.ATTRIBUTES.size + 4 * (words - 1) if words else 0)
        return FoundInode(nid, mode, links, size, address, uid, gid, mtime, kind == layout.INLINE, body, tail)

    def inode_at(self, nid: int) -> int:
        """Return where the inode *nid* begins in `bytes`, all of which has to be in memory."""
        place = self._inodes + nid * layout.SLOT
        if not 0 <= place < self.size:
            damaged(self.what, f"points at byte {place}, beyond its end")
        length = layout.EXTENDED.size if self.bytes[place] & layout.IS_EXTENDED else layout.COMPACT.size
        if place + length > len(self.bytes):
            damaged(self.what, f"ends at byte {len(self.bytes)}, in its inode {nid}")
        return place

    def attributes(self, inode: FoundInode) -> dict[bytes, bytes]:
        """Return its extended attributes."""
        if inode.tail == inode.body:
            return {}
        _, shared = layout.ATTRIBUTES.unpack(self._read_at(inode.body, layout.ATTRIBUTES.size))
        own = inode.body + layout.ATTRIBUTES.size + 4 * shared
        if own > inode.tail:
            self._damaged(inode.nid, "has more shared attributes than space for them")
        found = {}
        places = struct.unpack(f"<{shared}I", self._read_at(own - 4 * shared, 4 * shared))
        for place in places:
            name, value, _ = self._attribute(inode, self._attributes + 4 * place, self._inodes)
            found[name] = value
        while own < inode.tail:
            name, value, own = self._attribute(inode, own, inode.tail)
            found[name] = value
        return found

    def _attribute(self, inode: FoundInode, place: int, end: int) -> tuple[bytes, bytes, int]:
        """Return the attribute at *place*, which has to end by *end*, and the place of the next one."""
        length, number, size = layout.ATTRIBUTE.unpack(self._read_at(place, layout.ATTRIBUTE.size))
        start = place + layout.ATTRIBUTE.size
        prefix = layout.ATTRIBUTE_PREFIXES.get(number)
        if prefix is None or start + length + size > end:
            self._damaged(inode.nid, "has an attribute that goes past its end")
        data = self._read_at(start, length + size)
        return prefix + data[:length], data[length:], start + length + size + -(length + size) % 4

    def target(self, inode: FoundInode) -> bytes:
        """Return the target of a symlink."""
        if not 0 < inode.size <= _LARGEST_LINK:
            self._damaged(inode.nid, "is a symlink with an invalid target")
        return b"".join(self._data(inode, number) for number in range(layout.blocks(inode.size)))

    def device(self, inode: FoundInode) -> tuple[int, int]:
        """Return the major and minor number of a device; zeros for other files."""
        if stat.S_ISCHR(inode.mode) or stat.S_ISBLK(inode.mode):
            return layout.device_pair(inode.address)
        return 0, 0

    def extent(self, inode: FoundInode) -> tuple[bool, int]:
        """Return where a regular file's content begins: whether it is in the tar (or the index), and the byte there.

        The place is checked against the size of the tar in the super block.
        """
        end = inode.address + layout.blocks(inode.size)
        if inode.is_inline:
            self._damaged(inode.nid, "is a file with inline content")
        if inode.size == 0:
            return True, 0
        if inode.address >= layout.TAR_START:
            if end - layout.TAR_START > self.super.tar_blocks:
                self._damaged(inode.nid, "points outside the tar")
            return True, (inode.address - layout.TAR_START) * layout.BLOCK
        if inode.address < layout.FIRST_BLOCK or end > self.super.attribute_start:
            self._damaged(inode.nid, "points outside the area of content")
        return False, inode.address * layout.BLOCK

    # --- directories ------------------------------------------------------------------------------------------------

    def entries(self, directory: FoundInode, number: int) -> list[tuple[bytes, int, int]]:
        """Return the entries in block *number* of a directory: name, nid, file type."""
        data, count = self.directory_block(directory, number)
        first = count * layout.DIRENT.size
        heads = [layout.DIRENT.unpack_from(data, layout.DIRENT.size * at) for at in range(count)]
        ends = [head[1] for head in heads[1:]] + [len(data)]
        found = []
        for (nid, start, kind, _), end in zip(heads, ends, strict=True):
            name = data[start:end]
            if end == len(data):
                name = name.rstrip(b"\0")
            if not name or start < first or len(name) > layout.LONGEST_NAME:
                self._damaged(directory.nid, "is a directory with a broken name")
            found.append((name, nid, kind))
        return found

    def directory_block(self, directory: FoundInode, number: int) -> tuple[bytes, int]:
        """Return block *number* of a directory, as far as it is used, and the number of entries in it."""
        data = self._data(directory, number)
        first = self._offset(directory, data, 0)
        count = first // layout.DIRENT.size
        if first % layout.DIRENT.size or not count or first > len(data):
            self._damaged(directory.nid, "is a directory with a broken block")
        return data, count

    def find(self, directory: FoundInode, name: bytes) -> int | None:
        """Return the nid of *name* in a directory; None if it does not exist."""
        low, high = 0, layout.blocks(directory.size)
        while high - low > 1:
            middle = (low + high) // 2
            if self._first_name(directory, middle) <= name:
                low = middle
            else:
                high = middle
        for entry, nid, _ in self.entries(directory, low) if high else ():
            if entry == name:
                return nid
        return None

    def _first_name(self, directory: FoundInode, number: int) -> bytes:
        data = self._data(directory, number)
        start = self._offset(directory, data, 0)
        end = self._offset(directory, data, 1) if start > layout.DIRENT.size else len(data)
        return data[start:end].rstrip(b"\0")

    def _offset(self, directory: FoundInode, data: bytes, at: int) -> int:
        """Return where the name of entry *at* begins in a directory's block."""
        if len(data) < (at + 1) * layout.DIRENT.size:
            self._damaged(directory.nid, "is a directory with a broken block")
        offset: int = layout.DIRENT.unpack_from(data, at * layout.DIRENT.size)[1]
        return offset

    # --- bytes ------------------------------------------------------------------------------------------------------

    def _data(self, inode: FoundInode, number: int) -> bytes:
        """Return block *number* of a directory or a symlink, as far as it is used."""
        length = min(layout.BLOCK, inode.size - number * layout.BLOCK)
        if inode.is_inline and number == layout.blocks(inode.size) - 1:
            return self._read_at(inode.tail, length)
        return self._read_at((inode.address + number) * layout.BLOCK, length)

    def _read_at(self, place: int, length: int) -> bytes:
        if not 0 <= place <= self.size - length:
            damaged(self.what, f"points at byte {place}, beyond its end")
        if self._bytes is not None:
            return self._bytes[place : place + length]
        data = os.pread(self.fd, length, place)
        if len(data) != length:
            damaged(self.what, f"ends at byte {place + len(data)}")
        return data

    def _damaged(self, nid: int, why: str) -> NoReturn:
        damaged(self.what, f"its inode {nid} {why}")


def _directory_name(fd: int) -> str:
    """Return the path of an open directory, for messages; a confined worker cannot see it."""
    try:
        return os.readlink(f"/proc/self/fd/{fd}")
    except OSError:
        return "the tree"


def walk(index: IndexReader, path: bytes) -> Iterator[tuple[bytes, FoundInode]]:
    """Yield the inodes from the root to *path*, each with its own path, as far as they exist.

    A file that is not a directory ends the walk. Raises StoreDamagedError, OSError.
    """
    inode = index.inode(index.super.root_nid)
    yield b"", inode
    names = path.split(b"/") if path else []
    for depth, name in enumerate(names):
        if not inode.is_directory:
            return
        nid = index.find(inode, name)
        if nid is None:
            return
        inode = index.inode(nid)
        yield b"/".join(names[: depth + 1]), inode
