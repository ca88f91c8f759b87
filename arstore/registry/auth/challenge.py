"""Challenges: the credentials that a registry demands (RFC 9110, section 11; RFC 6750; RFC 7617).

The header may occur several times, hold several challenges, and have commas within quoted values. Unreadable parts are
skipped: a challenge that is not understood is not answered.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from arstore.pattern import pattern
from arstore.values import NamedTuple

if TYPE_CHECKING:
    import re
    from collections.abc import Iterable, Mapping

_LONGEST = 16 << 10
_MOST = 50
_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_PARAMETER = pattern(rf'(?s)({_TOKEN})[ \t]*=[ \t]*("(?:[^"\\]|\\.)*"|(?!=)[^ \t",]*)(?=[ \t]*(?:,|$|[ \t]))')
_TOKEN68 = pattern(r"[A-Za-z0-9._~+/-]+=*[ \t]*(?=,|$)")
_SCHEME = pattern(rf"({_TOKEN})(?=[ \t]|,|$)")
_BLANK = pattern(r"[ \t]*")
_BETWEEN = pattern(r"[ \t,]*")


class Challenge(NamedTuple):
    """A scheme and its parameters, both with names in lower case; if a parameter is repeated, the first one counts."""

    scheme: str
    parameters: Mapping[str, str]


def challenges(lines: Iterable[str]) -> tuple[Challenge, ...]:
    """The challenges in the lines of WWW-Authenticate, in their order."""
    found: list[Challenge] = []
    for line in lines:
        if len(line) <= _LONGEST:
            found += _of_line(line)
    return tuple(found[:_MOST])


def _of_line(line: str) -> list[Challenge]:
    found: list[tuple[str, dict[str, str]]] = []
    place = _end(_BETWEEN.match(line))
    while place < len(line) and len(found) < _MOST:
        parameter = _PARAMETER.match(line, place)
        if parameter is not None:
            if found:
                found[-1][1].setdefault(parameter[1].lower(), _unquoted(parameter[2]))
            place = parameter.end()
        else:
            scheme = _SCHEME.match(line, place)
            if scheme is None:
                break
            found.append((scheme[1].lower(), {}))
            place = scheme.end()
            after = _end(_BLANK.match(line, place))
            token = _TOKEN68.match(line, after)
            # A word followed by `=` and a value is a parameter; one that ends here belongs to the scheme.
            if token is not None and after > place and _PARAMETER.match(line, after) is None:
                place = token.end()
        place = _end(_BETWEEN.match(line, place))
    return [Challenge(scheme, parameters) for scheme, parameters in found]


def _end(match: re.Match[str] | None) -> int:
    assert match is not None, "it matches the empty text, too"
    return match.end()


def _unquoted(text: str) -> str:
    import re

    return re.sub(r"\\(.)", r"\1", text[1:-1], flags=re.DOTALL) if text.startswith('"') else text
