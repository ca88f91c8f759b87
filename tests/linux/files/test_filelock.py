"""Locks of open file descriptions."""

from __future__ import annotations

import os

import pytest

from arstore.linux.files.filelock import is_locked, lock_byte


def test_one_opening_has_a_byte_until_it_is_closed(tmp_path):
    first, second = (os.open(tmp_path / "file", os.O_RDWR | os.O_CREAT) for _ in range(2))
    lock_byte(first, 1 << 59)
    assert is_locked(second, 1 << 59)
    assert not is_locked(second, 0)
    with pytest.raises(BlockingIOError):
        lock_byte(second, 1 << 59)
    os.close(first)
    assert not is_locked(second, 1 << 59)
    os.close(second)
