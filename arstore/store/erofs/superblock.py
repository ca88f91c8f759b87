"""The super block of an index: what it says, its checksum, and the digest that the index carries as its uuid.

The uuid is the first half of the SHA-256 over all of the index but its first two blocks, with uuid and checksum taken
as zeros. So equal layers have equal uuids, and an index that was altered has not the one it should have.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from typing import NoReturn

from arstore.digest import CHUNK
from arstore.errors import StoreDamagedError
from arstore.store.erofs import format as layout

_CHECKSUM = slice(4, 8)
_UUID = slice(48, 64)
_SECOND = 1_000_000_000
_FEATURES = layout.INCOMPAT_DEVICE_TABLE
HINT = "remove the tree's directory: it is built again when it is used"


@dataclass(slots=True, frozen=True)
class SuperBlock:
    """What an index says of itself: `epoch` is the time (ns) of its compact inodes, places are numbers of blocks."""

    root_nid: int
    inodes: int
    epoch: int
    blocks: int
    inode_start: int
    attribute_start: int
    tar_blocks: int

    def block(self) -> bytes:
        """The block with the device table in it, without uuid and checksum."""
        seconds, rest = divmod(self.epoch, _SECOND)
        head = layout.SUPER.pack(
            layout.MAGIC,
            0,
            layout.COMPAT_CHECKSUM | layout.COMPAT_MTIME,
            layout.BLOCK_BITS,
            0,
            self.root_nid,
            self.inodes,
            seconds,
            rest,
            self.blocks,
            self.inode_start,
            self.attribute_start,
            b"",
            b"",
            _FEATURES,
            *(0, 1, layout.DEVICE_SLOT),
            *(0, 0, 0, 0, 0, b""),
        )
        return layout.padded(head + layout.DEVICE.pack(layout.DEVICE_TAG, self.tar_blocks, layout.TAR_START, b""))


def seal(fd: int, block: bytes) -> None:
    """Write *block* (`SuperBlock.block`) into the index *fd*, all else of which is written. Raises OSError."""
    sealed = bytearray(block)
    sealed[_UUID] = _digest(fd, block)
    sealed[_CHECKSUM] = layout.checksum(sealed).to_bytes(4, "little")
    os.pwrite(fd, sealed, layout.SUPER_OFFSET)


def parse(block: bytes, what: str) -> SuperBlock:
    """The super block in *block*, the third of an index.

    Raises StoreDamagedError, naming *what*, when it is not one that `SuperBlock.block` has made.
    """
    if len(block) < layout.BLOCK:
        damaged(what, "is too short")
    fields = layout.SUPER.unpack_from(block)
    magic, checksum, _, bits, _, root_nid, inodes, seconds, rest, blocks, inode_start, attribute_start = fields[:12]
    tag, tar_blocks, tar_start, _ = layout.DEVICE.unpack_from(block, layout.SUPER.size)
    if magic != layout.MAGIC:
        damaged(what, "is no EROFS image")
    if checksum != layout.checksum(block):
        damaged(what, "its super block does not have the checksum that it says")
    known = (layout.BLOCK_BITS, _FEATURES, 1, layout.DEVICE_SLOT, layout.TAR_START, layout.DEVICE_TAG)
    if (bits, fields[14], fields[16], fields[17], tar_start, tag.rstrip(b"\0")) != known:
        damaged(what, "is not an index over one tar")
    epoch = seconds * _SECOND + rest
    return SuperBlock(root_nid, inodes, epoch, blocks, inode_start, attribute_start, tar_blocks)


def check_digest(fd: int, block: bytes, what: str) -> None:
    """Raises StoreDamagedError when the index *fd*, whose super block is in *block*, was altered; OSError."""
    blank = bytearray(block)
    uuid = bytes(blank[_UUID])
    blank[_UUID] = bytes(len(uuid))
    blank[_CHECKSUM] = bytes(4)
    if _digest(fd, bytes(blank)) != uuid:
        damaged(what, "does not have the digest that it says")


def damaged(what: str, why: str) -> NoReturn:
    """Raises StoreDamagedError: the index *what* is not as it was written."""
    raise StoreDamagedError(what, why, HINT)


def _digest(fd: int, block: bytes) -> bytes:
    hasher = hashlib.sha256(block)
    offset = layout.FIRST_BLOCK * layout.BLOCK
    while data := os.pread(fd, CHUNK, offset):
        hasher.update(data)
        offset += len(data)
    return hasher.digest()[:16]
