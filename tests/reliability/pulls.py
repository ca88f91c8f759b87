"""Pulls that are killed at random bytes and repeated: the bytes that are fetched twice, and the files that are left.

The tests' registry, on loopback, counts the bytes of layers as it sends them; bytes in the kernel's send buffer, which
is kept small, count as sent. At a random byte the pull is killed with SIGKILL, only its main process; its children end
with it. Then it is repeated in the same store. Both together may get at most the size of the layers, and one chunk for
each layer that was on its way at the kill: requested, and not wholly in the store. Afterwards a deep check must be
clean, the image must be there, and `ingest/` must be empty.
*--kills* is the number of kills, *--seed* selects the bytes, *--size* is the size of the largest image in MiB.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, NamedTuple

from support import images
from support import registry as registries
from support.cli import Arstore

from reliability.figures import Figure, parser, report

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.images import Picture
    from support.registry import Logged, Registry

CHUNK = 1 << 20
"""Bytes that may be fetched twice of each layer that was on its way."""
_SEND_BUFFER = 64 << 10
_INSECURE = "--tls-verify=false"
_WAIT = 60.0


class Kill(NamedTuple):
    """Result of one kill: bytes sent before and after, of so many; layers that were on their way."""

    image: str
    place: int
    before: int
    after: int
    total: int
    open: int
    faults: tuple[str, ...]

    @property
    def twice(self) -> int:
        """Bytes that were sent twice."""
        return self.before + self.after - self.total


class Counter:
    """Counts the bytes of layers that the registry sends, and calls *then* once, before the byte *place* goes out."""

    def __init__(self, layers: dict[str, int]) -> None:
        self._layers = layers
        self._lock = threading.Lock()
        self._asked: set[str] = set()
        self._place = -1
        self._then: Callable[[], object] = lambda: None
        self.total = 0

    @property
    def asked(self) -> dict[str, int]:
        """The sizes of the requested layers, by digest."""
        return {digest: self._layers[digest] for digest in self._asked}

    def begin(self, place: int = -1, then: Callable[[], object] = lambda: None) -> None:
        """Count from 0."""
        with self._lock:
            self._asked, self.total, self._place, self._then = set(), 0, place, then

    def __call__(self, entry: Logged, count: int) -> None:
        """See Registry.sending."""
        digest = entry.path.rpartition("/")[2]
        if digest not in self._layers or entry.method != "GET":
            return
        with self._lock:
            self._asked.add(digest)
            self.total += count
            is_time = 0 <= self._place <= self.total
            if is_time:
                self._place = -1
        if is_time:
            self._then()


def pictures(size: int, seed: int) -> dict[str, Picture]:
    """Images, the largest of about *size* MiB: one layer, several, and many, of incompressible bytes."""
    noise = random.Random(seed)

    def layer(mebibytes: float, compression: str = "gzip") -> images.Layer:
        count = int(mebibytes * 4) or 1
        members = [
            images.file(f"f{noise.random()}", noise.randbytes(int(mebibytes * CHUNK / count))) for _ in range(count)
        ]
        return images.layer(members, compression)

    several = [layer(size * part, kind) for part, kind in ((0.4, "gzip"), (0.3, "none"), (0.2, "zstd"), (0.1, "gzip"))]
    many = [layer(size * noise.random() / 12, "none" if number % 3 else "gzip") for number in range(20)]
    return {
        "one": images.image(layer(size)),
        "several": images.image(*several),
        "many": images.image(*many),
    }


def try_kill(server: Registry, counter: Counter, name: str, picture: Picture, place: int, directory: Path) -> Kill:
    """Kill a pull of *picture*, called *name*, before the byte *place* of its layers is sent, and repeat it."""
    store = Arstore(directory / "root", directory / "run")
    words = ("pull", _INSECURE, f"{server.host}/{name}:1")
    victims: list[int] = []
    counter.begin(place, lambda: os.kill(victims[0], signal.SIGKILL))
    process = subprocess.Popen(
        store.words(*words), env=store.environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    victims.append(process.pid)
    status = process.wait(_WAIT)
    _wait_for_silence(server)
    before = counter.total
    stored = {path.name.split("-")[2]: path.stat().st_size for path in (store.root / "ingest").glob("*/fetched-*")}
    was_open = sum(stored.get(digest.partition(":")[2], 0) < size for digest, size in counter.asked.items())
    counter.begin()
    again = store.run(*words)
    faults = []
    if status != -signal.SIGKILL:
        faults.append(f"ended with {status} before it was killed")
    if again.status:
        faults.append(f"given again, ended with {again.status}: {again.err.strip()}")
    check = store.run("check", "--json")
    if check.status or check.json["findings"]:
        faults.append(f"a deep check: {check.text.strip()}")
    listed = store.run("images").text
    if picture.digest.partition(":")[2][:12] not in listed:
        faults.append(f"the image is not listed: {listed.strip()}")
    left = sorted(path.name for path in (store.root / "ingest").rglob("*") if path.name != "partial")
    if left:
        faults.append(f"left in ingest/: {', '.join(left)}")
    total = sum(len(blob) for blob in {layer.digest: layer.blob for layer in picture.layers}.values())
    return Kill(name, place, before, counter.total, total, was_open, tuple(faults))


def _wait_for_silence(server: Registry) -> None:
    """Wait until no request is being answered any more, so that everything sent has been counted."""
    end = time.monotonic() + _WAIT
    while server.answering and time.monotonic() < end:
        time.sleep(0.01)


def main(words: list[str]) -> int:
    """Run the exercise; return the exit status, 0 only if every bar is met."""
    options = parser("pulls", __doc__)
    options.add_argument("--kills", type=int, default=50, help="number of kills (50)")
    options.add_argument("--seed", type=int, default=random.randrange(10**6), help="seed of the places of the kills")
    options.add_argument("--size", type=int, default=48, help="size of the largest image, in MiB (48)")
    options.add_argument("--on", default=None, metavar="DIRECTORY", help="where to make the stores")
    chosen = options.parse_args(words)
    kills = run(chosen.kills, chosen.seed, chosen.size, chosen.on)
    for kill in kills:
        if kill.faults or kill.twice > kill.open * CHUNK:
            print(kill, file=sys.stderr)
    return report("pulls", figures(kills, chosen.seed), as_json=chosen.json)


def run(count: int, seed: int, size: int, on: str | None = None) -> list[Kill]:
    """Kill *count* pulls, of each image in turn."""
    made = pictures(size, seed)
    noise = random.Random(seed)
    kills = []
    with registries.served() as server, tempfile.TemporaryDirectory(dir=on) as directory:
        server.send_buffer = _SEND_BUFFER
        for name, picture in made.items():
            server.put_image(name, "1", picture)
        counter = Counter({layer.digest: len(layer.blob) for one in made.values() for layer in one.layers})
        server.sending = counter
        for number in range(count):
            name = list(made)[number % len(made)]
            total = sum(len(layer.blob) for layer in made[name].layers)
            place = noise.randrange(1, total)
            kills.append(try_kill(server, counter, name, made[name], place, Path(directory) / str(number)))
    return kills


def figures(kills: list[Kill], seed: int) -> list[Figure]:
    """The figures of *kills*."""
    over = [kill for kill in kills if kill.twice > kill.open * CHUNK]
    each = [kill.twice / kill.open for kill in kills if kill.open]
    faults = sum(bool(kill.faults) for kill in kills)
    missing = [kill.total - kill.before for kill in kills]
    return [
        Figure("pulls killed, seed", f"{len(kills)}, {seed}"),
        Figure("MiB missing after the kill, in all; fetched then", f"{_mib(sum(missing))}; {_mib(_after(kills))}"),
        Figure("KiB fetched twice a layer on its way, median and most", f"{_kib(median(each))}, {_kib(max(each))}"),
        Figure("kills after which more than 1 MiB a layer was fetched twice", str(len(over)), "0", not over),
        Figure("kills with any other fault", str(faults), "0", not faults),
    ]


def _after(kills: list[Kill]) -> int:
    return sum(kill.after for kill in kills)


def _mib(count: float) -> str:
    return f"{count / CHUNK:.1f}"


def _kib(count: float) -> str:
    return f"{count / 1024:.0f}"
