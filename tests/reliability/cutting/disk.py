"""Disks whose power can be cut: files behind loop devices, and copies of them at one moment.

The file behind a loop device has everything that a file system has written to the device. Dirty pages, unwritten
metadata and an uncommitted journal are in memory only, and a power cut loses them. So a copy of the file, taken without
syncing, is the disk after the cut. The files are in a separate XFS and are copied by reflink, which waits for writes
under way and blocks others: the copy is the disk at one moment.
"""

from __future__ import annotations

import fcntl
import os
import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING

from support import programs

from arstore.linux.files.sync import syncfs

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_FICLONE = 0x40049409
MKFS = {"ext4": ("mkfs.ext4", "-q", "-F", "-E", "lazy_itable_init=0,nodiscard"), "xfs": ("mkfs.xfs", "-q", "-f", "-K")}
TOOLS = ("mkfs.ext4", "mkfs.xfs", "mount", "umount")


def call(*words: str | Path) -> str:
    """Run a program that must end with 0; return its output."""
    name = str(words[0])
    done = subprocess.run(
        [programs.program(name) or name, *map(str, words[1:])], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise OSError(f"{' '.join(map(str, words))}: {done.stderr.strip()}")
    return done.stdout


class Shelf:
    """The place of the disks: an XFS with reflinks, on a sparse file in *place*, mounted there."""

    def __init__(self, place: Path, size: str) -> None:
        self.path = place / "shelf"
        self._file = place / "shelf.img"
        self.path.mkdir()
        call("truncate", "-s", size, self._file)
        call("mkfs.xfs", "-q", "-f", "-K", self._file)
        call("mount", "-o", "loop,discard", self._file, self.path)

    def close(self) -> None:
        """Unmount it, and free its space."""
        call("umount", "--lazy", self.path)
        self._file.unlink()

    def new(self, name: str, kind: str, size: str, *options: str) -> Path:
        """Make a disk with an empty file system of this kind."""
        path = self.path / name
        path.unlink(missing_ok=True)
        call("truncate", "-s", size, path)
        call(*MKFS[kind], *options, path)
        return path

    def copy(self, disk: Path, name: str) -> Path:
        """Copy the disk as it is at this moment."""
        path = self.path / name
        path.unlink(missing_ok=True)
        source = os.open(disk, os.O_RDONLY | os.O_CLOEXEC)
        target = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            fcntl.ioctl(target, _FICLONE, source)
        finally:
            os.close(source)
            os.close(target)
        return path


@contextmanager
def shelf(place: Path, size: str = "12G") -> Iterator[Shelf]:
    """A shelf in *place* for the length of the context."""
    made = Shelf(place, size)
    try:
        yield made
    finally:
        made.close()


def mount(disk: Path, target: str | Path, options: str = "") -> None:
    """Mount *disk*, replaying its journal if needed; raises OSError if that fails."""
    call("mount", "-o", ",".join(filter(None, ("loop", options))), disk, target)


def sync_all(path: Path) -> None:
    """Call syncfs(2) on the file system of *path*: sync(2) would sync the disks of other processes too."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        syncfs(fd)
    finally:
        os.close(fd)
