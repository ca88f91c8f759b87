"""Functions of templates: those of text/template that need no code of the caller, and those that podman adds.

Each takes evaluated arguments and returns a value. The *size* of results is bounded by `Room`, because another user may
have written the format. Out of scope: `and` and `or`, which do not evaluate all arguments.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from arstore.cli.terminal.formats.values import MISSING, Twofold, compact, is_true, printed

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

MOST_OUTPUT = 16 << 20
"""Characters that one format may produce, and that one value may have."""

_VERB = re.compile(r"%(?P<flags>[-+# 0]*)(?P<width>[0-9]{0,4})(?:\.(?P<precision>[0-9]{0,4}))?(?P<verb>.|$)", re.DOTALL)


class FunctionError(Exception):
    """Arguments that a function does not take; the text is the reason."""


def bounded(text: str) -> str:
    """Return *text* if it is not too long. Raises FunctionError."""
    if len(text) > MOST_OUTPUT:
        raise FunctionError(f"the output has more than {MOST_OUTPUT >> 20} million characters")
    return text


def _text(value: object, name: str) -> str:
    if isinstance(value, Twofold):
        return value.shown
    if not isinstance(value, str):
        raise FunctionError(f"{name} takes text, and not {_kind(value)}")
    return value


def _number(value: object, name: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise FunctionError(f"{name} takes a whole number, and not {_kind(value)}")
    return value


def _kind(value: object) -> str:
    if value is None or value is MISSING:
        return "nothing"
    kinds: list[tuple[Any, str]] = [(bool, "a truth value"), (int | float, "a number"), (dict, "a map")]
    kinds += [(list | tuple, "a list"), (str, "text")]
    return next((name for kind, name in kinds if isinstance(value, kind)), "such a value")


def _len(value: object) -> int:
    if isinstance(value, str):
        return len(value.encode("utf-8", "surrogateescape"))
    if value is None or value is MISSING:
        return 0
    if not isinstance(value, list | tuple | dict):
        raise FunctionError(f"len takes text, a list or a map, and not {_kind(value)}")
    return len(value)


def _index(value: object, *keys: object) -> object:
    for key in keys:
        if isinstance(value, dict):
            value = value.get(_text(key, "index of a map"), "")
        elif isinstance(value, list | tuple):
            place = _number(key, "index of a list")
            if not 0 <= place < len(value):
                raise FunctionError(f"the list has {len(value)} items, and not number {place}")
            value = value[place]
        elif value is None or value is MISSING:
            return ""
        else:
            raise FunctionError(f"index takes a list or a map, and not {_kind(value)}")
    return value


def _slice(value: object, *places: object) -> object:
    if not isinstance(value, str | list | tuple) or len(places) > 2:
        raise FunctionError(f"slice takes text or a list and at most two numbers, and not {_kind(value)}")
    start, end = (*(_number(place, "slice") for place in places), *(0, len(value))[len(places) :])
    if not 0 <= start <= end <= len(value):
        raise FunctionError(f"slice: {start} to {end} is not a part of {len(value)} items")
    return value[start:end]


def _join(value: object, separator: object = "") -> str:
    if value is None or value is MISSING:
        return ""
    if not isinstance(value, list | tuple):
        raise FunctionError(f"join takes a list, and not {_kind(value)}")
    return bounded(_text(separator, "join").join(map(printed, value)))


def _split(value: object, separator: object) -> list[str]:
    text, by = _text(value, "split"), _text(separator, "split")
    return text.split(by) if by else list(text)


def _truncate(value: object, length: object) -> str:
    return _text(value, "truncate")[: max(0, _number(length, "truncate"))]


def _pad(value: object, before: object, after: object) -> str:
    text, left, right = _text(value, "pad"), _number(before, "pad"), _number(after, "pad")
    if not text or max(left, right) > MOST_OUTPUT:
        return ""
    return " " * left + text + " " * right


def _comparable(one: object, other: object) -> tuple[Any, Any]:
    found = [value.plain if isinstance(value, Twofold) else value for value in (one, other)]
    are_text = [isinstance(value, str) for value in found]
    if are_text[0] != are_text[1] or any(isinstance(value, list | tuple | dict) for value in found):
        raise FunctionError(f"{_kind(one)} cannot be compared with {_kind(other)}")
    return found[0], found[1]


def _equal(one: object, *others: object) -> bool:
    pairs = [_comparable(one, other) for other in others]
    return any(a == b for a, b in pairs)


def _less(one: object, other: object) -> bool:
    a, b = _comparable(one, other)
    try:
        return bool(a < b)
    except TypeError:
        raise FunctionError(f"{_kind(one)} cannot be compared with {_kind(other)}") from None


def _printf(pattern: object, *values: object) -> str:
    rest = list(values)

    def shown(match: re.Match[str]) -> str:
        verb = match["verb"]
        if verb == "%":
            return "%"
        if verb not in "vsdqtxXfgeT" or not verb:
            raise FunctionError(f"printf does not know %{verb}")
        if not rest:
            raise FunctionError("printf has fewer values than its text needs")
        return _formatted(match, rest.pop(0))

    text = _VERB.sub(shown, _text(pattern, "printf"))
    if rest:
        raise FunctionError("printf has more values than its text needs")
    return bounded(text)


def _formatted(match: re.Match[str], value: object) -> str:
    verb, flags, precision = match["verb"], match["flags"], match["precision"]
    if verb == "d":
        text = str(_number(value, "%d"))
    elif verb in "fge":
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise FunctionError(f"%{verb} takes a number, and not {_kind(value)}")
        text = f"{value:.{precision or (6 if verb != 'g' else 17)}{verb}}"
    elif verb in "xX":
        text = format(value, verb) if isinstance(value, int) else printed(value).encode().hex()
    elif verb == "q":
        text = compact(printed(value))
    else:
        text = printed(value)
        text = text if precision in {None, ""} or verb == "d" else text[: int(precision)]
    width = int(match["width"] or 0)
    if "-" in flags:
        return text.ljust(width)
    return text.zfill(width) if "0" in flags and verb in "dfge" else text.rjust(width)


def _print(*values: object) -> str:
    return bounded("".join(map(printed, values)))


def _println(*values: object) -> str:
    return bounded(" ".join(map(printed, values)) + "\n")


FUNCTIONS: Mapping[str, tuple[Callable[..., object], int, int | None]] = {
    "json": (compact, 1, 1),
    "len": (_len, 1, 1),
    "index": (_index, 1, None),
    "slice": (_slice, 1, 3),
    "join": (_join, 1, 2),
    "split": (_split, 2, 2),
    "lower": (lambda value: _text(value, "lower").lower(), 1, 1),
    "upper": (lambda value: _text(value, "upper").upper(), 1, 1),
    "title": (lambda value: _text(value, "title").title(), 1, 1),
    "truncate": (_truncate, 2, 2),
    "pad": (_pad, 3, 3),
    "print": (_print, 0, None),
    "println": (_println, 0, None),
    "printf": (_printf, 1, None),
    "not": (lambda value: not is_true(value), 1, 1),
    "eq": (_equal, 2, None),
    "ne": (lambda one, other: not _equal(one, other), 2, 2),
    "lt": (_less, 2, 2),
    "le": (lambda one, other: _less(one, other) or _equal(one, other), 2, 2),
    "gt": (lambda one, other: not _less(one, other) and not _equal(one, other), 2, 2),
    "ge": (lambda one, other: not _less(one, other), 2, 2),
}
"""By name: the function, and the least and the largest number of its arguments."""
