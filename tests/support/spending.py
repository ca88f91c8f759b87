"""The processor time of each test, with that of the processes it waited for: load on the machine does not change it.

The summary of a run has the total, and the directories, files and tests that took most. A test that runs by default and
takes more than BUDGET is to be made cheaper, or to be `long` if a cheaper one of its kind runs by default
(docs/design/tests.md).
"""

from __future__ import annotations

import os
from collections import Counter
from pathlib import PurePath
from typing import TYPE_CHECKING

import pytest
from support import started

if TYPE_CHECKING:
    from collections.abc import Iterable

BUDGET = 5.0
"""Seconds of processor time for a test that runs by default."""
_SHOWN = 10
_WORTH_SHOWING = 1.0
_PLACE_WORTH_SHOWING = 5.0
_NAME = "processor seconds"
_begun = pytest.StashKey[float]()


def spent() -> float:
    """Seconds of processor time of this process, of its children that have ended, and of its server of commands."""
    return sum(os.times()[:4]) + started.seconds()


def begin(item: pytest.Item) -> None:
    """Remember the time at the start of *item*."""
    item.stash[_begun] = spent()


def end(item: pytest.Item, report: pytest.TestReport) -> None:
    """Write into the last *report* of *item* what it took."""
    if report.when == "teardown" and _begun in item.stash:
        report.user_properties.append((_NAME, round(spent() - item.stash[_begun], 2)))


def summary(reports: Iterable[object]) -> list[str]:
    """Lines about the whole run."""
    taken = sorted(
        (
            (value, report.nodeid)
            for report in reports
            if isinstance(report, pytest.TestReport)
            for name, value in report.user_properties
            if name == _NAME and isinstance(value, float)
        ),
        reverse=True,
    )
    if not taken:
        return []
    lines = [f"processor time of {len(taken)} tests: {sum(value for value, _ in taken):.0f} s"]
    files: Counter[PurePath] = Counter()
    for value, node in taken:
        files[PurePath(node.partition("::")[0])] += value
    directories: Counter[PurePath] = Counter()
    for path, value in files.items():
        directories[PurePath(*path.parent.parts[:2])] += value
    for places in (directories, files):
        lines += [
            f"  {value:6.1f} s {path}" for path, value in places.most_common(_SHOWN) if value > _PLACE_WORTH_SHOWING
        ]
    lines += [
        f"  {value:6.1f} s {nodeid}{' (more than the budget)' if value > BUDGET else ''}"
        for value, nodeid in taken[:_SHOWN]
        if value > _WORTH_SHOWING
    ]
    return lines
