"""The size of stores: of a docker-archive, and of three related images with and without their trees."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from benchmarks.engine import Arstore, Engine
from benchmarks.measure import Bar, Contender, Row, Values
from benchmarks.peers import Podman
from benchmarks.sampling import allocated

if TYPE_CHECKING:
    from benchmarks.ground import Ground

_MIB = 1 << 20
_NOTE = "Allocated blocks of the store's directory in MiB, as du counts them, after everything is synced."
_RELATED = ("app1", "app2", "rb3")
_TRIMMED = "arstore, trimmed"


def docker(ground: Ground) -> Row:
    """The store after an import of app1 as a docker-archive, compared with the archive itself."""
    arstore, podman, archive = Arstore(ground, "arstore"), Podman(ground, "podman"), "app1.docker"
    contenders = [
        _holding(ground, arstore.label, arstore, arstore.root, archive),
        Contender("the archive", lambda: {"stored": [os.path.getsize(ground.archive(archive)) / _MIB]}),
        _holding(ground, podman.label, podman, f"{podman.home}/root", archive),
    ]
    bar = Bar(
        "stored after the import of app1.docker, against the archive", "stored", against=("the archive",), at_most=1.01
    )
    return Row("stored-docker", "Size of a store with app1 from a docker-archive", contenders, [bar], _NOTE, rounds=1)


def related(ground: Ground) -> Row:
    """app1, app2 and rb3 in one store, which share layers."""
    arstore, trimmed, podman = Arstore(ground, "arstore"), Arstore(ground, "trimmed"), Podman(ground, "podman")
    contenders = [
        _holding(ground, arstore.label, arstore, arstore.root, *_RELATED),
        _holding(ground, _TRIMMED, trimmed, trimmed.root, *_RELATED, trim=True),
        _holding(ground, podman.label, podman, f"{podman.home}/root", *_RELATED),
    ]
    what = "stored: app1, app2 and rb3"
    bars = [
        Bar(f"{what}, against podman", "stored", against=(podman.label,), at_most=1.25),
        Bar(f"{what}, trimmed, against podman", "stored", _TRIMMED, (podman.label,), at_most=0.35),
    ]
    return Row("stored-related", "Size of a store with three related images", contenders, bars, _NOTE, rounds=1)


def _holding(ground: Ground, label: str, engine: Engine, root: str, *archives: str, trim: bool = False) -> Contender:
    """A store with all *archives*; with *trim*, without their trees."""

    def sample() -> Values:
        for archive in archives:
            ground.execute(engine.import_command(ground.archive(archive), archive.partition(".")[0]))
        if trim and isinstance(engine, Arstore):
            ground.execute(engine.command("trim"))
        ground.settle()
        return {"stored": [allocated(root) / _MIB]}

    return Contender(label, sample, prepare=engine.fresh, clear=engine.discard)
