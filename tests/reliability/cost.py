"""Cost: a search for the input that takes the most time or memory for what it is charged, not for one that crashes.

Each target of tests/costfuzz (layers, outer archives, layouts, docker-archives, archives with both lists) makes inputs
from genomes that say what is repeated, measures them, and changes those that raise a maximum: seconds, memory, steps,
bytes and images for each byte, and seconds and memory for the part of the allowance that was charged. The dearest
are made as large as a source may be at the end, and measured. With *--keep* the search goes on from where it was.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING

from costfuzz.confirmation import confirmed, dearest
from costfuzz.engine import WRONG, Corpus, supervised
from costfuzz.targets import TARGETS

from reliability.figures import Figure, parser, report

if TYPE_CHECKING:
    from collections.abc import Sequence

    from costfuzz.confirmation import Found

MEMORY = 300_000_000
"""Bytes of memory that a source of 1 MB may take at most."""
CONFIRMED = 40
"""The dearest genomes of a target, of each kind, that are made large."""


def _searched(names: list[str], place: Path, executions: int, seed: int, until: float) -> list[str]:
    os.nice(10)
    return supervised([TARGETS[name] for name in names], place, executions, seed, until)


def _confirmed(name: str, place: Path) -> list[Found | None]:
    corpus = Corpus.read(place / f"{name}.json", name)
    return [confirmed(TARGETS[name], one) for one in dearest(corpus, CONFIRMED)]


def figures(corpus: Corpus, found: Sequence[Found | None]) -> list[Figure]:
    """The lines of one target."""
    rate = corpus.executions / corpus.seconds if corpus.seconds else 0
    known = [one for one in found if one is not None]
    ended = len(found) - len(known)
    done = f"{corpus.executions:,} executions, {rate:,.0f}/s, the last new maximum at {corpus.last:,}"
    made = [Figure(corpus.name, f"{done}; {len(corpus.best)} maxima")]
    if known:
        dear = max(known, key=lambda one: one.at_most)
        said = f"{dear.at_most:.1f} s a MB ({dear.seconds:.2f} s for {dear.size:,} bytes, not compressed)"
        met = dear.at_most <= WRONG and not ended
        made.append(Figure(f"{corpus.name}, dearest", said, f"<= {WRONG:.0f} s", met))
        large = max(known, key=lambda one: one.memory)
        made.append(Figure(f"{corpus.name}, largest", f"{large.memory >> 20} MiB", "<= 300 MB", large.memory <= MEMORY))
    return made


def main(words: Sequence[str]) -> int:
    """Search, confirm, and print a figure for each target."""
    options = parser("cost", __doc__)
    options.add_argument("--executions", type=int, default=1_000_000, help="of all targets together (1000000)")
    options.add_argument("--seconds", type=int, default=7200, help="the most for the search (7200)")
    options.add_argument("--target", action="append", help="only this one; may be given several times")
    options.add_argument("--jobs", type=int, default=2, help="processes that search (2)")
    options.add_argument("--seed", type=int, default=1, help="of the random numbers (1)")
    options.add_argument("--keep", type=Path, help="a directory for the corpora, which the next run goes on with")
    asked = options.parse_args(words)
    names = asked.target or list(TARGETS)
    unknown = [name for name in names if name not in TARGETS]
    if unknown:
        options.error(f"no such target: {', '.join(unknown)}; there are {', '.join(TARGETS)}")
    place = asked.keep or Path(tempfile.mkdtemp(prefix="cost."))
    place.mkdir(parents=True, exist_ok=True)
    try:
        return _run(names, place, asked.executions, asked.seconds, asked.jobs, asked.seed, as_json=asked.json)
    finally:
        if not asked.keep:
            shutil.rmtree(place, ignore_errors=True)


def _run(names: list[str], place: Path, executions: int, seconds: int, jobs: int, seed: int, *, as_json: bool) -> int:
    until = time.time() + seconds
    parts = [names[number::jobs] for number in range(min(jobs, len(names)))]
    whole = sum(TARGETS[name].weight for name in names)
    with ProcessPoolExecutor(len(parts), get_context("fork")) as pool:
        running = []
        for number, part in enumerate(parts):
            share = executions * sum(TARGETS[name].weight for name in part) // whole
            running.append(pool.submit(_searched, part, place, share, seed + number, until))
        died = [said for one in running for said in one.result()]
    made = [Figure("executions that ended their process", str(len(died)), "0", not died)]
    for said in died:
        print(said, file=sys.stderr)
    for name in names:
        corpus = Corpus.read(place / f"{name}.json", name)
        found = _confirmed(name, place)
        for one in found:
            if one is None or one.at_most > WRONG or one.memory > MEMORY:
                print(f"{name}: {one}", file=sys.stderr)
        made += figures(corpus, found)
    return report("cost", made, as_json=as_json)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
