"""Tar archives put together by hand, header by header, in forms that no tar program writes."""

from __future__ import annotations

from typing import Any

END = bytes(1024)


def header(
    name: bytes = b"file",
    letter: bytes = b"0",
    size: int | bytes = 0,
    *,
    mode: bytes = b"0000644\0",
    uid: bytes = b"0000000\0",
    gid: bytes = b"0000000\0",
    mtime: bytes = b"00000000000\0",
    link: bytes = b"",
    magic: bytes = b"ustar\x0000",
    major: bytes = b"0000000\0",
    minor: bytes = b"0000000\0",
    prefix: bytes = b"",
    signed: bool = False,
) -> bytes:
    """One block with a valid checksum; `prefix` is everything after the device numbers (up to 167 bytes)."""
    block = name.ljust(100, b"\0") + mode + uid + gid
    block += size if isinstance(size, bytes) else b"%011o\0" % size
    block += mtime + b" " * 8 + letter + link.ljust(100, b"\0") + magic.ljust(8, b"\0") + bytes(64)
    block = (block + major + minor + prefix).ljust(512, b"\0")
    assert len(block) == 512
    return summed(block, signed=signed)


def summed(block: bytes, *, signed: bool = False) -> bytes:
    """*block* with a valid checksum."""
    block = block[:148] + b" " * 8 + block[156:]
    total = sum(block) - 256 * (signed and sum(byte > 127 for byte in block))
    return block[:148] + b"%06o\0 " % total + block[156:]


def padded(data: bytes) -> bytes:
    """*data* with zeros up to the block boundary."""
    return data + bytes(-len(data) % 512)


def member(name: bytes, data: bytes = b"", letter: bytes = b"0", **fields: Any) -> bytes:
    """A header and its content."""
    return header(name, letter, len(data), **fields) + padded(data)


def record(keyword: bytes, value: bytes) -> bytes:
    """One PAX record."""
    rest = len(keyword) + len(value) + 3
    length = rest + len(str(rest + len(str(rest))))
    return b"%d %s=%s\n" % (length, keyword, value)


def pax(*records: tuple[bytes, bytes], letter: bytes = b"x") -> bytes:
    """An extended header with these records."""
    return member(b"PaxHeaders/x", b"".join(record(*pair) for pair in records), letter)


def gnu_long(text: bytes, letter: bytes = b"L") -> bytes:
    """A GNU long name (L) or long link (K)."""
    return member(b"././@LongLink", text + b"\0", letter)


def base256(value: int, width: int = 12) -> bytes:
    """GNU's binary form of a number."""
    return (value & ((1 << 8 * width) - 1) | 1 << 8 * width - 1).to_bytes(width, "big")
