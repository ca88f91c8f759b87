"""The memory of an import: of app1, and of one layer of 4 GiB, which must not need more."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.archives import huge_layer
from benchmarks.engine import Arstore, Engine
from benchmarks.measure import Bar, Contender, Row, Values
from benchmarks.peers import Podman
from benchmarks.sampling import Memory

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.ground import Ground

SIZE = 4 << 30
_MIB = 1 << 20
_HUGE = "arstore, one layer of 4 GiB"


def row(ground: Ground) -> Row:
    """Both, and podman's for comparison."""
    engine = Arstore(ground, "arstore")
    bars = [
        Bar("peak memory, import of app1", "rss", at_most=250, unit="MiB"),
        Bar("peak memory, import of a layer of 4 GiB", "rss", _HUGE, at_most=250, unit="MiB"),
        Bar("peak memory, a layer of 4 GiB against app1", "rss", _HUGE, ("arstore",), at_most=1.15, unit="MiB"),
    ]
    podman = Podman(ground, "podman")
    contenders = [
        _importing(engine, "arstore", lambda: ground.archive("app1")),
        _huge(ground),
        _importing(podman, podman.label, lambda: ground.archive("app1")),
    ]
    note = (
        "Sampled from /proc every few milliseconds, in MiB. `rss` is the sum over all processes of the command, so "
        "that pages which they share count once for each; `pss` counts them once; `high_water` adds the processes' own "
        "high-water marks; `largest` is the largest process's, as the kernel keeps it. No page cache."
    )
    return Row("memory", "Peak memory of an import", contenders, bars, note)


def _importing(engine: Engine, label: str, archive: Callable[[], str]) -> Contender:
    def sample() -> Values:
        memory = Memory()
        done = engine.ground.execute(engine.import_command(archive(), "measured"), memory)
        found = {"rss": memory.rss, "pss": memory.pss, "high_water": memory.high_water, "largest": done.max_rss}
        return {name: [value / _MIB] for name, value in found.items()}

    return Contender(label, sample, prepare=engine.fresh, clear=engine.discard)


def _huge(ground: Ground) -> Contender:
    place = f"{ground.work}/huge"
    contender = _importing(Arstore(ground, "arstore-huge"), _HUGE, lambda: f"{place}/huge.tar")
    contender.set_up = lambda: huge_layer(f"{ground.fresh('huge')}/huge.tar", SIZE)
    contender.tear_down = lambda: ground.remove(place)
    return contender
