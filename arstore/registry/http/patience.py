"""Retries of a request: back-off with jitter, Retry-After, and a budget.

RFC 9110, section 10.2.3. Not in scope: which requests may be repeated (`client`, `blobs`, `uploads`).
"""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, NoReturn

from arstore.errors import RegistryUnreachableError
from arstore.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

AGAIN = frozenset({408, 429, 500, 502, 503, 504})
"""Statuses after which a request that may be repeated is sent again."""


class Patience(NamedTuple):
    """Limits for waiting: `tries` in a row without progress, seconds of one wait, seconds of all waits."""

    tries: int = 6
    first: float = 0.5
    longest: float = 60.0
    total: float = 300.0
    stuck: float = 120.0
    """Seconds of tries without progress, in addition to the waits."""
    connect: float = 15.0
    """Seconds to make a connection, and as many for TLS."""
    head: float = 30.0
    """Seconds until the head of an answer is complete."""
    idle: float = 30.0
    """Seconds without a byte of a body."""
    slowest: int = 1024
    """Bytes per second that a body must deliver on average over a minute."""
    sleep: Callable[[float], object] = time.sleep
    clock: Callable[[], float] = time.monotonic


DEFAULT = Patience()
"""The limits that commands use."""


class Budget:
    """The tries of one operation on *what*. Progress resets the tries, but not the time spent waiting."""

    def __init__(self, patience: Patience, what: str) -> None:
        self._patience = patience
        self._what = what
        self._failed = 0
        self._waited = 0.0
        self._since = patience.clock()

    def progress(self) -> None:
        """Reset the number of tries."""
        self._failed = 0
        self._since = self._patience.clock()

    def failed(self, why: str, after: float | None = None) -> None:
        """Wait before the next try; *after* is the time in Retry-After, in seconds.

        Raises RegistryUnreachableError after the last try.
        """
        from random import random

        self._failed += 1
        patience = self._patience
        if self._failed >= patience.tries or patience.clock() - self._since > patience.stuck:
            self._give_up(why)
        wait = patience.first * 2 ** (self._failed - 1)
        wait = min(wait, patience.longest / 2) * (0.5 + random() / 2)  # need not be unpredictable
        if after is not None:
            wait = max(wait, min(after, patience.longest))
        if self._waited + wait > patience.total:
            self._give_up(why)
        self._waited += wait
        began = patience.clock()
        patience.sleep(wait)
        self._since += patience.clock() - began

    def _give_up(self, why: str) -> NoReturn:
        tries = f" (tried {self._failed} times)" if self._failed > 1 else ""
        raise RegistryUnreachableError(self._what, f"{why}{tries}")


def retry_after(value: str | None, now: Callable[[], float] = time.time) -> float | None:
    """Seconds that the Retry-After header *value* asks for; None if it is missing or malformed."""
    text = (value or "").strip()
    if not text or len(text) > 64:
        return None
    if re.fullmatch("[0-9]{1,9}", text):
        return float(text)
    from email.utils import parsedate_to_datetime

    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - now())
    except (ValueError, OverflowError, OSError, TypeError, IndexError):
        return None
