"""Images for stores whose power is cut, as archives that every tool reads.

They are small enough that hundreds of cuts take minutes, and cover the cases that differ: many small files, of which a
power cut loses some; files of a megabyte; layers that images share; a stack of small layers, which are mounted as one;
layers that need others below them; and layers that are not compressed, which are blob and tree in one file.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from support import images, programs
from support.runnable import write_runnable

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

NAMES = ("many", "more", "stack", "large", "implied", "example", "plain")
ALL = (*NAMES, "box", "pipeline")
"""With the images that only arstore gets, because they run."""
HUGE = "huge"
"""An image with a layer of 80 MiB, more than a kernel writes back by itself in the time that an import takes."""


def write_archives(place: Path, names: Collection[str] = ALL) -> dict[str, Path]:
    """Write an OCI archive for each name, with the image NAME:1; and `box` and `pipeline` if containers can run.


    `HUGE` is written only if it is among *names*.
    """
    bottom = [images.layer([images.directory("./"), *_files(f"part{n}", 120, 6000, n)]) for n in range(2)]
    small = [images.layer([images.directory("./"), *_files(f"small{n}", 3, 2000, 50 + n)]) for n in range(10)]
    layers = {
        "many": [*bottom, images.layer([images.directory("./"), *_files("own", 80, 9000, 10)])],
        "more": [*bottom, images.layer([images.directory("./"), *_files("other", 60, 30000, 20)])],
        "stack": [bottom[0], *small],
        "large": [images.layer([images.directory("./"), *_files("large", 3, 1 << 20, 30)]), small[0]],
        # Of one file each; two of them have the trees of compressed layers.
        "plain": [images.layer(one.tar, "none") for one in (*bottom, *small[:2])],
        "implied": images.implied_layers(),
        "example": images.example_layers(),
    }
    if HUGE in names:
        layers[HUGE] = [images.layer([images.directory("./"), *_files("huge", 4, 40 << 20, 60)], "none"), small[0]]
    plain = {
        name: images.write_oci_archive(place / f"{name}.tar", images.image(*found, names=[f"{name}:1"]))
        for name, found in layers.items()
    }
    return {**plain, **(write_runnable(place) if programs.runtime()[0] else {})}


def _files(directory: str, count: int, size: int, seed: int) -> list[images.Member]:
    chance = random.Random(seed)
    found = [images.directory(directory)]
    found += [images.directory(f"{directory}/{n}") for n in range(count // 20 + 1)]
    for number in range(count):
        content = chance.randbytes(chance.randint(size // 2, size))
        found.append(images.file(f"{directory}/{number // 20}/{number}", content))
    return found
