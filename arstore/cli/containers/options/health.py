"""The options of a container's health check."""

from __future__ import annotations

from typing import TYPE_CHECKING

from arstore.builtin import TypedDict
from arstore.cli.parameter import ANY, Choice, Range, option
from arstore.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeVar

    from arstore.runtime.spec.health import HealthOptions

    F = TypeVar("F", bound="Callable[..., Any]")


class HealthWords(TypedDict):
    """The options as they were typed."""

    health_cmd: str | None
    health_interval: str | None
    health_timeout: str | None
    health_start_period: str | None
    health_retries: int | None
    health_on_failure: str
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
    option("--no-healthcheck", is_flag=True, help="Ignore the health check of the image."),
)


def health_options(function: F) -> F:
    """Add the options of HealthWords to a command."""
    for decorate in reversed(_OPTIONS):
        function = decorate(function)
    return function


def parse_health(words: HealthWords) -> HealthOptions:
    """Return the options as values. Raises UsageError."""
    from arstore.runtime.spec.health import HealthOptions, no_check, parse_duration, parse_interval, parse_test

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
    )
