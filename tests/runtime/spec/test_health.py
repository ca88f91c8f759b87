"""Health checks of images and options: syntax, defaults, and what is invalid."""

from __future__ import annotations

import pytest

from arstore.errors import UsageError
from arstore.runtime.spec.health import (
    HealthCheck,
    HealthOptions,
    health_check,
    no_check,
    parse_interval,
    parse_test,
)

SECOND = 10**9


@pytest.mark.parametrize(
    ("text", "test"),
    [
        ("curl localhost || exit 1", ("CMD-SHELL", "curl localhost || exit 1")),
        ('["a", "b c"]', ("CMD", "a", "b c")),
        ('["CMD-SHELL", "a b"]', ("CMD-SHELL", "a b")),
        ('["a', ("CMD-SHELL", '["a')),
        ("none", ("NONE",)),
        ("", ("NONE",)),
    ],
)
def test_commands(text, test):
    assert parse_test(text) == test


@pytest.mark.parametrize("text", ["[]", "[1]", '["a", null]', '[""]'])
def test_commands_that_are_none(text):
    with pytest.raises(UsageError):
        parse_test(text)


def test_intervals():
    assert parse_interval("disable") == 0
    assert parse_interval("2s") == 2


@pytest.mark.parametrize(
    ("image", "options", "check"),
    [
        (None, HealthOptions(), None),
        ({"Test": []}, HealthOptions(), None),
        ({"Test": ["NONE"]}, HealthOptions(), None),
        ({"Test": "true"}, HealthOptions(), None),
        ({"Test": ["CMD", 1]}, HealthOptions(), None),
        ({"Test": ["CMD"]}, HealthOptions(), None),
        ({"Test": ["CMD", "true"]}, no_check(), None),
        ({"Test": ["CMD", "true"]}, HealthOptions(), HealthCheck(("true",))),
        ({"Test": ["CMD-SHELL", "a b"]}, HealthOptions(), HealthCheck(("/bin/sh", "-c", "a b"))),
        (
            {
                "Test": ["CMD", "true"],
                "Interval": 2 * SECOND,
                "Timeout": SECOND,
                "StartPeriod": 5 * SECOND,
                "Retries": 7,
            },
            HealthOptions(),
            HealthCheck(("true",), 2, 1, 5, 7),
        ),
        (
            {"Test": ["CMD", "true"], "Interval": -1, "Timeout": "1s", "StartPeriod": True, "Retries": 0},
            HealthOptions(),
            HealthCheck(("true",)),
        ),
        (
            {"Test": ["CMD", "true"], "Interval": 2 * SECOND},
            HealthOptions(("CMD", "false"), 0.0, 1.0, 2.0, 1, "kill"),
            HealthCheck(("false",), 0.0, 1.0, 2.0, 1, "kill"),
        ),
    ],
)
def test_what_is_checked(image, options, check):
    assert health_check(image, options) == check
