"""Cost: a search for the input with the highest time or memory for its charge, not for one that crashes.

Each target of tests/costfuzz (layers, outer archives, layouts, docker-archives, archives with both lists) makes inputs
from genomes that describe repetitions, measures them, and changes those that raise a maximum: seconds, memory, steps,
bytes and images for each byte, and seconds and memory for the charged part of the allowance. A kind is searched until
so many executions in a row have found nothing new (defined in `costfuzz.news`). Then the dearest genomes are made as
large as a source may be, and measured. With *--keep* the search continues where the last one ended.
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
from costfuzz.engine import Bounds, Corpus, supervised
from costfuzz.news import MEMORY, WRONG, Quiet
from costfuzz.targets import KINDS, TARGETS

from reliability.figures import Figure, parser, report

if TYPE_CHECKING:
    from collections.abc import Sequence

    from costfuzz.confirmation import Found

CONFIRMED = 40
"""The dearest genomes of each kind of a target that are made large."""


def _searched(kinds: list[str], place: Path, bounds: Bounds, seed: int) -> list[str]:
    os.nice(19)
    return supervised([target for kind in kinds for target in KINDS[kind]], place, bounds, seed)


def _confirmed(name: str, place: Path) -> list[Found | None]:
    corpus = Corpus.read(place / f"{name}.json", name)
    return [confirmed(TARGETS[name], one) for one in dearest(corpus, CONFIRMED)]


def quiet(found: Quiet, most: int) -> Figure:
    """The line of one kind: whether the search has run dry."""
    said = f"{found.count:,} executions with nothing new, after {found.last:,} that brought {found.news} new values"
    return Figure(found.kind, said, f">= {most:,}", found.count >= most)


def figures(corpus: Corpus, found: Sequence[Found | None]) -> list[Figure]:
    """The lines of one target."""
    rate = corpus.executions / corpus.seconds if corpus.seconds else 0
    known = [one for one in found if one is not None]
    ended = len(found) - len(known)
    done = f"{corpus.executions:,} executions, {rate:,.0f}/s, the last new value at {corpus.last:,}"
    made = [Figure(corpus.name, f"{done}; {len(corpus.best)} features")]
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
    options.add_argument("--quiet", type=int, default=1_000_000, help="executions without anything new (1000000)")
    options.add_argument("--executions", type=int, default=100_000_000, help="the most for each kind (100000000)")
    options.add_argument("--seconds", type=int, default=14_400, help="the most seconds of the search (14400)")
    options.add_argument("--kind", action="append", help="only this kind; may be repeated")
    options.add_argument("--jobs", type=int, default=2, help="processes that search (2)")
    options.add_argument("--seed", type=int, default=1, help="seed of the random numbers (1)")
    options.add_argument("--keep", type=Path, help="directory for the corpora, from which the next run continues")
    asked = options.parse_args(words)
    kinds = asked.kind or list(KINDS)
    unknown = [kind for kind in kinds if kind not in KINDS]
    if unknown:
        options.error(f"no such kind: {', '.join(unknown)}; there are {', '.join(KINDS)}")
    place = asked.keep or Path(tempfile.mkdtemp(prefix="cost."))
    place.mkdir(parents=True, exist_ok=True)
    bounds = Bounds(asked.quiet, asked.executions, time.time() + asked.seconds)
    try:
        return _run(kinds, place, bounds, asked.jobs, asked.seed, as_json=asked.json)
    finally:
        if not asked.keep:
            shutil.rmtree(place, ignore_errors=True)


def _run(kinds: list[str], place: Path, bounds: Bounds, jobs: int, seed: int, *, as_json: bool) -> int:
    parts = [kinds[number::jobs] for number in range(min(jobs, len(kinds)))]
    with ProcessPoolExecutor(len(parts), get_context("fork")) as pool:
        running = [pool.submit(_searched, part, place, bounds, seed + number) for number, part in enumerate(parts)]
        died = [said for one in running for said in one.result()]
    made = [Figure("executions that ended their process", str(len(died)), "0", not died)]
    for said in died:
        print(said, file=sys.stderr)
    for kind in kinds:
        made.append(quiet(Quiet.read(place, kind), bounds.quiet))
        for target in KINDS[kind]:
            corpus = Corpus.read(place / f"{target.name}.json", target.name)
            found = _confirmed(target.name, place)
            for one in found:
                if one is None or one.at_most > WRONG or one.memory > MEMORY:
                    print(f"{target.name}: {one}", file=sys.stderr)
            made += figures(corpus, found)
    return report("cost", made, as_json=as_json)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
