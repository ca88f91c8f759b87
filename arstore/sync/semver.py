"""Version ranges of `images-by-semver`: the constraints of Masterminds/semver, which skopeo uses.

    >= 1.2, < 2        all of these                 1.2.x, 1.*, *      any number there
    ^1.2.3             below the next first number that is not 0
    ~1.2.3             below the next second number (~1: the next first)
    1.2 - 1.4.5        from one to the other, both included
    A || B             any of these

A tag is a version if it has one to three numbers, with or without a v, and optionally a pre-release and a build
(semver.org 2.0.0). A pre-release is in a range only if the comparison that it satisfies names a pre-release itself.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from arstore.errors import UsageError
from arstore.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

_NUMBER = r"[0-9]{1,18}"
_WORDS = r"[0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*"
_VERSION = re.compile(rf"v?({_NUMBER})(?:\.({_NUMBER}))?(?:\.({_NUMBER}))?(?:-({_WORDS}))?(?:\+{_WORDS})?", re.ASCII)
_PART = rf"(?:{_NUMBER}|[xX*])"
_OPERAND = rf"v?{_PART}(?:\.{_PART})?(?:\.{_PART})?(?:-{_WORDS})?(?:\+{_WORDS})?"
_COMPARISON = re.compile(rf"\s*(>=|=>|<=|=<|!=|>|<|=|~>|~|\^|)\s*({_OPERAND})\s*(?:,|\s|$)")
_HYPHEN = re.compile(rf"\s*({_OPERAND})\s+-\s+({_OPERAND})\s*")
_WILD = re.compile(rf"v?({_PART})(?:\.({_PART}))?(?:\.({_PART}))?(?:-({_WORDS}))?(?:\+{_WORDS})?")


class Version(NamedTuple):
    """A version, ordered as in semver.org, item 11: `pre` is a sort key, (1,) without a pre-release."""

    numbers: tuple[int, int, int]
    pre: tuple[object, ...] = (1,)

    @classmethod
    def parse(cls, text: str) -> Version | None:
        """Return the version *text*; None if it is not a version."""
        found = _VERSION.fullmatch(text)
        if found is None:
            return None
        return cls((int(found[1]), int(found[2] or 0), int(found[3] or 0)), _key(found[4]))

    @property
    def is_pre(self) -> bool:
        """Whether this is a pre-release."""
        return self.pre != (1,)


class _Comparison(NamedTuple):
    """From `low` on and below `high`, where given; with `others`, the complement."""

    low: Version | None = None
    high: Version | None = None
    takes_pre: bool = False
    others: bool = False

    def holds(self, version: Version) -> bool:
        if version.is_pre and not self.takes_pre:
            return False
        within = (self.low is None or version >= self.low) and (self.high is None or version < self.high)
        return within != self.others


def parse_range(text: str) -> Callable[[Version], bool]:
    """Return a function that tests whether a version is in the range *text*. Raises UsageError."""
    choices = [_all_of(one, text) for one in text.split("||")]
    return lambda version: any(all(part.holds(version) for part in parts) for parts in choices)


def _all_of(text: str, whole: str) -> list[_Comparison]:
    hyphen = _HYPHEN.fullmatch(text)
    if hyphen is not None:
        return [_comparison(">=", hyphen[1]), _comparison("<=", hyphen[2])]
    found = []
    place = 0
    while place < len(text):
        match = _COMPARISON.match(text, place)
        if match is None:
            break
        found.append(_comparison(match[1], match[2]))
        place = match.end()
    if not found or text[place:].strip():
        raise UsageError(repr(whole)[:120], "is not a range of versions", "write it like '>= 1.2, < 2'")
    return found


def _comparison(operator: str, operand: str) -> _Comparison:
    match = _WILD.fullmatch(operand)
    assert match is not None
    given = [int(part) for part in _numbers(match)]
    pre = _key(match[4]) if len(given) == 3 else (1,)
    takes_pre = pre != (1,)
    low = Version(_three(given), pre)
    if not given:
        return _Comparison(others=operator in {"<", ">", "!="})
    behind = _from(_next(given, len(given) - 1))
    exact = _after(low) if len(given) == 3 else behind
    match operator:
        case "" | "=":
            return _Comparison(low, exact, takes_pre)
        case "!=":
            return _Comparison(low, exact, takes_pre, others=True)
        case ">":
            return _Comparison(exact, None, takes_pre)
        case "<":
            return _Comparison(None, low, takes_pre)
        case ">=" | "=>":
            return _Comparison(low, None, takes_pre)
        case "<=" | "=<":
            return _Comparison(None, exact, takes_pre)
        case "^":
            first = next((place for place, number in enumerate(given) if number), len(given) - 1)
            return _Comparison(low, _from(_next(given, first)), takes_pre)
        case _:
            return _Comparison(low, _from(_next(given, min(len(given) - 1, 1))), takes_pre)


def _numbers(match: re.Match[str]) -> list[str]:
    """Return the numbers before the first that is missing or a wildcard."""
    found: list[str] = []
    for part in (match[1], match[2], match[3]):
        if part is None or not part.isdigit():
            break
        found.append(part)
    return found


def _three(numbers: list[int]) -> tuple[int, int, int]:
    first, second, third = [*numbers, 0, 0, 0][:3]
    return first, second, third


def _next(numbers: list[int], place: int) -> list[int]:
    return [*numbers[:place], numbers[place] + 1]


def _from(numbers: list[int]) -> Version:
    """Return a lower bound of all versions with these numbers, including pre-releases."""
    return Version(_three(numbers), (-1,))


def _after(version: Version) -> Version:
    """Return a version between *version* and the next one."""
    return version._replace(pre=(*version.pre, (-1,)))


def _key(pre: str | None) -> tuple[object, ...]:
    """Return a key that sorts before (1,): numbers first, by value, then words; a prefix sorts before a longer one."""
    if not pre:
        return (1,)
    parts = [(0, int(word), "") if word.isdigit() else (1, 0, word) for word in pre.split(".")]
    return (0, *parts)
