"""Hostile images at every entry point and in both forms of tree: nothing outside is reached, and no limit is passed.

Every case of tests/hostile has a store of its own, with a victim beside it. What must hold in each: the victim and
the directories around it are as before; a refusal is one line with the right status, and leaves files and records as
they were; what is let in shows only what belongs inside, in a mount and in a copy; `check` is clean; every command
ends in time, without a traceback, and its processes together take no more than 300 MiB; no input of a MB costs a
command more than 10 s of processor time, or 2 GB of disk. Some images have as many bombs as layers that are read at a
time, on a machine that seems to have eight processors.
"""

from __future__ import annotations

import sys
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

from hostile.table import CASES
from hostile.trial import MEMORY
from support import programs

from reliability.figures import Figure, parser, report

FEWEST = 150


@dataclass(frozen=True)
class Result:
    """What came of one case: faults by what they are, the largest process, and all of a command together, in bytes."""

    group: str
    title: str
    faults: dict[str, list[str]]
    memory: int
    together: int = 0
    processor: float = 0.0
    disk: int = 0
    inodes: int = 0
    input: int = 0
    share: float = 0.0
    """The part of what the input may cost in processor time, or on disk, that it did cost."""


def tried(number: int, directory: Path | None) -> Result:
    """Try the case of that number."""
    case = CASES[number]
    try:
        found = case.tried(directory)
    except Exception as error:  # an attempt that could not go on: one more outcome that is wrong
        said = f"the case ended with {type(error).__name__}: {error}"
        return Result(case.group, case.title, {"wrong": [said]}, 0)
    kinds = {"escapes": found.escapes, "hangs": found.hangs, "tracebacks": found.tracebacks, "wrong": found.wrong}
    faults = {kind: said for kind, said in kinds.items() if said}
    cost = found.processor, found.disk, found.inodes, found.input, found.share()
    return Result(case.group, case.title, faults, found.memory, found.together, *cost)


def figures(results: list[Result]) -> list[Figure]:
    """The figures, with their bars."""
    classes = Counter(result.group for result in results)
    said = ", ".join(f"{name} {count}" for name, count in classes.items())
    made = [Figure("cases", str(len(results)), f">= {FEWEST}", len(results) >= FEWEST), Figure("by class", said)]
    names = {"escapes": "escapes", "hangs": "hangs", "tracebacks": "tracebacks", "wrong": "other wrong outcomes"}
    for kind, name in names.items():
        count = sum(len(result.faults.get(kind, ())) for result in results)
        made.append(Figure(name, str(count), "0", count == 0))
    largest = max(results, key=lambda result: result.memory)
    size = f"{largest.memory >> 20} MiB ({largest.title})"
    made.append(Figure("largest process", size, "<= 300 MiB", largest.memory <= MEMORY))
    most = max(results, key=lambda result: result.together)
    size = f"{most.together >> 20} MiB ({most.title})"
    made.append(Figure("all processes of a command", size, "<= 300 MiB", most.together <= MEMORY))
    dear = max(results, key=lambda result: result.share)
    made.append(Figure("dearest for its size", spent(dear), "<= 10 s, <= 2 GB a MB", dear.share <= 1))
    longest = max(results, key=lambda result: result.processor)
    made.append(Figure("most processor time", spent(longest)))
    fullest = max(results, key=lambda result: result.inodes)
    made.append(Figure("most inodes", spent(fullest)))
    return made


def spent(result: Result) -> str:
    """What a case has cost, for people."""
    cost = f"{result.processor:.1f} s, {result.disk >> 20} MiB of disk, {result.inodes} inodes"
    return f"{cost} for {result.input:,} bytes ({result.title})"


def wanted(title: str, texts: list[str] | None) -> bool:
    """Whether the title has one of the texts, where there are any."""
    return not texts or any(text in title for text in texts)


def main(words: list[str]) -> int:
    """Try all cases, or those whose title has a text in it."""
    options = parser("hostile", __doc__)
    options.add_argument("--directory", type=Path, help="where stores are made; by default for temporary files")
    options.add_argument("--only", action="append", metavar="TEXT", help="the cases with this TEXT in their titles")
    options.add_argument("--costs", action="store_true", help="print what each case has cost")
    options.add_argument("--processes", type=int, default=2, help="how many cases at once")
    chosen = options.parse_args(words)
    why = programs.why_no_mounts()
    if why:
        print(f"hostile: {why}", file=sys.stderr)
        return 2
    runs = not programs.runtime()[1]
    numbers = [n for n, case in enumerate(CASES) if wanted(case.title, chosen.only) and (runs or not case.runs)]
    results = []
    with ProcessPoolExecutor(chosen.processes, get_context("spawn")) as pool:
        for result in pool.map(tried, numbers, [chosen.directory] * len(numbers)):
            results.append(result)
            if chosen.costs:
                print(f"{result.title}: {spent(result)}, {max(result.memory, result.together) >> 20} MiB", flush=True)
            for kind, said in result.faults.items():
                for one in said:
                    print(f"{result.title}: {kind}: {one}", file=sys.stderr, flush=True)
    if len(numbers) < len(CASES) and not chosen.only:
        print(f"hostile: {len(CASES) - len(numbers)} cases left out: {programs.runtime()[1]}", file=sys.stderr)
    return report("hostile", figures(results), as_json=chosen.json) if results else 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
