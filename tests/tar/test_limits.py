"""Limits: what they stop, at which point, and how to change them."""

from __future__ import annotations

import gzip
import io
import lzma
from collections import deque

import pytest

from arstore.errors import LimitError, UsageError
from arstore.tar.compression import decompressed
from arstore.tar.limits import ACCEPTED, Limits, changed

ZEROS = bytes(8 << 20)


@pytest.mark.parametrize("pack", [gzip.compress, lzma.compress])
@pytest.mark.parametrize(
    ("limits", "flag"),
    [(Limits(ratio_from=1 << 20), "--limit ratio="), (Limits(inflated=1 << 20), "--limit inflated=")],
)
def test_a_bomb_is_stopped_early_and_told_how_to_let_in(pack, limits, flag):
    packed = pack(ZEROS)
    reader = decompressed(io.BytesIO(packed), "it", limits=limits)
    with pytest.raises(LimitError, match=flag):
        deque(iter(lambda: reader.read(1 << 16), b""), maxlen=0)
    assert reader.produced <= max(1 << 20, limits.ratio * len(packed)) + (1 << 16)


@pytest.mark.parametrize("limits", [Limits(), ACCEPTED, Limits(ratio=2000, ratio_from=1)])
def test_what_is_within_passes(limits):
    reader = decompressed(io.BytesIO(gzip.compress(ZEROS)), "it", limits=limits)
    assert reader.read() == ZEROS


def test_a_reserve_may_be_nothing():
    assert changed(["reserve=0"]).reserve == 0
    assert (changed([]).reserve, changed(["reserve=5m"]).reserve, ACCEPTED.reserve) == (None, 5 << 20, 0)


def test_values_have_units():
    limits = changed(["inflated=2t", "ratio-from=3M", "headers=7"])
    assert (limits.inflated, limits.ratio_from, limits.headers) == (2 << 40, 3 << 20, 7)
    assert limits.depth == Limits().depth
    assert changed([]) == Limits()


@pytest.mark.parametrize(
    "text",
    ["", "ratio", "ratio=", "ratio=x", "ratio=-1", "ratio=0", "ratio=1kk", "ratio=1.5", "no=1", "a\nb", "ratio=\x1b"],
)
def test_what_is_no_limit_is_refused(text):
    with pytest.raises(UsageError) as caught:
        changed([text])
    assert str(caught.value).isprintable()


def test_a_limit_has_few_digits():
    with pytest.raises(UsageError):
        changed(["ratio=" + "9" * 30])
