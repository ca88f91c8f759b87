"""Bytes through a container's standard input and output, from a pipe and to one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.engine import Arstore
from benchmarks.measure import Bar, Contender, Row, Values
from benchmarks.peers import Podman
from benchmarks.process import Command

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.engine import Engine
    from benchmarks.ground import Ground

_SIZE = 300 << 20
_MAKE, _TAKE = f"head -c {_SIZE} /dev/zero", "cat >/dev/null"
_REPEATS = 3


def written(ground: Ground) -> Row:
    """A container writes 300 MiB."""
    return _row(ground, "stream-out", "Output of a container", ("sh", "-c", _MAKE), f'"$@" | {_TAKE}')


def read(ground: Ground) -> Row:
    """A container reads 300 MiB."""
    return _row(ground, "stream-in", "Input of a container", ("sh", "-c", _TAKE), f'{_MAKE} | "$@"')


def _row(ground: Ground, name: str, title: str, inside: tuple[str, ...], outside: str) -> Row:
    """Run *inside* in base; *outside* is a shell's line with the whole command as `"$@"`."""
    arstore, podman = Arstore(ground, "arstore"), Podman(ground, "podman")
    podman.label = "podman"

    def import_() -> str:
        arstore.import_(ground.archive("base"), "base")
        return "base"

    def run(command: Command) -> float:
        words = ("sh", "-c", outside, "sh", *command.argv)
        return ground.execute(Command(words, command.env, command.root)).seconds

    contenders = [
        _contender(arstore, import_, lambda image: run(arstore.run_command(image, *inside, options=("-i",)))),
        _contender(
            podman,
            lambda: podman.load(ground.archive("base")),
            lambda image: run(podman.run_command(image, *inside, options=("-i",))),
        ),
    ]
    bar = Bar(f"{title}, 300 MiB", against=("podman",), at_least=0.8)
    note = f"Seconds of a whole `run --rm -i` with crun, {_REPEATS} a round; the other end of the pipe is the host's."
    return Row(name, title, contenders, [bar], note)


def _contender(engine: Engine, load: Callable[[], str], once: Callable[[str], float]) -> Contender:
    image = ""

    def set_up() -> None:
        nonlocal image
        engine.fresh()
        image = load()
        once(image)

    def sample() -> Values:
        return {"seconds": [once(image) for _ in range(_REPEATS)]}

    def prepare() -> None:
        engine.ground.settle()

    return Contender(engine.label, sample, set_up, prepare, tear_down=engine.discard)
