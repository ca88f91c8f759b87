"""Waiting for something to become true."""

from __future__ import annotations

import time

PATIENCE = 60.0
"""Seconds for what takes milliseconds on a quiet machine, and much longer where a hundred processes want to run."""


def eventually(condition, seconds=PATIENCE):
    """Wait for *condition* to be true."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)
