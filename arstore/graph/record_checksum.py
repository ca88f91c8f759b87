"""The seal of a record: a checksum after each value of the graph, over its key and its text.

    <text>#<CRC-32 of key and text, 8 hexadecimal digits>

LMDB keeps no checksums, so a flipped bit in a name or a time would go unnoticed. A CRC-32 detects every burst of up to
32 bits, takes less than a microsecond, and locates a single flipped bit: `mended` corrects it. Values of format 1 have
no seal and are read as they are.
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
"""Bytes of key and value up to which the flipped bit is searched; the cost grows with their square."""


class BrokenSealError(ValueError):
    """A value does not match its checksum."""


def sealed(key: bytes, text: bytes) -> bytes:
    """Return the value to store under *key* for *text*."""
    return text + _seal(key, text)


def unsealed(key: bytes, value: bytes) -> bytes:
    """Return the text in *value*, which is stored under *key*. Raises BrokenSealError."""
    if value[-_LENGTH:-8] != _MARK:
        return value
    text = value[:-_LENGTH]
    if value[-_LENGTH:] != _seal(key, text):
        raise BrokenSealError("does not match its checksum")
    return text


def all_unsealed(rows: Sequence[tuple[bytes, bytes]]) -> list[bytes]:
    """Return the texts of *rows*, keys and values, checked all at once. Raises BrokenSealError if one is broken."""
    texts = [value[:-_LENGTH] for _, value in rows]
    seals = [b"#%08x" % crc32(text, crc32(key)) for text, (key, _) in zip(texts, rows, strict=True)]
    if seals == [value[-_LENGTH:] for _, value in rows]:
        return texts
    return [unsealed(key, value) for key, value in rows]


def is_sealed(key: bytes, value: bytes) -> bool:
    """Return whether *value* has a seal, and the right one."""
    return value[-_LENGTH:] == _seal(key, value[:-_LENGTH])


def mended(key: bytes, value: bytes) -> tuple[bytes, bytes] | None:
    """Return key and value as they were sealed, if a single flipped bit in them is the only damage; else None.

    It is practically impossible that another bit than the flipped one fits: two sealed texts of this length differ in
    at least four bits.
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
