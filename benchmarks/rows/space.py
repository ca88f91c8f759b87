"""Temporary space of an import, beyond that of the finished store: outside the store, and inside."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.engine import Arstore, Engine
from benchmarks.measure import Bar, Contender, Row, Values
from benchmarks.peers import Podman
from benchmarks.sampling import Space, allocated

if TYPE_CHECKING:
    from benchmarks.ground import Ground

_MIB = 1 << 20


def row(ground: Ground) -> Row:
    """app1, and podman's for comparison."""
    arstore, podman = Arstore(ground, "arstore"), Podman(ground, "podman")
    bars = [
        Bar("space during import of app1, outside the store", "outside", at_most=0, unit="MiB"),
        Bar("space during import of app1, inside, beyond the finished store", "inside", at_most=64, unit="MiB"),
    ]
    contenders = [_importing(ground, arstore, arstore.root), _importing(ground, podman, f"{podman.home}/root")]
    note = (
        "Allocated blocks in MiB, as du counts them, looked at again and again: `outside` is the peak of TMPDIR and "
        "HOME, `inside` that of the store's directory less what it has in the end."
    )
    return Row("space", "Space used by an import of app1 meanwhile", contenders, bars, note)


def _importing(ground: Ground, engine: Engine, root: str) -> Contender:
    outside = (f"{ground.work}/tmp", f"{ground.work}/home")

    def prepare() -> None:
        engine.fresh()
        engine.ready("app1")

    def sample() -> Values:
        before = sum(map(allocated, outside))
        space = Space(root, *outside)
        ground.execute(engine.import_command(ground.archive("app1"), "app1"), space)
        ground.settle()
        left = allocated(root)
        inside, *elsewhere = space.peaks
        found = {"inside": max(inside - left, 0), "outside": sum(elsewhere) - before, "finished": left}
        return {name: [value / _MIB] for name, value in found.items()}

    return Contender(engine.label, sample, prepare=prepare, clear=engine.discard)
