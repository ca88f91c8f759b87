"""The dearest genomes, made again as large as a source may be, so that their cost is measured and not estimated."""

from __future__ import annotations

import os
import pickle
import resource
import signal
from dataclasses import dataclass
from typing import TYPE_CHECKING

from arstore.tar.limits import DEFAULT_LIMITS
from costfuzz.measuring import measured

if TYPE_CHECKING:
    from costfuzz.engine import Best, Corpus
    from costfuzz.genome import Genome
    from costfuzz.measuring import Cost
    from costfuzz.targets import Target

SIZES = (1 << 20, 4 << 20, 16 << 20)
"""Sizes of the inputs, in bytes, one after the other."""
LONGEST = 60.0
"""Seconds of processor time for one genome."""
_REPEATED = 20_000
"""Repetitions of a genome, until the input is large enough."""
_SHORTEST = 0.02
"""The least seconds from which the time of a larger input can be estimated."""
_ENOUGH = 3.0
"""Seconds after which no larger input is made."""


@dataclass(frozen=True)
class Found:
    """Cost of the largest input made of a genome: itself, and repeated as often as a source of 1 MB may."""

    target: str
    size: int
    seconds: float
    at_most: float
    memory: int
    said: str


def dearest(corpus: Corpus, count: int) -> list[Best]:
    """The genomes that seem to cost the most time or memory for what they are charged, each once."""
    whole = [(one.value, one) for name, one in corpus.best.items() if name.startswith("whole")]
    memory = [(one.value, one) for name, one in corpus.best.items() if name.startswith("memory whole")]
    found: list[Best] = []
    for some in (whole, memory):
        for _, one in sorted(some, key=lambda pair: -pair[0])[:count]:
            if all(one.genome != other.genome or one.how != other.how for other in found):
                found.append(one)
    return found


def confirmed(target: Target, one: Best) -> Found | None:
    """Measure the cost of *one* at a large size, in a separate process; None if its timer ended it."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.close(reading)
            signal.setitimer(signal.ITIMER_PROF, LONGEST)
            with open(writing, "wb") as file:
                file.write(pickle.dumps(_measured(target, one)))
        finally:
            os._exit(0)
    os.close(writing)
    with open(reading, "rb") as file:
        data = file.read()
    os.waitpid(pid, 0)
    found: Found | None = pickle.loads(data) if data else None
    return found


def grown(genome: Genome, factor: int) -> Genome:
    """Return *genome* with the counts at its top multiplied by *factor*."""
    return [
        (name, {key: max(one, 1) * factor if key == "n" else one for key, one in values.items()})
        for name, values in genome
    ]


def _measured(target: Target, one: Best) -> Found:
    empty = target.make([], 0)
    idle = measured(target.run(empty, 0, DEFAULT_LIMITS), target.size(empty), 20).seconds
    best: tuple[float, Cost, int] | None = None
    # If it ends with an error at once, larger counts make it larger, but repeating all of it does not.
    for grows in (False, True):
        for most in SIZES:
            genome = grown(one.genome, most // one.most) if grows else one.genome * _REPEATED
            source = target.make(genome, most)
            run = target.run(source, one.how, DEFAULT_LIMITS)
            _forget_peak()
            before = _peak()
            cost = measured(run, target.size(source))
            found = cost.at_most(idle) if cost.seconds > _SHORTEST else 0.0, cost, max(_peak() - before, 0)
            if best is None or found[0] > best[0]:
                best = found
            if cost.seconds > _ENOUGH or cost.share >= 1:
                break
    assert best is not None, "nothing was made"
    at_most, cost, memory = best
    return Found(target.name, cost.size, cost.seconds, at_most, memory, str(one.genome))


def _forget_peak() -> None:
    try:
        with open("/proc/self/clear_refs", "w", encoding="ascii") as file:
            file.write("5")
    except OSError:
        pass


def _peak() -> int:
    """The peak memory of this process, in bytes."""
    with open("/proc/self/status", encoding="ascii") as file:
        for line in file:
            if line.startswith("VmHWM"):
                return int(line.split()[1]) << 10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10
