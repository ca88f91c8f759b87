"""A graph's data file, damaged as by a disk, or on purpose with knowledge of its format."""

from __future__ import annotations

import random
import struct
from typing import TYPE_CHECKING

from arstore.graph.datafile import MAP_SIZE
from arstore.graph.lmdb_pages import walk

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

PAGE = 4096
_WORDS = (0, 1, 2, 8, 16, PAGE - 8, PAGE - 1, PAGE, 65534, 65535)
_NUMBERS = (0, 1, 2, 1 << 20, 1 << 22, 1 << 40, (1 << 64) - 1)
_META = (16, 40, 64, 72, 80, 112, 120, 128, 136, 144)
"""Offsets of 64-bit fields in a meta page: of its head, of both databases, the last page, the transaction."""


class Damage:
    """Damage of the data file with the bytes *original*; *scratch* is a file that may be written to."""

    def __init__(self, original: bytes, scratch: Path) -> None:
        self._original = original
        self._used = [number for number in range(2, len(original) // PAGE) if self._matters(number, scratch)]

    def _matters(self, number: int, scratch: Path) -> bool:
        """Whether a walk depends on page *number*."""
        altered = bytearray(self._original)
        altered[number * PAGE] ^= 1
        scratch.write_bytes(altered)
        return bool(walk(str(scratch), MAP_SIZE, lambda _key, _value: None).faults)

    def some(self, chance: random.Random) -> tuple[str, bytes]:
        """Damage a copy of the file at random; return a description and the bytes."""
        kinds: list[Callable[[random.Random, bytearray], str]] = [
            self._cut, self._place, self._head, self._number, self._node, self._node, self._meta, self._metas,
            self._noise, self._copied,
        ]  # fmt: skip
        data = bytearray(self._original)
        return chance.choice(kinds)(chance, data), bytes(data)

    def _cut(self, chance: random.Random, data: bytearray) -> str:
        length = chance.choice([chance.randrange(len(data)), chance.randrange(len(data) // PAGE) * PAGE])
        del data[length:]
        return f"cut to {length}"

    def _place(self, chance: random.Random, data: bytearray) -> str:
        page = chance.choice(self._used) * PAGE
        (lower,) = struct.unpack_from("<H", data, page + 12)
        at = page + 16 + 2 * chance.randrange(max(1, min(lower, PAGE - 16) // 2 - 8))
        return _word(chance, data, at, "node's place")

    def _head(self, chance: random.Random, data: bytearray) -> str:
        return _word(chance, data, chance.choice(self._used) * PAGE + chance.choice((8, 10, 12, 14)), "page's head")

    def _number(self, chance: random.Random, data: bytearray) -> str:
        page = chance.choice(self._used)
        value = chance.choice((*_NUMBERS, chance.randrange(len(data) // PAGE)))
        struct.pack_into("<Q", data, page * PAGE, value)
        return f"page {page} says it is {value}"

    def _node(self, chance: random.Random, data: bytearray) -> str:
        page = chance.choice(self._used) * PAGE
        (lower,) = struct.unpack_from("<H", data, page + 12)
        slot = page + 16 + 2 * chance.randrange(max(1, (lower - 16) // 2))
        (place,) = struct.unpack_from("<H", data, slot)
        return _word(chance, data, page + min(place, PAGE - 16) + chance.choice((0, 2, 4, 6, 8)), "node's head")

    def _meta(self, chance: random.Random, data: bytearray) -> str:
        return _word(chance, data, chance.randrange(2) * PAGE + chance.randrange(0, 152, 2), "meta page")

    def _metas(self, chance: random.Random, data: bytearray) -> str:
        at, value = chance.choice(_META), chance.choice((*_NUMBERS, len(data) // PAGE, chance.getrandbits(64)))
        for number in (0, 1):
            struct.pack_into("<Q", data, number * PAGE + at, value)
        return f"{value} at byte {at} of both meta pages"

    def _noise(self, chance: random.Random, data: bytearray) -> str:
        page = chance.choice(self._used)
        for _ in range(chance.randrange(1, 6)):
            data[page * PAGE + chance.randrange(PAGE)] = chance.randrange(256)
        return f"noise in page {page}"

    def _copied(self, chance: random.Random, data: bytearray) -> str:
        one, other = chance.choice(self._used), chance.choice(self._used)
        data[one * PAGE : one * PAGE + PAGE] = data[other * PAGE : other * PAGE + PAGE]
        if chance.randrange(2):
            struct.pack_into("<Q", data, one * PAGE, one)
        return f"page {other} in place of page {one}"


def _word(chance: random.Random, data: bytearray, at: int, what: str) -> str:
    (old,) = struct.unpack_from("<H", data, at)
    new = chance.choice((*_WORDS, chance.randrange(1 << 16), old ^ 1 << chance.randrange(16), (old + 2) & 0xFFFF))
    struct.pack_into("<H", data, at, new)
    return f"{what} at byte {at}: {old} to {new}"
