"""Measuring a row: rounds over its contenders, with a time limit for each step, and cleaning up in any case."""

from __future__ import annotations

import signal
from contextlib import contextmanager
from typing import TYPE_CHECKING

from benchmarks.measure import MeasurementError, PatienceError, Series

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from benchmarks.measure import Contender, Row

CLEARING = 300.0
"""Seconds for removing what a sample made."""


@contextmanager
def patience(seconds: float) -> Iterator[None]:
    """Raise PatienceError in this, the main, thread if the block takes longer than *seconds*."""

    def ring(_number: int, _frame: object) -> None:
        raise PatienceError(f"took longer than {seconds:g} s")

    previous = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)


def measure(row: Row, rounds: int, timeout: float, tell: Callable[[str], None]) -> list[Series]:
    """Take *rounds* samples of each contender (or as many as the row wants), interleaved.

    A contender that fails keeps the samples that it has, and is left out from then on. A failure to clear up counts as
    as a failure of the contender.
    """
    entrants = [(contender, Series(contender.label)) for contender in row.contenders]
    begun: list[tuple[Contender, Series]] = []
    try:
        for number in range(row.rounds or rounds):
            for contender, series in entrants:
                if series.failure:
                    continue
                if number == 0:
                    begun.append((contender, series))
                _attempt(contender, series, number == 0, timeout)
                tell(f"{row.name}: round {number + 1}: {series.label}: {_told(series)}")
    finally:
        for contender, series in reversed(begun):
            _clearing(contender.tear_down, series)
    return [series for _, series in entrants]


def _attempt(contender: Contender, series: Series, first: bool, timeout: float) -> None:
    try:
        with patience(timeout):
            if first:
                contender.set_up()
            contender.prepare()
        with patience(timeout):
            series.samples.append(contender.sample())
    except (MeasurementError, OSError) as error:
        series.failure = str(error) or type(error).__name__
    finally:
        _clearing(contender.clear, series)


def _clearing(clear: Callable[[], None], series: Series) -> None:
    try:
        with patience(CLEARING):
            clear()
    except (MeasurementError, OSError) as error:
        series.failure = series.failure or f"could not clear up: {error}"


def _told(series: Series) -> str:
    if series.failure:
        return series.failure
    values = series.samples[-1]
    return ", ".join(f"{name} {sum(found) / len(found):.6g}" for name, found in values.items() if found)
