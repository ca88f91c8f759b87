"""Where a file has data, and where holes (lseek(2), SEEK_DATA)."""

from __future__ import annotations

import errno
import os

from arstore.tar.header import BLOCK

MOST = 1 << 14
"""Runs of one file: more are joined where the holes between them are smallest."""


def data_runs(fd: int, size: int, most: int = MOST) -> list[tuple[int, int]] | None:
    """The runs of data among the first *size* bytes, as offsets and lengths; None for a file without a hole.

    Each starts at a multiple of BLOCK, and each but the last is one long: tar has them so. There are at most *most*.
    Raises OSError.
    """
    runs: list[tuple[int, int]] = []
    at = 0
    while at < size:
        try:
            start = os.lseek(fd, at, os.SEEK_DATA)
        except OSError as error:
            if error.errno != errno.ENXIO:
                raise
            break
        end = min(os.lseek(fd, start, os.SEEK_HOLE), size)
        if end <= at or start >= size:
            break
        at = end
        start -= start % BLOCK
        end = min(end + -end % BLOCK, size)
        if runs and start <= sum(runs[-1]):
            start, _ = runs.pop()
        runs.append((start, end - start))
        if len(runs) > 2 * most:
            runs = _fewer(runs, most)
    runs = _fewer(runs, most)
    return None if runs == [(0, size)] else runs


def _fewer(runs: list[tuple[int, int]], most: int) -> list[tuple[int, int]]:
    """At most *most* runs, which have these in them: those with the smallest holes between them are joined."""
    holes = sorted(range(1, len(runs)), key=lambda place: runs[place][0] - sum(runs[place - 1]))
    joined = set(holes[: max(len(runs) - most, 0)])
    found: list[tuple[int, int]] = []
    for place, (start, length) in enumerate(runs):
        first = found.pop()[0] if place in joined else start
        found.append((first, start + length - first))
    return found
