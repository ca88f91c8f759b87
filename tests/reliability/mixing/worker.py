"""One worker of a mixture: random commands, one after the other; each result must have an explanation."""

from __future__ import annotations

import json
import random
import re
import signal
import subprocess
import time
from collections import Counter, defaultdict
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from support.cli import Arstore

from arstore.disk.delegation import parent_group
from reliability.mixing.ledger import FOREVER

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from reliability.mixing.ledger import Ledger
    from reliability.mixing.pool import Family, Source

HANG = 300.0
"""Seconds after which a command counts as hanging."""
NOT_FOUND, IN_USE, OVER_BUDGET, RUN_FAILED, KILLED = 3, 7, 36, 125, -signal.SIGKILL

_GONE = re.compile(r"no such image (in the store|or container)|was removed|it was removed|no such name in the store")


@dataclass
class Tally:
    """Observations of the workers."""

    commands: Counter[str] = field(default_factory=Counter)
    explained: Counter[str] = field(default_factory=Counter)
    killed: Counter[str] = field(default_factory=Counter)
    slowest: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    faults: list[str] = field(default_factory=list)


class Worker:
    """Random commands on *arstore*'s store, in an order given by *seed*."""

    def __init__(self, number: int, seed: int, arstore: Arstore, directory: Path, ledger: Ledger) -> None:
        self._number = number
        self._random = random.Random(seed * 1000 + number)
        self._arstore = arstore
        self._ledger = ledger
        self._directory = directory / f"worker-{number}"
        self._directory.mkdir()
        self._count = 0
        self.tally = Tally()

    def step(self, families: list[Family], pipeline: Path) -> None:
        """One command, or a few that belong together."""
        sources = [family for family in families if family.sources]
        family = self._random.choice(families)
        self._count += 1
        match self._random.choices(_KINDS, _WEIGHTS)[0]:
            case "import":
                family = self._random.choice(sources)
                self._import(family, self._random.choice(family.sources))
            case "look":
                self._look(family)
            case "tag":
                self._tag(family)
            case "untag":
                self._remove("untag", family, self._random.choice((family.name, *family.tags)))
            case "rm":
                self._remove("rm", family, self._random.choice((family.name, *family.tags)))
            case "audit":
                self._audit()
            case "mount":
                self._mount(family)
            case "container":
                self._container(family)
            case "unpack":
                self._unpack(family)
            case "convert":
                self._convert(family)
            case "run":
                self._run(next(one for one in families if one.name == "base:1"))
            case "detached":
                self._detached(next(one for one in families if one.name == "base:1"))
            case "attached":
                self._attached(next(one for one in families if one.name == "base:1"))
            case "life":
                self._life(next(one for one in families if one.name == "base:1"))
            case "policy":
                self._policy(next(one for one in families if one.name == "base:1"))
            case "load":
                self._load(pipeline)

    # --- running and judging ----------------------------------------------------------------------------------------

    def _told(
        self, *words: str, ok: Callable[[], dict[int, bool]] = dict, source: Source | None = None, kill: float = 0.0
    ) -> tuple[int, str, str]:
        kind = " ".join(words[:2]) if words[0] == "container" else words[0]
        stdin = source.stdin.open("rb") if source is not None and source.stdin is not None else subprocess.DEVNULL
        start = time.monotonic()
        process = subprocess.Popen(
            self._arstore.words(*words),
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd="/",
            env=self._arstore.environment(),
        )
        if not isinstance(stdin, int):
            stdin.close()
        status, out, err = _finished(process, kill)
        self.tally.commands[kind] += 1
        self.tally.slowest[kind] = max(self.tally.slowest[kind], time.monotonic() - start)
        if status == KILLED and kill:
            self.tally.killed[kind] += 1
        elif "Traceback" in err or (status != 0 and not ok().get(status, False)):
            self.tally.faults.append(
                f"worker {self._number}: {' '.join(words)}: status {status}: {err[-1500:]}{out[-1500:]}"
            )
        elif status != 0:
            self.tally.explained[f"{kind} {status}"] += 1
            if status in {NOT_FOUND, RUN_FAILED} and not _GONE.search(err):
                self.tally.faults.append(
                    f"worker {self._number}: {' '.join(words)}: not for that reason: {err[-1500:]}"
                )
        return status, out, err

    def _fate(self) -> float:
        """Seconds after which the next command is killed; usually 0.0, for never."""
        return self._random.uniform(0.05, 1.5) if self._random.random() < _KILLS else 0.0

    @contextmanager
    def _held(self, family: Family) -> Iterator[None]:
        event = self._ledger.hold(family.name)
        try:
            yield
        finally:
            event.end = time.monotonic()

    def _absent(self, family: Family, name: str, since: float) -> bool:
        return self._ledger.may_be_absent(family.name, name, since)

    # --- commands ---------------------------------------------------------------------------------------------------

    def _import(self, family: Family, source: Source) -> None:
        start = time.monotonic()
        status, _, _ = self._told("import", *source.words, source=source, kill=self._fate())
        if status == 0:
            self._ledger.put(family.name, family.name, start)

    def _look(self, family: Family) -> None:
        start = time.monotonic()
        words = self._random.choice((("images",), ("layers",), ("ps", "--all"), ("mounts",), ("inspect", family.name)))
        self._told(*words, ok=lambda: {NOT_FOUND: words[0] == "inspect" and self._absent(family, family.name, start)})

    def _tag(self, family: Family) -> None:
        start = time.monotonic()
        name = self._random.choice(family.tags)
        status = self._told("tag", family.name, name, ok=lambda: {NOT_FOUND: self._absent(family, family.name, start)})[
            0
        ]
        if status == 0:
            self._ledger.put(family.name, name, start)

    def _remove(self, command: str, family: Family, name: str) -> None:
        start = time.monotonic()
        with self._ledger.removal(family.name, name if command == "untag" else "") as removal:

            def explained() -> dict[int, bool]:
                # Not caused by what this command itself may be about to do.
                began, removal.end = removal.end, -1.0
                absent = self._absent(family, name, start)
                removal.end = began
                return {
                    NOT_FOUND: absent,
                    IN_USE: command == "rm" and self._ledger.may_be_held(family.name, start),
                }

            status = self._told(command, name, ok=explained, kill=self._fate())[0]
            if status not in {0, KILLED}:
                removal.start = FOREVER

    def _audit(self) -> None:
        words = self._random.choice(
            (
                ("gc",),
                ("gc", "--dry-run"),
                ("trim",),
                ("trim", "--free", "1m"),
                ("du", "--json"),
                ("check", "--quick"),
                ("check",),
            )
        )
        kill = self._fate() if words in {("gc",), ("trim",)} else 0.0
        status, out, _ = self._told(*words, ok=lambda: {OVER_BUDGET: words[0] == "trim"}, kill=kill)
        if words[0] == "du" and status == 0:
            bill = json.loads(out)
            parts = [bill[part] for part in ("blobs", "trees", "containers", "metadata", "ingest", "orphans")]
            if sum(parts) != bill["total"] or min(parts) < 0 or not 0 <= bill["reclaimable"] <= bill["total"]:
                self.tally.faults.append(f"worker {self._number}: du: the bill is not sane: {out}")

    def _mount(self, family: Family) -> None:
        start = time.monotonic()
        target = self._directory / f"view-{self._count}"
        target.mkdir()
        with self._held(family):
            status = self._told(
                "mount",
                family.name,
                str(target),
                ok=lambda: {NOT_FOUND: self._absent(family, family.name, start)},
                kill=self._fate(),
            )[0]
            if status == 0:
                self._told("umount", str(target))
            elif status == KILLED:
                self._clean("umount", str(target))
        target.rmdir()

    def _container(self, family: Family) -> None:
        start = time.monotonic()
        name = f"w{self._number}-{self._count}"
        with self._held(family):
            status, out, _ = self._told(
                "mount",
                "--rw",
                "--name",
                name,
                family.name,
                ok=lambda: {NOT_FOUND: self._absent(family, family.name, start)},
                kill=self._fate(),
            )
            if status == 0:
                with open(f"{out.strip()}/written", "w", encoding="utf-8") as file:
                    file.write(name)
                self._told("diff", name)
                own = f"committed-{name}:1"
                if self._told("commit", name, own, kill=self._fate())[0] == 0:
                    self._told("rm", own)
                else:
                    self._clean("rm", own)
                self._told("umount", name)
                self._told("container", "rm", name)
            elif status == KILLED:
                self._clean("umount", name)
                self._clean("container", "rm", name)

    def _clean(self, *words: str) -> None:
        """Remove leftovers of a killed command, if there are any."""
        kind = " ".join(words)
        status, _, err = self._raw(*words)
        if status not in {0, NOT_FOUND} or "Traceback" in err:
            self.tally.faults.append(f"worker {self._number}: {kind}: status {status}: {err[-1500:]}")

    def _raw(self, *words: str) -> tuple[int, str, str]:
        outcome = self._arstore.run(*words, timeout=HANG)
        self.tally.commands[" ".join(words[:2]) if words[0] == "container" else words[0]] += 1
        return outcome.status, outcome.text, outcome.err

    def _unpack(self, family: Family) -> None:
        start = time.monotonic()
        target = self._directory / f"copy-{self._count}"
        with self._held(family):
            self._told(
                "unpack", family.name, str(target), ok=lambda: {NOT_FOUND: self._absent(family, family.name, start)}
            )
        subprocess.run(["rm", "-rf", str(target)], check=True)

    def _convert(self, family: Family) -> None:
        start = time.monotonic()
        form = self._random.choice(("auto", "directory", "erofs"))

        def explained() -> dict[int, bool]:
            held = self._ledger.may_be_held("", start)
            return {NOT_FOUND: self._absent(family, family.name, start), IN_USE: held}

        self._told("convert", "--tree", form, family.name, ok=explained, kill=self._fate())

    def _run(self, family: Family) -> None:
        start = time.monotonic()
        words = ("run", "--entrypoint", "/bin/sh", family.name, "-c", "echo here > /file")
        with self._held(family):
            self._told(*words, ok=lambda: {RUN_FAILED: self._absent(family, family.name, start)}, kill=self._fate())

    def _detached(self, family: Family) -> None:
        start = time.monotonic()
        name = f"w{self._number}-{self._count}"
        words = ("run", "-d", "--name", name, "--entrypoint", "/bin/sh", family.name, "-c", "echo here; sleep 1000")
        with self._held(family):
            status = self._told(
                *words, ok=lambda: {RUN_FAILED: self._absent(family, family.name, start)}, kill=self._fate()
            )[0]
            if status == 0:
                self._told("logs", "--tail", "1", "--since", "1h", "--timestamps", name)
                self._told("exec", name, "/bin/true")
                self._told("kill", name)
                self._told("container", "rm", "--force", name)
            elif status == KILLED:
                self._clean("container", "rm", "--force", name)

    def _attached(self, family: Family) -> None:
        """A container that is attached to: the end of the client's input ends it, unless the client is killed."""
        start = time.monotonic()
        name = f"w{self._number}-{self._count}"
        words = ("--entrypoint", "/bin/sh", family.name, "-c", "echo here; cat")
        with self._held(family):
            status = self._told(
                *("run", "-di", "--log-opt", "max-size=1k", "--name", name, *words),
                ok=lambda: {RUN_FAILED: self._absent(family, family.name, start)},
                kill=self._fate(),
            )[0]
            if status == 0:
                ended = self._told("attach", name, kill=self._fate())[0]
                self._told("logs", *(() if ended == KILLED else ("--follow",)), name)
            if status in {0, KILLED}:
                self._clean("container", "rm", "--force", "-t", "0", name)

    def _life(self, family: Family) -> None:
        """A container that is created, started, frozen, renamed and removed; one of these commands may be killed."""
        start = time.monotonic()
        name = f"w{self._number}-{self._count}"
        words = ("create", "--name", name, "--entrypoint", "/bin/sh", family.name, "-c", "echo here; sleep 1000")
        with self._held(family):
            status = self._told(
                *words, ok=lambda: {RUN_FAILED: self._absent(family, family.name, start)}, kill=self._fate()
            )[0]
            steps: list[tuple[str, ...]] = [
                ("start", name),
                ("restart", "-t", "0", name),
                *(((word, name) for word in ("pause", "unpause")) if parent_group() is not None else ()),
                ("rename", name, f"{name}-again"),
                ("stop", "-t", "0", name),
                ("start", name),
            ]
            if status == 0:
                for step in steps:
                    if self._told(*step, kill=self._fate())[0] == KILLED:
                        break
            if status in {0, KILLED}:
                self._clean("container", "rm", "--force", "-t", "0", name)

    def _policy(self, family: Family) -> None:
        """A container that ends at once and is started again until it is removed, and one that removes itself."""
        start = time.monotonic()
        name = f"w{self._number}-{self._count}"
        tail = ("--name", name, "--entrypoint", "/bin/sh", family.name, "-c", "echo here")
        head = self._random.choice((("--restart", "always"), ("--rm",)))
        with self._held(family):
            status = self._told(
                "run",
                "-d",
                *head,
                *tail,
                ok=lambda: {RUN_FAILED: self._absent(family, family.name, start)},
                kill=self._fate(),
            )[0]
            if status in {0, KILLED}:
                self._clean("stop", name)
                self._clean("container", "rm", "--force", "-t", "0", name)

    def _load(self, pipeline: Path) -> None:
        start = time.monotonic()
        name = f"pipeline-{self._number}:1"
        if self._told("load", "--name", name, "-i", str(pipeline), kill=self._fate())[0] == 0:
            for left in ("greeter:1", "counter:1"):
                self._ledger.put(left, left, start)


def _finished(process: subprocess.Popen[bytes], kill: float) -> tuple[int, str, str]:
    """Wait for *process*, which is killed after *kill* seconds if that is not 0."""
    try:
        out, err = process.communicate(timeout=kill or HANG)
    except subprocess.TimeoutExpired:
        process.kill()
        out, err = process.communicate()
        if not kill:
            err += b"\nhangs"
    return process.returncode, out.decode(errors="replace"), err.decode(errors="replace")


_KILLS = 0.08
"""The part of the commands that are killed, among those that may be."""

_MIXTURE = {
    "import": 26,
    "look": 14,
    "tag": 6,
    "untag": 4,
    "rm": 10,
    "audit": 14,
    "mount": 6,
    "container": 4,
    "unpack": 4,
    "convert": 4,
    "run": 4,
    "detached": 2,
    "life": 2,
    "attached": 2,
    "policy": 2,
    "load": 2,
}
_KINDS, _WEIGHTS = list(_MIXTURE), list(_MIXTURE.values())
