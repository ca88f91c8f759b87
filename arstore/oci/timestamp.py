"""Times in configs: RFC 3339 in UTC, in whole seconds."""

from __future__ import annotations

import os
from time import gmtime, strftime, time

from arstore.errors import UsageError

_LAST_SECOND = 253402300799
"""31 December 9999: the last time that RFC 3339 can represent."""


def rfc3339(seconds: int) -> str:
    """Return the time *seconds* after the epoch. Raises UsageError for a time outside of RFC 3339."""
    if not 0 <= seconds <= _LAST_SECOND:
        raise UsageError(f"the time {seconds}", "cannot be written in a config", "give seconds since 1970")
    return strftime("%Y-%m-%dT%H:%M:%SZ", gmtime(seconds))


def creation_time() -> int:
    """Return SOURCE_DATE_EPOCH (reproducible-builds.org), or else now, in seconds since 1970. Raises UsageError."""
    given = os.environ.get("SOURCE_DATE_EPOCH", "")
    if not given:
        return int(time())
    if not (given.isascii() and given.isdigit() and len(given) <= 12):
        raise UsageError("SOURCE_DATE_EPOCH", f"{given!r} is not a number of seconds since 1970")
    return int(given)
