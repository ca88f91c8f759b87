"""Times as users write them: RFC 3339, seconds since the epoch, or how long ago, as in podman."""

from __future__ import annotations

import re
import time
from datetime import datetime

from arstore.errors import UsageError

_DURATION = re.compile(r"-?(?:[0-9]+(?:\.[0-9]*)?(?:ns|us|µs|ms|s|m|h))+")
_PART = re.compile(r"([0-9]+(?:\.[0-9]*)?)(ns|us|µs|ms|s|m|h)")
_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_SECONDS = re.compile(r"[0-9]{1,12}(?:\.[0-9]{1,9})?")
_FRACTION = re.compile(r"\.([0-9]+)")


def parse_moment(text: str, what: str) -> float:
    """Return the time *text* in seconds since the epoch; without a zone, it is local time.

    Raises UsageError, with the option *what*.
    """
    if _SECONDS.fullmatch(text):
        return float(text)
    if _DURATION.fullmatch(text):
        seconds = sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(text))
        return time.time() + (seconds if text.startswith("-") else -seconds)
    try:
        # Python 3.11 and later take everything of RFC 3339 but fractions of more than six digits.
        return datetime.fromisoformat(_FRACTION.sub(lambda match: f".{match[1][:6]:0<6}", text)).timestamp()
    except (ValueError, OverflowError, OSError):
        from arstore.oci.document import shown

        hint = "write 2026-01-31T12:00:00Z, seconds since 1970, or how long ago, such as 10m"
        raise UsageError(f"{what} {shown(text)}", "is not a time", hint) from None
