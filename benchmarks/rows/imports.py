"""Importing an archive into an empty store: app1 (in both tree formats) and base; peers and the floor too."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.engine import Arstore, Floor
from benchmarks.measure import Bar, Row
from benchmarks.peers import Containerd, Podman, Skopeo, Umoci

if TYPE_CHECKING:
    from benchmarks.engine import Engine
    from benchmarks.ground import Ground

_NOTE = (
    "Seconds until the command has ended, the archive being in the page cache and the store empty. umoci unpacks a "
    "layout that was made before; containerd's daemon is started before. What is still to be written when the command "
    "ends is recorded as `sync`, and does not count."
)
_PEERS = (Podman, Skopeo, Umoci, Containerd)


def app1(ground: Ground) -> Row:
    """app1: 66,000 files in five layers."""
    directory = Arstore(ground, "directory", "directory")
    bars = [
        *_faster("import app1", 10),
        Bar("import app1, against the floor", against=("floor",), at_most=1.5),
        *_faster("import app1 in the directory form", 4, directory.label),
    ]
    return _row(ground, "app1", [directory], bars)


def base(ground: Ground) -> Row:
    """base: 8,700 files in one layer."""
    bars = [*_faster("import base", 5), Bar("import base, against the floor", against=("floor",), at_most=1.6)]
    return _row(ground, "base", [], bars)


def docker(ground: Ground) -> Row:
    """app1 as `docker save` writes it: its layers are not compressed."""
    arstore, floor, podman = Arstore(ground, "arstore"), Floor(ground, "floor", sync=True), Podman(ground, "podman")
    bars = [
        Bar("import app1.docker, against podman load", against=(podman.label,), at_least=6),
        Bar("import app1.docker, against the floor", against=(floor.label,), at_most=1.6),
    ]
    contenders = [one.importing("app1.docker", "app1") for one in (arstore, floor, podman)]
    note = f"{_NOTE} The floor reads, hashes and writes each layer once, and syncs it once (fdatasync)."
    return Row("import-docker", "Import of app1 as a docker-archive", contenders, bars, note)


def _faster(what: str, factor: float, subject: str = "arstore") -> list[Bar]:
    return [
        Bar(f"{what}, against {peer.label}", subject=subject, against=(peer.label,), at_least=factor) for peer in _PEERS
    ]


def _row(ground: Ground, name: str, more: list[Engine], bars: list[Bar]) -> Row:
    engines: list[Engine] = [Arstore(ground, "arstore"), *more, Floor(ground, "floor")]
    engines += [peer(ground, peer.program) for peer in _PEERS]
    return Row(f"import-{name}", f"Import of {name}", [one.importing(name, name) for one in engines], bars, _NOTE)
