"""The main job: `load` of a pipeline made of app1, compared with `podman load` and `podman run`."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from benchmarks.archives import pipeline_of
from benchmarks.engine import Arstore
from benchmarks.measure import Bar, Contender, Row, Values
from benchmarks.peers import Podman

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.engine import Engine
    from benchmarks.ground import Ground

_PODMAN = "podman load, run"


def row(ground: Ground) -> Row:
    """The pipeline's command is `true`, so that only the work around it is measured."""
    arstore, podman = Arstore(ground, "arstore"), Podman(ground, "podman")

    def load() -> Values:
        command = arstore.command("load", "--runtime", "crun", "--input", f"{_place(ground, arstore)}/pipeline.tar")
        return {"seconds": [ground.execute(command).seconds]}

    def load_and_run() -> Values:
        archive = ground.seen(f"{_place(ground, podman)}/pipeline.tar")
        loading = ground.execute(podman.command("load", "--quiet", "--input", archive))
        running = ground.execute(podman.run_command(podman.loaded(loading)))
        return {"seconds": [loading.seconds + running.seconds], "load": [loading.seconds], "run": [running.seconds]}

    contenders = [_contender(ground, arstore, "arstore", load), _contender(ground, podman, _PODMAN, load_and_run)]
    bar = Bar("load of a pipeline made of app1", against=(_PODMAN,), at_least=7)
    note = (
        "app1 with the command `true`, into empty stores, both with crun and without a network. arstore also tries out "
        "the runtime, as it does once after each boot."
    )
    return Row("load-app1", "Load of a pipeline made of app1", contenders, [bar], note)


def _contender(ground: Ground, engine: Engine, label: str, sample: Callable[[], Values]) -> Contender:
    place = _place(ground, engine)

    def set_up() -> None:
        engine.require()
        ground.fresh(os.path.basename(place))
        pipeline_of(ground.archive("app1"), f"{place}/pipeline.tar", "pipeline", ["true"])

    def prepare() -> None:
        engine.fresh()
        ground.warm(f"{place}/pipeline.tar")
        ground.settle()

    return Contender(label, sample, set_up, prepare, engine.discard, lambda: ground.remove(place))


def _place(ground: Ground, engine: Engine) -> str:
    return f"{ground.work}/pipeline-{engine.tag}"
