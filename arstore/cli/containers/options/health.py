"""The options of a container's health check."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from arstore.cli.parameter import ANY, Choice, Range, option
from arstore.errors import NotFoundError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypedDict, TypeVar

    from arstore.runtime.spec.health import HealthOptions, StartupOptions

    F = TypeVar("F", bound="Callable[..., Any]")

    class HealthWords(TypedDict):
        """The options as they were typed."""

        health_cmd: str | None
        health_interval: str | None
        health_timeout: str | None
        health_start_period: str | None
        health_retries: int | None
        health_on_failure: str
        health_log_destination: str
        health_max_log_count: int | None
        health_max_log_size: int | None
        health_startup_cmd: str | None
        health_startup_interval: str | None
        health_startup_timeout: str | None
        health_startup_retries: int
        health_startup_success: int
        no_healthcheck: bool


_OPTIONS = (
    option(
        "--health-cmd",
        metavar="CMD",
        type=ANY,
        help="Check the container's health with this command, for sh or as a JSON list; none for no check.",
    ),
    option(
        "--health-interval",
        metavar="TIME",
        help="Time between two checks, such as 1m30s; disable for `healthcheck run` only. 30s by default.",
    ),
    option("--health-timeout", metavar="TIME", help="Time after which a check has failed; 30s by default."),
    option("--health-start-period", metavar="TIME", help="Time after the start in which failures do not count."),
    option(
        "--health-retries",
        metavar="N",
        type=Range(int, min=1),
        help="Failures in a row that make the container unhealthy; 3 by default.",
    ),
    option(
        "--health-on-failure",
        type=Choice(("none", "kill", "restart", "stop")),
        default="none",
        show_default=True,
        help="What to do with a container that has become unhealthy.",
    ),
    option(
        "--health-log-destination",
        metavar="DIR",
        default="local",
        help="Copy the last results to a file in DIR too; local, the default, keeps them with the container only.",
    ),
    option(
        "--health-max-log-count",
        metavar="N",
        type=Range(int, min=0),
        help="How many results are kept: 5 by default, and at most 100; 0 for the most.",
    ),
    option(
        "--health-max-log-size",
        metavar="N",
        type=Range(int, min=0),
        help="How many characters of each result's output are kept: 500 by default, and at most 10000; 0 for the most.",
    ),
    option(
        "--health-startup-cmd",
        metavar="CMD",
        type=ANY,
        help="Until this command has succeeded, run it instead of the health check.",
    ),
    option("--health-startup-interval", metavar="TIME", help="Time between two startup checks; 30s by default."),
    option(
        "--health-startup-timeout", metavar="TIME", help="Time after which a startup check has failed; 30s by default."
    ),
    option(
        "--health-startup-retries",
        metavar="N",
        type=Range(int, min=0),
        default=0,
        help="Failed startup checks in a row after which the container is started again; 0, the default, for never.",
    ),
    option(
        "--health-startup-success",
        metavar="N",
        type=Range(int, min=0),
        default=0,
        help="How often the startup check has to succeed; once by default.",
    ),
    option("--no-healthcheck", is_flag=True, help="Ignore the health check of the image."),
)


def health_options(function: F) -> F:
    """Add the options of HealthWords to a command."""
    for decorate in reversed(_OPTIONS):
        function = decorate(function)
    return function


def parse_health(words: HealthWords) -> HealthOptions:
    """Return the options as values. Raises UsageError."""
    from arstore.runtime.spec.health import (
        KEPT_OUTPUT,
        KEPT_RESULTS,
        MOST_OUTPUT,
        MOST_RESULTS,
        HealthLog,
        HealthOptions,
        no_check,
        parse_interval,
        parse_test,
    )
    from arstore.runtime.spec.moments import parse_duration

    if words["no_healthcheck"]:
        if words["health_cmd"] is not None:
            raise UsageError("--no-healthcheck", "--no-healthcheck and --health-cmd exclude each other")
        return no_check()
    command, interval = words["health_cmd"], words["health_interval"]
    timeout, start_period = words["health_timeout"], words["health_start_period"]
    return HealthOptions(
        None if command is None else parse_test(command),
        None if interval is None else parse_interval(interval),
        None if timeout is None else parse_duration(timeout),
        None if start_period is None else parse_duration(start_period),
        words["health_retries"],
        words["health_on_failure"],
        _startup(words),
        HealthLog(
            _directory(words["health_log_destination"]),
            _kept(words["health_max_log_count"], KEPT_RESULTS, MOST_RESULTS),
            _kept(words["health_max_log_size"], KEPT_OUTPUT, MOST_OUTPUT),
        ),
    )


def _kept(number: int | None, usual: int, most: int) -> int:
    return usual if number is None else min(number or most, most)


def _startup(words: HealthWords) -> StartupOptions:
    """Return the startup check. Raises UsageError."""
    from arstore.runtime.spec.health import StartupOptions, parse_interval, parse_test
    from arstore.runtime.spec.moments import parse_duration

    command, interval, timeout = (words[f"health_startup_{name}"] for name in ("cmd", "interval", "timeout"))  # type: ignore[literal-required]
    retries, successes = words["health_startup_retries"], words["health_startup_success"]
    if command is None:
        for name, value in (("interval", interval), ("timeout", timeout), ("retries", retries), ("success", successes)):
            if value:
                raise UsageError(f"--health-startup-{name}", "needs --health-startup-cmd")
        return StartupOptions()
    found = StartupOptions(parse_test(command), retries=retries, successes=successes or 1)
    if interval is not None:
        found = found._replace(interval=parse_interval(interval))
    return found if timeout is None else found._replace(timeout=parse_duration(timeout))


def _directory(text: str) -> str:
    """Return the absolute path of an existing directory; "" for `local`. Raises UsageError, NotFoundError."""
    if text == "local":
        return ""
    if text == "events_logger":
        why = "is not supported: arstore writes no log of events"
        raise UsageError(f"--health-log-destination={text}", why, "write a directory, or local")
    if not os.path.isdir(text):
        raise NotFoundError(text, "no such directory")
    return os.path.abspath(text)
