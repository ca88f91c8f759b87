"""Fixtures for every test: marks with precise reasons to skip, a store for each test, a check for mounts left behind.

Marks: `root` (this process is root), `mounts` (overlay mounts work in the temporary directory), `runtime` (an OCI
runtime runs containers here), `tools("umoci", ...)` (programs that are installed), `long` (minutes; with `--long`).
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import hypothesis
import pytest
from support import budget, heap, programs, spending

if TYPE_CHECKING:
    from collections.abc import Iterator

pytest.register_assert_rewrite("support.stores")

MARKS = (
    "root: needs to be root",
    "mounts: needs overlay mounts",
    "runtime: needs an OCI runtime that works on this host",
    "tools(*names): needs these programs",
)

hypothesis.settings.register_profile("short", deadline=None, max_examples=60, print_blob=True)
hypothesis.settings.register_profile("long", deadline=None, max_examples=1000, print_blob=True)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--long", action="store_true", help="also run the tests that take minutes")
    parser.addoption("--compile", action="store_true", help="read the files of tests, so that pytest compiles them")


def pytest_configure(config: pytest.Config) -> None:
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        # Background jobs of a shell ignore interrupts. This process, and those it starts, must end when interrupted.
        signal.signal(signal.SIGINT, signal.default_int_handler)
    for mark in MARKS:
        config.addinivalue_line("markers", mark)
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(Failures(config), "failures-at-once")
    budget.long = config.getoption("--long")
    hypothesis.settings.load_profile("long" if config.getoption("--long") else "short")


@pytest.hookimpl(tryfirst=True)
def pytest_pycollect_makeitem(collector: pytest.Module) -> list[pytest.Item] | None:
    return [] if collector.config.getoption("--compile") else None


def pytest_collection_finish(session: pytest.Session) -> None:
    if session.items:
        heap.settle()


class Failures:
    """Prints each failure when it happens, in one line; the tracebacks come at the end. With xdist too."""

    def __init__(self, config: pytest.Config) -> None:
        self.config = config

    @pytest.hookimpl(trylast=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        terminal = self.config.pluginmanager.get_plugin("terminalreporter")
        if report.failed and terminal is not None:
            lines = report.longreprtext.splitlines() or [""]
            said = next((line[1:].strip() for line in lines if line.startswith("E  ")), lines[-1].strip())
            where = "FAILED" if report.when == "call" else f"ERROR in {report.when}"
            terminal.write(f"\n{where} {report.nodeid}: {said[:200]}\n", red=True)


def pytest_runtest_setup(item: pytest.Item) -> None:
    heap.settle_again()
    spending.begin(item)
    if item.get_closest_marker("long") and not item.config.getoption("--long"):
        pytest.skip("long test (tools/test --long)")
    for mark in item.iter_markers("tools"):
        missing = [name for name in mark.args if programs.program(name) is None]
        if missing:
            pytest.skip(f"not installed: {', '.join(missing)}")
    if item.get_closest_marker("root") and not programs.is_root():
        pytest.skip("needs root")
    if item.get_closest_marker("mounts") and (why := programs.why_no_mounts()):
        pytest.skip(why)
    if item.get_closest_marker("runtime") and (why := programs.runtime()[1]):
        pytest.skip(why)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """List why tests were skipped, with counts: a machine that forbids much must not look like one that passes."""
    reasons = Counter(
        report.longrepr[2].removeprefix("Skipped: ") if isinstance(report.longrepr, tuple) else str(report.longrepr)
        for report in terminalreporter.stats.get("skipped", [])
    )
    for reason, count in reasons.most_common():
        terminalreporter.write_line(f"skipped {count}: {reason}")
    for line in spending.summary(report for found in terminalreporter.stats.values() for report in found):
        terminalreporter.write_line(line)


def mounts_below(directory: Path) -> list[str]:
    """The mount points below *directory* in this process's mount namespace, deepest first."""
    prefix = os.fsencode(directory.resolve()) + b"/"
    points = []
    for line in Path("/proc/self/mountinfo").read_bytes().splitlines():
        point = re.sub(rb"\\([0-7]{3})", lambda found: bytes([int(found[1], 8)]), line.split(b" ")[4])
        if point.startswith(prefix):
            points.append(os.fsdecode(point))
    return sorted(points, key=len, reverse=True)


@pytest.fixture(autouse=True)
def no_mounts_left(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail a test that leaves a mount below its tmp_path, and unmount it."""
    if "tmp_path" not in request.fixturenames:
        yield
        return
    directory: Path = request.getfixturevalue("tmp_path")
    yield
    left = mounts_below(directory)
    for point in left:
        subprocess.run(["umount", "--lazy", "--no-canonicalize", point], check=False)
    assert not left, f"mounts left behind: {left}"


@pytest.fixture
def store_root(tmp_path: Path) -> Path:
    """A place for a store, which does not exist yet."""
    return tmp_path / "root"


@pytest.fixture
def runroot(tmp_path: Path) -> Path:
    """A place for runtime state, which does not exist yet."""
    return tmp_path / "run"


@pytest.fixture(scope="session")
def mountable() -> None:
    """Skip if overlay mounts are impossible; for fixtures that need them."""
    if why := programs.why_no_mounts():
        pytest.skip(why)


@pytest.fixture(scope="session")
def oci_runtime() -> str:
    """The path of an OCI runtime that works here; skips if there is none."""
    path, why = programs.runtime()
    if why:
        pytest.skip(why)
    return path


@pytest.fixture(scope="session")
def busybox() -> str:
    """The path of a statically linked busybox; skips if there is none."""
    path = programs.busybox()
    if path is None:
        pytest.skip("busybox-static is not installed")
    return path


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item):
    """Escape file names that are not UTF-8 in failure reports: a worker of xdist that sends them ends all tests."""
    report = yield
    spending.end(item, report)
    if not report.longreprtext.isascii():
        report.longrepr = report.longreprtext.encode("utf-8", "backslashreplace").decode()
    report.sections = [(name, text.encode("utf-8", "backslashreplace").decode()) for name, text in report.sections]
    return report
