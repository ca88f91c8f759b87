from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import tarblocks

from arstore.errors import TarError
from arstore.tar.header import FIELDS, checksum_matches, full_name, number


@pytest.mark.parametrize(
    ("field", "value"),
    [
        (b"0000644\0", 0o644),
        (b"000644 \0", 0o644),
        (b"   644 \0", 0o644),
        (b"644\0\0\0\0\0", 0o644),
        (b"77777777", 0o77777777),
        (b"        ", 0),
        (bytes(8), 0),
        (bytes(4) + b"644\0", 0o644),
        (b"644\0junk", 0o644),
        (tarblocks.base256(5), 5),
        (tarblocks.base256(-1), -1),
        (tarblocks.base256(-1, 8), -1),
        (tarblocks.base256(1 << 62), 1 << 62),
        (tarblocks.base256(-(1 << 62)), -(1 << 62)),
        (b"\x80" + bytes(6) + b"\x07", 7),
    ],
)
def test_number(field: bytes, value: int) -> None:
    assert number(field, "t", "size") == value
    assert number(field, "t", "size") == value


@pytest.mark.parametrize("field", [b"0000648\0", b"-000001\0", b"0_00_1\0\0", b"0o644\0\0\0", b"+1\0", b"64 4\0", b"x"])
def test_what_is_no_number(field: bytes) -> None:
    with pytest.raises(TarError, match="size is not a number"):
        number(field, "t", "size")


@given(st.integers(-(1 << 86), (1 << 86) - 1))
def test_base_256_round_trip(value: int) -> None:
    assert number(tarblocks.base256(value), "t", "size") == value


@given(st.binary(min_size=512, max_size=512))
def test_the_checksum_is_the_sum_of_bytes_signed_or_not(block: bytes) -> None:
    for signed in (False, True):
        good = tarblocks.summed(block, signed=signed)
        total = int(good[148:154], 8) if b"-" not in good[148:156] else -1
        assert checksum_matches(good, good[148:156]) == (total >= 0)
    good = tarblocks.summed(block)
    wrong = bytes([good[0] ^ 1]) + good[1:]
    assert not checksum_matches(wrong, wrong[148:156])


@pytest.mark.parametrize("spelling", [b"%06o\0 ", b"%6o\0 ", b"%06o  ", b"%07o\0", b"%o", b" %o\0"])
def test_all_spellings_of_a_checksum(spelling: bytes) -> None:
    block = tarblocks.header(b"name")
    field = (spelling % int(block[148:154], 8)).ljust(8, b"\0")
    assert checksum_matches(block[:148] + field + block[156:], field)


@pytest.mark.parametrize("field", [bytes(8), b"-00100\0 ", b"0_0100\0 ", b"999999\0 "])
def test_what_is_no_checksum(field: bytes) -> None:
    block = tarblocks.header(b"name")
    assert not checksum_matches(block[:148] + field + block[156:], field)


def test_a_block_of_high_bytes_passes_only_with_its_own_sum() -> None:
    block = tarblocks.summed(b"\xff" * 512)
    total = int(block[148:154], 8)
    assert checksum_matches(block, block[148:156])
    off = b"%06o\0 " % (total - 65521)
    assert not checksum_matches(block[:148] + off + block[156:], off)


def test_full_name() -> None:
    def joined(**fields: bytes) -> bytes:
        parts = FIELDS.unpack(tarblocks.header(**fields))
        return full_name(parts[0], parts[12], parts[9], parts[13])

    assert joined(name=b"n", prefix=b"p/q") == b"p/q/n"
    assert joined(name=b"n" * 100, prefix=b"p" * 155) == b"p" * 155 + b"/" + b"n" * 100
    assert joined(name=b"n", prefix=b"00000000000", magic=b"ustar  \0") == b"n"
    assert joined(name=b"n", prefix=b"p/q", magic=b"ustar  \0") == b"p/q/n"
    assert joined(name=b"n", prefix=b"p", magic=bytes(8)) == b"n"
    star = b"p".ljust(131, b"\0") + b"00000000001 00000000002 "
    assert joined(name=b"n", prefix=star.ljust(163, b"\0") + b"tar\0") == b"p/n"
