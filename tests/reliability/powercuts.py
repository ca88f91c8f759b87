"""Power cuts: commands run on a separate file system, and its disk is copied at some moment without syncing.

Data that the kernel had not written back by then is lost, as in a power cut. Another boot mounts the copy, and its
content is judged; podman gets the same treatment. Cuts come at random moments and just after commands have ended, while
other processes sync their files and the kernel writes back some pages. Needs root, mkfs.ext4 and mkfs.xfs.
"""

from __future__ import annotations

import json
import os
import random
import select
import shutil
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from support import programs
from support.groups import groups_below
from support.runnable import PIPELINE_NAMES

from arstore.disk.cgroups import remove_cgroups
from reliability.cutting import machine, weather
from reliability.cutting.disk import Shelf, mount, shelf, sync_all
from reliability.cutting.ours import Ours
from reliability.cutting.samples import ALL, write_archives
from reliability.cutting.theirs import Theirs
from reliability.cutting.workload import Step
from reliability.figures import Figure, parser, report
from reliability.kills import import_everything

if TYPE_CHECKING:
    from collections.abc import Callable

SIZE = "700M"
_OPTIONS = {"ext4": ("", "commit=1", "data=writeback", "noauto_da_alloc"), "xfs": ("nouuid",)}
"""Mount options, of which one set is chosen for each cut; some of them make a cut worse."""

_PATIENCE = 20.0
"""Seconds that the kernel may take to end the processes of a machine without power."""

_NOUUID = {"ext4": "", "xfs": "nouuid"}
"""Options that allow mounting a copy while its original is mounted."""


@dataclass
class Tally:
    """Results of the cuts of one tool on one kind of file system."""

    cuts: int = 0
    listed: int = 0
    bad: int = 0
    hurt: int = 0
    unusable: int = 0
    lost: int = 0
    faults: list[str] = field(default_factory=list)
    ended: Counter[str] = field(default_factory=Counter)
    under_way: Counter[str] = field(default_factory=Counter)

    @property
    def commands(self) -> int:
        """The number of commands that had ended before their cut."""
        return self.ended.total()

    def add(self, verdict: dict[str, Any], events: list[dict[str, Any]]) -> None:
        """Add one cut to the counts; these *events* came before it."""
        self.cuts += 1
        words = [event["words"][0] for event in events if "words" in event]
        done = sum("status" in event for event in events)
        self.ended.update(words[:done])
        self.under_way.update(words[done:])
        self.listed += verdict["listed"]
        self.bad += verdict["bad"]
        self.hurt += bool(verdict["faults"])
        self.unusable += verdict["unusable"]
        self.lost += sum(fault.endswith("is lost") for fault in verdict["faults"])
        self.faults += verdict["faults"]


class Trial:
    """One tool on one kind of file system: a disk that is prepared once, and copied for every cut."""

    def __init__(
        self, place: Path, kept: Shelf, kind: str, player: Callable[..., Any], names: tuple[str, ...] = ALL
    ) -> None:
        self._place = place
        self._shelf = kept
        self._kind = kind
        self._player = player
        self._disk = place / "disk"
        self._desk = place / "desk"
        for directory in (self._disk, self._desk, place / "listings", place / "archives"):
            directory.mkdir(parents=True, exist_ok=True)
        self._archives = {
            name: path for name, path in write_archives(place / "archives", names).items() if name in names
        }
        self._base = kept.new(f"{kind}-base", kind, SIZE)
        self._digests: dict[str, str] = json.loads(machine.result(self._prepared))

    def _made(self) -> Any:
        return self._player(self._disk, self._desk, self._archives)

    def _prepared(self) -> bytes:
        mount(self._base, self._disk, _NOUUID[self._kind])
        answer = json.dumps(self._made().prepare()).encode()
        sync_all(self._disk)
        return answer

    def cut(self, seed: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        """Cut at a random moment; return the verdict, and the events until then."""
        chance = random.Random(seed)
        live = self._shelf.copy(self._base, f"{self._kind}-live")
        options = chance.choice(_OPTIONS[self._kind])
        running = machine.Machine(lambda pipe: self._works(live, options, seed, pipe))
        return self._cut(running, live, lambda events: self._until_the_cut(running, chance, events))

    def cut_after(self, *words: str, archive: str = "implied") -> tuple[dict[str, Any], list[dict[str, Any]]]:
        """Cut right after a command has imported the images of *archive*; nothing else happens meanwhile."""
        live = self._shelf.copy(self._base, f"{self._kind}-live")
        sets = dict.fromkeys(PIPELINE_NAMES if archive == "pipeline" else (f"{archive}:1",), "")
        step = Step([*words, str(self._archives[archive])], sets)
        running = machine.Machine(lambda pipe: self._does(live, step, pipe))
        return self._cut(running, live, lambda events: events.extend(_told(running, 2)))

    def _does(self, live: Path, step: Step, pipe: int) -> None:
        mount(live, self._disk, _NOUUID[self._kind])
        player = self._made()
        os.write(pipe, json.dumps(step.told()).encode() + b"\n")
        ended = player.run(*step.words)
        os.write(pipe, json.dumps({"status": ended.status, "err": ended.err}).encode() + b"\n")
        time.sleep(60)

    def _cut(
        self, running: machine.Machine, live: Path, wait: Callable[[list[dict[str, Any]]], None]
    ) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        events: list[dict[str, Any]] = []
        try:
            wait(events)
            disk = self._shelf.copy(live, f"{self._kind}-cut")
        finally:
            running.cut()
            self._clear_groups()
        verdict = json.loads(machine.result(lambda: self._judged(disk, events)))
        for path in (live, disk):
            path.unlink()
        return verdict, events

    def _clear_groups(self) -> None:
        """Remove the control groups that a cut has left: they are in memory, and would not survive a real one."""
        deadline = time.monotonic() + _PATIENCE
        while groups := groups_below(self._disk / "store/containers", self._disk / "run"):
            for directory in set(groups.values()):
                remove_cgroups(directory)
            if time.monotonic() > deadline:
                raise ChildProcessError(f"these control groups stay: {sorted(groups)}")

    def _works(self, live: Path, options: str, seed: str, pipe: int) -> None:
        mount(live, self._disk, options)
        if os.fork() == 0:
            weather.rage(str(self._disk), seed)
        self._made().work(seed, lambda event: os.write(pipe, json.dumps(event).encode() + b"\n"))

    @staticmethod
    def _until_the_cut(running: machine.Machine, chance: random.Random, events: list[dict[str, Any]]) -> None:
        """Wait for a random moment: a while after the start of a command, or the end of one."""
        wanted = chance.randint(1, 8)
        just_ended = chance.random() < 0.4
        pause = chance.expovariate(5)
        buffer = b""
        deadline = time.monotonic() + 120
        while True:
            seen = sum(("status" in event) == just_ended for event in events)
            if seen >= wanted:
                deadline = min(deadline, time.monotonic() + (0 if just_ended else pause))
                wanted = sys.maxsize
            left = max(0.0, deadline - time.monotonic())
            if not select.select([running.pipe], [], [], left)[0]:
                return
            data = os.read(running.pipe, 1 << 16)
            if not data:
                raise ChildProcessError("the machine has failed before its power was cut")
            buffer += data
            *lines, buffer = buffer.split(b"\n")
            events += map(json.loads, lines)

    def _judged(self, disk: Path, events: list[dict[str, Any]]) -> bytes:
        try:
            # The other disk with the same identity may still be in use.
            mount(disk, self._disk, _NOUUID[self._kind])
        except OSError as error:
            return json.dumps({"faults": [str(error)], "listed": 0, "bad": 0, "unusable": True}).encode()
        try:
            return json.dumps(self._made().judge(events, self._digests)).encode()
        except ChildProcessError as error:
            return json.dumps({"faults": [str(error)], "listed": 0, "bad": 0, "unusable": True}).encode()


def _told(running: machine.Machine, count: int) -> list[dict[str, Any]]:
    """The first *count* events that the machine reports."""
    with os.fdopen(os.dup(running.pipe), "rb") as file:
        return [json.loads(file.readline()) for _ in range(count)]


def trials(place: Path, kept: Shelf, kind: str, cuts: int, seed: int, player: Callable[..., Any], name: str) -> Tally:
    """Run *cuts* power cuts."""
    tally = Tally()
    trial = Trial(place, kept, kind, player)
    began = time.monotonic()
    # An interrupt ends the run with the figures so far.
    with suppress(KeyboardInterrupt):
        for number in range(cuts):
            verdict, events = trial.cut(f"{seed} {kind} {number}")
            tally.add(verdict, events)
            for fault in verdict["faults"]:
                print(f"{name} on {kind}, cut {number}: {fault}", file=sys.stderr, flush=True)
            if not (number + 1) % 10:
                told = f"{number + 1} cuts, {time.monotonic() - began:.0f} s"
                print(f"{name} on {kind}: {told}", file=sys.stderr, flush=True)
    return tally


# --- the command line -----------------------------------------------------------------------------------------------


def main(words: list[str]) -> int:
    options = parser("powercuts", __doc__)
    options.add_argument("--cuts", type=int, default=200, help="cuts of arstore on each file system (200)")
    options.add_argument("--kind", action="append", choices=["ext4", "xfs"], help="only this kind of file system")
    options.add_argument("--podman", type=int, default=0, metavar="N", help="cuts of podman, for comparison")
    options.add_argument("--peers", default="", metavar="DIR", help="a system with podman (tools/peers build DIR)")
    options.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32), help="seed of the cuts")
    options.add_argument("--scratch", type=Path, default=Path("/dev/shm"), help="directory of the disks (/dev/shm)")
    asked = options.parse_args(words)
    if os.geteuid():
        print("powercuts: needs root", file=sys.stderr)
        return 2
    if why := programs.runtime()[1]:
        print(f"powercuts: run and load are not among the commands: {why}", file=sys.stderr)
    import_everything()
    machine.leave_mounts_alone()
    players = [("arstore", asked.cuts, Ours)]
    if asked.podman:
        players.append(("podman", asked.podman, lambda *more: Theirs(*more, peers=asked.peers)))
    figures = [Figure("seed", str(asked.seed))]
    with tempfile.TemporaryDirectory(prefix="arstore-cuts-", dir=asked.scratch) as place, shelf(Path(place)) as kept:
        for kind in asked.kind or ["ext4", "xfs"]:
            for name, cuts, player in players:
                own = Path(place, kind, name)
                figures += _figures(name, kind, trials(own, kept, kind, cuts, asked.seed, player, name))
                shutil.rmtree(own)
    return report("powercuts", figures, as_json=asked.json)


def _figures(name: str, kind: str, tally: Tally) -> list[Figure]:
    where = f"{name} on {kind}"
    ours = name == "arstore"
    bar = "0" if ours else ""
    return [
        Figure(f"{where}, power cuts", f"{tally.cuts}, after {tally.commands} commands in all"),
        Figure(f"{where}, ended before", _counted(tally.ended)),
        Figure(f"{where}, cut in the middle", _counted(tally.under_way)),
        Figure(f"{where}, images listed afterwards", str(tally.listed)),
        Figure(f"{where}, images listed and not whole", str(tally.bad), bar, not tally.bad if ours else None),
        Figure(f"{where}, images reported as there, and lost", str(tally.lost), bar, not tally.lost if ours else None),
        Figure(f"{where}, stores that cannot be used", str(tally.unusable), bar, not tally.unusable if ours else None),
        Figure(f"{where}, cuts with any fault", str(tally.hurt), bar, not tally.hurt if ours else None),
    ]


def _counted(commands: Counter[str]) -> str:
    return ", ".join(f"{number} {name}" for name, number in sorted(commands.items())) or "none"
