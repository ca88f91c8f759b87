"""Time limits for a whole load and for its parts, with the step that was running when the time was over.

An import is interrupted by a timer's signal, whose handler raises, as for Ctrl-C; the import is undone in the same way.
The container is stopped by its launcher, which gives it time to end. Only the main thread has signal handlers; in other
threads only the container's time is limited.
"""

from __future__ import annotations

import signal
import threading
import time
from contextlib import contextmanager
from types import MappingProxyType
from typing import TYPE_CHECKING

from arstore.errors import PipelineTimeoutError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

IMPORT, RUN, LEAVINGS = "import", "run", "leavings"
PARTS = (IMPORT, RUN, LEAVINGS)
"""The parts of a load: import of the pipeline, its run, and import and clean-up of its images."""


class _TimeOver(BaseException):
    """The time is over."""


class Clock:
    """Counts from its creation; *total* is the limit in seconds, None for no limit, *parts* has limits of parts.

    `doing` describes the current step. *seconds* receives the duration of each part.
    """

    def __init__(
        self,
        total: float | None,
        parts: Mapping[str, float] = MappingProxyType({}),
        seconds: dict[str, float] | None = None,
    ) -> None:
        self._total = total
        self._parts = parts
        self._seconds = {} if seconds is None else seconds
        self._began = time.monotonic()
        self._part = ""
        self._part_began = self._began
        self.doing = ""

    @contextmanager
    def part(self, name: str, doing: str) -> Iterator[None]:
        """Count the context as the part *name* of the load, and limit its time."""
        with self._counted(name, doing), self._limiting():
            yield

    @contextmanager
    def between(self, doing: str) -> Iterator[None]:
        """Limit the context, which does not belong to a part, by the total time."""
        self.doing = doing
        with self._limiting():
            yield

    @contextmanager
    def running(self) -> Iterator[float | None]:
        """Count the context as the part `run`; it gets the seconds that it may take, and enforces them itself.

        Raises PipelineTimeoutError if no time is left. The option that set the limit is added to the context's own.
        """
        with self._counted(RUN, "running it"):
            left = self.left()
            try:
                yield left
            except PipelineTimeoutError as error:
                _, option = self._limit()
                raise PipelineTimeoutError(error.what, f"{error.why} ({option}), while {self.doing}") from error

    @contextmanager
    def _counted(self, name: str, doing: str) -> Iterator[None]:
        self._part, self._part_began, self.doing = name, time.monotonic(), doing
        try:
            yield
        finally:
            self._seconds[name] = self._seconds.get(name, 0.0) + time.monotonic() - self._part_began
            self._part = ""

    def left(self) -> float | None:
        """Return the seconds left, above 0; None if nothing is limited. Raises PipelineTimeoutError at 0."""
        now = time.monotonic()
        limits = [(self._total, self._began), (self._parts.get(self._part), self._part_began)]
        left = min((limit - (now - began) for limit, began in limits if limit is not None), default=None)
        if left is not None and left <= 0:
            raise self._error()
        return left

    @contextmanager
    def _limiting(self) -> Iterator[None]:
        """Limit the time of the context. Raises PipelineTimeoutError."""
        left = self.left()
        if left is None or threading.current_thread() is not threading.main_thread():
            yield
            return

        is_over = False

        def over(_number: int, _frame: object) -> None:
            nonlocal is_over
            is_over = True
            raise _TimeOver

        before = signal.signal(signal.SIGALRM, over)
        signal.setitimer(signal.ITIMER_REAL, left)
        try:
            yield
        except (_TimeOver, Exception):
            # Python and libraries turn any exception into others, such as a RuntimeError where a class is made.
            if is_over:
                raise self._error() from None
            raise
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, signal.SIG_DFL if before is None else before)

    def _limit(self) -> tuple[float, str]:
        """Return the limit that ends first: its seconds, and the option that set it."""
        part, total = self._parts.get(self._part), self._total
        if part is None or (total is not None and self._began + total <= self._part_began + part):
            return total or 0, f"--timeout {total or 0:g}"
        return part, f"--timeout-part {self._part}={part:g}"

    def _error(self) -> PipelineTimeoutError:
        limit, option = self._limit()
        doing = f", while {self.doing}" if self.doing else ""
        return PipelineTimeoutError("load", f"did not finish in {limit:g} seconds ({option}){doing}")
