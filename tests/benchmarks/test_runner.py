"""The order of samples, and what happens when a contender fails or takes too long."""

from __future__ import annotations

import signal
import time

import pytest

from benchmarks import runner
from benchmarks.measure import Contender, MeasurementError, PatienceError, Row


def contender(label: str, log: list[str], fails: str = "", error: Exception | None = None) -> Contender:
    """A contender that logs its steps into *log*, and fails in the step *fails*."""

    def step(name: str) -> None:
        log.append(f"{label}.{name}")
        if name == fails:
            raise error or MeasurementError(f"{name} failed")

    def sample() -> dict[str, list[float]]:
        step("sample")
        return {"seconds": [float(len(log))]}

    steps = [lambda name=name: step(name) for name in ("set_up", "prepare", "clear", "tear_down")]
    return Contender(label, sample, *steps)


def measure(*contenders: Contender, rounds: int = 2, timeout: float = 30.0, own: int | None = None) -> list:
    row = Row("row", "A row", contenders, [], rounds=own)
    return runner.measure(row, rounds, timeout, lambda _text: None)


def test_rounds_are_interleaved_and_every_sample_is_kept() -> None:
    log: list[str] = []
    found = measure(contender("a", log), contender("b", log))
    once = ["prepare", "sample", "clear"]
    first = [f"a.{step}" for step in ("set_up", *once)] + [f"b.{step}" for step in ("set_up", *once)]
    second = [f"{label}.{step}" for label in "ab" for step in once]
    assert log == [*first, *second, "b.tear_down", "a.tear_down"]
    assert [[sample["seconds"] for sample in series.samples] for series in found] == [[[3.0], [10.0]], [[7.0], [13.0]]]
    assert [series.failure for series in found] == ["", ""]


def test_a_row_may_have_its_own_number_of_rounds() -> None:
    log: list[str] = []
    assert len(measure(contender("a", log), own=1)[0].samples) == 1


@pytest.mark.parametrize("step", ["set_up", "prepare", "sample"])
@pytest.mark.parametrize("error", [MeasurementError("why it failed"), OSError("why it failed")])
def test_a_contender_fails_alone_and_is_cleared(step: str, error: Exception) -> None:
    log: list[str] = []
    bad, good = measure(contender("bad", log, step, error), contender("good", log))
    assert bad.failure == "why it failed"
    assert bad.samples == []
    assert (len(good.samples), good.failure) == (2, "")
    assert log.count("bad.clear") == log.count("bad.tear_down") == 1
    assert log.count(f"bad.{step}") == 1


def test_a_failure_to_clear_counts_but_does_not_hide_the_first_one() -> None:
    log: list[str] = []
    found = measure(contender("a", log, "clear"), contender("b", log, "tear_down"))
    assert [series.failure for series in found] == [f"could not clear up: {x} failed" for x in ("clear", "tear_down")]
    assert [len(series.samples) for series in found] == [1, 2]

    def fail() -> None:
        raise MeasurementError("second")

    both = contender("both", log, "sample")
    both.clear = fail
    assert measure(both)[0].failure == "sample failed"


def test_what_takes_too_long_is_given_up() -> None:
    log: list[str] = []
    slow = contender("slow", log)
    slow.sample = lambda: time.sleep(20) or {}
    start = time.monotonic()
    found = measure(slow, contender("good", log), timeout=0.1)
    assert time.monotonic() - start < 10
    assert found[0].failure == "took longer than 0.1 s"
    assert len(found[1].samples) == 2
    assert log.count("slow.clear") == 1


def test_contenders_are_torn_down_when_the_user_interrupts() -> None:
    log: list[str] = []
    bad = contender("bad", log, "sample", KeyboardInterrupt())  # type: ignore[arg-type]
    with pytest.raises(KeyboardInterrupt):
        measure(contender("good", log), bad)
    assert log[-3:] == ["bad.clear", "bad.tear_down", "good.tear_down"]


def test_patience_leaves_nothing_behind() -> None:
    before = signal.getsignal(signal.SIGALRM)
    with pytest.raises(PatienceError), runner.patience(0.01):
        time.sleep(5)
    with runner.patience(50):
        pass
    assert signal.getsignal(signal.SIGALRM) == before
    assert signal.getitimer(signal.ITIMER_REAL)[0] == 0
