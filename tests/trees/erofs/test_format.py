"""The on-disk format: sizes, numbers and the checksum, compared with the kernel's header."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import images
from trees.erofs.trees import built

from arstore.trees.erofs import format as layout
from arstore.trees.erofs.superblock import SuperBlock, parse


def test_sizes_of_the_structures() -> None:
    assert layout.SUPER.size == 128
    assert layout.DEVICE.size == 128
    assert layout.DEVICE_SLOT * layout.DEVICE.size == layout.DEVICE_OFFSET == 1152
    assert (layout.COMPACT.size, layout.EXTENDED.size) == (32, 64)
    assert (layout.DIRENT.size, layout.ATTRIBUTES.size, layout.ATTRIBUTE.size) == (12, 12, 4)
    assert layout.DEVICE_OFFSET + layout.DEVICE.size <= layout.FIRST_BLOCK * layout.BLOCK
    assert layout.TAR_START + layout.TAR_BLOCKS == (1 << 32) - 1


@given(st.integers(0, (1 << 12) - 1), st.integers(0, (1 << 20) - 1))
def test_device_numbers(major: int, minor: int) -> None:
    number = layout.device_number(major, minor)
    assert number < 1 << 32
    assert layout.device_pair(number) == (major, minor)
    # Their lower bits are those that user space knows.
    assert number == os.makedev(major, minor) & 0xFFFFFFFF


@pytest.mark.parametrize(("size", "blocks"), [(0, 0), (1, 1), (512, 1), (513, 2), (1 << 40, 1 << 31)])
def test_blocks(size: int, blocks: int) -> None:
    assert layout.blocks(size) == blocks
    if size < 1 << 20:
        assert len(layout.padded(bytes(size))) == blocks * 512


def test_the_checksum_is_crc_32c_from_the_kernels_seed() -> None:
    """The seed is the state of a CRC-32C after the magic number and four zeros."""
    state = 0xFFFFFFFF
    for byte in layout.MAGIC.to_bytes(4, "little") + bytes(4):
        state ^= byte
        for _ in range(8):
            state = (state >> 1) ^ (0x82F63B78 if state & 1 else 0)
    for byte in range(504):
        state ^= byte & 0xFF
        for _ in range(8):
            state = (state >> 1) ^ (0x82F63B78 if state & 1 else 0)
    block = bytes(8) + bytes(byte & 0xFF for byte in range(504))
    assert layout.checksum(block) == state


SUPERS = st.builds(
    SuperBlock,
    root_nid=st.integers(0, (1 << 16) - 1),
    inodes=st.integers(0, (1 << 64) - 1),
    epoch=st.integers(-(1 << 62), 1 << 62),
    blocks=st.integers(0, (1 << 32) - 1),
    inode_start=st.integers(0, (1 << 32) - 1),
    attribute_start=st.integers(0, (1 << 32) - 1),
    tar_blocks=st.integers(0, (1 << 32) - 1),
    devices=st.none(),
)


@given(SUPERS)
def test_super_blocks_are_read_as_they_were_written(one: SuperBlock) -> None:
    block = bytearray(one.block())
    assert len(block) == layout.BLOCK
    block[4:8] = layout.checksum(block).to_bytes(4, "little")
    assert parse(bytes(block), "it") == one


def test_the_first_blocks_of_an_index(tmp_path: Path) -> None:
    with built(tmp_path / "t", [images.file("f", b"x")]):
        data = (tmp_path / "t/layer.erofs").read_bytes()
    assert data[:1024] == bytes(1024)
    assert data[1024:1028] == b"\xe2\xe1\xf5\xe0"
    assert data[1024 + 12] == 9
    assert data[1152:1161] == b"layer.tar"
    assert len(data) % 512 == 0
