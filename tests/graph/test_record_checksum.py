"""Seals: sealed values are restored, and every flipped bit is found and repaired."""

from __future__ import annotations

import contextlib

import pytest

from arstore.graph.record_checksum import BrokenSealError, is_sealed, mended, sealed, unsealed

KEY, TEXT = b"names/app:1", b"sha256:" + b"5" * 64


def test_round_trip():
    value = sealed(KEY, TEXT)
    assert unsealed(KEY, value) == TEXT
    assert is_sealed(KEY, value)
    assert unsealed(KEY, TEXT) == TEXT
    assert not is_sealed(KEY, TEXT)


@pytest.mark.parametrize("in_key", [True, False])
def test_every_flipped_bit_is_found_and_mended(in_key):
    value = sealed(KEY, TEXT)
    for place in range(len(KEY if in_key else value)):
        for bit in range(8):
            both = [bytearray(KEY), bytearray(value)]
            both[not in_key][place] ^= 1 << bit
            key, altered = bytes(both[0]), bytes(both[1])
            assert not is_sealed(key, altered)
            with contextlib.suppress(BrokenSealError):
                assert unsealed(key, altered) != TEXT
            assert mended(key, altered) == (KEY, value)


def test_more_than_one_bit_is_not_guessed():
    value = bytearray(sealed(KEY, TEXT))
    value[4] ^= 3
    assert mended(KEY, bytes(value)) is None
    assert mended(KEY, b"") is None


def test_what_would_take_long_is_not_mended():
    value = bytearray(sealed(KEY, TEXT * 1000))
    value[4] ^= 1
    assert mended(KEY, bytes(value)) is None
