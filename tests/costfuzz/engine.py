"""The search: each target's dearest genomes, by what makes them dear and by size, are changed again and again.

The search runs in a forked process with little memory and an alarm, since what it looks for takes both. Its state, a
corpus that is written every few seconds, outlives it; the genome that ended a process is a finding.
"""

from __future__ import annotations

import json
import os
import random
import resource
import signal
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from costfuzz.genome import changed, made
from costfuzz.measuring import measured

if TYPE_CHECKING:
    from costfuzz.genome import Genome
    from costfuzz.measuring import Cost
    from costfuzz.targets import Target

MEMORY = 2 << 30
"""Bytes of address space of a searching process."""
ALARM = 20
"""Seconds that one execution may take."""
SIZES = (1 << 10,) * 50 + (4 << 10,) * 40 + (16 << 10,) * 8 + (64 << 10,) * 2
"""Bytes of inputs, as often as they are tried."""
SLICE = 200
"""Executions of one target before the next one's turn."""
RISE = 1.5
"""What a maximum has to rise by to be new: clocks are not exact."""
WRONG = 10.0
"""Seconds of processor time that a source of 1 MB may take at most."""


@dataclass
class Best:
    """A maximum: its genome, the manner in which it was run, the bytes it was made for, its value."""

    value: float
    genome: Genome
    how: int
    most: int


@dataclass
class Corpus:
    """What is known of one target. `best` is by feature; `last` is the execution that brought the last maximum."""

    name: str
    executions: int = 0
    seconds: float = 0.0
    last: int = 0
    idle: float = 0.0
    best: dict[str, Best] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path, name: str) -> Corpus:
        """The corpus at *path*, an empty one where there is none."""
        if not path.exists():
            return cls(name)
        found: dict[str, Any] = json.loads(path.read_text())
        best = {feature: Best(*one) for feature, one in found.pop("best").items()}
        return cls(**found, best=best)

    def write(self, path: Path) -> None:
        """Replace the file at *path*."""
        best = {feature: [one.value, one.genome, one.how, one.most] for feature, one in self.best.items()}
        partial = path.with_suffix(".partial")
        partial.write_text(json.dumps({**self.__dict__, "best": best}))
        partial.replace(path)

    def dearest(self) -> Best | None:
        """The genome whose cost, for a source of 1 MB, is the largest."""
        found = [one for feature, one in self.best.items() if feature.startswith("whole")]
        return max(found, key=lambda one: one.value, default=None)


def features(cost: Cost, idle: float) -> dict[str, float]:
    """What is to be as large as possible, by what it is and by the magnitude of the input."""
    size = max(cost.size, 1)
    place = (size.bit_length() + 1) // 2
    kind = max(("steps", "parsed", "visits", "references", "listing"), key=lambda name: cost.charged.get(name, 0))
    found = {
        f"whole {kind} {place}": cost.at_most(idle),
        f"seconds {place}": max(cost.seconds - idle, 0.0) / size,
        f"steps {place}": cost.charged.get("steps", 0) / size,
        f"made {place}": cost.charged.get("made", 0) / size,
        f"written {place}": cost.charged.get("written", 0) / size,
    }
    if cost.memory:
        found[f"memory {place}"] = cost.memory / size
        found[f"memory whole {place}"] = cost.memory / cost.share
    return found


class Search:
    """Executions on one target."""

    def __init__(self, target: Target, corpus: Corpus, chance: random.Random) -> None:
        self._target = target
        self._corpus = corpus
        self._chance = chance
        if not corpus.idle:
            empty = target.make([], 0)
            corpus.idle = measured(target.run(empty, 0), target.size(empty), 50).seconds

    def again(self) -> None:
        """Judge what is known anew: the code may be another one since."""
        known, self._corpus.best = self._corpus.best, {}
        last = self._corpus.last
        for one in known.values():
            signal.alarm(ALARM)
            self.judge(one.genome, one.how, one.most)
        self._corpus.last = last

    def step(self, note: int) -> None:
        """One genome, made, run and judged; *note* has it meanwhile."""
        corpus, chance = self._corpus, self._chance
        known = list(corpus.best.values())
        if not known or chance.random() < 0.05:
            genome, how = made(self._target.grammar, chance), chance.randrange(2)
        else:
            parent = chance.choice(known)
            others = [chance.choice(known).genome for _ in range(2)]
            genome, how = changed(parent.genome, others, self._target.grammar, chance), parent.how
            if chance.random() < 0.1:
                how ^= 1
        most = chance.choice(SIZES)
        data = json.dumps([self._target.name, genome, how, most]).encode()
        os.ftruncate(note, len(data))
        os.pwrite(note, data, 0)
        self.judge(genome, how, most)
        corpus.executions += 1

    def judge(self, genome: Genome, how: int, most: int) -> None:
        """Measure *genome*, and keep it for each maximum that it raises."""
        corpus = self._corpus
        source = self._target.make(genome, most)
        size, run = self._target.size(source), self._target.run(source, how)
        cost = measured(run, size, memory=corpus.executions % 1000 == 0)
        if not self._raised(cost):
            return
        # Once more, for what was the clock's.
        again = measured(run, size, 2, memory=True)
        again.seconds = min(cost.seconds, again.seconds)
        for feature, value in self._raised(again).items():
            corpus.best[feature] = Best(value, genome, how, most)
            corpus.last = corpus.executions

    def _raised(self, cost: Cost) -> dict[str, float]:
        best = self._corpus.best
        found = features(cost, self._corpus.idle)
        return {
            name: value for name, value in found.items() if value > (best[name].value * RISE if name in best else 0.0)
        }


def search(
    targets: list[Target], place: Path, executions: int, seed: int, until: float, *, again: bool = False
) -> None:
    """Run the targets in turn in this process, until each has its part of so many executions, or it is that late.

    An execution that takes too long ends the process (SIGALRM).
    """
    chance = random.Random(seed)
    name = place / f"running-{os.getpid()}"
    note = os.open(name, os.O_RDWR | os.O_CREAT, 0o600)
    searches = []
    for target in targets:
        corpus = Corpus.read(place / f"{target.name}.json", target.name)
        searches.append((target, corpus, Search(target, corpus, chance)))
        if again:
            searches[-1][2].again()
    whole = sum(target.weight for target in targets)
    while time.time() < until:
        todo = [one for one in searches if one[1].executions * whole < executions * one[0].weight]
        if not todo:
            break
        for target, corpus, one in todo:
            started = time.thread_time()
            for _ in range(SLICE * target.weight):
                signal.alarm(ALARM)
                one.step(note)
            signal.alarm(0)
            corpus.seconds += time.thread_time() - started
            corpus.write(place / f"{target.name}.json")
    os.close(note)
    name.unlink(missing_ok=True)


def supervised(targets: list[Target], place: Path, executions: int, seed: int, until: float) -> list[str]:
    """Search in a process that is started again when it dies; the genomes it died of, as text."""
    died: list[str] = []
    while True:
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                signal.signal(signal.SIGALRM, signal.SIG_DFL)
                resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
                search(targets, place, executions, seed + len(died), until, again=not died)
                status = 0
            finally:
                os._exit(status)
        _, ended = os.waitpid(pid, 0)
        note = place / f"running-{pid}"
        if not ended:
            return died
        said = f"status {ended}: {note.read_text() if note.exists() else 'before the first'}"
        note.unlink(missing_ok=True)
        died.append(said)
        with open(place / "died", "a") as log:
            log.write(said + "\n")
        if len(died) > 100 or time.time() > until:
            return died
