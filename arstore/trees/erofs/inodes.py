"""Inodes for an index.

There may be a million of them, so an ordinary one is a bytes object: the 64 bytes of an extended inode, complete except
for its place, and for a symlink its target after them. Only an inode that has to be changed or extended later is a
`WrittenInode`.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, TypeAlias

from arstore.errors import TarError
from arstore.tar.entry import shown
from arstore.trees.erofs import format as layout
from arstore.trees.format import UnrepresentableError
from arstore.trees.metadata import LARGEST_ID, check_owner

if TYPE_CHECKING:
    from arstore.tar.entry import Entry
    from arstore.trees.erofs.attributes import Attribute

SECOND = 1_000_000_000

EXTENDED = layout.EXTENDED.size
COMPACT = layout.COMPACT.size
LARGEST_TAIL = layout.BLOCK - EXTENDED
"""Bytes that can follow an inode of either size (attributes, then data) and end in the same block as the inode."""

TIME = slice(32, 44)
"""Place of the time in an extended inode."""
MODE_HIGH = 5
"""Offset, in an inode of either size, of the byte of the mode that has the file type."""

_LARGEST_COMPACT_LINKS = (1 << 16) - 1
_pack = layout.EXTENDED.pack


class WrittenInode:
    """An inode with several names, with attributes, or with data that does not fit behind it.

    `head` is like an ordinary inode, `data` a symlink's target. `links` counts names (0 after it was replaced); `nid`
    is -1 until it has a place.
    """

    __slots__ = ("attributes", "data", "head", "links", "nid")

    def __init__(self, head: bytes, attributes: tuple[Attribute, ...] = (), data: bytes = b"") -> None:
        self.head = head
        self.attributes = attributes
        self.data = data
        self.links = 1
        self.nid = -1


Record: TypeAlias = "bytes | WrittenInode"


def packed(
    entry: Entry,
    mode: int,
    number: int,
    size: int = 0,
    address: int = 0,
    links: int = 1,
    data_layout: int = layout.PLAIN,
) -> bytes:
    """Return an extended inode without attributes: owner and time of *entry*, and *mode* with its file type.

    Raises TarError for numbers that an inode cannot have, UnrepresentableError for an address that is too large.
    """
    uid, gid = entry.uid, entry.gid
    if uid > LARGEST_ID or gid > LARGEST_ID:
        check_owner(entry)
    seconds, rest = divmod(entry.mtime, SECOND)
    form = layout.IS_EXTENDED | data_layout << layout.LAYOUT_SHIFT
    try:
        return _pack(form, 0, mode, 0, size, address, number, uid, gid, seconds, rest, links)
    except struct.error as error:
        check_owner(entry)
        if address >> 32:
            raise UnrepresentableError(entry.path, "is too far from the beginning of the tar") from error
        raise TarError(shown(entry.path), "its time or its size is out of range") from error


def altered(
    head: bytes,
    attribute_words: int,
    *,
    links: int | None = None,
    address: int | None = None,
    data_layout: int | None = None,
) -> bytes:
    """Return the extended inode *head* with attributes, and with other values where these are given."""
    form, _, mode, _, size, old_address, number, uid, gid, seconds, rest, old_links = layout.EXTENDED.unpack(head)
    return _pack(
        form if data_layout is None else layout.IS_EXTENDED | data_layout << layout.LAYOUT_SHIFT,
        attribute_words,
        mode,
        0,
        size,
        old_address if address is None else address,
        number,
        uid,
        gid,
        seconds,
        rest,
        old_links if links is None else links,
    )


def compacted(record: bytes) -> bytes:
    """Return an inode at half the size, with what follows it; unchanged if its numbers are too large for that.

    A compact inode does not store a time: the caller knows that it equals the file system's.
    """
    form, words, mode, _, size, address, number, uid, gid, _, _, links = layout.EXTENDED.unpack_from(record)
    if (uid | gid) >> 16 or size >> 32 or links > _LARGEST_COMPACT_LINKS:
        return record
    head = layout.COMPACT.pack(form ^ layout.IS_EXTENDED, words, mode, links, size, 0, address, number, uid, gid, 0)
    return head + record[EXTENDED:]


def time_of(epoch: int) -> bytes:
    """Return *epoch* (ns) as it is stored at `TIME` in an inode."""
    return struct.pack("<qI", *divmod(epoch, SECOND))
