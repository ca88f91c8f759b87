"""The health of a container after its checks."""

from __future__ import annotations

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
    health_state,
)
from arstore.runtime.spec.health import HealthCheck

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
