"""Time limits of a load: whatever an exception becomes on its way, the end of the time is what is reported."""

from __future__ import annotations

import time

import pytest

from arstore.errors import PipelineTimeoutError
from arstore.pipeline.clock import Clock


class Slow:
    """An attribute that takes its time when a class with it is made. Python 3.11 wraps what is raised there."""

    def __set_name__(self, owner, name):
        time.sleep(60)


def make():
    type("Made", (), {"slow": Slow()})


def catch_everything():
    try:
        time.sleep(60)
    except BaseException as error:
        raise ValueError("something else") from error


@pytest.mark.parametrize("work", [make, catch_everything])
def test_the_end_of_the_time_becomes_another_error(work):
    expected = pytest.raises(PipelineTimeoutError, match=r"\(--timeout 0.05\), while working")
    with expected, Clock(0.05).between("working"):
        work()


def test_other_errors_stay():
    with pytest.raises(ValueError, match="something else"), Clock(60).between("failing"):
        raise ValueError("something else")
