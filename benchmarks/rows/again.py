"""Importing existing content, in whole or in part: app1 again, app2 after app1, rb3 after app1."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.engine import Arstore, Floor
from benchmarks.measure import Bar, Contender, Row
from benchmarks.peers import Skopeo

if TYPE_CHECKING:
    from benchmarks.ground import Ground
    from benchmarks.process import Command

_FIRST = "app1"
_AGAIN = "arstore, nothing new"
_FLOOR = "floor of the new layers"


def again(ground: Ground) -> Row:
    """Import app1 when the store has it."""
    bar = Bar("import app1 again", against=(Skopeo.label,), at_least=1)
    contenders = [_again(ground, "arstore"), _skopeo(ground, _FIRST)]
    return Row("again-app1", "Import of app1 again", contenders, [bar], "Both stores have the whole image.")


def app2(ground: Ground) -> Row:
    """Import app2, which is app1 with one more layer."""
    return _after(ground, "app2")


def rb3(ground: Ground) -> Row:
    """Import rb3, which shares app1's lowest layers."""
    return _after(ground, "rb3")


def _after(ground: Ground, name: str) -> Row:
    bars = [
        Bar(f"import {name} after app1", against=(Skopeo.label,), at_least=1),
        Bar(f"import {name} after app1, against the new layers' cost", against=(_FLOOR, _AGAIN), at_most=1.5),
    ]
    note = "The new layers' cost: the floor for them, and an import that finds everything there."
    contenders = [_arstore(ground, name), _again(ground, _AGAIN), _floor(ground, name), _skopeo(ground, name)]
    return Row(f"import-{name}", f"Import of {name} after app1", contenders, bars, note)


def _second(ground: Ground, engine: Arstore | Skopeo, label: str, name: str, *clear: Command) -> Contender:
    """An import of *name* into a store that has app1; the commands *clear* undo it."""

    def set_up() -> None:
        engine.fresh()
        engine.import_(ground.archive(_FIRST), _FIRST)

    def clear_up() -> None:
        for command in clear:
            ground.execute(command)

    return Contender(
        label,
        lambda: engine.import_(ground.archive(name), name),
        set_up,
        prepare=lambda: engine.ready(name),
        clear=clear_up,
        tear_down=engine.discard,
    )


def _again(ground: Ground, label: str) -> Contender:
    return _second(ground, Arstore(ground, "again"), label, _FIRST)


def _arstore(ground: Ground, name: str) -> Contender:
    engine = Arstore(ground, "arstore")
    return _second(ground, engine, engine.label, name, engine.command("rm", name), engine.command("gc"))


def _skopeo(ground: Ground, name: str) -> Contender:
    engine = Skopeo(ground, "skopeo")
    return _second(ground, engine, engine.label, name, *([] if name == _FIRST else [engine.delete_command(name)]))


def _floor(ground: Ground, name: str) -> Contender:
    engine = Floor(ground, "floor")

    def prepare() -> None:
        engine.fresh()
        engine.ready(name, _FIRST)

    return Contender(
        _FLOOR,
        lambda: engine.run(engine.command(ground.archive(name), "--without", ground.archive(_FIRST))),
        prepare=prepare,
        clear=engine.discard,
    )
