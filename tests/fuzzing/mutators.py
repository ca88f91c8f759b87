"""Mutations that keep the form of their input, so that the bytes pass its first check."""

from __future__ import annotations

import copy
import json
import random
import struct
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from fuzzing.target import Mutate

BLOCK = 512
NUMBERS = (
    0, 1, 2, 3, 7, 8, 11, 12, 24, 31, 32, 63, 64, 127, 128, 255, 256, 511, 512, 513, 1023, 1024, 4095, 4096, 4097,
    32767,
    32768, 65535, 65536, (1 << 28) - 1, 1 << 28, (1 << 28) + 1, (1 << 31) - 1, 1 << 31, (1 << 32) - 2, (1 << 32) - 1,
    1 << 32, 1 << 33, 1 << 40, (1 << 48) - 1, 1 << 62, (1 << 63) - 1, 1 << 63, (1 << 64) - 1, 999_999_999, 1 << 30,
)  # fmt: skip
"""Numbers at which behaviour changes: sizes of fields, blocks, pages, limits."""
WIDTHS = {1: "<B", 2: "<H", 4: "<I", 8: "<Q"}


# --- tar ------------------------------------------------------------------------------------------------------------

_FIELDS = ((0, 100), (100, 8), (108, 8), (116, 8), (124, 12), (136, 12), (156, 1), (157, 100), (257, 8), (329, 8),
           (337, 8), (345, 155), (386, 12), (398, 12), (482, 1), (483, 12))  # fmt: skip
_LETTERS = b"0123456\0" * 2 + b"7xgLKSDVXMNAEI5"
_NAMES = (
    b"a", b"d/f", b"d", b"d/", b"./", b".", b"../x", b"/abs", b"d/../x", b"l/x", b".wh.a", b".wh..wh..opq", b"d/.wh.f",
    b"d/.wh..wh..opq", b".wh.", b"x" * 100, b"y/" * 50, b"\xff\xfe", b"a\nb", b".wh..wh.x", b".wh.d", b"d/f/g", b"..",
    b"l", b"a/b",
)  # fmt: skip


def headers(data: bytes | bytearray) -> list[int]:
    """Offsets where a reader would look for headers, as far as sizes are readable."""
    found, place = [], 0
    while place + BLOCK <= len(data) and len(found) < 64:
        found.append(place)
        digits = data[place + 124 : place + 136].strip(b" \0").partition(b"\0")[0]
        size = int(digits, 8) if digits.isdigit() and not digits.strip(b"01234567") else 0
        if data[place + 156 : place + 157] in (b"1", b"2", b"3", b"4", b"5", b"6"):
            size = 0
        place += BLOCK + (size + -size % BLOCK if size < len(data) else 0)
    return found


def tar(data: bytes, most: int, chance: random.Random, mutate: Mutate) -> bytes:
    """A tar whose headers have valid checksums: fields, whole members or any bytes are changed."""
    made = bytearray(data)
    places = headers(data)
    what = chance.randrange(8)
    if what < 4 and places:
        for _ in range(chance.choice((1, 1, 2, 3))):
            start, length = chance.choice(_FIELDS)
            place = chance.choice(places) + start
            made[place : place + length] = _field(start, length, chance)
    elif what == 4 and len(places) > 1:
        start, end = sorted(chance.sample([*places, len(data)], 2))
        at = chance.choice(places)
        made[at:at] = data[start:end]
    elif what == 5 and len(places) > 1:
        start, end = sorted(chance.sample([*places, len(data)], 2))
        del made[start:end]
    else:
        made = bytearray(mutate(data, most))
    del made[most:]
    if chance.randrange(20):
        for place in headers(made):
            if made[place]:
                made[place + 148 : place + 156] = b" " * 8
                made[place + 148 : place + 156] = b"%06o\0 " % sum(made[place : place + BLOCK])
    return bytes(made)


def _field(start: int, length: int, chance: random.Random) -> bytes:
    if start == 156:
        return bytes([chance.choice(_LETTERS)])
    if start == 257:
        return chance.choice((b"ustar\x0000", b"ustar  \0", bytes(8), b"ustar\0  "))
    if length >= 100:
        return chance.choice(_NAMES)[:length].ljust(length, b"\0")
    if length == 1:
        return bytes([chance.randrange(3)])
    number = chance.choice(NUMBERS)
    if chance.randrange(3) == 0:
        top = 1 << 8 * length - 1
        return ((number if chance.randrange(2) else -number) % top | top).to_bytes(length, "big")
    return (b"%o\0" % number)[-length:].rjust(length, b"0")


def pax(data: bytes, most: int, chance: random.Random, mutate: Mutate) -> bytes:
    """Extended headers whose records have valid lengths, most of the time."""
    made = mutate(data, most)
    if chance.randrange(5) == 0:
        return made
    parts = []
    for line in made.split(b"\n"):
        text = line.partition(b" ")[2] if line[:1].isdigit() else line
        if not text:
            continue
        length = len(text) + 2
        while len(b"%d" % length) + len(text) + 2 != length:
            length = len(b"%d" % length) + len(text) + 2
        parts.append(b"%d %s\n" % (length, text))
    return b"".join(parts)[:most]


# --- JSON -----------------------------------------------------------------------------------------------------------

_TEXTS = tuple(
    json.dumps(value)
    for value in (
        *(
            None,
            True,
            False,
            0,
            1,
            -1,
            2**31,
            2**63 - 1,
            2**63,
            2**64,
            10**40,
            0.5,
            1e308,
            "",
            "x",
            "\0",
            "a\nb",
            "\u202e",
        ),
        *([], {}, [[]], [None], {"": None}, [""], "linux", "amd64", "=", "A=b", "\ud800"),
        *("sha256:" + "0" * 64, "sha512:" + "0" * 128),
    )
)
"""Values, as texts, that are put into a document and may be changed there."""


_KEYS = ("mediaType", "manifests", "layers", "config", "subject", "data", "urls")


def document(data: bytes, most: int, chance: random.Random, mutate: Mutate) -> bytes:
    """JSON that stays JSON in half of all cases; of several documents separated by NULs, one is changed."""
    if chance.randrange(2):
        return mutate(data, most)
    parts = data.split(b"\0")
    which = chance.randrange(len(parts))
    try:
        value = json.loads(parts[which])
    except (ValueError, RecursionError):
        return mutate(data, most)
    for _ in range(chance.choice((1, 1, 2, 4))):
        value = _changed(value, chance)
    parts[which] = json.dumps(value, separators=(",", ":")).encode("utf-8", "replace")
    return b"\0".join(parts)[:most]


def _changed(value: Any, chance: random.Random) -> Any:
    if not isinstance(value, (dict, list)) or not value or chance.randrange(6) == 0:
        return json.loads(chance.choice(_TEXTS))
    key = chance.choice(list(value)) if isinstance(value, dict) else chance.randrange(len(value))
    what = chance.randrange(8)
    if what == 0:
        del value[key]
    elif what == 1 and isinstance(value, dict):
        value[key.swapcase()] = copy.deepcopy(value[key])
    elif what == 1:
        value.append(copy.deepcopy(value[key]))
    elif what == 2 and isinstance(value, dict):
        value[chance.choice(_KEYS)] = copy.deepcopy(value[key])
    else:
        value[key] = _changed(value[key], chance)
    return value


# --- patches --------------------------------------------------------------------------------------------------------

_PATCH = 5


def patched(base: bytes, places: list[int], patches: bytes) -> bytes:
    """*base* with changes: each is five bytes, two select one of *places*, one the kind, two give a value."""
    made = bytearray(base)
    for at in range(0, len(patches) - _PATCH + 1, _PATCH):
        where, kind, value = struct.unpack_from("<HBH", patches, at)
        place = places[where % len(places)]
        width = (1, 2, 4, 8)[kind & 3]
        if place + width > len(made):
            continue
        kind = kind >> 2 & 7
        if kind == 7:
            made = made[:place] if value % 8 == 0 else made + bytes(value % 2048)
            continue
        number = int.from_bytes(made[place : place + width], "little")
        other = places[value % len(places)]
        number = (
            value,
            number ^ 1 << value % (8 * width),
            NUMBERS[value % len(NUMBERS)],
            number + value % 64 - 32,
            int.from_bytes(made[other : other + width], "little"),
            number * 2,
            value << 8 * (width - 1),
        )[kind]
        struct.pack_into(WIDTHS[width], made, place, number % (1 << 8 * width))
    return bytes(made)


def used(data: bytes) -> list[int]:
    """The offsets of *data* that are not zero, and those around them."""
    found: dict[int, None] = {}
    for place, byte in enumerate(data):
        if byte:
            for near in range(max(place - 2, 0), min(place + 3, len(data))):
                found[near] = None
    return list(found)


def seeds_of_patches(count: int, length: int = 4) -> Callable[[], list[bytes]]:
    """Seeds for targets of patches."""

    def made() -> list[bytes]:
        chance = random.Random(length)
        return [b"", *(chance.randbytes(1 + _PATCH * chance.randrange(1, length)) for _ in range(count))]

    return made
