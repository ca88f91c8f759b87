"""Short commands as processes, on a store that has only base: images, mount, tag, and run of `true`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.engine import Arstore
from benchmarks.measure import Bar, Contender, Row, Values
from benchmarks.peers import Podman

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from benchmarks.engine import Engine
    from benchmarks.ground import Ground
    from benchmarks.process import Command

    Step = Callable[[str], Command]
    """The command for the image of this name."""

_REPEATS = 10
_NOTE = f"Milliseconds from fork to the end of the process; {_REPEATS} of each a round."


def images(ground: Ground) -> Row:
    """`images`, compared with `podman images`."""
    arstore, podman = Arstore(ground, "arstore"), Podman(ground, "podman")
    contenders = [
        _arstore(arstore, lambda _: arstore.command("images")),
        _podman(podman, lambda _: podman.command("images")),
    ]
    return _row("images", "arstore images", contenders)


def mount(ground: Ground) -> Row:
    """`mount`, compared with `podman image mount`; unmounting does not count."""
    arstore, podman = Arstore(ground, "arstore"), Podman(ground, "podman")
    contenders = [
        _arstore(
            arstore,
            lambda name: arstore.command("mount", name),
            lambda _: arstore.command("umount", "--all"),
        ),
        _podman(
            podman,
            lambda name: podman.command("image", "mount", name),
            lambda name: podman.command("image", "umount", name),
        ),
    ]
    return _row("mount", "arstore mount", contenders)


def tag(ground: Ground) -> Row:
    """`tag`, compared with `podman tag`; untagging does not count."""
    arstore, podman = Arstore(ground, "arstore"), Podman(ground, "podman")
    contenders = [
        _arstore(
            arstore,
            lambda name: arstore.command("tag", name, "localhost/other"),
            lambda _: arstore.command("untag", "localhost/other"),
        ),
        _podman(
            podman,
            lambda name: podman.command("tag", name, "localhost/other"),
            lambda name: podman.command("untag", name, "localhost/other"),
        ),
    ]
    return _row("tag", "arstore tag", contenders)


def run(ground: Ground) -> Row:
    """`run --rm base true` through crun, without a network, compared with podman."""
    arstore, podman = Arstore(ground, "arstore"), Podman(ground, "podman")
    contenders = [
        _arstore(arstore, lambda name: arstore.run_command(name, "true")),
        _podman(podman, lambda name: podman.run_command(name, "true")),
    ]
    note = f"{_NOTE} Both with crun (each its own system's, see the versions), neither with a network."
    bar = Bar("run --rm base true, crun", "milliseconds", against=("podman",), at_least=1.7, unit="ms")
    return Row("run-base", "Run of true in base", contenders, [bar], note)


def _row(name: str, what: str, contenders: Sequence[Contender]) -> Row:
    bar = Bar(f"{what}, as a process", "milliseconds", against=("podman",), at_least=1, unit="ms")
    return Row(f"command-{name}", f"{what}, as a process", contenders, [bar], _NOTE)


def _arstore(engine: Arstore, command: Step, undo: Step | None = None) -> Contender:
    def load() -> str:
        engine.import_(engine.ground.archive("base"), "base")
        return "base"

    return _repeating(engine, load, command, undo)


def _podman(engine: Podman, command: Step, undo: Step | None = None) -> Contender:
    engine.label = "podman"
    return _repeating(engine, lambda: engine.load(engine.ground.archive("base")), command, undo)


def _repeating(engine: Engine, load: Callable[[], str], command: Step, undo: Step | None) -> Contender:
    name = ""

    def once() -> float:
        seconds = engine.ground.execute(command(name)).seconds
        if undo is not None:
            engine.ground.execute(undo(name))
        return seconds * 1000

    def set_up() -> None:
        nonlocal name
        engine.fresh()
        name = load()
        once()

    def sample() -> Values:
        return {"milliseconds": [once() for _ in range(_REPEATS)]}

    def prepare() -> None:
        engine.ground.settle()

    return Contender(engine.label, sample, set_up, prepare, tear_down=engine.discard)
