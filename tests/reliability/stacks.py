"""Stacks of layers: arstore's views of random ones, full of marks and links, compared with the image-spec.

Each stack is mounted in both tree formats and with a merged index, and copied. Some go through a store as well, which
also reports the changes of the last layer (`diff`), and commits a container; some are unpacked by umoci. All are
compared with a model that was written from the specification alone (`tests/trees/spec_model.py`). The same seed makes
the same stacks.
"""

from __future__ import annotations

import multiprocessing
import os
import random
import shutil
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from support import peers

from reliability.figures import Figure, parser, report
from reliability.stacking.peer import by_umoci, comparable, is_comparable
from reliability.stacking.random_stack import KINDS, random_stack
from reliability.stacking.views import by_store, by_trees, expected

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Iterator

    from trees.spec_model import Step

_SHOWN = 5
"""Differences that are printed in full."""


class Task(NamedTuple):
    """One stack: its number, and what is done with it besides."""

    seed: int
    number: int
    store: bool
    umoci: bool
    place: str

    def stack(self) -> list[list[Step]]:
        """The stack, and the mixture that it is of."""
        rng = random.Random(f"{self.seed}.{self.number}")
        return random_stack(rng, rng.choice(list(KINDS)))


class Outcome(NamedTuple):
    """The comparisons, their number, and the differences."""

    number: int
    entries: int
    counts: dict[str, int]
    differing: list[str]


def examine(task: Task) -> Outcome:
    """Compare one stack in every way that is asked for."""
    stack = task.stack()
    counts: Counter[str] = Counter()
    differing = []
    place = Path(tempfile.mkdtemp(prefix="arstore-stack-", dir=task.place or None))
    try:
        for what, found, wanted in _views(task, stack, place):
            counts[what] += 1
            if found != wanted:
                differing.append(f"stack {task.number}, {what}: {_told(found, wanted)}")
    except Exception as error:  # any error counts as a difference
        differing.append(f"stack {task.number}: {type(error).__name__}: {error}")
    finally:
        shutil.rmtree(place)
    return Outcome(task.number, sum(map(len, stack)), counts, differing)


def _views(task: Task, stack: list[list[Step]], place: Path) -> Iterator[tuple[str, object, object]]:
    want = expected(stack)
    rng = random.Random(task.number)
    yield from ((what, found, want) for what, found in by_trees(stack, place, rng))
    if task.store:
        yield from by_store(stack, place, rng)
    if task.umoci and is_comparable(stack):
        try:
            found = by_umoci(stack, place)
        except peers.PeerError:
            yield "umoci refuses", 0, 0
        else:
            yield "umoci", comparable(found, want), comparable(want, want)


def _told(found: object, wanted: object) -> str:
    if isinstance(found, dict) and isinstance(wanted, dict):
        paths = sorted(path for path in found.keys() | wanted.keys() if found.get(path) != wanted.get(path))
        return "; ".join(f"{path!r} is {found.get(path)}, not {wanted.get(path)}" for path in paths[:4])
    return f"{found!r}, not {wanted!r}"


def _tasks(options: Namespace) -> Iterator[Task]:
    for number in range(options.first, options.first + options.stacks):
        yield Task(
            options.seed,
            number,
            bool(options.store) and number % options.store == 0,
            bool(options.umoci) and number % options.umoci == 0,
            options.place,
        )


def main(words: list[str]) -> int:
    """`tools/reliability stacks`."""
    made = parser("stacks", __doc__)
    made.add_argument("--stacks", type=int, default=10_000, help="number of stacks (10000)")
    made.add_argument("--first", type=int, default=0, help="the number of the first stack (0)")
    made.add_argument("--seed", type=int, default=1, help="seed of the stacks (1)")
    made.add_argument("--store", type=int, default=20, help="put one of so many stacks through a store, 0 for none")
    made.add_argument("--umoci", type=int, default=5, help="let umoci unpack one of so many stacks, 0 for none")
    made.add_argument("--processes", type=int, default=2 * (os.cpu_count() or 1), help="stacks at a time")
    made.add_argument("--place", default="", help="directory to work in (the temporary directory)")
    options = made.parse_args(words)
    counts: Counter[str] = Counter()
    differing: list[str] = []
    entries = 0
    with multiprocessing.get_context("spawn").Pool(options.processes) as pool:
        for outcome in pool.imap_unordered(examine, _tasks(options), chunksize=4):
            counts.update(outcome.counts)
            entries += outcome.entries
            differing += outcome.differing
            if outcome.differing and len(differing) <= _SHOWN:
                print(
                    "\n".join(outcome.differing),
                    *Task(options.seed, outcome.number, False, False, "").stack(),
                    sep="\n  ",
                )
    figures = [
        Figure("stacks, entries in them", f"{options.stacks}, {entries}"),
        *(Figure(f"compared: {what}", str(count)) for what, count in sorted(counts.items())),
        Figure("differences", str(len(differing)), "0", not differing),
    ]
    return report("stacks", figures, as_json=options.json)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
