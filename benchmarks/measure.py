"""The measurements: rows of contenders, their samples, and the bars that they have to meet.

A row is one task. Its contenders do it one after the other, round after round (A B C A B C …), so that other load on
the machine affects all of them. A contender that fails does not end the row. A bar compares medians of one row's
samples; a row may have several bars.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from statistics import median
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

Values = dict[str, list[float]]
"""Result of one sample: for each metric one value, or several if the sample repeats itself."""


_BEST = 100.0
"""The score of a value close to zero."""


class MeasurementError(Exception):
    """A contender could not do its task; the text says why, in one line."""


class UnavailableError(MeasurementError):
    """The contender needs a program, an archive or a feature of the kernel that is not available."""


class PatienceError(MeasurementError):
    """The contender took longer than the user's limit."""


def _nothing() -> None:
    return


@dataclass(slots=True)
class Contender:
    """One way to do the task of a row.

    `set_up` is called once, before the first sample; `prepare` before and `clear` after every sample, also after one
    that failed; `tear_down` once at the end, whatever happened. Only `sample` measures. All raise MeasurementError or
    OSError. `metrics` explains the metrics where the names do not.
    """

    label: str
    sample: Callable[[], Values]
    set_up: Callable[[], None] = _nothing
    prepare: Callable[[], None] = _nothing
    clear: Callable[[], None] = _nothing
    tear_down: Callable[[], None] = _nothing


@dataclass(slots=True, frozen=True)
class Bar:
    """The requirement for a metric of *subject*.

    With *against*, the sum of the medians of these contenders' same metric, the value is a ratio: theirs by the
    subject's when it must be `at_least` so much (the subject is so many times faster), the subject's by theirs when it
    may be `at_most` so much. With `at_most_more` it is a difference in *unit*, which the subject may have more than
    they. Without *against* the value is the subject's median itself, in *unit*, and may be `at_most` so much.
    """

    what: str
    metric: str = "seconds"
    subject: str = "arstore"
    against: tuple[str, ...] = ()
    at_least: float | None = None
    at_most: float | None = None
    unit: str = "s"
    at_most_more: float | None = None

    @property
    def required(self) -> str:
        """The bar in words."""
        if self.at_least is not None:
            return "no slower" if self.at_least == 1 else f"≥ {self.at_least:g}×"
        if self.at_most_more is not None:
            return f"≤ + {self.at_most_more:g} {self.unit}"
        if self.at_most is None:
            return ""
        return f"≤ {self.at_most:g}×" if self.against else f"≤ {self.at_most:g} {self.unit}"


@dataclass(slots=True)
class Row:
    """One task: its contenders in order, and the bars. `rounds` overrides the number that the user chose."""

    name: str
    title: str
    contenders: Sequence[Contender]
    bars: Sequence[Bar]
    note: str = ""
    rounds: int | None = None


@dataclass(slots=True)
class Series:
    """A contender's samples, in the order of the rounds, and why some are missing ("" if it has all)."""

    label: str
    samples: list[Values] = field(default_factory=list)
    failure: str = ""

    def median(self, metric: str) -> float | None:
        """The median of all values of *metric*; None if there are no values."""
        values = [value for sample in self.samples for value in sample.get(metric, ())]
        return median(values) if values else None


@dataclass(slots=True, frozen=True)
class Finding:
    """The result of a bar. `value` is what `Bar` says, `score` how many times better than required (1 is just met)."""

    bar: Bar
    measured: float | None
    reference: float | None
    value: float | None
    score: float | None
    why: str = ""

    @property
    def met(self) -> bool | None:
        """Whether the bar is met; None if nothing was measured or nothing is required."""
        return None if self.score is None else self.score >= 1


def judge(bar: Bar, series: Sequence[Series]) -> Finding:
    """Compare the samples of a row with one of its bars."""
    found = {one.label: one for one in series}
    missing = [label for label in (bar.subject, *bar.against) if _median(found, label, bar.metric) is None]
    if missing:
        reasons = "; ".join(_reason(found, label) for label in missing)
        return Finding(bar, _median(found, bar.subject, bar.metric), None, None, None, reasons)
    measured = _median(found, bar.subject, bar.metric) or 0.0
    if not bar.against:
        return Finding(bar, measured, None, measured, _score(bar, measured))
    reference = sum(_median(found, label, bar.metric) or 0.0 for label in bar.against)
    if bar.at_most_more is not None:
        more = measured - reference
        return Finding(bar, measured, reference, more, min(bar.at_most_more / more, _BEST) if more > 0 else _BEST)
    upper, lower = (reference, measured) if bar.at_least is not None else (measured, reference)
    if lower <= 0:
        return Finding(bar, measured, reference, None, None, "a median is zero")
    return Finding(bar, measured, reference, upper / lower, _score(bar, upper / lower))


def _median(found: dict[str, Series], label: str, metric: str) -> float | None:
    return found[label].median(metric) if label in found else None


def _reason(found: dict[str, Series], label: str) -> str:
    failure = found[label].failure if label in found else ""
    return f"{label}: {failure or 'not measured'}"


def _score(bar: Bar, value: float) -> float | None:
    if bar.at_least is not None:
        return value / bar.at_least
    if bar.at_most is None:
        return None
    if bar.at_most == 0:
        return float(value <= 0)
    return min(bar.at_most / value, _BEST) if value > 0 else _BEST
