"""The time that a whole load may take.

Importing is interrupted by a timer's signal, whose handler raises, as Ctrl-C does; what was under way is undone in the
same way. The container is stopped by its launcher, which gives it time to end. In another thread than the main one
there are no signal handlers, and only the container's time is limited.
"""

from __future__ import annotations

import signal
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from arstore.errors import PipelineTimeoutError

if TYPE_CHECKING:
    from collections.abc import Iterator


class _TimeOver(BaseException):
    """The time is over."""


class Clock:
    """Counts from when it is made; *total* are the seconds for everything, None for no limit."""

    def __init__(self, total: float | None) -> None:
        self._total = total
        self._began = time.monotonic()

    def left(self) -> float | None:
        """The seconds that are left, above 0. Raises PipelineTimeoutError when there are none."""
        if self._total is None:
            return None
        left = self._total - (time.monotonic() - self._began)
        if left <= 0:
            raise self._error()
        return left

    def most(self, seconds: float | None) -> float | None:
        """The smaller of *seconds* and what is left, where there are any. Raises PipelineTimeoutError."""
        return min((each for each in (seconds, self.left()) if each is not None), default=None)

    @contextmanager
    def limiting(self) -> Iterator[None]:
        """For the length of the context, end it with PipelineTimeoutError when the time is over."""
        left = self.left()
        if left is None or threading.current_thread() is not threading.main_thread():
            yield
            return

        def over(_number: int, _frame: object) -> None:
            raise _TimeOver

        before = signal.signal(signal.SIGALRM, over)
        signal.setitimer(signal.ITIMER_REAL, left)
        try:
            yield
        except _TimeOver:
            raise self._error() from None
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, signal.SIG_DFL if before is None else before)

    def _error(self) -> PipelineTimeoutError:
        return PipelineTimeoutError("load", f"did not end in {self._total:g} seconds (--timeout-total)")
