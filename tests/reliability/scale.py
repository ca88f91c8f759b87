"""A large store: the time of commands that read all of it, and whether its size slows `mount` down.

The store is made of small, genuine images (`support.largestore`): each has ten layers that only it has, over two of a
base, so that layers, trees and blobs are as many as possible. Each command is a process, started on a store that was
read before; the figure is the median. On a machine with other load, CPU seconds mean more than the clock. *--on* names
a directory on a file system with some GB and a million inodes free; *--keep* leaves the store there, and uses the one
that was left.
"""

from __future__ import annotations

import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from support.largestore import Shape, fill
from support.programs import why_no_mounts

from arstore.store.store import Store
from reliability.figures import Figure, parser, report

_SECONDS = 2.0
_NAME = "project-3/app:7"


class _Trial(NamedTuple):
    """A command, and the bar in seconds."""

    words: tuple[str, ...]
    most: float = _SECONDS


_TRIALS = (
    _Trial(("images",)),
    _Trial(("images", "--json")),
    _Trial(("du",)),
    _Trial(("check", "--quick")),
    _Trial(("gc", "--dry-run")),
    _Trial(("tag", _NAME, "scale:latest")),
)


def main(words: list[str]) -> int:
    """Make the store and measure."""
    options = parser("scale", __doc__)
    options.add_argument("--images", type=int, default=10_000, help="number of images (10000)")
    options.add_argument("--common", type=int, default=0, help="upper layers that the builds of a project share (0)")
    options.add_argument("--rounds", type=int, default=5, help="samples of each command (5)")
    options.add_argument("--on", type=Path, help="where to make the store (the temporary directory)")
    options.add_argument("--keep", action="store_true", help="leave the store, and use one that was left")
    asked = options.parse_args(words)
    place = asked.on / "scale" if asked.keep and asked.on else Path(tempfile.mkdtemp(prefix="scale.", dir=asked.on))
    shape = Shape(asked.images, common=asked.common)
    try:
        if not (place / "root").exists():
            _make(place, shape)
        figures = [Figure("the store", f"{shape.images} images, {shape.layers} layers, {_files(place)} files")]
        figures += [_measure(place, trial, asked.rounds) for trial in _TRIALS]
        figures += _mounts(place, asked.rounds)
    finally:
        if not asked.keep:
            shutil.rmtree(place)
    return report("scale", figures, as_json=asked.json)


def _make(place: Path, shape: Shape) -> None:
    place.mkdir(parents=True, exist_ok=True)
    with Store(str(place / "root"), str(place / "run")) as store:
        fill(store, shape, place)


def _files(place: Path) -> int:
    counted = subprocess.run(["find", place / "root", "-type", "f"], capture_output=True, check=True)
    return counted.stdout.count(b"\n")


def _run(place: Path, *words: str) -> tuple[float, float]:
    """The seconds and the CPU seconds of the command."""
    command = [sys.executable, "-m", "arstore", "--root", str(place / "root"), "--runroot", str(place / "run"), *words]
    before, start = _used(), time.perf_counter()
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - start, _used() - before


def _used() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _measure(place: Path, trial: _Trial, rounds: int) -> Figure:
    samples = [_run(place, *trial.words) for _ in range(rounds + 1)][1:]
    walls = [wall for wall, _ in samples]
    median = statistics.median(walls)
    used = min(used for _, used in samples)
    shown = f"{median:.2f} s ({min(walls):.2f} to {max(walls):.2f}), {used:.2f} s of processors"
    return Figure(" ".join(trial.words), shown, f"<= {trial.most:g} s", median <= trial.most)


def _mounts(place: Path, rounds: int) -> list[Figure]:
    """Measure `mount` here and in a store with ten images of the same kind."""
    if why := why_no_mounts():
        return [Figure("mount", f"not measured: {why}")]
    with tempfile.TemporaryDirectory(prefix="scale.", dir=place.parent) as small:
        _make(Path(small), Shape(40))
        samples: dict[Path, list[float]] = {place: [], Path(small): []}
        for _ in range(rounds * 3):
            for one, found in samples.items():
                found.append(_run(one, "mount", _NAME)[0])
                _run(one, "umount", "--all")
    large, few = (statistics.median(found) for found in samples.values())
    shown = f"{large * 1000:.1f} ms, {few * 1000:.1f} ms in a store of 40 images"
    return [Figure("mount", shown, "unaffected: <= 1.1 times", large <= few * 1.1)]
