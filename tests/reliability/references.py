"""References: the cost of each command that reads a store whose images name 200,000 layers.

Seven sources of some 30 KB have three images of 10,000 layers each, nearly as many as limits allow one source to name;
all but the lowest layer of an image are one layer of 1 KiB, repeated. So the store is small, and its graph is not. Each
command is a separate process; its CPU time and memory, with those of its children, are measured, and must not exceed
the allowed cost of an input of 1 MB. *--on* names a directory for the store, *--keep* leaves it there and uses one that
was left.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hostile.process import ended
from support import images
from support.programs import why_no_mounts

from reliability.figures import Figure, parser, report

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hostile.process import Ended

PROCESSOR = 10.0
"""CPU seconds that a command may take."""
MEMORY = 300_000_000
"""Bytes of memory that its processes together may take."""
TIMEOUT = 600.0
_DEPTH, _TOGETHER = 10_000, 3
_LAYER = images.layer([images.file("f")], "none")
_NAME = "box/{}:1"


def _put(key: str, value: Any, document: dict[str, Any]) -> None:
    document[key] = value


def image(number: int, depth: int) -> images.Picture:
    """An image of so many layers, all the same except the lowest."""
    own = images.layer([images.file(f"f{number}")], "none")
    diff_ids = [own.diff_id] + [_LAYER.diff_id] * (depth - 1)
    layers = [own.descriptor()] + [_LAYER.descriptor()] * (depth - 1)
    return images.image(
        own,
        names=[_NAME.format(number)],
        edit_config=partial(_put, "rootfs", {"type": "layers", "diff_ids": diff_ids}),
        edit_manifest=partial(_put, "layers", layers),
    )


def source(path: Path, numbers: range, depth: int) -> Path:
    """Write a compressed archive of these images to *path*."""
    some = [image(number, depth) for number in numbers]
    member = "blobs/" + _LAYER.digest.replace(":", "/")
    return images.write_archive(path, [*images.layout_files(*some), images.file(member, _LAYER.blob)], "gzip")


class _Store:
    """A store in *place*, and its figures."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.figures: list[Figure] = []

    def run(self, *words: str, status: int = 0) -> Ended:
        """Run a command to its end, and note its cost."""
        root, runroot = self.place / "root", self.place / "run"
        command = [sys.executable, "-m", "arstore", "--root", str(root), "--runroot", str(runroot), *words]
        done = ended(command, os.environ, TIMEOUT)
        memory = max(done.together, done.memory)
        shown = " ".join(words).replace(str(self.place), "")
        said = f"{done.processor:.1f} s of processors, {memory / 1e6:.0f} MB"
        if done.status != status or done.hung:
            said += f"; ended with {done.status}: {done.last}"
        met = done.status == status and done.processor <= PROCESSOR and memory <= MEMORY
        self.figures.append(Figure(shown, said, f"<= {PROCESSOR:.0f} s, {MEMORY // 10**6} MB", met))
        print(f"{shown}: {said}", file=sys.stderr)
        return done


def _words(place: Path) -> Iterator[tuple[str, ...]]:
    one, other = _NAME.format(1), _NAME.format(2)
    yield from (("images",), ("images", "--json"), ("layers",), ("layers", "--json"), ("inspect", one))
    yield from (("inspect", "--json", one), ("history", one), ("du",), ("du", "--json"), ("gc", "--dry-run"), ("gc",))
    yield from (("check", "--quick"), ("check",), ("check", "--repair"), ("tag", one, "box/x:1"), ("untag", "box/x:1"))
    yield from (("index", "create", "box/all:1", one), ("inspect", "box/all:1"), ("rm", "box/all:1"))
    yield from (("convert", "--tree", "directory", other), ("backup", str(place / "backup")))
    yield from (("backup", str(place / "backup")), ("save", "--output", str(place / "saved"), one))
    yield from (("mounts",), ("ps",))


def main(words: list[str]) -> int:
    """Make the store, run all commands, and print their costs."""
    options = parser("references", __doc__)
    options.add_argument("--images", type=int, default=20, help="number of images, three in each source (20)")
    options.add_argument("--depth", type=int, default=_DEPTH, help="layers of each image (10000)")
    options.add_argument("--on", type=Path, help="where to make the store (the temporary directory)")
    options.add_argument("--keep", action="store_true", help="leave the store, and use one that was left")
    asked = options.parse_args(words)
    place = asked.on / "references" if asked.keep and asked.on else Path(tempfile.mkdtemp(dir=asked.on))
    place.mkdir(parents=True, exist_ok=True)
    store = _Store(place)
    try:
        if not (place / "root").exists():
            for first in range(0, asked.images, _TOGETHER):
                path = source(
                    place / f"source-{first}", range(first, min(first + _TOGETHER, asked.images)), asked.depth
                )
                store.run("import", f"oci-archive:{path}")
        for one in _words(place):
            store.run(*one)
        if not why_no_mounts():
            store.run("mount", _NAME.format(1))
            store.run("umount", "--all")
            store.run("unpack", _NAME.format(1), str(place / "tree"))
            store.run("diff", _NAME.format(1), _NAME.format(3))
        store.run("rm", _NAME.format(0))
        store.run("rm", *(_NAME.format(number) for number in range(1, asked.images)))
        store.run("gc")
    finally:
        if not asked.keep:
            shutil.rmtree(place, ignore_errors=True)
    return report("references", store.figures, as_json=asked.json)
