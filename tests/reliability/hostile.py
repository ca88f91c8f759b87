"""Hostile images at every entry point and in both tree formats: nothing outside is reached, and no limit is exceeded.

Every case of tests/hostile has its own store, with a victim next to it. In each case, the victim and the directories
around it must be as before. A refusal must be one line with the right status, and leave files and records as they were.
An imported image must show only its content, in a mount and in a copy. `check` must be clean. Every command must end in
time, without a traceback; its processes together must take at most 300 MiB; and an input of a MB must not cost a
command more than 10 s of CPU time, or 2 GB of disk. Some images have as many bombs as layers that are read at a time,
on a machine that seems to have eight processors.
"""

from __future__ import annotations

import functools
import re
import sys
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path

from hostile.case import Case
from hostile.table import CASES
from hostile.trial import MEMORY
from support import programs

from arstore.linux.isolation import user_namespace
from reliability.figures import Figure, parser, report

FEWEST = 150
_MAKE_DEVICES, _DEVICE = (
    frozenset({"commit", "containers", "copy", "metadata", "pipeline"}),
    re.compile(r"\bdevices?\b"),
)
"""Cases of these classes with a device in their name need one, which a user namespace does not have."""


@dataclass(frozen=True)
class Result:
    """Results of one case: faults by kind, peak memory of the largest process and of a whole command, in bytes."""

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
    """The part of the allowed CPU time or disk space for this input that was used."""


@functools.cache
def cases() -> list[Case]:
    """The cases that differ here: in a user namespace, all trees are directories, and no source can have devices."""
    if user_namespace.is_initial():
        return list(CASES)
    found: dict[str, Case] = {}
    for case in CASES:
        if case.group in _MAKE_DEVICES and _DEVICE.search(case.name):
            continue
        one = replace(case, form="directory")
        found.setdefault(one.title, one)
    return list(found.values())


def tried(number: int, directory: Path | None) -> Result:
    """Run the case of that number."""
    case = cases()[number]
    try:
        found = case.tried(directory)
    except Exception as error:  # an attempt that could not go on is a wrong outcome too
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
    """The cost of a case, as text."""
    cost = f"{result.processor:.1f} s, {result.disk >> 20} MiB of disk, {result.inodes} inodes"
    return f"{cost} for {result.input:,} bytes ({result.title})"


def wanted(title: str, texts: list[str] | None) -> bool:
    """Whether the title contains one of the texts, if there are any."""
    return not texts or any(text in title for text in texts)


def main(words: list[str]) -> int:
    """Run all cases, or those whose title contains a text."""
    options = parser("hostile", __doc__)
    options.add_argument("--directory", type=Path, help="where to make stores (the temporary directory)")
    options.add_argument("--only", action="append", metavar="TEXT", help="only the cases with TEXT in their titles")
    options.add_argument("--costs", action="store_true", help="print the cost of each case")
    options.add_argument("--processes", type=int, default=2, help="number of cases at a time (2)")
    chosen = options.parse_args(words)
    why = programs.why_no_mounts()
    if why:
        print(f"hostile: {why}", file=sys.stderr)
        return 2
    runs = not programs.runtime()[1]
    numbers = [n for n, case in enumerate(cases()) if wanted(case.title, chosen.only) and (runs or not case.runs)]
    results = []
    with ProcessPoolExecutor(chosen.processes, get_context("spawn")) as pool:
        for result in pool.map(tried, numbers, [chosen.directory] * len(numbers)):
            results.append(result)
            if chosen.costs:
                print(f"{result.title}: {spent(result)}, {max(result.memory, result.together) >> 20} MiB", flush=True)
            for kind, said in result.faults.items():
                for one in said:
                    print(f"{result.title}: {kind}: {one}", file=sys.stderr, flush=True)
    if len(numbers) < len(cases()) and not chosen.only:
        print(f"hostile: {len(cases()) - len(numbers)} cases left out: {programs.runtime()[1]}", file=sys.stderr)
    return report("hostile", figures(results), as_json=chosen.json) if results else 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
