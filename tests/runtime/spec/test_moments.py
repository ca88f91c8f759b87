"""Durations and moments from the command line."""

import time

import pytest

from arstore.errors import UsageError
from arstore.runtime.spec.moments import parse_duration, parse_moment


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("30s", 30),
        ("1m30s", 90),
        ("1.5h", 5400),
        ("500ms", 0.5),
        ("0", 0),
        ("0s", 0),
        (".5s", 0.5),
        ("1.s", 1),
        ("+2s", 2),
        ("3\u00b5s", 3e-6),
        ("3\u03bcs", 3e-6),
        ("12h", 43200),
        ("30d", 30 * 86400),
        ("2w", 14 * 86400),
        ("1d12h", 129600),
    ],
)
def test_durations(text, seconds):
    assert parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "text", ["", "3", "3x", "-1s", "s", "1s 2s", "999999999999h", "nan", ".s", "1h-3m", "1y", "\x1b", "1\u0663s"]
)
def test_durations_that_are_none(text):
    with pytest.raises(UsageError):
        parse_duration(text)


def test_moments():
    now = time.time()
    assert parse_moment("1700000000.25") == 1700000000.25
    assert parse_moment("10") == 10
    assert parse_moment("2023-11-14T22:13:20Z") == 1700000000
    assert parse_moment("2023-11-14T23:13:20.123456789+01:00") == pytest.approx(1700000000.123456)
    assert parse_moment("2023-11-14") < 1700000000 + 86400
    assert now - 5401 < parse_moment("1h30m") < now - 5390
    assert now - 2 * 86400 - 1 < parse_moment("2d") < now - 2 * 86400 + 5
    assert now - 1 < parse_moment("300ms") < now + 1
    assert parse_moment("-1h") > now + 3500


def test_a_moment_without_a_zone_is_local(monkeypatch):
    monkeypatch.setenv("TZ", "EST5")
    time.tzset()
    try:
        assert parse_moment("2023-11-14T17:13:20") == 1700000000
    finally:
        monkeypatch.undo()
        time.tzset()


@pytest.mark.parametrize("text", ["", "abc", "1x", "m", "2023-13-01", "1h-3m", "9" * 30, "\x1b[1m"])
def test_moments_that_are_none(text):
    with pytest.raises(UsageError, match="--since"):
        parse_moment(text, "--since ")
