"""SIGKILL at every trace point and at random moments, for each command that changes a store and each of its processes.

For every point that a command reaches, in its main process or in a forked one, the command is repeated and killed
there: at the first and the last time, alone and with its whole process group; for a forked process once itself, and
once its parent. Then at *N* random moments of its measured duration. `killing.verdict` judges the result.
"""

from __future__ import annotations

import importlib
import json
import os
import pkgutil
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from support.forking import guarded

import arstore
from arstore import trace
from arstore.linux.isolation import user_namespace
from reliability.figures import Figure, parser, report
from reliability.killing.box import Box, CommandFailedError
from reliability.killing.scenarios import Scenario, scenarios, write_archives
from reliability.killing.verdict import Trial, is_possible
from reliability.killing.victim import GROUP, MAIN, PARENT, SELF, Kill

_ATTEMPTS = 3
"""Attempts to kill at a point that is not always reached at that number."""


_PATIENCE = 20
"""Further moments that may come too late, because the command was quicker this time."""


@dataclass
class Tally:
    """Results of the kills, by scenario: their number, the points that were reached, and every fault."""

    scenarios: int = 0
    at_points: int = 0
    at_moments: int = 0
    too_late: int = 0
    reached: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)

    def add(self, other: Tally) -> None:
        """Add *other* to the counts."""
        for name, value in asdict(other).items():
            setattr(self, name, getattr(self, name) + value)


def kills_of(hits: list[tuple[str, str]], every: bool = True) -> list[Kill]:
    """All kills at the points that a command has reached; without *every*, one for each point and kind of process."""
    found = []
    for (point, role), number in Counter(hits).items():
        if role == MAIN:
            found.append(Kill(point, role, 1, PARENT))
            if every:
                found.append(Kill(point, role, number, GROUP))
        else:
            found.append(Kill(point, role, 1, SELF))
            if every:
                found.append(Kill(point, role, number, PARENT))
    return found


def try_scenario(box: Box, scenario: Scenario, moments: int, seed: int, points: bool = True) -> Tally:
    """Kill *scenario* at all its points, if *points*, and at *moments* random moments."""
    tally = Tally()
    if not is_possible(scenario):
        tally.skipped.append(f"{scenario.name}: {scenario.missing or 'needs root'}")
        return tally
    try:
        trial = Trial(box, scenario)
    except CommandFailedError as error:
        tally.faults.append(f"{scenario.name}, not killed at all: {error}")
        return tally
    tally.scenarios += 1
    tally.reached += sorted({point for point, _ in trial.reference.hits})
    for kill in kills_of(trial.reference.hits) if points else ():
        tally.at_points += _try(trial, kill, tally)
    chance = random.Random(f"{seed} {scenario.name}")
    while tally.at_moments < moments and tally.too_late < moments + _PATIENCE:
        moment = max(chance.uniform(0, trial.reference.seconds), 1e-6)
        hit = _try(trial, Kill(whom=chance.choice([PARENT, GROUP]), moment=moment), tally)
        tally.at_moments += hit
        tally.too_late += not hit
    return tally


def _try(trial: Trial, kill: Kill, tally: Tally) -> bool:
    for _ in range(_ATTEMPTS if kill.point else 1):
        killed, faults = trial.killed(kill)
        tally.faults += [f"{trial.scenario.name}, {kill}: {fault}" for fault in faults]
        if killed:
            return True
    if kill.point and kill.role == MAIN:
        # Other processes may outlive the command, and reach it after the command ended.
        tally.faults.append(f"{trial.scenario.name}, {kill}: was not reached again")
    return False


# --- the command line -----------------------------------------------------------------------------------------------


def main(words: list[str]) -> int:
    options = parser("kills", __doc__)
    options.add_argument("--moments", type=int, default=0, metavar="N", help="random moments, over all scenarios")
    options.add_argument("--no-points", action="store_true", help="do not kill at the trace points")
    options.add_argument(
        "--seed", type=int, default=random.SystemRandom().randrange(1 << 32), help="seed of the moments"
    )
    options.add_argument("--scenario", action="append", metavar="NAME", help="only this one; may be repeated")
    options.add_argument("--jobs", type=int, default=len(os.sched_getaffinity(0)), help="scenarios at a time")
    options.add_argument("--scratch", type=Path, help="a directory on the file system to use")
    asked = options.parse_args(words)
    chosen = [one for one in scenarios() if not asked.scenario or one.name in asked.scenario]
    import_everything()
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="arstore-kills-", dir=asked.scratch) as place:
        moments = _shares(chosen, asked.moments)
        tally = _in_parallel(chosen, moments, asked, Path(place))
    minutes = (time.monotonic() - began) / 60
    return report("kills", _figures(tally, asked, minutes, complete=not asked.scenario), as_json=asked.json)


def import_everything() -> None:
    """Import all of arstore, so that forked processes have it in memory."""
    for found in pkgutil.walk_packages(arstore.__path__, "arstore."):
        if not found.name.endswith("__main__"):
            importlib.import_module(found.name)


def _shares(chosen: list[Scenario], moments: int) -> list[int]:
    """Share the moments among scenarios: half as many for one with a container, which takes ten times as long."""
    weights = [(1 if one.needs_runtime else 2) * is_possible(one) for one in chosen]
    shares = [moments * weight // (sum(weights) or 1) for weight in weights]
    for number in range(moments - sum(shares) if any(weights) else 0):
        shares[[place for place, weight in enumerate(weights) if weight][number % sum(map(bool, weights))]] += 1
    return shares


def _in_parallel(chosen: list[Scenario], moments: list[int], asked: Any, place: Path) -> Tally:
    """Run all scenarios, as many at a time as asked for, each in a separate process and box."""
    write_archives(place / "archives")
    # The last ones take longest, and would run alone in the end.
    waiting = list(reversed(list(enumerate(chosen))))
    running: dict[int, Path] = {}
    tally = Tally()
    while waiting or running:
        while waiting and len(running) < asked.jobs:
            number, scenario = waiting.pop(0)
            own = place / str(number)
            own.mkdir()
            pid = os.fork()
            if pid == 0:
                guarded(lambda: _alone(own, scenario, moments[number], asked))  # noqa: B023 - called at once
            running[pid] = own
        pid, status = os.waitpid(-1, 0)
        own = running.pop(pid)
        if status:
            tally.faults.append(f"{own}: the exercise itself has failed")
        else:
            tally.add(Tally(**json.loads((own / "tally").read_text())))
        shutil.rmtree(own, ignore_errors=True)
    return tally


def _alone(own: Path, scenario: Scenario, moments: int, asked: Any) -> None:
    (own / "archives").symlink_to("../archives")
    box = Box(own)
    began = time.monotonic()
    try:
        tally = try_scenario(box, scenario, moments, asked.seed, not asked.no_points)
    finally:
        box.clear()
    print(
        f"{scenario.name}: {tally.at_points} points, {tally.at_moments} moments, {len(tally.faults)} faults, "
        f"{time.monotonic() - began:.0f} s",
        file=sys.stderr,
    )
    for fault in tally.faults:
        print(fault, file=sys.stderr)
    (own / "tally").write_text(json.dumps(asdict(tally)))


def _figures(tally: Tally, asked: Any, minutes: float, complete: bool) -> list[Figure]:
    missed = sorted(trace.POINTS.keys() - set(tally.reached))
    lines = [
        Figure("seed", str(asked.seed)),
        Figure("kills at trace points", str(tally.at_points)),
        Figure("kills at random moments", f"{tally.at_moments} ({tally.too_late} more came too late)"),
        Figure("what was killed", f"{tally.scenarios} commands in {minutes:.1f} minutes"),
    ]
    if complete:
        names = f": {', '.join(missed)}" if missed else ""
        # In a user namespace there are no trees of the index form.
        bar = ("0", not missed) if user_namespace.is_initial() else ("", None)
        lines.append(Figure("trace points that no command reached", f"{len(missed)}{names}", *bar))
    if tally.skipped:
        lines.append(Figure("skipped", "; ".join(tally.skipped)))
    faults = len(tally.faults)
    bar = "images lost or half there, stores that need a hand, files left after gc"
    return [*lines, Figure(bar, str(faults), "0", faults == 0)]
