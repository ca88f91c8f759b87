"""The error of a format: what is wrong, and where."""

from __future__ import annotations

from arstore.errors import UsageError

OPTION = "--format"
LONGEST = 64 << 10
"""Characters of a format."""


def refused(position: int, why: str, hint: str = "") -> UsageError:
    """Return the error for the character at *position*, counted from 0."""
    return UsageError(OPTION, f"character {position + 1}: {why}", hint)


def require_short(text: str) -> None:
    """Raise UsageError for a format longer than LONGEST."""
    if len(text) > LONGEST:
        raise UsageError(OPTION, f"has more than {LONGEST} characters")
