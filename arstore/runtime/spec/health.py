"""Health checks: what an image's HEALTHCHECK and the options `--health-*` say (image-spec config.md, "Healthcheck").

Syntax and defaults are podman's. Out of scope: running a check, see `lifecycle.health`.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

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


MOST_RESULTS, KEPT_RESULTS = 100, 5
MOST_OUTPUT, KEPT_OUTPUT = 10_000, 500
"""Results, and characters of each one's output, that can be kept; and those that are, podman's numbers."""


class StartupOptions(NamedTuple):
    """A check that is made until it has succeeded, before the other one; *test* None is for none. Times in seconds."""

    test: tuple[str, ...] | None = None
    interval: float = INTERVAL
    timeout: float = TIMEOUT
    retries: int = 0
    """Failures in a row after which the container is started again; 0 for never."""
    successes: int = 1


class HealthLog(NamedTuple):
    """How many results are kept, and how much of each; and the host's directory for a copy of them, "" for none."""

    directory: str = ""
    results: int = KEPT_RESULTS
    size: int = KEPT_OUTPUT


class HealthOptions(NamedTuple):
    """The user's settings; None means the image's. *test* as in the image's config, `("NONE",)` for no check."""

    test: tuple[str, ...] | None = None
    interval: float | None = None
    """Seconds; 0 for checks only by `arstore healthcheck run`."""
    timeout: float | None = None
    start_period: float | None = None
    retries: int | None = None
    on_failure: str = NONE
    startup: StartupOptions = StartupOptions()
    log: HealthLog = HealthLog()

    @property
    def restarts(self) -> bool:
        """Whether a failed check may start the container again."""
        return self.on_failure == RESTART or (self.startup.test is not None and self.startup.retries > 0)


class HealthCheck(NamedTuple):
    """A container's check: the command, and times in seconds."""

    args: tuple[str, ...]
    interval: float = INTERVAL
    timeout: float = TIMEOUT
    start_period: float = 0.0
    """Time after the start in which failures do not count."""
    retries: int = RETRIES
    on_failure: str = NONE
    startup: HealthCheck | None = None
    """The check that is made until it has succeeded *successes* times; its *retries* are 0 for no limit."""
    successes: int = 0
    log: HealthLog = HealthLog()


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
        _startup(options.startup),
        options.startup.successes if options.startup.test is not None else 0,
        options.log,
    )


def _startup(options: StartupOptions) -> HealthCheck | None:
    args = _args(options.test)
    if not args:
        return None
    on_failure = RESTART if options.retries else NONE
    return HealthCheck(args, options.interval, options.timeout, 0.0, options.retries, on_failure)


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


def parse_interval(text: str) -> float:
    """Return the seconds of `--health-interval`; 0 for `disable`. Raises UsageError."""
    from arstore.runtime.spec.moments import parse_duration

    return 0.0 if text == "disable" else parse_duration(text)


def no_check() -> HealthOptions:
    """Return the options of `--no-healthcheck`."""
    return HealthOptions(_NO_CHECK)


def _refused(text: str, why: str, hint: str = "") -> UsageError:
    from arstore.oci.document import shown

    return UsageError(shown(text), why, hint)
