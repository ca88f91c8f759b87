"""Index trees for tests: built from members or entries, mounted, listed, and checked by fsck.erofs."""

from __future__ import annotations

import functools
import io
import os
import re
import subprocess
import tempfile
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
from support import features, images, programs, treelist
from trees.tree_contract import Bytes, Tree, keep_tar

from arstore.tar.reader import TarReader
from arstore.trees.erofs.devices import device_files
from arstore.trees.erofs.form import ErofsFormat
from arstore.trees.erofs.mounting import mounted
from arstore.trees.forms import MERGED_INDEX

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from arstore.tar.entry import Entry

FORM = ErofsFormat()
INDEX, TAR = "layer.erofs", "layer.tar"
_OLDEST_FSCK = (1, 9)
"""The first release that knows blocks of 512 bytes, and does not crash on extra devices as 1.8.6 does."""


@functools.cache
def why_no_erofs() -> str:
    """Why an index that is a file cannot be mounted in the temporary directory; "" if it can."""
    if not programs.is_root():
        return "mounting needs root"
    answer = features.erofs_file(tempfile.gettempdir())
    return "" if answer else answer.reason


@functools.cache
def why_no_fsck() -> str:
    """Why fsck.erofs cannot be used here; "" if it can."""
    program = programs.program("fsck.erofs")
    if program is None:
        return "not installed: fsck.erofs (erofs-utils)"
    done = subprocess.run([program, "-V"], capture_output=True, text=True, check=False)
    version = re.search(r"(\d+)\.(\d+)", done.stdout + done.stderr)
    if version is None or (int(version[1]), int(version[2])) < _OLDEST_FSCK:
        return f"fsck.erofs {version[0] if version else ''} is too old for blocks of 512 bytes or a second device"
    return ""


mountable = pytest.mark.skipif(bool(why_no_erofs()), reason=why_no_erofs() or "can mount")
checkable = pytest.mark.skipif(bool(why_no_fsck()), reason=why_no_fsck() or "can check")


@contextmanager
def built(directory: Path, source: Iterable[images.Member] | bytes) -> Iterator[Tree]:
    """Build a tree in the new *directory*, of members or of the bytes of a tar."""
    data = source if isinstance(source, bytes) else images.tar(source)
    reader = TarReader(io.BytesIO(data))
    with of_entries(directory, ((entry, reader) for entry in reader), data) as tree:
        yield tree


@contextmanager
def of_entries(
    directory: Path, entries: Iterable[tuple[Entry, object]], tar: bytes = b"", length: int = 0
) -> Iterator[Tree]:
    """Build a tree in the new *directory*, of entries with their content, over *tar*, extended to *length* bytes."""
    directory.mkdir()
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    builder = FORM.builder(fd)
    try:
        keep_tar(FORM, fd, tar)
        os.truncate(directory / TAR, max(length, len(tar)))
        for entry, content in entries:
            builder.add(entry, content)
        needs, counted = builder.finish()
        yield Tree(FORM, fd, needs, counted)
    finally:
        builder.close()
        os.close(fd)


def bare(entries: Iterable[Entry]) -> Iterable[tuple[Entry, Bytes]]:
    """Entries with empty content."""
    return ((entry, Bytes()) for entry in entries)


@contextmanager
def seen(directory: Path) -> Iterator[str]:
    """The path of a detached mount of the tree in *directory*."""
    fd = mounted(str(directory))
    try:
        yield f"/proc/self/fd/{fd}"
    finally:
        os.close(fd)


def listing(directory: Path) -> treelist.Listing:
    """The listing of the tree in *directory*, through the kernel."""
    with seen(directory) as path:
        return treelist.listing(path + "/")


def fsck(directory: Path) -> None:
    """Fail if fsck.erofs finds anything in the tree in *directory*, merged or not."""
    program = programs.program("fsck.erofs") or ""
    if (directory / MERGED_INDEX).exists():
        with open(directory / MERGED_INDEX, "rb") as file:
            devices = [f"--device={directory / name}" for name in device_files(file.fileno(), str(directory))]
        command = [program, "--extract", *devices, str(directory / MERGED_INDEX)]
    else:
        command = [program, "--extract", f"--device={directory / TAR}", str(directory / INDEX)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "<E>" not in done.stderr, done.stderr
