"""The cases of a large table that run by default, and those that run only with --long (`tests/conftest.py`).

All tests have to end within ten minutes on two cores. So a table whose cases are alike runs every so many of them by
default: a subset that is the same in each run, and in which each kind of case occurs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

long = False
"""Whether this run has --long; set before tests are collected."""


def one_of(count: int, cases: Iterable[Any], first: int = 0) -> list[Any]:
    """Return *cases* for `parametrize`: one of *count* runs by default, from *first* on, the others are long."""
    # The server of commands (`started.py`) reads this file: pytest would make each of its forks more expensive.
    import pytest

    return [
        case if number % count == first % count else pytest.param(*_values(case), marks=pytest.mark.long)
        for number, case in enumerate(cases)
    ]


def _values(case: Any) -> tuple[Any, ...]:
    return case if isinstance(case, tuple) else (case,)


def some(count: int, cases: Iterable[Any], first: int = 0) -> list[Any]:
    """Return one of *count* of *cases*, from *first* on; with --long, all."""
    return list(cases)[0 if long else first % count :: 1 if long else count]
