"""Fuzzing: every reader of bytes from outside is run on very many inputs, guided by coverage.

Each target of tests/fuzzing is run by atheris in a separate process, from the inputs in its corpus and its seeds. An
input may only cause an ArstoreError (or an error that the target names as documented); other exceptions are counted,
and the input is left with its traceback in *--keep*, where libFuzzer also leaves an input that ended the process. With
*--sample*, the kernel and fsck.erofs check every so many built indexes. *--grow* adds inputs that reach new lines to
the corpus.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from fuzzing.target import CORPUS

from reliability.figures import Figure, parser, report

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fuzzing.target import Target

ROOT = Path(__file__).parents[2]
_DONE = re.compile(r"stat::number_of_executed_units:\s*(\d+)")
_SECONDS, _MEGABYTES = 100, 2048
"""The most seconds of one execution before it counts as a hang, high because fsck.erofs may wait for a processor; and
the most memory of a process."""


@dataclass(frozen=True)
class Outcome:
    """Results of one target: executions, seconds, exceptions by place, how the process died, if it did; and the numbers
    of built indexes that were mounted and read, and that fsck.erofs has checked."""

    name: str
    executions: int
    seconds: float
    exceptions: dict[str, int]
    died: str = ""
    mounted: int = 0
    checked: int = 0


def why_not() -> str:
    """Why fuzzing is not possible; "" if it is."""
    return "" if find_spec("atheris") else "not installed: atheris (pip install arstore[fuzz])"


def run(target: Target, executions: int, place: Path, seed: int = 1, seconds: int = 0, sample: int = 0) -> Outcome:
    """Run *target* in a separate process; *place*, an empty directory, gets `corpus`, `findings` and `output`."""
    corpus, findings, temporary = place / "corpus", place / "findings", place / "tmp"
    for one in (corpus, findings, temporary):
        one.mkdir(parents=True)
    for number, data in enumerate(target.seeds()):
        (corpus / f"seed-{number:02}").write_bytes(data)
    for path in target.corpus():
        shutil.copy(path, corpus / path.name)
    options = [
        str(corpus), f"-runs={executions}", f"-seed={seed}", f"-max_len={target.longest}", f"-timeout={_SECONDS}",
        f"-rss_limit_mb={_MEGABYTES}", "-print_final_stats=1", "-mutate_depth=2", f"-artifact_prefix={findings}/",
        f"-max_total_time={seconds}",
    ]  # fmt: skip
    if target.words:
        words = place / "words"
        words.write_text("".join('"' + "".join(f"\\x{byte:02X}" for byte in word) + '"\n' for word in target.words))
        options.append(f"-dict={words}")
    environment = {
        **os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}", "TMPDIR": str(temporary),
        "ARSTORE_FUZZING_SAMPLE": str(sample),
    }  # fmt: skip
    started = time.monotonic()
    with open(place / "output", "wb") as output:
        command = [sys.executable, "-m", "fuzzing.engine", target.name, str(findings), *options]
        status = subprocess.run(command, env=environment, stdout=output, stderr=output, check=False).returncode
    elapsed = time.monotonic() - started
    text = (place / "output").read_text("utf-8", "replace")
    done = _DONE.search(text)
    sampled = (temporary / "sampled").read_bytes() if (temporary / "sampled").exists() else b""
    shutil.rmtree(temporary)
    places = (findings / "log").read_text().splitlines() if (findings / "log").exists() else []
    last = text.rstrip().rpartition("\n")[2]
    died = "" if status == 0 and done else f"ended with {status}: {last[:200]}"
    exceptions = {one: places.count(one) for one in set(places)}
    return Outcome(
        target.name, int(done[1]) if done else 0, elapsed, exceptions, died, sampled.count(b"m"), sampled.count(b"f")
    )


def figure(outcome: Outcome, executions: int) -> Figure:
    """The line of one target."""
    count = sum(outcome.exceptions.values())
    rate = outcome.executions / outcome.seconds if outcome.seconds else 0
    measured = f"{outcome.executions:,} executions, {rate:,.0f}/s, {count} uncaught"
    if outcome.exceptions:
        measured += f" ({', '.join(sorted(outcome.exceptions))})"
    if outcome.mounted or outcome.checked:
        measured += f"; {outcome.mounted:,} mounted and read, {outcome.checked:,} seen by fsck.erofs"
    if outcome.died:
        measured += f"; {outcome.died}"
    met = outcome.executions >= executions and not count and not outcome.died
    return Figure(outcome.name, measured, f"{executions:,} executions, 0 uncaught", met)


def main(words: Sequence[str]) -> int:
    """Run the targets and print a figure for each."""
    options = parser("fuzzing", __doc__)
    options.add_argument("--executions", type=int, default=1_000_000, help="executions of each target (1000000)")
    options.add_argument("--target", action="append", help="only this target; may be repeated")
    options.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="targets at a time (the processors)")
    options.add_argument("--seconds", type=int, default=0, help="the most seconds of each target (0: no limit)")
    options.add_argument("--seed", type=int, default=1, help="seed of the random numbers (1)")
    options.add_argument("--sample", type=int, default=2000, help="mount one of so many built indexes (2000)")
    options.add_argument("--keep", type=Path, help="directory for findings and corpora (a temporary one)")
    options.add_argument("--grow", type=int, default=0, metavar="N", help="add up to N inputs to each corpus")
    asked = options.parse_args(words)
    if why_not():
        print(why_not(), file=sys.stderr)
        return 2
    from fuzzing.targets import TARGETS

    names = asked.target or list(TARGETS)
    unknown = [name for name in names if name not in TARGETS]
    if unknown:
        options.error(f"no such target: {', '.join(unknown)}; there are {', '.join(TARGETS)}")
    place = asked.keep or Path(tempfile.mkdtemp(prefix="fuzzing."))

    def one(name: str) -> Outcome:
        shutil.rmtree(place / name, ignore_errors=True)
        outcome = run(TARGETS[name], asked.executions, place / name, asked.seed, asked.seconds, asked.sample)
        print(f"{name}: {figure(outcome, asked.executions).measured}", file=sys.stderr, flush=True)
        return outcome

    try:
        with ThreadPoolExecutor(asked.jobs) as pool:
            outcomes = list(pool.map(one, names))
        if asked.grow:
            from fuzzing.reduction import grow

            for name in names:
                grow(TARGETS[name], place / name / "corpus", CORPUS / name, asked.grow)
    finally:
        if not asked.keep:
            shutil.rmtree(place, ignore_errors=True)
    return report("fuzzing", [figure(outcome, asked.executions) for outcome in outcomes], as_json=asked.json)
