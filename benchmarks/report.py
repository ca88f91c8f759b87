"""The results as files: results.json with everything, results.md with the table of bars, results.svg with a chart.

The JSON document has `format` (1), `started`, `rounds`, `page_cache`, `machine`, `versions` and `rows`; a row has
`name`, `title`, `note`, `contenders` (each with `label`, `failure` and `samples`, and each sample with its metrics'
values) and `bars` (as `Finding`). It does not name the machine or any directory on it.
"""

from __future__ import annotations

import json
import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from benchmarks.chart import chart
from benchmarks.measure import Bar, Finding, judge

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from benchmarks.measure import Row, Series

FORMAT = 1
PAGE_CACHE = "archives warm (read once before each sample), stores new, file system synchronised before each sample"
COUNT = "requests"
"""A unit whose values are whole numbers."""
UNITS = {"seconds": "s", "cpu": "s", "sync": "s", "requests": COUNT, "rss": "MiB", "pss": "MiB"}
"""The units of metrics that are in many rows, for rows without a bar for them."""


@dataclass(slots=True, frozen=True)
class Measured:
    """A row with its samples and the results of its bars."""

    row: Row
    series: Sequence[Series]

    @property
    def findings(self) -> list[Finding]:
        """The result of each bar."""
        return [judge(bar, self.series) for bar in self.row.bars]


class Report:
    """All results so far; `write` can be called after each row."""

    def __init__(self, started: str, rounds: int, machine: dict[str, str], versions: dict[str, str]) -> None:
        self._head = {"started": started, "rounds": rounds, "page_cache": PAGE_CACHE}
        self._machine = machine
        self._versions = versions
        self.rows: list[Measured] = []

    def document(self) -> dict[str, Any]:
        """All of it, for JSON."""
        return {
            "format": FORMAT,
            **self._head,
            "machine": self._machine,
            "versions": self._versions,
            "rows": [_row(measured) for measured in self.rows],
        }

    def markdown(self) -> str:
        """The table of bars, then the medians of all contenders, then the machine."""
        lines = ["# Benchmarks", "", _closing(self.findings), "", *_bars(self.findings), "", "## Medians", ""]
        lines += _medians(self.rows)
        lines += ["", "## Measured on", ""]
        lines += [f"- {name}: {text}" for name, text in self._machine.items()]
        lines += ["- versions: " + ", ".join(f"{name} {version}" for name, version in self._versions.items())]
        lines += [f"- {self._head['rounds']} rounds, interleaved; {PAGE_CACHE}", f"- {self._head['started']}"]
        return "\n".join(lines) + "\n"

    @property
    def findings(self) -> list[Finding]:
        """The findings of all rows."""
        return [finding for measured in self.rows for finding in measured.findings]

    def write(self, directory: str, scrubbed: Mapping[str, str]) -> None:
        """Write the three files, with the keys of *scrubbed* replaced by its values. Raises OSError."""
        os.makedirs(directory, exist_ok=True)
        document = json.dumps(self.document(), indent=1, ensure_ascii=False) + "\n"
        for name, text in (
            ("results.json", document),
            ("results.md", self.markdown()),
            ("results.svg", chart(self.findings)),
        ):
            place = f"{directory}/{name}"
            with open(f"{place}.part", "w", encoding="utf-8") as file:
                file.write(scrub(text, scrubbed))
            os.replace(f"{place}.part", place)


def scrub(text: str, replaced: Mapping[str, str]) -> str:
    """Replace each key in *text*, the longest first, by its value; a key inside a longer word is left alone."""
    secrets = sorted(filter(None, replaced), key=len, reverse=True)
    if not secrets:
        return text
    pattern = r"(?<![\w.-])(?:" + "|".join(map(re.escape, secrets)) + r")(?![\w-])"
    return re.sub(pattern, lambda found: replaced[found[0]], text)


def _row(measured: Measured) -> dict[str, Any]:
    row = measured.row
    return {
        "name": row.name,
        "title": row.title,
        "note": row.note,
        "contenders": [
            {"label": series.label, "failure": series.failure or None, "samples": series.samples}
            for series in measured.series
        ],
        "bars": [_finding(finding) for finding in measured.findings],
    }


def _finding(finding: Finding) -> dict[str, Any]:
    bar = finding.bar
    return {
        "what": bar.what,
        "metric": bar.metric,
        "subject": bar.subject,
        "against": list(bar.against),
        "required": bar.required,
        "measured": finding.measured,
        "reference": finding.reference,
        "value": finding.value,
        "score": finding.score,
        "met": finding.met,
        "why": finding.why or None,
    }


def _closing(findings: Sequence[Finding]) -> str:
    met, missed = (sum(finding.met is wanted for finding in findings) for wanted in (True, False))
    return f"{len(findings)} bars: {met} met, {missed} not met, {len(findings) - met - missed} not measured."


def _bars(findings: Sequence[Finding]) -> list[str]:
    lines = ["| what | bar | measured | compared with | ratio | |", "|---|---|---|---|---|---|"]
    for finding in findings:
        bar = finding.bar
        compared = "" if finding.reference is None else quantity(finding.reference, bar.unit)
        ratio = f"{finding.value:.2f}×" if bar.against and finding.value is not None else ""
        if bar.at_most_more is not None and finding.value is not None:
            ratio = f"{finding.value:+.3f} {bar.unit}"
        verdict = finding.why if finding.met is None else "met" if finding.met else "**not met**"
        measured = "" if finding.measured is None else quantity(finding.measured, bar.unit)
        lines.append(_line(bar.what, bar.required, measured, compared, ratio, verdict))
    return lines


def _medians(rows: Sequence[Measured]) -> list[str]:
    lines = ["| row | contender | samples | medians |", "|---|---|---|---|"]
    for measured in rows:
        for series in measured.series:
            metrics = dict.fromkeys(name for sample in series.samples for name in sample)
            units = {bar.metric: bar.unit for bar in measured.row.bars}
            medians = ", ".join(f"{name} {_median(series, name, units)}" for name in metrics)
            said = "; ".join(filter(None, (medians, series.failure)))
            lines.append(_line(measured.row.name, series.label, str(len(series.samples)), said))
    return lines


def _median(series: Series, metric: str, units: Mapping[str, str]) -> str:
    value = series.median(metric)
    unit = units.get(metric) or UNITS.get(metric) or next(iter(units.values()), Bar("").unit)
    return "" if value is None else quantity(value, unit)


def quantity(value: float, unit: str) -> str:
    """*value* with about three digits, and its unit."""
    if unit == COUNT:
        return f"{value:g} {unit}"
    digits = 0 if value >= 100 else 1 if value >= 10 else 2 if value >= 1 or value == 0 else 3
    return f"{value:.{digits}f} {unit}"


def _line(*cells: str) -> str:
    return "| " + " | ".join(" ".join(cell.split()).replace("|", "\\|") for cell in cells) + " |"
