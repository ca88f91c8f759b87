"""`find` and `du --duplicates` in a large store: time with a cold or warm page cache, memory, and the cost at imports.

The store has *--images* images with ten own layers each, as for `scale`, and its index of contents has *--names* names:
each layer has names and contents that only it has, and one name and one content are in many layers. *--cold* drops the
host's page cache before each command, as after a reboot; it slows the whole host down. *--archive* names an image
archive: its import is measured with and without digests of files. On a machine with other load, CPU seconds mean more
than the clock. *--on* and *--keep* are as for `scale`.
"""

from __future__ import annotations

import hashlib
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from support.largestore import Shape, fill

from arstore.maintenance.find.query import parse
from arstore.maintenance.find.scan import paths_matching
from arstore.store.contents.segment import tree_id
from arstore.store.contents.shelf import Shelf
from arstore.store.store import Store
from arstore.trees.contents.file_digests import FileDigests
from arstore.trees.contents.page import pages
from arstore.trees.contents.row import DIRECTORY, FILE, SHA256, Row
from reliability.figures import Figure, parser, report

if TYPE_CHECKING:
    from collections.abc import Iterator

_BATCH = 2000
_SECONDS, _MEGABYTES, _MICROSECONDS, _SHARE = 2.0, 300, 1.0, 0.10
_COMMON = "usr/lib/common/module.py"
_ONE = "usr/lib/project-7/package_3/module_3.cpython-311.pyc"
_PATTERNS = ("*project-7*/*_3.*", "module_3?.*", "*s*_*1*.pyc", "/usr/**/package_[13]/*_2.*")


class _Known(FileDigests):
    """Digests that are computed from inode numbers, in place of content."""

    def of(self, inode: int, size: int) -> tuple[int, bytes]:
        return SHA256, _digest(inode)[:16]


class _Used(NamedTuple):
    seconds: float
    cpu: float
    megabytes: float


def main(words: list[str]) -> int:
    """Make the store and measure."""
    options = parser("finding", __doc__)
    options.add_argument("--images", type=int, default=10_000, help="number of images (10000)")
    options.add_argument("--names", type=int, default=10_000_000, help="number of names in all layers (10000000)")
    options.add_argument("--rounds", type=int, default=3, help="samples of each command (3)")
    options.add_argument("--cold", action="store_true", help="drop the page cache before each command")
    options.add_argument("--archive", type=Path, help="also measure the import of this archive")
    options.add_argument("--on", type=Path, help="where to make the store (the temporary directory)")
    options.add_argument("--keep", action="store_true", help="leave the store, and use one that was left")
    asked = options.parse_args(words)
    place = asked.on / "finding" if asked.keep and asked.on else Path(tempfile.mkdtemp(prefix="finding.", dir=asked.on))
    try:
        if not (place / "root").exists():
            _make(place, Shape(asked.images), asked.names)
        layers = Shape(asked.images).layers
        figures = [Figure("the store", f"{asked.images} images, {layers} layers, {_names(place)} names")]
        for what, trial, most in _trials():
            figures.append(_measure(place, what, trial, most, asked.rounds, asked.cold))
        figures += _patterns(place)
        if asked.archive:
            figures += _imports(place, asked.archive, asked.rounds)
    finally:
        if not asked.keep:
            shutil.rmtree(place)
    return report("finding", figures, as_json=asked.json)


def _trials() -> list[tuple[str, tuple[str, ...], float | None]]:
    """Each command with its name, and the bar in seconds if it has one."""
    return [
        ("find PATH, in one layer", ("find", f"/{_ONE}"), _SECONDS),
        ("find PATH, in a tenth of the layers", ("find", f"/{_COMMON}"), _SECONDS),
        ("find DIGEST, in one layer", ("find", f"sha256:{_digest(7 * 1_000_000 + 5).hex()}"), _SECONDS),
        ("find DIGEST, of nothing", ("find", f"sha256:{'0' * 64}"), _SECONDS),
        ("find PATTERN", ("find", "*project-77?/*_3.*"), None),
        ("du --duplicates", ("du", "--duplicates"), None),
    ]


# --- the store ------------------------------------------------------------------------------------------------------


def _digest(inode: int) -> bytes:
    return hashlib.sha256(b"%d" % inode).digest()


def _rows(layer: int, count: int) -> Iterator[Row]:
    """Names of a layer, about 60 bytes each."""
    yield Row(b"", DIRECTORY, 0, 0)
    for directory in (b"usr", b"usr/lib", b"usr/lib/project-%d" % layer):
        yield Row(directory, DIRECTORY, 0, 0)
    if layer % 10 == 0:
        yield Row(_COMMON.encode(), FILE, 1000, 1)
    for number in range(count - 5):
        path = b"usr/lib/project-%d/package_%d/module_%d.cpython-311.pyc" % (layer, number % 7, number)
        yield Row(path, FILE, 1000 + number, layer * 1_000_000 + number + 2 if number else 1)


def _make(place: Path, shape: Shape, names: int) -> None:
    place.mkdir(parents=True, exist_ok=True)
    with Store(str(place / "root"), str(place / "run")) as store:
        fill(store, shape, place)
        with store.graph.read() as snapshot:
            keys = [key for key, record in snapshot.trees() if not record.members]
        shelf = Shelf(store.directories.contents)
        each = max(names // len(keys), 6)
        for start in range(0, len(keys), _BATCH):
            numbered = enumerate(keys[start : start + _BATCH], start)
            shelf.put([(tree_id(key), list(pages(_rows(at, each), _Known(), frozenset()))) for at, key in numbered])


def _names(place: Path) -> int:
    with Shelf(f"{place}/root/graph/contents").opened() as index:
        return sum(segment.row_starts[-1] for segment in index.segments)


# --- figures --------------------------------------------------------------------------------------------------------


def _run(place: Path, *words: str) -> _Used:
    """Run a command, and return what it took."""
    command = [sys.executable, "-m", "arstore", "--root", f"{place}/root", "--runroot", f"{place}/run", *words]
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    return _Used(time.perf_counter() - start, used.ru_utime + used.ru_stime, used.ru_maxrss / 1000)


def _measure(place: Path, what: str, words: tuple[str, ...], most: float | None, rounds: int, cold: bool) -> Figure:
    samples = []
    for _ in range(rounds):
        if cold:
            os.sync()
            Path("/proc/sys/vm/drop_caches").write_text("3\n")
        samples.append(_run(place, *words))
    median = statistics.median(one.seconds for one in samples)
    memory = max(one.megabytes for one in samples)
    cpu = min(one.cpu for one in samples)
    shown = f"{'cold' if cold else 'warm'} {median:.2f} s, {cpu:.2f} s of processors, {memory:.0f} MB"
    bar = f"<= {_MEGABYTES} MB" if most is None else f"<= {most:g} s, {_MEGABYTES} MB"
    return Figure(what, shown, bar, (most is None or median <= most) and memory <= _MEGABYTES)


def _patterns(place: Path) -> list[Figure]:
    """Measure the scan for patterns alone, for each name."""
    found = []
    with Shelf(f"{place}/root/graph/contents").opened() as index:
        count = sum(segment.row_starts[-1] for segment in index.segments)
        for pattern in _PATTERNS:
            query = parse(pattern)
            start = time.process_time()
            paths_matching(index, query, index.trees.keys(), count)  # type: ignore[arg-type] # these are patterns
            each = (time.process_time() - start) * 1e6 / count
            bar = f"<= {_MICROSECONDS:g} us"
            found.append(Figure(f"a name compared with {pattern}", f"{each:.2f} us", bar, each <= _MICROSECONDS))
    return found


def _imports(place: Path, archive: Path, rounds: int) -> list[Figure]:
    """Measure the processor time of an import with and without digests, in turns."""
    used: dict[str, list[float]] = {"off": [], "auto": [], "sha256": []}
    for number in range(rounds):
        for mode in list(used)[:: -1 if number % 2 else 1]:
            with tempfile.TemporaryDirectory(prefix="finding.", dir=place.parent) as fresh:
                before = resource.getrusage(resource.RUSAGE_CHILDREN)
                _run(Path(fresh), "-q", "import", "--file-digests", mode, str(archive))
                after = resource.getrusage(resource.RUSAGE_CHILDREN)
            used[mode].append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    least = {mode: min(some) for mode, some in used.items()}
    figures = [Figure("import without digests", f"{least['off']:.2f} s of processors")]
    for mode in ("auto", "sha256"):
        more = least[mode] / least["off"] - 1
        bar, good = (f"<= {_SHARE:.0%}", more <= _SHARE) if mode == "auto" else ("", True)
        figures.append(Figure(f"import, {mode}", f"{least[mode]:.2f} s, {more:+.1%}", bar, good))
    return figures
