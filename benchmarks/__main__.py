"""The command line: measure the rows, and write results.json, results.md and results.svg.

Two processes: this one makes a work directory and starts the other in new namespaces. Everything is measured there, so
no mount and no process can be left behind. This one then removes the directory, however the other ended.
"""

from __future__ import annotations

import argparse
import compileall
import datetime
import fcntl
import glob
import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.ground import CHECKOUT, Ground, podman_groups, remove_groups
from benchmarks.machine import describe, versions
from benchmarks.measure import MeasurementError, Row, Series
from benchmarks.process import end_orphans
from benchmarks.report import Measured, Report
from benchmarks.rows import ROWS
from benchmarks.runner import measure

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_PREFIX = "arstore-benchmark-"
_INSIDE = "ARSTORE_BENCHMARK_WORK"


def parse(words: Sequence[str]) -> argparse.Namespace:
    """Return the options. Exits with status 2 if they are invalid."""
    parser = argparse.ArgumentParser(
        prog="benchmarks/run",
        description="Measure arstore, its peers and the floor in turns, on new stores. Needs root.",
        epilog="Rows: " + ", ".join(ROWS),
    )
    parser.add_argument("--on", metavar="DIR", help="a directory on the file system to measure on; some GB are needed")
    parser.add_argument("--images", metavar="DIR", help="directory with the archives, see tools/sample-images")
    parser.add_argument("--peers", metavar="DIR", help="a root directory with the peers, see tools/peers (default: /)")
    parser.add_argument("--rounds", metavar="N", type=int, default=3, help="samples of each contender (default 3)")
    parser.add_argument("--only", metavar="ROW,…", help="measure only these rows")
    parser.add_argument(
        "--timeout", metavar="S", type=float, default=600.0, help="time limit of a step in seconds (600)"
    )
    parser.add_argument("--output", metavar="DIR", default=".", help="where to write the results (default: here)")
    parser.add_argument("--list", action="store_true", help="list the rows and measure nothing")
    options = parser.parse_args(words)
    options.only = options.only.split(",") if options.only else list(ROWS)
    unknown = [name for name in options.only if name not in ROWS]
    if unknown:
        parser.error(f"no such row: {', '.join(unknown)}")
    if options.list:
        return options
    if not options.on or not options.images:
        parser.error("--on and --images are needed")
    for directory in filter(None, (options.on, options.images, options.peers)):
        if not os.path.isdir(directory):
            parser.error(f"{directory}: no such directory")
    if options.rounds < 1 or options.timeout <= 0:
        parser.error("--rounds and --timeout must be positive")
    return options


def main() -> int:
    """The command line."""
    options = parse(sys.argv[1:])
    if options.list:
        print("\n".join(ROWS))
        return 0
    work = os.environ.get(_INSIDE)
    if work:
        return inside(options, work)
    if os.geteuid() != 0:
        print("benchmarks: needs root, for mounts and to drop caches", file=sys.stderr)
        return 1
    # Installed programs are compiled too, so ignore PYTHONDONTWRITEBYTECODE.
    compileall.compile_dir(f"{CHECKOUT}/arstore", quiet=2)
    groups = podman_groups()
    try:
        with work_directory(options.on) as work:
            return _outside(work)
    finally:
        remove_groups(podman_groups() - groups)


@contextmanager
def work_directory(on: str) -> Iterator[str]:
    """Make a new directory in *on*, locked while it is used. Earlier ones that are not locked are removed first."""
    for left in glob.glob(f"{glob.escape(on)}/{_PREFIX}*"):
        with _locked(left) as free:
            if free:
                shutil.rmtree(left, ignore_errors=True)
    work = tempfile.mkdtemp(prefix=_PREFIX, dir=on)
    with _locked(work):
        try:
            yield os.path.realpath(work)
        finally:
            shutil.rmtree(work, ignore_errors=True)


@contextmanager
def _locked(directory: str) -> Iterator[bool]:
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield True
    except BlockingIOError:
        yield False
    finally:
        os.close(fd)


def _outside(work: str) -> int:
    command = ["unshare", "--mount", "--pid", "--fork", "--kill-child=KILL", "--propagation", "private"]
    command += [sys.executable, "-m", "benchmarks", *sys.argv[1:]]
    environment = {**os.environ, _INSIDE: work, "PYTHONPATH": str(CHECKOUT)}
    # An interrupt reaches the other process too. That process ends, and this one clears up after it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with subprocess.Popen(command, env=environment) as other:
            # --kill-child: when unshare ends, everything in the namespaces ends.
            signal.signal(signal.SIGTERM, lambda _number, _frame: other.kill())
            return 128 - status if (status := other.wait()) < 0 else status
    except FileNotFoundError:
        print("benchmarks: unshare (util-linux) is not installed", file=sys.stderr)
        return 1


def inside(options: argparse.Namespace, work: str) -> int:
    """Measure, as the first process of new namespaces. Returns the exit status."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    ground = Ground(work, options.images, options.peers or "")
    try:
        ground.enter()
        started = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC")
        report = Report(started, options.rounds, describe(ground), versions(ground))
        for name in options.only:
            report.rows.append(_measured(ROWS[name](ground), options))
            report.write(options.output, _secrets(ground, options))
            ground.clear()
    except (MeasurementError, OSError) as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    finally:
        end_orphans()
    print(f"{options.output}/results.md", file=sys.stderr)
    return 0


def _measured(row: Row, options: argparse.Namespace) -> Measured:
    print(f"{row.name}: {row.title}", file=sys.stderr)
    series: list[Series] = measure(row, options.rounds, options.timeout, lambda text: print(text, file=sys.stderr))
    return Measured(row, series)


def _secrets(ground: Ground, options: argparse.Namespace) -> dict[str, str]:
    """Texts that must not be in the results, each with its replacement."""
    places = {
        ground.work: "WORK",
        os.path.realpath(options.on): "ON",
        ground.images: "IMAGES",
        ground.peers: "PEERS",
        str(CHECKOUT): "CHECKOUT",
        sys.prefix: "PYTHON",
        str(Path.home()): "HOME",
        platform.node(): "HOST",
    }
    return {secret: name for secret, name in places.items() if len(secret) > 2}


if __name__ == "__main__":
    sys.exit(main())
