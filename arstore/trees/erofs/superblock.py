"""The super block of an index: its fields, its checksum, and the digest that is the index's uuid.

The uuid is the first half of the SHA-256 over the whole index except its first two blocks, with zeros for uuid and
checksum. So equal layers have equal uuids, and an altered index no longer matches its uuid.
"""

from __future__ import annotations

import os
from functools import lru_cache
from typing import TYPE_CHECKING

from arstore.digest import CHUNK
from arstore.errors import StoreDamagedError
from arstore.trees.erofs import format as layout
from arstore.values import NamedTuple

if TYPE_CHECKING:
    from typing import NoReturn

_CHECKSUM = slice(4, 8)
_UUID = slice(48, 64)
_SECOND = 1_000_000_000
_FEATURES = layout.INCOMPAT_DEVICE_TABLE
HINT = "remove the tree's directory: it is built again when it is used"


class DeviceRow(NamedTuple):
    """A row of the device table: *blocks* blocks of another file, numbered from *start* on; *tag* is its name."""

    tag: bytes
    blocks: int
    start: int


class SuperBlock(NamedTuple):
    """The fields of a super block: `epoch` is the time (ns) of compact inodes, positions are block numbers.

    Its only device is its own tar, of `tar_blocks` blocks, unless `devices` lists others.
    """

    root_nid: int
    inodes: int
    epoch: int
    blocks: int
    inode_start: int
    attribute_start: int
    tar_blocks: int
    devices: tuple[DeviceRow, ...] | None = None

    def block(self) -> bytes:
        """Return the super block and the device table behind it, in whole blocks, without uuid and checksum."""
        devices = self.devices
        if devices is None:
            devices = (DeviceRow(layout.DEVICE_TAG, self.tar_blocks, layout.TAR_START),)
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
            *(0, len(devices), layout.DEVICE_SLOT),
            *(0, 0, 0, 0, 0, b""),
        )
        table = b"".join(layout.DEVICE.pack(device.tag, device.blocks, device.start, b"") for device in devices)
        return layout.padded(head + table)


def seal(fd: int, block: bytes) -> None:
    """Write the result of `SuperBlock.block` into the index *fd*, after everything else. Raises OSError."""
    sealed = bytearray(block)
    sealed[_UUID] = _digest(fd, block)
    sealed[_CHECKSUM] = layout.checksum(sealed).to_bytes(4, "little")
    os.pwrite(fd, sealed, layout.SUPER_OFFSET)


def parse(block: bytes, what: str) -> SuperBlock:
    """Parse the super block in *block*, the third block of an index.

    Raises StoreDamagedError, naming *what*, if `SuperBlock.block` did not make it.
    """
    if len(block) < layout.BLOCK:
        damaged(what, "is too short")
    fields = layout.SUPER.unpack_from(block)
    magic, checksum, _, bits, _, root_nid, inodes, seconds, rest, blocks, inode_start, attribute_start = fields[:12]
    tag, tar_blocks, tar_start, _ = layout.DEVICE.unpack_from(block, layout.SUPER.size)
    if magic != layout.MAGIC:
        damaged(what, "is not an EROFS image")
    if checksum != _checksum(block):
        damaged(what, "its super block does not match its checksum")
    known = (layout.BLOCK_BITS, _FEATURES, 1, layout.DEVICE_SLOT, layout.TAR_START, layout.DEVICE_TAG)
    if (bits, fields[14], fields[16], fields[17], tar_start, tag.rstrip(b"\0")) != known:
        damaged(what, "is not an index over one tar")
    epoch = seconds * _SECOND + rest
    return SuperBlock(root_nid, inodes, epoch, blocks, inode_start, attribute_start, tar_blocks)


@lru_cache(maxsize=256)
def _checksum(block: bytes) -> int:
    """Return the checksum of a block; cached, because some indexes are opened for each of thousands of paths."""
    return layout.checksum(block)


def devices(fd: int, what: str) -> list[DeviceRow]:
    """Read the device table of the index *fd*, without checking it: the kernel verifies the checksum.

    Raises StoreDamagedError, naming *what*, if it is missing; OSError.
    """
    head = os.pread(fd, layout.SUPER.size, layout.SUPER_OFFSET)
    if len(head) < layout.SUPER.size:
        damaged(what, "is too short")
    fields = layout.SUPER.unpack(head)
    count, slot = fields[16], fields[17]
    table = os.pread(fd, count * layout.DEVICE.size, slot * layout.DEVICE.size)
    if fields[0] != layout.MAGIC or len(table) < count * layout.DEVICE.size:
        damaged(what, "is not an EROFS image with a device table")
    return [DeviceRow(tag.rstrip(b"\0"), blocks, start) for tag, blocks, start, _ in layout.DEVICE.iter_unpack(table)]


def check_digest(fd: int, block: bytes, what: str) -> None:
    """Raise StoreDamagedError if the index *fd*, whose super block is in *block*, was altered. Raises OSError."""
    blank = bytearray(block)
    uuid = bytes(blank[_UUID])
    blank[_UUID] = bytes(len(uuid))
    blank[_CHECKSUM] = bytes(4)
    if _digest(fd, bytes(blank)) != uuid:
        damaged(what, "does not match its own digest")


def damaged(what: str, why: str) -> NoReturn:
    """Raise StoreDamagedError: the index *what* is not as it was written."""
    raise StoreDamagedError(what, why, HINT)


def _digest(fd: int, block: bytes) -> bytes:
    import hashlib

    hasher = hashlib.sha256(block)
    offset = layout.SUPER_OFFSET + len(block)
    while data := os.pread(fd, CHUNK, offset):
        hasher.update(data)
        offset += len(data)
    return hasher.digest()[:16]
