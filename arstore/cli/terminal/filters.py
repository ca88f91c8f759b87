"""`--filter KEY=VALUE`: parsing, and matching of what many kinds of things have. Not here: the keys of each command."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from arstore.errors import UsageError
from arstore.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence


class Filter(NamedTuple):
    """A filter as it was given; *negated* for `KEY!=VALUE`."""

    key: str
    value: str
    negated: bool = False

    @property
    def text(self) -> str:
        """The filter as the user typed it, for errors."""
        return f"--filter {self.key}{'!' if self.negated else ''}={self.value}"


def parse_filters(texts: Iterable[str], known: Sequence[str]) -> dict[str, list[Filter]]:
    """Return the filters by key; one of `KEY!=VALUE` has the key `KEY!`. Raises UsageError for an unknown key.

    *known* has `KEY!` for those that can be negated.
    """
    found: dict[str, list[Filter]] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        negated = key.endswith("!")
        if not equals or key not in known:
            why = "is not KEY=VALUE" if not equals else "is not a known filter"
            raise UsageError(f"--filter {text}", why, f"the filters are {', '.join(known)}")
        found.setdefault(key, []).append(Filter(key.removesuffix("!"), value, negated))
    return found


def label_matches(labels: Mapping[str, str], text: str) -> bool:
    """Return whether *labels* match `KEY` or `KEY=VALUE`; a `*` in them stands for anything."""
    from fnmatch import fnmatchcase

    key, equals, value = text.partition("=")
    return any(fnmatchcase(name, key) and (not equals or fnmatchcase(one, value)) for name, one in labels.items())


def pattern_matches(found: Filter, *texts: str) -> bool:
    """Return whether the regular expression in the filter matches somewhere in one of *texts*. Raises UsageError."""
    try:
        return any(re.search(found.value, text) for text in texts)
    except (re.error, RecursionError, OverflowError):
        raise UsageError(found.text, "is not a regular expression") from None


def truth(found: Filter) -> bool:
    """Return the value of a filter that is true or false. Raises UsageError."""
    words = {"true": True, "1": True, "t": True, "false": False, "0": False, "f": False}
    if found.value.lower() not in words:
        raise UsageError(found.text, "is neither true nor false")
    return words[found.value.lower()]


def moment(found: Filter) -> float:
    """Return a time in seconds since the epoch (`parse_moment`). Raises UsageError."""
    from arstore.runtime.spec.moments import parse_moment

    return parse_moment(found.value, found.text.removesuffix(found.value))
