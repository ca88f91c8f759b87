"""The memory of twenty containers of one image that read all of it at once, compared with one container."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from benchmarks.engine import Arstore
from benchmarks.measure import Bar, Contender, Row, Values
from benchmarks.sampling import meminfo

if TYPE_CHECKING:
    from benchmarks.ground import Ground

_MIB = 1 << 20
_READ = 'find / -xdev -type f -exec cat {} + >/dev/null 2>&1; : >"/done/$1"; exec sleep 100000'
_COUNTS = {"1 container": 1, "20 containers": 20}
_FIELDS = {
    "cached": ("Cached", "Buffers"),
    "anonymous": ("AnonPages",),
    "slab": ("Slab",),
}


def row(ground: Ground) -> Row:
    """Each has its own store, whose trees were not read since the caches were dropped."""
    one, twenty = _COUNTS
    bar = Bar("memory of 20 containers reading all of app1", "memory", twenty, (one,), at_most=1.2, unit="MiB")
    note = (
        "MiB by which /proc/meminfo grew from just after the caches were dropped to when all containers have read all "
        "files and still live: `memory` is page cache (Cached, Buffers) and anonymous memory of all processes, which "
        "includes the launchers'; `slab` and `used` (MemTotal less MemFree) are recorded too."
    )
    contenders = [_reading(ground, label) for label in _COUNTS]
    return Row("sharing", "Memory of containers that share an image", contenders, [bar], note)


def _reading(ground: Ground, label: str) -> Contender:
    count = _COUNTS[label]
    engine = Arstore(ground, f"sharing-{count}")
    names = [f"reader{number}" for number in range(count)]
    done = f"{engine.home}/done"

    def set_up() -> None:
        engine.fresh()
        engine.import_(ground.archive("app1"), "app1")
        ground.execute(engine.command("run", "--runtime", "crun", "app1", "true"))

    def prepare() -> None:
        ground.remove(done)
        os.mkdir(done)
        ground.drop_caches()

    def sample() -> Values:
        before = meminfo()
        for name in names:
            words = ("--name", name, "--runtime", "crun", "-v", f"{done}:/done", "app1", "sh", "-c", _READ, "sh", name)
            ground.execute(engine.command("run", "--detach", *words))
        while len(os.listdir(done)) < count:
            time.sleep(0.1)
        return _growth(before, meminfo())

    def clear() -> None:
        ground.execute(engine.command("container", "rm", "--force", *names))

    return Contender(label, sample, set_up, prepare, clear, engine.discard)


def _growth(before: dict[str, int], after: dict[str, int]) -> Values:
    grown = {
        name: sum(after.get(field, 0) - before.get(field, 0) for field in fields) for name, fields in _FIELDS.items()
    }
    grown["used"] = (after["MemTotal"] - after["MemFree"]) - (before["MemTotal"] - before["MemFree"])
    grown["memory"] = grown["cached"] + grown["anonymous"]
    return {name: [value / _MIB] for name, value in grown.items()}
