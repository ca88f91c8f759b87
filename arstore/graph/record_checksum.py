"""The seal of a record: a checksum behind each value of the graph, over its key and what it says.

    <text>#<CRC-32 of key and text, 8 hexadecimal digits>

LMDB keeps no checksums, and a flipped bit in a name or a time would be believed. A CRC-32 finds every burst of up to 32
bits, costs less than a microsecond, and tells where a single flipped bit was: `mended` puts it right. Values of format
1 have no seal and are read as they are.
"""

from __future__ import annotations

from binascii import crc32
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

_MARK = b"#"
_LENGTH = 9
"""Bytes of a seal: the mark and eight digits."""
_LONGEST = 1 << 16
"""Bytes of a key and value that are still worth a search for the flipped bit, whose cost grows with their square."""


class BrokenSealError(ValueError):
    """A value does not have the checksum that it says."""


def sealed(key: bytes, text: bytes) -> bytes:
    """The value to store under *key* for *text*."""
    return text + _seal(key, text)


def unsealed(key: bytes, value: bytes) -> bytes:
    """The text in *value*, which stands under *key*. Raises BrokenSealError."""
    if value[-_LENGTH:-8] != _MARK:
        return value
    text = value[:-_LENGTH]
    if value[-_LENGTH:] != _seal(key, text):
        raise BrokenSealError("does not have the checksum that it says")
    return text


def all_unsealed(rows: Sequence[tuple[bytes, bytes]]) -> list[bytes]:
    """The texts of *rows*, keys and values, in one go. Raises BrokenSealError when one of them is broken."""
    texts = [value[:-_LENGTH] for _, value in rows]
    seals = [b"#%08x" % crc32(text, crc32(key)) for text, (key, _) in zip(texts, rows, strict=True)]
    if seals == [value[-_LENGTH:] for _, value in rows]:
        return texts
    return [unsealed(key, value) for key, value in rows]


def is_sealed(key: bytes, value: bytes) -> bool:
    """Whether *value* has a seal, and the right one."""
    return value[-_LENGTH:] == _seal(key, value[:-_LENGTH])


def mended(key: bytes, value: bytes) -> tuple[bytes, bytes] | None:
    """Key and value as they were sealed, where one flipped bit in either is all that is wrong; else None.

    That another flip than the one that happened fits is as good as impossible: two sealed texts of this length differ
    in at least four bits.
    """
    if len(value) < _LENGTH or len(key) + len(value) > _LONGEST:
        return None
    both = bytearray(key + value)
    for place in range(len(both)):
        for bit in range(8):
            both[place] ^= 1 << bit
            one, other = bytes(both[: len(key)]), bytes(both[len(key) :])
            if is_sealed(one, other):
                return one, other
            both[place] ^= 1 << bit
    return None


def _seal(key: bytes, text: bytes) -> bytes:
    return b"#%08x" % crc32(text, crc32(key))
