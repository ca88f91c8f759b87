"""Removing app1: `rm` and `gc`, compared with `podman rmi`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.engine import Arstore
from benchmarks.measure import Bar, Contender, Row, Values
from benchmarks.peers import Podman

if TYPE_CHECKING:
    from benchmarks.ground import Ground

_PODMAN = "podman rmi"


def row(ground: Ground) -> Row:
    """Remove from a store that has only app1, after all writes are on disk."""
    bar = Bar("rm of app1 and gc", against=(_PODMAN,), at_least=10)
    return Row("remove-app1", "Removal of app1", [_arstore(ground), _podman(ground)], [bar])


def _arstore(ground: Ground) -> Contender:
    engine = Arstore(ground, "arstore")

    def prepare() -> None:
        engine.fresh()
        engine.import_(ground.archive("app1"), "app1")

    def sample() -> Values:
        removing, collecting = (ground.execute(engine.command(*words)).seconds for words in (("rm", "app1"), ("gc",)))
        return {"seconds": [removing + collecting], "rm": [removing], "gc": [collecting]}

    return Contender(engine.label, sample, prepare=prepare, clear=engine.discard)


def _podman(ground: Ground) -> Contender:
    engine = Podman(ground, "podman")
    name = ""

    def prepare() -> None:
        nonlocal name
        engine.fresh()
        name = engine.load(ground.archive("app1"))
        ground.settle()

    def sample() -> Values:
        return {"seconds": [ground.execute(engine.command("rmi", name)).seconds]}

    return Contender(_PODMAN, sample, prepare=prepare, clear=engine.discard)
