"""The EROFS on-disk format, as far as an index over a tar needs it.

After the kernel's fs/erofs/erofs_fs.h and Documentation/filesystems/erofs.rst. All numbers are little-endian. An index:

    block 0, 1    zeros (space for a boot sector)
    block 2       super block at byte 1024, followed by the table of extra devices: one, unless it is a merged index
    block 3...    content that is not in the tar (rare), each file on a block boundary
                  extended attributes that several inodes share
                  directory blocks
                  inodes, each with its own attributes and, where it fits, its data (symlinks, ends of directories)

The tar is the extra device, and its blocks are numbered from TAR_START on: block TAR_START + n is the n-th 512 bytes of
the tar. So a file's address is known as soon as its header was read, whatever the size of the index will be.

Blocks have 512 bytes (Linux 6.4), because the members of a tar are aligned to that. Additions of Linux 6.15 (48-bit
addresses, times in compact inodes) are not used.
"""

from __future__ import annotations

import struct
from functools import cache

BLOCK = 512
BLOCK_BITS = 9
MAGIC = 0xE0F5E1E2
SUPER_OFFSET = 1024

COMPAT_CHECKSUM, COMPAT_MTIME = 0x1, 0x2
INCOMPAT_DEVICE_TABLE = 0x8

SUPER = struct.Struct("<IIIBBHQqIIII16s16sIHHHBBIQB23s")
"""magic, checksum, compatible features, block bits, extra slots, root nid, inodes, epoch (s), its ns, blocks, first
block of inodes, first block of shared attributes, uuid, volume name, incompatible features, compression, extra devices,
first device slot, directory block bits, attribute prefixes: count and start, packed nid, filter, reserved."""

DEVICE = struct.Struct("<64sII56s")
"""tag, blocks, first block in this file system's numbering, reserved."""
DEVICE_OFFSET = SUPER_OFFSET + SUPER.size
DEVICE_SLOT = DEVICE_OFFSET // DEVICE.size
DEVICE_TAG = b"layer.tar"

FIRST_BLOCK = 3
"""The first block that is free for content."""

TAR_START = 1 << 28
"""The number of the tar's first block; an index is always shorter (128 GiB)."""
TAR_BLOCKS = (1 << 32) - 1 - TAR_START
"""Most blocks of a tar that can be numbered (1.9 TiB)."""

COMPACT = struct.Struct("<HHHHIIIIHHI")
"""format, attribute words, mode, links, size, reserved, address, number, uid, gid, reserved."""
EXTENDED = struct.Struct("<HHHHQIIIIqII16x")
"""format, attribute words, mode, reserved, size, address, number, uid, gid, mtime (s), its ns, links."""
SLOT = 32
"""Inodes are at multiples of this; their nid is the distance from the first, in such units."""

IS_EXTENDED = 0x1
LAYOUT_SHIFT = 1
PLAIN, INLINE = 0, 2
"""Layouts of an inode's data: in blocks; or in blocks except for the last part, which follows the inode."""

DIRENT = struct.Struct("<QHBB")
"""nid, offset of the name in the block, file type, reserved."""
LONGEST_NAME = 255

REGULAR, DIRECTORY, CHARACTER, BLOCK_DEVICE, FIFO, SOCKET, SYMLINK = range(1, 8)
"""File types of directory entries."""
FILE_TYPES = {0o10: REGULAR, 0o04: DIRECTORY, 0o02: CHARACTER, 0o06: BLOCK_DEVICE, 0o01: FIFO, 0o12: SYMLINK}
"""File types by the upper four bits of a mode."""

ATTRIBUTES = struct.Struct("<IB7x")
"""The head of an inode's attributes: name filter, number of shared ones."""
ATTRIBUTE = struct.Struct("<BBH")
"""Length of the name without its prefix, number of the prefix, length of the value."""
ATTRIBUTE_PREFIXES = {
    1: b"user.",
    2: b"system.posix_acl_access",
    3: b"system.posix_acl_default",
    4: b"trusted.",
    6: b"security.",
}
MOST_SHARED = 255
LARGEST_VALUE = (1 << 16) - 1

_CHECKSUM_SEED = 0x5045B54A
_CRC32C_POLYNOMIAL = 0x82F63B78


def first_block(devices: int) -> int:
    """Return the first free block behind a table of *devices* devices; `FIRST_BLOCK` for one."""
    return blocks(DEVICE_OFFSET + devices * DEVICE.size)


def blocks(size: int) -> int:
    """Return how many blocks *size* bytes take."""
    return -(-size // BLOCK)


def padded(data: bytes) -> bytes:
    """Return *data* padded with zeros to whole blocks."""
    return data + bytes(-len(data) % BLOCK)


def device_number(major: int, minor: int) -> int:
    """Return a device's number, as the kernel's new_encode_dev."""
    return (minor & 0xFF) | (major << 8) | ((minor & ~0xFF) << 12)


def device_pair(number: int) -> tuple[int, int]:
    """Return the major and the minor part of a number from `device_number`."""
    return (number & 0xFFF00) >> 8, (number & 0xFF) | ((number >> 12) & 0xFFF00)


def checksum(block: bytes | bytearray) -> int:
    """Return the checksum of the block with the super block: CRC-32C of the bytes after the checksum field.

    The seed is the state after the magic number and a checksum of zero (erofs_superblock_csum_verify in the kernel).
    """
    table = _crc32c_table()
    state = _CHECKSUM_SEED
    for byte in block[8:BLOCK]:
        state = table[(state ^ byte) & 0xFF] ^ (state >> 8)
    return state


@cache
def _crc32c_table() -> list[int]:
    table = []
    for value in range(256):
        for _ in range(8):
            value = (value >> 1) ^ (_CRC32C_POLYNOMIAL if value & 1 else 0)
        table.append(value)
    return table
