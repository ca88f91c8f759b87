"""Data and holes of a file (lseek(2), SEEK_DATA)."""

from __future__ import annotations

import errno
import os

from arstore.tar.header import BLOCK

MOST = 1 << 14
"""Most runs of one file: if there are more, runs are joined where the holes between them are smallest."""


def data_runs(fd: int, size: int, most: int = MOST) -> list[tuple[int, int]] | None:
    """Return the runs of data in the first *size* bytes, as offsets and lengths; None for a file without holes.

    Each run starts at a multiple of BLOCK, and the length of each but the last is a multiple of BLOCK, as tar requires.
    There are at most *most* runs. Raises OSError.
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
    """Return at most *most* runs that cover all of *runs*, joined where the holes between them are smallest."""
    holes = sorted(range(1, len(runs)), key=lambda place: runs[place][0] - sum(runs[place - 1]))
    joined = set(holes[: max(len(runs) - most, 0)])
    found: list[tuple[int, int]] = []
    for place, (start, length) in enumerate(runs):
        first = found.pop()[0] if place in joined else start
        found.append((first, start + length - first))
    return found
