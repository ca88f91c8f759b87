"""Measure `find` and `du --duplicates` on a large store: time after a reboot, time with a warm cache, and memory.

    tools/find_cost.py DIR [--images N] [--names N] [--cold]

DIR gets a store of N images (default 10,000) with ten own layers each, over a few bases, and an index of contents with N
names in all (default 10,000,000); an existing one is used again. --cold drops the host's page cache before each command,
which needs root. Prints a line for each command: seconds, and the largest process in MB.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

HERE = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(HERE), str(HERE / "tests")]

from support import largestore  # noqa: E402

from arstore.store.contents.segment import tree_id  # noqa: E402
from arstore.store.contents.shelf import Shelf  # noqa: E402
from arstore.store.store import Store  # noqa: E402
from arstore.trees.contents.file_digests import FileDigests  # noqa: E402
from arstore.trees.contents.page import pages  # noqa: E402
from arstore.trees.contents.row import DIRECTORY, FILE, Row  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Iterator

BATCH = 2000
COMMON = "usr/lib/common/module.py"


class Known(FileDigests):
    """Digests that are computed from inode numbers, in place of content."""

    def of(self, inode: int) -> tuple[int, bytes]:
        """Return one SHA-256 for each file."""
        return 0x40, digest(inode)[:16]


def digest(inode: int) -> bytes:
    """Return the SHA-256 of the file with this number."""
    return hashlib.sha256(b"%d" % inode).digest()


def rows(layer: int, count: int) -> Iterator[Row]:
    """Yield *count* names of a layer, about 60 bytes each; one is in every tenth layer, and one content in all."""
    yield Row(b"", DIRECTORY, 0, 0)
    for directory in (b"usr", b"usr/lib", b"usr/lib/project-%d" % layer):
        yield Row(directory, DIRECTORY, 0, 0)
    if layer % 10 == 0:
        yield Row(COMMON.encode(), FILE, 1000, 1)
    for number in range(count - 5):
        inode = layer * 1_000_000 + number + 2
        path = b"usr/lib/project-%d/package_%d/module_%d.cpython-311.pyc" % (layer, number % 7, number)
        yield Row(path, FILE, 1000 + number, inode if number else 1)


def fill(root: Path, images: int, names: int) -> None:
    """Make the store, and its index of contents."""
    root.mkdir(parents=True)
    with Store(str(root / "store"), str(root / "run")) as store:
        largestore.fill(store, largestore.Shape(images), root)
        with store.graph.read() as snapshot:
            keys = [key for key, record in snapshot.trees() if not record.members]
        shelf = Shelf(store.directories.contents)
        each = names // len(keys)
        for start in range(0, len(keys), BATCH):
            group = []
            for number, key in enumerate(keys[start : start + BATCH], start):
                group.append((tree_id(key), list(pages(rows(number, each), Known(), frozenset()))))
            shelf.put(group)


def measure(root: Path, label: str, words: list[str], cold: bool) -> None:
    """Run a command, and print its time and memory."""
    if cold:
        os.sync()
        Path("/proc/sys/vm/drop_caches").write_text("3\n")
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    start = time.monotonic()
    command = [sys.executable, "-m", "arstore", "--root", f"{root}/store", "--runroot", f"{root}/run", *words]
    done = subprocess.run(command, cwd=HERE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=True)
    seconds = time.monotonic() - start
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    lines = done.stdout.count(b"\n")
    print(f"{label:<28} {'cold' if cold else 'warm'} {seconds:6.2f} s, {cpu:5.2f} s CPU, {after.ru_maxrss / 1000:4.0f} MB "
          f"at most so far, {lines} lines")


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--names", type=int, default=10_000_000)
    parser.add_argument("--cold", action="store_true")
    options = parser.parse_args()
    if not (options.directory / "store/store.json").exists():
        fill(options.directory, options.images, options.names)
    one = "usr/lib/project-777/package_3/module_3.cpython-311.pyc"
    for label, words in {
        "find PATH, in one layer": ["find", f"/{one}"],
        "find PATH, in 10^4 layers": ["find", f"/{COMMON}"],
        "find DIGEST, in one layer": ["find", "sha256:" + digest(777 * 1_000_000 + 5).hex()],
        "find DIGEST, of an image": ["find", "sha256:" + "0" * 64],
        "find PATTERN, few": ["find", "*project-777/*_3.*"],
        "find PATTERN, a name": ["find", "module_3?.*"],
        "du --duplicates": ["du", "--duplicates"],
    }.items():
        measure(options.directory, label, words, options.cold)


if __name__ == "__main__":
    main()
