"""Wait until a descriptor can be read, with a timeout of any length."""

from __future__ import annotations

import select
import time

_LONGEST = 86400.0
"""Seconds of one poll(2), which takes its timeout in milliseconds as an int: 24 days at most."""


def readable(fd: int, deadline: float | None) -> bool:
    """Wait until *fd* can be read or has ended. Return False if *deadline* (time.monotonic()) passes first."""
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    if deadline is None:
        return bool(poll.poll())
    while not poll.poll(min(max(0.0, deadline - time.monotonic()), _LONGEST) * 1000):
        if time.monotonic() >= deadline:
            return False
    return True
