"""The health of a container after its checks."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from arstore.runtime.health.state import (
    HEALTHY,
    STARTING,
    UNHEALTHY,
    HealthState,
    Result,
    after,
    begin,
    check_now,
    copy_out,
    health_state,
)
from arstore.runtime.spec.health import HealthCheck, HealthLog

CHECK = HealthCheck(("true",), retries=2, start_period=10)


def result(code):
    return Result(1.0, 2.0, code, "out")


def judged(codes, age=100.0, check=CHECK):
    health = HealthState()
    for code in codes:
        health = after(health, result(code), check, age)
    return health


@pytest.mark.parametrize(
    ("codes", "age", "status", "failing"),
    [
        ([], 100, STARTING, 0),
        ([0], 1, HEALTHY, 0),
        ([1], 100, STARTING, 1),
        ([1, 1], 100, UNHEALTHY, 2),
        ([1, 0, 1], 100, HEALTHY, 1),
        ([1, 1, 0], 100, HEALTHY, 0),
        ([1, 1, 1], 1, STARTING, 0),
        ([0, 1, 1], 1, UNHEALTHY, 2),
    ],
)
def test_status(codes, age, status, failing):
    health = judged(codes, age)
    assert (health.status, health.failing) == (status, failing)


def test_the_last_results_are_kept():
    assert len(judged([0] * 20).log) == 5


def test_the_startup_check_comes_first():
    check = CHECK._replace(startup=HealthCheck(("ready",), retries=0), successes=2)
    health = HealthState(startup=2)
    assert check_now(check, health).args == ("ready",)
    for code, expected in ((1, (1, 2)), (1, (2, 2)), (1, (3, 2)), (0, (0, 1)), (0, (0, 0))):
        health = after(health, result(code), check, 100)
        assert (health.status, health.failing, health.startup) == (STARTING, *expected)
    assert check_now(check, health).args == ("true",)
    assert after(health, result(0), check, 100).status == HEALTHY


def test_a_startup_check_with_a_limit_of_failures():
    check = CHECK._replace(startup=HealthCheck(("ready",), retries=2), successes=1)
    health = after(HealthState(startup=1), result(1), check, 100)
    assert health.status == STARTING
    assert after(health, result(1), check, 100).status == UNHEALTHY


def test_how_many_results_are_kept():
    check = CHECK._replace(log=HealthLog(results=2))
    assert len(judged([0] * 20, check=check).log) == 2


def test_a_copy_in_podmans_form(tmp_path):
    (tmp_path / "web").mkdir()
    (tmp_path / "logs").mkdir()
    log = HealthLog(str(tmp_path / "logs"))
    check = CHECK._replace(startup=HealthCheck(("ready",)), successes=3, log=log)
    begin(str(tmp_path / "web"), check)
    assert health_state(str(tmp_path / "web")) == HealthState(startup=3)
    copy = tmp_path / "logs/web-healthcheck.log"
    assert json.loads(copy.read_text()) == {"Status": "starting", "FailingStreak": 0, "Log": None}
    copy_out(str(tmp_path / "web"), judged([1]), log)
    assert json.loads(copy.read_text())["Log"] == [
        {
            "Start": "1970-01-01T00:00:01.000000000Z",
            "End": "1970-01-01T00:00:02.000000000Z",
            "ExitCode": 1,
            "Output": "out",
        }
    ]
    copy_out(str(tmp_path / "web"), judged([1]), HealthLog())


def test_the_file(tmp_path):
    assert health_state(str(tmp_path)) is None
    begin(str(tmp_path), CHECK)
    assert health_state(str(tmp_path)) == HealthState()
    begin(str(tmp_path), None)
    assert health_state(str(tmp_path)) is None
    begin(str(tmp_path / "missing"), CHECK)


@pytest.mark.parametrize("data", [b"", b"{}", b"[]", b"\xff", b'{"status":1,"failing":"x","log":[]}', b"[" * 50_000])
def test_a_damaged_file_is_as_none(tmp_path, data):
    Path(tmp_path, "health.json").write_bytes(data)
    assert health_state(str(tmp_path)) is None
