"""Values that a format is applied to, and how a template prints them, as Go's text/template does with `%v`.

Plain JSON values, with three additions: `Fields` is a document whose names are fixed, `Twofold` a value that is printed
differently in JSON, and MISSING the value of a name that a map does not have. Out of scope: the grammar.
"""

from __future__ import annotations

import json
from typing import Any

from arstore.cli.terminal.output import json_text

MISSING = object()
"""The value of a name that a map does not have."""


class Fields(dict[str, Any]):
    """A document with fixed names: another name is an error of the format, and not an absent value."""

    def find(self, name: str) -> object:
        """Return the value of *name*, in any case of letters (ID, Id). Raises KeyError."""
        if name in self:
            return self[name]
        lower = name.lower()
        for key, value in self.items():
            if key.lower() == lower:
                return value
        raise KeyError(name)


class Twofold:
    """A value that templates print as the text *shown*, and that is *plain* in JSON."""

    __slots__ = ("plain", "shown")

    def __init__(self, shown: str, plain: object) -> None:
        self.shown = shown
        self.plain = plain


def plain(value: object) -> object:
    """Return *value* as plain JSON."""
    if isinstance(value, Twofold):
        return plain(value.plain)
    if value is MISSING:
        return None
    if isinstance(value, dict):
        return {str(key): plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    return value


def compact(value: object) -> str:
    """Return *value* as one line of JSON without spaces."""
    text = json_text(plain(value))
    return json.dumps(json.loads(text), separators=(",", ":"))


def printed(value: object) -> str:
    """Return the text of *value* in the output of a template."""
    if isinstance(value, Twofold):
        return value.shown
    if value is MISSING:
        return "<no value>"
    if value is None:
        return "<nil>"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return _float(value)
    if isinstance(value, Fields):
        return "{" + " ".join(map(printed, value.values())) + "}"
    if isinstance(value, dict):
        return "map[" + " ".join(f"{key}:{printed(value[key])}" for key in sorted(value)) + "]"
    if isinstance(value, list | tuple):
        return "[" + " ".join(map(printed, value)) + "]"
    return str(value)


def is_true(value: object) -> bool:
    """Return whether *value* counts as true in `if`, `and`, `or` and `not`: everything but false, zero and empty."""
    if isinstance(value, Twofold):
        value = value.plain
    return value is not MISSING and bool(value)


def _float(value: float) -> str:
    return f"{value:.0f}" if value.is_integer() and abs(value) < 1e21 else repr(value)
