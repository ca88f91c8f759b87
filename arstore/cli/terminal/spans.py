"""Spans and moments in words, as docker's and podman's tables have them: `2 hours ago`."""

from __future__ import annotations

_ZERO = "0001-01-01 00:00:00 +0000 UTC"
_NEVER = "0001-01-01T00:00:00Z"


def in_words(seconds: float) -> str:
    """Return a span as docker writes it: `3 minutes`, `About an hour`."""
    hours = round(seconds / 3600)
    if seconds < 1:
        return "Less than a second"
    if seconds < 60:
        return f"{int(seconds)} second{'s' if seconds >= 2 else ''}"
    if seconds < 3600:
        return "About a minute" if int(seconds // 60) == 1 else f"{int(seconds // 60)} minutes"
    if hours == 1:
        return "About an hour"
    if hours < 48:
        return f"{hours} hours"
    days = int(seconds // 86400)
    if days < 14:
        return f"{days} days"
    if days < 60:
        return f"{days // 7} weeks"
    if days < 730:
        return f"{days // 30} months"
    return f"{days // 365} years"


def ago(seconds: float, now: float) -> str:
    """Return how long before *now* a moment was."""
    return f"{in_words(max(0.0, now - seconds))} ago"


def go_time(seconds: float | None) -> str:
    """Return a moment as Go prints it, in UTC; None for one that has not come."""
    return _ZERO if seconds is None else _formatted(seconds, "%Y-%m-%d %H:%M:%S", " +0000 UTC")


def rfc_time(seconds: float | None) -> str:
    """Return a moment as RFC 3339 with its fraction; None for one that has not come."""
    return _NEVER if seconds is None else _formatted(seconds, "%Y-%m-%dT%H:%M:%S", "Z")


def _formatted(seconds: float, form: str, zone: str) -> str:
    from time import gmtime, strftime

    whole, fraction = divmod(round(seconds * 1_000_000), 1_000_000)
    digits = f".{fraction:06d}".rstrip("0").rstrip(".")
    return f"{strftime(form, gmtime(whole))}{digits}{zone}"
