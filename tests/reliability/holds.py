"""Hold times of the writer's lock: the only lock of a store, for which every change has to wait.

Commands run one after the other on a store of many images. Every write transaction is timed from taking the lock to the
commit. Readers never wait for it; other writers wait at most as long as the longest transaction. CPU seconds are
reported too, because the rest is waiting for the disk and for other load of the machine. *--on* names a directory on a
file system with room for the store.
"""

from __future__ import annotations

import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from support import images, programs
from support.largestore import Shape, fill
from support.runnable import write_runnable

from arstore.graph.graph import Graph
from arstore.store.store import Store
from reliability.cutting import command
from reliability.figures import Figure, parser, report
from reliability.kills import import_everything

if TYPE_CHECKING:
    from collections.abc import Iterator

    from arstore.graph.snapshot import Change

LAYERS = 100
"""Layers of the imported image."""


class Hold(NamedTuple):
    """One write transaction: seconds from the lock to the commit, and the CPU seconds in them."""

    seconds: float
    processor: float


class Watch:
    """Records every hold of this process and of those that are forked from it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        real = Graph.write

        @contextmanager
        def watched(graph: Graph, lenient: bool = False) -> Iterator[Change]:
            with real(graph, lenient) as change:
                began, used = time.perf_counter(), time.thread_time()
                yield change
            line = f"{time.perf_counter() - began} {time.thread_time() - used}\n"
            with open(path, "a") as file:
                file.write(line)

        Graph.write = watched
        self._real = real

    def take(self) -> list[Hold]:
        """Return the holds since the last call."""
        lines = self._path.read_text().splitlines() if self._path.exists() else []
        self._path.unlink(missing_ok=True)
        return [Hold(*map(float, line.split())) for line in lines]

    def close(self) -> None:
        """Stop watching."""
        Graph.write = self._real


def archives(place: Path) -> dict[str, Path]:
    """An image of many layers and, if containers can run, images to run."""
    layers = [
        images.layer([images.directory("./"), images.file(f"{n}", f"{n}".encode() * 2000)]) for n in range(LAYERS)
    ]
    many = images.write_oci_archive(place / "many.tar", images.image(*layers, names=["many:1"]))
    return {"many": many, **(write_runnable(place) if programs.runtime()[0] else {})}


def steps(found: dict[str, Path]) -> dict[str, tuple[str, ...]]:
    """The commands by name, in their order."""
    made = {
        f"import of {LAYERS} layers": ("import", str(found["many"])),
        "import of the same again": ("import", str(found["many"])),
        "tag": ("tag", "many:1", "other:1"),
        "mount --rw": ("mount", "--rw", "--name", "box", "many:1"),
        "umount": ("umount", "box"),
        "commit": ("commit", "box", "made:1"),
        "container rm": ("container", "rm", "box"),
        "untag": ("untag", "made:1"),
        "gc": ("gc",),
        "rm": ("rm", "many:1", "other:1"),
        "gc of nothing": ("gc",),
        "check --repair of nothing": ("check", "--quick", "--repair"),
    }
    if "pipeline" in found:
        made["load"] = ("load", "-i", str(found["pipeline"]))
        made["run"] = ("run", "greeter:1")
    return made


def measured(place: Path, shape: Shape) -> dict[str, list[Hold]]:
    """Measure the holds of each command on a store of this *shape*, which is made in *place*."""
    desk = place / "desk"
    desk.mkdir()
    with Store(str(place / "root"), str(place / "run")) as store:
        fill(store, shape, place)
    found = archives(place)
    options = ("--root", str(place / "root"), "--runroot", str(place / "run"), "--quiet")
    watch = Watch(place / "holds")
    holds = {}
    try:
        for name, words in steps(found).items():
            ended = command.arstore(desk, *options, *words)
            if ended.status:
                raise ChildProcessError(f"{name} ended with {ended.status}: {ended.err[-800:]}")
            holds[name] = watch.take()
    finally:
        watch.close()
        command.arstore(desk, *options, "umount", "--all")
    return holds


def main(words: list[str]) -> int:
    """Make the store and measure."""
    options = parser("holds", __doc__)
    options.add_argument("--images", type=int, default=1000, help="number of images in the store (1000)")
    options.add_argument("--on", type=Path, help="where to make the store (the temporary directory)")
    asked = options.parse_args(words)
    if why := programs.why_no_mounts():
        print(f"holds: {why}", file=sys.stderr)
        return 2
    import_everything()
    shape = Shape(asked.images)
    with tempfile.TemporaryDirectory(prefix="holds.", dir=asked.on) as place:
        found = measured(Path(place), shape)
    figures = [Figure("the store", f"{shape.images} images, {shape.layers} layers")]
    for name, holds in found.items():
        if holds:
            longest = max(holds)
            shown = f"{longest.seconds * 1000:.1f} ms, {longest.processor * 1000:.1f} of them of the processor"
            figures.append(Figure(name, f"{len(holds)} holds, the longest {shown}"))
        else:
            figures.append(Figure(name, "none"))
    return report("holds", figures, as_json=asked.json)
