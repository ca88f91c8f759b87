"""The search: each target's dearest genomes, by kind of cost and by size, are changed again and again.

The search runs in a forked process with little memory and a timer, since the inputs it looks for take both. Its state,
a corpus that is written every few seconds, outlives it; a genome that ended a process is a finding.
"""

from __future__ import annotations

import gc
import json
import os
import random
import resource
import signal
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from arstore.tar.limits import DEFAULT_LIMITS
from costfuzz.genome import changed, made
from costfuzz.measuring import measured
from costfuzz.news import ROUNDS, TIMES, Quiet, is_time, may_be_new

if TYPE_CHECKING:
    from arstore.tar.limits import Limits
    from costfuzz.genome import Genome
    from costfuzz.measuring import Cost, Run
    from costfuzz.targets import Target

MEMORY = 2 << 30
"""Bytes of address space of a searching process."""
LONGEST = 20.0
"""Seconds of processor time that one execution may take."""
SIZES = (1 << 10,) * 450 + (2 << 10,) * 380 + (4 << 10,) * 145 + (16 << 10,) * 20 + (64 << 10,) * 5
"""Sizes of inputs, in bytes, each as often as it is tried."""
SLICE = 1200
"""Executions of one kind before the next one's turn."""
RISE = 1.25
"""Factor by which a maximum has to rise to be kept and changed further. That alone does not make it new (`news`)."""
AGAIN = 3
"""Measurements of a possible maximum."""
LOOKED = 50
"""One execution in so many has its memory measured, whatever it took."""


def granted(most: int) -> Limits:
    """The limits of an input of so many bytes during the search; low, so that charged work ends soon.

    Work that is not charged does not end; the result is the time for each part of an allowance.
    """
    return DEFAULT_LIMITS._replace(
        steps=8_192 + 8 * most,
        parsed=8_192 + 2 * most,
        visits=256 + most // 8,
        references=256 + most // 8,
    )


@dataclass
class Best:
    """A maximum: its genome, the manner in which it was run, the bytes it was made for, its value."""

    value: float
    genome: Genome
    how: int
    most: int


@dataclass
class Corpus:
    """The state of one target, by feature: `best` is changed further, `marks` are the last new values, found by the
    execution `last`.
    """

    name: str
    executions: int = 0
    seconds: float = 0.0
    last: int = 0
    idle: float = 0.0
    best: dict[str, Best] = field(default_factory=dict)
    marks: dict[str, Best] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path, name: str) -> Corpus:
        """Read the corpus at *path*; an empty one if there is no file."""
        if not path.exists():
            return cls(name)
        found: dict[str, Any] = json.loads(path.read_text())
        for table in ("best", "marks"):
            found[table] = {feature: Best(*one) for feature, one in found[table].items()}
        return cls(**found)

    def write(self, path: Path) -> None:
        """Replace the file at *path*."""
        known = {
            table: {feature: [one.value, one.genome, one.how, one.most] for feature, one in found.items()}
            for table, found in (("best", self.best), ("marks", self.marks))
        }
        partial = path.with_suffix(".partial")
        partial.write_text(json.dumps({**self.__dict__, **known}))
        partial.replace(path)

    def dearest(self) -> Best | None:
        """The genome whose cost, for a source of 1 MB, is the largest."""
        found = [one for feature, one in self.best.items() if feature.startswith("whole")]
        return max(found, key=lambda one: one.value, default=None)


def features(cost: Cost, idle: float) -> dict[str, float]:
    """The values to maximise, by kind and by the magnitude of the input."""
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
            corpus.idle = measured(target.run(empty, 0, granted(0)), target.size(empty), 50).seconds

    def again(self) -> None:
        """Measure all known genomes again, since the code or the machine may have changed. No value counts as new."""
        corpus = self._corpus
        known = {(str(one.genome), one.how, one.most): one for one in (*corpus.best.values(), *corpus.marks.values())}
        corpus.best, corpus.marks, last = {}, {}, corpus.last
        for one in known.values():
            signal.setitimer(signal.ITIMER_PROF, LONGEST)
            self.judge(one.genome, one.how, one.most)
        corpus.last = last

    def step(self, note: int) -> list[str]:
        """Make, run and judge one genome; *note* holds it meanwhile. Returns what was new, as text."""
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
        corpus.executions += 1
        return self.judge(genome, how, most)

    def judge(self, genome: Genome, how: int, most: int) -> list[str]:
        """Measure *genome*, and keep it for each maximum that it raises. Returns what was new, as text."""
        corpus = self._corpus
        size, run = self._run(genome, how, most)
        cost = measured(run, size, memory=corpus.executions % LOOKED == 0)
        # Again, to remove noise of the clock.
        for _ in range(AGAIN):
            if not self._raised(cost):
                return []
            cost.seconds = min(cost.seconds, measured(run, size).seconds)
        again = measured(run, size, memory=True)
        again.seconds = min(cost.seconds, again.seconds)
        one = Best(0.0, genome, how, most)
        found = features(again, corpus.idle)
        marks = {feature: mark.value for feature, mark in corpus.marks.items()}
        new = []
        for feature in may_be_new(found, marks):
            value = self._held(one, feature) if is_time(feature) and feature in marks else found[feature]
            if value:
                new.append(f"{self._target.name} {corpus.executions} {feature} {marks.get(feature, 0):.4g} {value:.4g}")
                corpus.marks[feature] = replace(one, value=value)
                corpus.last = corpus.executions
        for feature, value in self._raised(again).items():
            corpus.best[feature] = replace(one, value=value)
        return new

    def _run(self, genome: Genome, how: int, most: int) -> tuple[int, Run]:
        source = self._target.make(genome, most)
        return self._target.size(source), self._target.run(source, how, granted(most))

    def _held(self, one: Best, feature: str) -> float:
        """The least time of *one*; 0 if it is not new compared with the mark's genome, run in turns with it."""
        mark = self._corpus.marks[feature]
        runs = [self._run(each.genome, each.how, each.most) for each in (one, mark)]
        values, is_new = [float("inf"), float("inf")], False
        for _ in range(ROUNDS):
            for number, (size, run) in enumerate(runs):
                found = features(measured(run, size), self._corpus.idle)
                values[number] = min(values[number], found.get(feature, 0.0))
            is_new = bool(may_be_new({feature: values[0]}, {feature: values[1]}))
            if not is_new and values[0] < TIMES * mark.value:
                break
        return values[0] if is_new else 0.0

    def _raised(self, cost: Cost) -> dict[str, float]:
        best = self._corpus.best
        found = features(cost, self._corpus.idle)
        return {
            name: value for name, value in found.items() if value > (best[name].value * RISE if name in best else 0.0)
        }


@dataclass(frozen=True)
class Bounds:
    """When a search ends: after *quiet* executions of a kind with nothing new, so many *executions* of it, or late."""

    quiet: int
    executions: int
    until: float


class _Turns:
    """The search on all targets of one kind, in turns."""

    def __init__(self, targets: list[Target], place: Path, chance: random.Random, note: int, *, again: bool) -> None:
        self._place, self._note = place, note
        self.quiet = Quiet.read(place, targets[0].kind)
        self._searches: list[tuple[Target, Corpus, Search]] = []
        for target in targets:
            corpus = Corpus.read(place / f"{target.name}.json", target.name)
            self._searches.append((target, corpus, Search(target, corpus, chance)))
            if again:
                self._searches[-1][2].again()
        self._slice = max(1, SLICE // sum(target.weight for target in targets))

    def take(self) -> None:
        """One slice of each target."""
        for target, corpus, one in self._searches:
            started = time.thread_time()
            new = []
            for _ in range(self._slice * target.weight):
                signal.setitimer(signal.ITIMER_PROF, LONGEST)
                found = one.step(self._note)
                self.quiet.executed(is_new=bool(found))
                new += found
            signal.setitimer(signal.ITIMER_PROF, 0)
            corpus.seconds += time.thread_time() - started
            corpus.write(self._place / f"{target.name}.json")
            with open(self._place / "news", "a") as log:
                log.writelines(line + "\n" for line in new)
        self.quiet.write(self._place)


def search(targets: list[Target], place: Path, bounds: Bounds, seed: int, *, again: bool = False) -> None:
    """Run the targets, by kind and in turns, in this process, until *bounds*.

    An execution that takes too long ends the process (SIGPROF).
    """
    chance = random.Random(seed)
    name = place / f"running-{os.getpid()}"
    note = os.open(name, os.O_RDWR | os.O_CREAT, 0o600)
    kinds: dict[str, list[Target]] = {}
    for target in targets:
        kinds.setdefault(target.kind, []).append(target)
    turns = [_Turns(some, place, chance, note, again=again) for some in kinds.values()]
    gc.freeze()
    while time.time() < bounds.until:
        todo = [one for one in turns if one.quiet.count < bounds.quiet and one.quiet.executions < bounds.executions]
        for one in todo:
            one.take()
        if not todo:
            break
    os.close(note)
    name.unlink(missing_ok=True)


def supervised(targets: list[Target], place: Path, bounds: Bounds, seed: int) -> list[str]:
    """Search in a process that is started again when it dies; the genomes it died of, as text."""
    died: list[str] = []
    while True:
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                signal.signal(signal.SIGPROF, signal.SIG_DFL)
                resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
                search(targets, place, bounds, seed + len(died), again=not died)
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
        if len(died) > 100 or time.time() > bounds.until:
            return died
