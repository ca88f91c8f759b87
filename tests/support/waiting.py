"""Waiting for something to become true."""

from __future__ import annotations

import time


def eventually(condition, seconds=10):
    """Wait for *condition* to be true."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)
