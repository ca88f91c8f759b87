"""The cost of one input, and the part of its allowance that it was charged.

Many virtual machines have no counters of instructions, so time is that of the thread, the least of several runs. The
limits together bound how often an input can be repeated: by the largest part that any of them was charged. Time and
memory, divided by that part, are the most that a source of 1 MB can take in this way.
"""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import Callable
from dataclasses import dataclass, field

from arstore.errors import ArstoreError
from arstore.trees.format import UnrepresentableError

MEGABYTE = 1_000_000
SHORT = 100e-6
"""Seconds below the resolution: they are subtracted, so that a small difference does not become a large one."""
ALLOWED = {
    "steps": 50_000_000 + 8 * MEGABYTE,
    "inflated": 1 << 30,
    "parsed": (8 << 20) + 8 * MEGABYTE,
    "visits": 100_000 + MEGABYTE // 16,
    "references": 50_000 + MEGABYTE // 200,
    "images": 20_000,
    "members": 100_000,
    "names": 16 << 20,
    "listing": 16 << 20,
    "table": 4 << 20,
    "held": 128 << 20,
}
"""The most that a compressed source of 1 MB may be charged of each."""

OFTEN = 10_000
"""Limit of repetitions in one source: without it, work that is done once would count as a loop."""

Run = Callable[[dict[str, int]], None]
"""Reads one input, and notes what it was charged, and the bytes `made` and `written`."""


@dataclass
class Cost:
    """Cost of an input of *size* bytes: seconds, and peak memory in bytes (0 if it was not measured)."""

    size: int
    seconds: float
    charged: dict[str, int] = field(default_factory=dict)
    memory: int = 0

    @property
    def share(self) -> float:
        """The part of its allowance that was charged."""
        parts = (self.charged.get(name, 0) / most for name, most in ALLOWED.items())
        return 1 / OFTEN + max(max(self.size, 1) / ALLOWED["inflated"], *parts)

    def at_most(self, idle: float) -> float:
        """The most seconds that a source can take in this way, less the time to read nothing (*idle*) and `SHORT`."""
        return max(self.seconds - idle - SHORT, 0.0) / self.share


def measured(run: Run, size: int, repeat: int = 1, *, memory: bool = False) -> Cost:
    """Run *repeat* times; return the cost with the least time."""
    best = Cost(size, float("inf"))
    for _ in range(repeat):
        charged: dict[str, int] = {}
        start = time.thread_time_ns()
        _quietly(run, charged)
        seconds = (time.thread_time_ns() - start) / 1e9
        if seconds < best.seconds:
            best = Cost(size, seconds, charged)
    if memory:
        tracemalloc.start()
        try:
            _quietly(run, {})
            best.memory = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    return best


def _quietly(run: Run, charged: dict[str, int]) -> None:
    try:
        run(charged)
    except (ArstoreError, UnrepresentableError):
        charged["refused"] = 1
