"""Durations and moments as users write them: the grammars of Go, podman and docker.

A duration is Go's (time.ParseDuration): numbers with units, such as `1h30m` or `1.5s`; here also `d` and `w`. A moment
is RFC 3339 or a part of it, seconds since the epoch, or a duration before now. Without a zone it is local time, as in
podman and docker.
"""

from __future__ import annotations

import re
from typing import NoReturn

from arstore.errors import UsageError

_UNITS = {"ns": 1e-9, "us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_UNITS |= {"\u00b5s": 1e-6, "\u03bcs": 1e-6}
"""Seconds; the micro sign and the Greek letter are both taken."""
_NUMBER = r"(?:[0-9]{1,15}(?:\.[0-9]{0,15})?|\.[0-9]{1,15})"
_PART = rf"({_NUMBER})({'|'.join(sorted(_UNITS, key=len, reverse=True))})"
_LONGEST = 1_000_000_000.0
"""Seconds: more than thirty years, and less than the limit of the kernel's timers."""
_FRACTION = re.compile(r"\.([0-9]+)")


def parse_duration(text: str) -> float:
    """Return the seconds of a duration such as `1m30s`, `500ms`, `2w` or `0`. Raises UsageError."""
    seconds = _seconds(text)
    if seconds is None:
        _refuse(text, "is not a duration", "write for example 30s, 1m30s, 12h or 2w")
    if not 0 <= seconds <= _LONGEST:
        _refuse(text, f"a duration is from 0 to {_LONGEST:.0f} seconds")
    return seconds


def parse_moment(text: str, option: str = "") -> float:
    """Return the moment *text* in seconds since the epoch. Raises UsageError; *option* names it, such as `--since `."""
    import time
    from datetime import datetime

    try:
        # A number alone is not a duration; a negative duration is a moment to come, as in Go.
        return float(text) if re.fullmatch(r"[0-9]{1,12}(?:\.[0-9]{1,9})?", text) else time.time() - _before(text)
    except ValueError:
        pass
    try:
        # Python 3.11 and later take everything of RFC 3339 but fractions of more than six digits.
        return datetime.fromisoformat(_FRACTION.sub(lambda match: f".{match[1][:6]:0<6}", text)).timestamp()
    except (ValueError, OverflowError, OSError):
        hint = "write 2026-01-31T12:00:00Z, seconds since 1970, or how long ago, such as 10m"
        _refuse(option + text, "is not a time", hint)


def _before(text: str) -> float:
    """Return the seconds of a duration. Raises ValueError for what is not one."""
    seconds = _seconds(text)
    if seconds is None:
        raise ValueError(text)
    return seconds


def _seconds(text: str) -> float | None:
    """Return a duration in seconds, which may be negative; None for what is not one."""
    sign, digits = (text[:1], text[1:]) if text[:1] in {"-", "+"} else ("", text)
    if digits != "0" and re.fullmatch(f"(?:{_PART})+", digits) is None:
        return None
    seconds = sum(float(number) * _UNITS[unit] for number, unit in re.findall(_PART, digits))
    return -seconds if sign == "-" else seconds


def _refuse(text: str, why: str, hint: str = "") -> NoReturn:
    from arstore.oci.document import shown

    raise UsageError(shown(text), why, hint)
