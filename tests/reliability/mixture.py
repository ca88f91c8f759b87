"""Many processes at once: every command, at random, on one store, some of them killed.

Each worker runs one command after the other. The actions of the others must explain every result (`mixing.ledger`): a
name that is not found must have been removed by another worker, an image in use must be held by another worker. From
time to time all pause; then `du` must be exact and `check` must find nothing. In the end everything is removed, and an
empty store must be left. A thread reads the graph all the time, to measure how long readers wait.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from support import programs, stores
from support.cli import Arstore

from arstore.graph.graph import Graph
from reliability.figures import Figure, parser, report
from reliability.mixing import pool
from reliability.mixing.ledger import Ledger
from reliability.mixing.worker import Worker

if TYPE_CHECKING:
    pass


class Mixture:
    """One store below *directory*, and *processes* workers on it."""

    def __init__(self, directory: Path, processes: int, seed: int) -> None:
        self._arstore = Arstore(directory / "root", directory / "run")
        self._archives = directory / "archives"
        self._archives.mkdir()
        self.families = pool.pool(self._archives)
        if programs.runtime()[1]:
            self.families = [family for family in self.families if family.name != "base:1"]
        self._pipeline = pool.pipeline(self._archives)
        ledger = Ledger()
        self.workers = [Worker(number, seed, self._arstore, directory, ledger) for number in range(processes)]
        self.faults: list[str] = []
        self.quiet = 0
        self.reads: list[float] = []
        self._end = threading.Event()

    def run(self, seconds: float, pause: float) -> None:
        """Run all workers for so many *seconds*; check the store after every *pause* seconds."""
        stores.made(self._arstore.root, self._arstore.runroot).close()
        reader = threading.Thread(target=self._read)
        reader.start()
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            until = min(deadline, time.monotonic() + pause)
            threads = [threading.Thread(target=self._work, args=(worker, until)) for worker in self.workers]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            self._look()
        self._end.set()
        reader.join()
        self._clear()
        self.faults += [fault for worker in self.workers for fault in worker.tally.faults]

    def _work(self, worker: Worker, until: float) -> None:
        try:
            while time.monotonic() < until:
                worker.step(self.families, self._pipeline)
        except Exception as error:
            self.faults.append(f"a worker ended: {error!r}")
            raise

    def _read(self) -> None:
        """Read the graph again and again, as commands do that only read."""
        graph = Graph(str(self._arstore.root / "graph"))
        while not self._end.wait(0.02):
            start = time.monotonic()
            with graph.read() as snapshot:
                list(snapshot.names())
            self.reads.append(time.monotonic() - start)
        graph.release()

    def _look(self) -> None:
        """A quiet moment: `du` must be exact, and everything must be whole."""
        self.quiet += 1
        self._settle()
        bill = self._arstore.json("du")
        found = subprocess.run(["du", "-sxB1", self._arstore.root], capture_output=True, text=True, check=True).stdout
        if bill["total"] != int(found.split()[0]):
            self.faults.append(f"du says {bill['total']} bytes, du(1) {found}")
        checked = self._arstore.run("check", "--json")
        if checked.status != 0 or "Traceback" in checked.err:
            self.faults.append(f"check: status {checked.status}: {checked.text[-2000:]} {checked.err[-2000:]}")

    def _settle(self) -> None:
        """Wait until the containers of killed commands have ended; the kernel takes some time for it."""
        for _ in range(100):
            if "arstore" not in "".join(_commands(str(self._arstore.root))):
                return
            time.sleep(0.1)

    def _clear(self) -> None:
        """Remove everything as a user does, and check that nothing is left."""
        arstore = self._arstore
        arstore.ok("umount", "--all")
        for container in arstore.json("ps", "--all"):
            arstore.ok("container", "rm", "--force", container["id"])
        while images := [image["digest"] for image in arstore.json("images") if "digest" in image]:
            for digest in images:
                outcome = arstore.run("rm", digest)
                if outcome.status not in {0, 3, 7}:
                    self.faults.append(f"rm in the end: {outcome.err}")
        arstore.ok("gc")
        bill = arstore.bill()
        left = {part: size for part, size in bill.items() if part in {"ingest", "orphans", "reclaimable"} and size}
        if left:
            self.faults.append(f"left in the end: {left}")
        for name in ("blobs/sha256", "blobs/sha512", "trees", "containers", "ingest"):
            if names := os.listdir(arstore.root / name):
                self.faults.append(f"left in the end: {name}: {names}")
        mounts = [line for line in Path("/proc/self/mountinfo").read_text().splitlines() if str(arstore.root) in line]
        mounts += [
            line for line in Path("/proc/self/mountinfo").read_text().splitlines() if f"{arstore.runroot}" in line
        ]
        if mounts:
            self.faults.append(f"left in the end: {mounts}")


def _commands(root: str) -> list[str]:
    """The command lines of the processes that use the store in *root*."""
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                line = Path(f"/proc/{name}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue
            if f"--root {root} " in line:
                found.append(line)
    return found


def figures(mixture: Mixture) -> list[Figure]:
    """The figures of the mixture."""
    commands: Counter[str] = Counter()
    explained: Counter[str] = Counter()
    killed: Counter[str] = Counter()
    slowest: dict[str, float] = {}
    for worker in mixture.workers:
        commands += worker.tally.commands
        explained += worker.tally.explained
        killed += worker.tally.killed
        for kind, seconds in worker.tally.slowest.items():
            slowest[kind] = max(slowest.get(kind, 0.0), seconds)
    reads = sorted(mixture.reads) or [0.0]
    return [
        Figure("commands", f"{sum(commands.values())}: " + ", ".join(f"{k} {n}" for k, n in sorted(commands.items()))),
        Figure("killed", f"{sum(killed.values())}: " + ", ".join(f"{k} {n}" for k, n in sorted(killed.items()))),
        Figure("refused, and explained", ", ".join(f"{k}: {n}" for k, n in sorted(explained.items())) or "none"),
        Figure("longest, seconds", ", ".join(f"{kind} {slowest[kind]:.1f}" for kind in sorted(slowest))),
        Figure("reads of the graph", f"{len(reads)}, median {reads[len(reads) // 2] * 1e3:.2f} ms"),
        Figure("longest wait of a reader", f"{reads[-1] * 1e3:.0f} ms"),
        Figure("quiet moments: du exact, deep check clean", str(mixture.quiet)),
        Figure("errors", str(len(mixture.faults)), "0", not mixture.faults),
    ]


def main(words: list[str]) -> int:
    """The exercise as a command."""
    options = parser("mixture", __doc__)
    options.add_argument("--processes", type=int, default=16, help="number of workers (16)")
    options.add_argument("--minutes", type=float, default=10, help="minutes of the run (10)")
    options.add_argument("--pause", type=float, default=60, help="seconds between two quiet moments (60)")
    options.add_argument("--seed", type=int, default=1, help="seed of the random numbers (1)")
    options.add_argument("--directory", help="where to make the store")
    chosen = options.parse_args(words)
    place = Path(tempfile.mkdtemp(prefix="arstore-mixture-", dir=chosen.directory))
    try:
        mixture = Mixture(place, chosen.processes, chosen.seed)
        mixture.run(chosen.minutes * 60, chosen.pause)
        found = figures(mixture)
        for fault in mixture.faults:
            print(f"FAULT {fault}", flush=True)
    finally:
        if "mixture" in locals() and not mixture.faults:
            shutil.rmtree(place)
    return report("mixture", found, as_json=chosen.json)
