"""Health checks: what an image's HEALTHCHECK and the options `--health-*` say (image-spec config.md, "Healthcheck").

Syntax and defaults are podman's. Out of scope: running a check, see `lifecycle.health`.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from arstore import json
from arstore.errors import UsageError
from arstore.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

NONE, KILL, STOP, RESTART = "none", "kill", "stop", "restart"
ON_FAILURE = (NONE, KILL, RESTART, STOP)
"""Actions when a container becomes unhealthy."""
INTERVAL, TIMEOUT, RETRIES = 30.0, 30.0, 3
"""Seconds between two checks, and for one; failed checks in a row after which a container is unhealthy."""

_NO_CHECK = ("NONE",)
_SECOND = 1_000_000_000
_LONGEST = 1_000_000_000.0
"""Seconds: more than thirty years."""
_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_PART = r"([0-9]{1,12}(?:\.[0-9]{1,9})?)(ns|us|µs|ms|s|m|h)"


class HealthOptions(NamedTuple):
    """The user's settings; None means the image's. *test* as in the image's config, `("NONE",)` for no check."""

    test: tuple[str, ...] | None = None
    interval: float | None = None
    """Seconds; 0 for checks only by `arstore healthcheck run`."""
    timeout: float | None = None
    start_period: float | None = None
    retries: int | None = None
    on_failure: str = NONE


class HealthCheck(NamedTuple):
    """A container's check: the command, and times in seconds."""

    args: tuple[str, ...]
    interval: float = INTERVAL
    timeout: float = TIMEOUT
    start_period: float = 0.0
    """Time after the start in which failures do not count."""
    retries: int = RETRIES
    on_failure: str = NONE


def health_check(image: Mapping[str, Any] | None, options: HealthOptions) -> HealthCheck | None:
    """Return the check in the *image*'s config, changed by *options*; None if there is none, or it is invalid."""
    image = image or {}
    args = _args(options.test if options.test is not None else image.get("Test"))
    if not args:
        return None
    interval, timeout = options.interval, options.timeout
    return HealthCheck(
        args,
        _seconds(image.get("Interval"), INTERVAL) if interval is None else interval,
        _seconds(image.get("Timeout"), TIMEOUT) if timeout is None else timeout,
        _seconds(image.get("StartPeriod"), 0.0) if options.start_period is None else options.start_period,
        _retries(image.get("Retries")) if options.retries is None else options.retries,
        options.on_failure,
    )


def _args(test: object) -> tuple[str, ...]:
    if not isinstance(test, (list, tuple)) or not all(isinstance(word, str) and "\0" not in word for word in test):
        return ()
    match tuple(test):
        case ("CMD-SHELL", script):
            return ("/bin/sh", "-c", script)
        case ("CMD", *words):
            return tuple(words)
    return ()


def _seconds(nanoseconds: object, default: float) -> float:
    if type(nanoseconds) is not int or not 0 < nanoseconds <= _LONGEST * _SECOND:
        return default
    return nanoseconds / _SECOND


def _retries(number: object) -> int:
    return number if type(number) is int and number > 0 else RETRIES


def parse_test(text: str) -> tuple[str, ...]:
    """Read `--health-cmd`: a command line for sh, a JSON list of words, or `none`. Raises UsageError."""
    if text in {"", "none"}:
        return _NO_CHECK
    if not text.startswith("["):
        return ("CMD-SHELL", text)
    try:
        words = json.loads(text)
    except (ValueError, RecursionError):
        # podman takes it for a command line too.
        return ("CMD-SHELL", text)
    if not isinstance(words, list) or not words or not all(isinstance(word, str) and word for word in words):
        raise _refused(text, "not a JSON list of words")
    return tuple(words) if words[0] in {"CMD", "CMD-SHELL", "NONE"} else ("CMD", *words)


def parse_duration(text: str) -> float:
    """Return the seconds of a duration as Go writes it, such as `1m30s`, `500ms` or `0`. Raises UsageError."""
    seconds = sum(float(number) * _UNITS[unit] for number, unit in re.findall(_PART, text))
    if (text != "0" and re.fullmatch(f"(?:{_PART})+", text) is None) or seconds > _LONGEST:
        raise _refused(text, "not a duration", "write for example 30s, 1m30s or 500ms")
    return seconds


def parse_interval(text: str) -> float:
    """Return the seconds of `--health-interval`; 0 for `disable`. Raises UsageError."""
    return 0.0 if text == "disable" else parse_duration(text)


def no_check() -> HealthOptions:
    """Return the options of `--no-healthcheck`."""
    return HealthOptions(_NO_CHECK)


def _refused(text: str, why: str, hint: str = "") -> UsageError:
    from arstore.oci.document import shown

    return UsageError(shown(text), why, hint)
