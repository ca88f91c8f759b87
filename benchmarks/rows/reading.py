"""Reading every file of app1 through the mount, cold and warm, compared with podman's mount."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.engine import Arstore
from benchmarks.ground import PATH
from benchmarks.measure import Bar, Contender, Row, Values
from benchmarks.peers import Podman
from benchmarks.process import Command

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.engine import Engine
    from benchmarks.ground import Ground

_READ = 'find "$1" -xdev -type f -print0 | xargs -0 cat >/dev/null'
_PODMAN = "podman image mount"


def row(ground: Ground) -> Row:
    """Both stay mounted; each sample drops the caches, then reads all files twice."""
    arstore, podman = Arstore(ground, "arstore"), Podman(ground, "podman")

    def ours() -> str:
        arstore.import_(ground.archive("app1"), "app1")
        return ground.execute(arstore.command("mount", "app1")).stdout.strip()

    def theirs() -> str:
        name = podman.load(ground.archive("app1"))
        return ground.unseen(ground.execute(podman.command("image", "mount", name)).stdout.strip())

    bars = [
        Bar(f"read every file of app1, {state}", state, against=(_PODMAN,), at_least=1) for state in ("cold", "warm")
    ]
    note = "Seconds of find and cat. Cold: page cache, entries and inodes were dropped before. Warm: right after that."
    contenders = [_reading(ground, arstore, "arstore", ours), _reading(ground, podman, _PODMAN, theirs)]
    return Row("read-app1", "Reading every file of app1", contenders, bars, note)


def _reading(ground: Ground, engine: Engine, label: str, mounted: Callable[[], str]) -> Contender:
    place = ""

    def set_up() -> None:
        nonlocal place
        engine.fresh()
        place = mounted()

    def sample() -> Values:
        command = Command(("sh", "-c", _READ, "sh", place), {"PATH": PATH})
        ground.drop_caches()
        cold = ground.execute(command).seconds
        return {"cold": [cold], "warm": [ground.execute(command).seconds]}

    return Contender(label, sample, set_up, tear_down=engine.discard)
