"""The creation time of new images, which the user can set so that equal input gives equal bytes."""

from __future__ import annotations

import os
import time

from arstore.errors import UsageError


def creation_time() -> int:
    """Return SOURCE_DATE_EPOCH (reproducible-builds.org), or else now, in seconds since 1970. Raises UsageError."""
    given = os.environ.get("SOURCE_DATE_EPOCH", "")
    if not given:
        return int(time.time())
    if not (given.isascii() and given.isdigit() and len(given) <= 12):
        raise UsageError("SOURCE_DATE_EPOCH", f"{given!r} is not a number of seconds since 1970")
    return int(given)
