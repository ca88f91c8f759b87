"""A target that fails for some inputs, to test that failures are found."""

from __future__ import annotations

from fuzzing.target import Target


class BrokenOnPurposeError(Exception):
    """An error that no target may end with."""


def fail(data: bytes) -> None:
    """Fail for an odd first byte."""
    if data and data[0] & 1:
        raise BrokenOnPurposeError(data)


TARGET = Target("fuzzing.broken:TARGET", fail, lambda: [b"\0", b"\2"], 8)
