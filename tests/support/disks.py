"""File systems for tests, made for one test and unmounted at its end: on a file, in memory, or over others.

    with disks.mounted("btrfs", tmp_path / "disk") as place: ...

Where this machine cannot make one, the test is skipped with the reason.
"""

from __future__ import annotations

import subprocess
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

import pytest
from support import programs

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ON_DISK = {"ext4": 64, "xfs": 320, "btrfs": 128}
"""File systems that are made in a file, with its size in MiB."""
OVERLAYS = {
    # Upper and lower layer on one file system, and on two; the latter without inode numbers of the overlay.
    "overlay": "",
    "overlay-xino-off": ",xino=off",
}
KINDS = (*ON_DISK, "tmpfs", *OVERLAYS)
"""Kinds of file systems that a store can be on."""


def said(words: list[object]) -> str:
    """The stderr of a program that failed; "" if it did not fail."""
    done = subprocess.run(list(map(str, words)), capture_output=True, text=True, check=False)
    return (done.stderr.strip() or f"status {done.returncode}") if done.returncode else ""


def _or_skip(words: list[object]) -> None:
    if programs.program(str(words[0])) is None:
        pytest.skip(f"not installed: {words[0]}")
    if why := said([programs.program(str(words[0])), *words[1:]]):
        pytest.skip(f"cannot be done here: {' '.join(map(str, words[:3]))}: {why}")


@contextmanager
def attached(place: Path, *words: object) -> Iterator[Path]:
    """Make the directory *place* and run `mount` *words* on it."""
    place.mkdir(exist_ok=True)
    _or_skip(["mount", *words, place])
    try:
        yield place
    finally:
        subprocess.run(["umount", "--recursive", place], check=True)


@contextmanager
def mounted(kind: str, place: Path) -> Iterator[Path]:
    """A fresh file system of this *kind* (one of KINDS) at *place*."""
    with ExitStack() as stack:
        if kind in ON_DISK:
            image = place.with_name(f"{place.name}.image")
            formatted(kind, image)
            yield stack.enter_context(attached(place, "-o", "loop", image))
        elif kind == "tmpfs":
            yield stack.enter_context(attached(place, "-t", "tmpfs", "-o", "size=64m", "tmpfs"))
        else:
            lower = place.with_name(f"{place.name}.lower")
            lower.mkdir()
            yield stack.enter_context(overlaid(kind, lower, place))


@contextmanager
def overlaid(kind: str, lower: Path, place: Path) -> Iterator[Path]:
    """An overlay at *place* whose lower layer is *lower*, with an upper layer on the same file system or on another."""
    upper = place.with_name(f"{place.name}.upper")
    with ExitStack() as stack:
        if kind != "overlay":
            stack.enter_context(mounted("ext4", upper))
        for name in ("upper", "work"):
            (upper / name).mkdir(parents=True)
        options = f"lowerdir={lower},upperdir={upper}/upper,workdir={upper}/work{OVERLAYS[kind]}"
        yield stack.enter_context(attached(place, "-t", "overlay", "-o", options, "overlay"))


def formatted(kind: str, image: Path, *more: object) -> None:
    """Make a file system of this *kind* in the new file *image*; *more* for mkfs."""
    with image.open("wb") as file:
        file.truncate(ON_DISK[kind] << 20)
    _or_skip([f"mkfs.{kind}", "-q", *more, image])
