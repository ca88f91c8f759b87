"""The 512-byte header: its fields, its numbers and its checksum.

POSIX.1-2024 pax, "ustar Interchange Format", and the GNU tar manual, "Basic Tar Format". Forms: v7 (no magic), ustar,
GNU (two times in place of the prefix; base-256 numbers, which are accepted in every form) and star (a shorter prefix).
Go before 1.8 also wrote a prefix under GNU's magic (golang/go issues 12594 and 21005).

This is the hot loop of every import: one `struct` call splits a header, and Adler-32 sums its bytes.
"""

from __future__ import annotations

import struct
from zlib import adler32 as _adler32

from arstore.errors import TarError
from arstore.tar.entry import Kind

BLOCK = 512
"""Bytes of a header; content is padded to a multiple of it."""
ZEROS = bytes(BLOCK)

FIELDS = struct.Struct("100s8s8s8s12s12s8sc100s8s64x8s8s155s12s")
"""name, mode, uid, gid, size, mtime, checksum, type, link name, magic with version, major, minor, prefix, the rest."""

GNU = b"ustar  \0"
"""The magic and version of GNU headers. Old sparse files (type S) always have it."""
_USTAR = b"ustar\0"
_STAR_TRAILER = b"tar\0"
_STAR_PREFIX = 131
_TIME_SIZE = 12

KINDS = {
    b"\0": Kind.FILE,
    b"0": Kind.FILE,
    b"7": Kind.FILE,
    b"S": Kind.FILE,
    b"1": Kind.HARDLINK,
    b"2": Kind.SYMLINK,
    b"3": Kind.CHARACTER,
    b"4": Kind.BLOCK,
    b"5": Kind.DIRECTORY,
    b"D": Kind.DIRECTORY,
    b"6": Kind.FIFO,
}
"""Types that create a file. Contiguous files (7) are files, GNU's dumped directories (D) are directories."""

_MEMO_MAX = 1 << 14
_memo: dict[bytes, int] = {}


def number(field: bytes, what: str, name: str) -> int:
    """Return the value of a numeric field: octal digits between blanks and NULs, or GNU's base 256, perhaps negative.

    An empty field is 0. Raises TarError, which names the field as *name*.
    """
    value = _memo.get(field)
    if value is None:
        value = _parsed(field)
        if value is None:
            raise TarError(what, f"a header's {name} is not a number")
        if len(_memo) >= _MEMO_MAX:
            _memo.clear()
        _memo[field] = value
    return value


def _parsed(field: bytes) -> int | None:
    """Like `number`, but return None if the field is not a number."""
    if field[0] & 0x80:
        # The top bit marks the form, the next one is the sign of a two's complement number in the remaining bits.
        value = int.from_bytes(field, "big") & ((1 << 8 * len(field) - 1) - 1)
        return value - (1 << 8 * len(field) - 1) if field[0] & 0x40 else value
    digits = field.strip(b" \0").partition(b"\0")[0]
    if not digits:
        return 0
    if digits.isdigit() and b"8" not in digits and b"9" not in digits:
        return int(digits, 8)
    return None


def checksum_matches(block: bytes, field: bytes) -> bool:
    """Return whether the checksum in *field* is that of *block*, where *field* itself counts as blanks.

    Old tars summed signed bytes; both sums are accepted, as GNU tar does.
    """
    # The low half of an Adler-32 that starts at 0 is the sum modulo 65521, which 256 bytes cannot reach.
    total = (
        256
        + (_adler32(block[:148], 0) & 0xFFFF)
        + (_adler32(block[156:412], 0) & 0xFFFF)
        + (_adler32(block[412:], 0) & 0xFFFF)
    )
    return field == b"%06o\0 " % total or _unusual_checksum_matches(block, field, total)


def _unusual_checksum_matches(block: bytes, field: bytes, total: int) -> bool:
    digits = field.strip(b" \0").partition(b"\0")[0]
    if not digits.isdigit() or b"8" in digits or b"9" in digits:
        return False
    high_bytes = sum(1 for byte in block[:148] + block[156:] if byte >= 0x80)
    return int(digits, 8) in (total, total - 256 * high_bytes)


def full_name(name: bytes, prefix: bytes, magic: bytes, rest: bytes) -> bytes:
    """Return a member's name from the two fields of its header, if the form has a prefix."""
    name = name.partition(b"\0")[0]
    if prefix[0] == 0:
        return name
    if magic.startswith(_USTAR):
        prefix = prefix[:_STAR_PREFIX] if rest.endswith(_STAR_TRAILER) else prefix
    elif magic != GNU or not _is_misplaced(prefix):
        return name
    prefix = prefix.partition(b"\0")[0]
    return prefix + b"/" + name if prefix else name


def _is_misplaced(prefix: bytes) -> bool:
    """Return whether a GNU header has a prefix in place of its times, by the rule of Go's archive/tar (`readHeader`).

    It is a prefix when one of the two times is not a number, and all of it is ASCII.
    """
    times = (prefix[:_TIME_SIZE], prefix[_TIME_SIZE : 2 * _TIME_SIZE])
    if all(time[0] == 0 or _parsed(time) is not None for time in times):
        return False
    return prefix.partition(b"\0")[0].isascii()
