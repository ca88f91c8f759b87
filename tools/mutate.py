#!/usr/bin/env python3
"""Take guards out of arstore, one at a time, and see whether a test notices: mutation testing by rule.

    tools/mutate.py sample --seed 16 --count 20 > tests/mutation/sample.txt
    tools/mutate.py run tests/mutation/sample.txt
    tools/mutate.py conditions arstore/trust/policy > tests/mutation/policy.txt

`sample` prints mutants that are chosen by chance from all that the rules find (tools/mutants.py); `conditions` prints
all conditions of a folder, each negated. `run` tries each in a copy of this checkout: it runs the test files that are
nearest to the mutant's module, and stops at the first failure. A mutant that no test notices survives, unless
tests/mutation/equivalent.txt has a proof for it: then it counts as equivalent, without being run. Needs root for tests
that need it, and unshare(1), so that no mount and no process of a mutant is left. docs/design/mutation.md has the
results.
"""

from __future__ import annotations

import argparse
import ast
import ctypes
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from mutants import RULES, Mutant, candidates, conditions, written

CHECKOUT = Path(__file__).resolve().parent.parent
EQUIVALENT = CHECKOUT / "tests/mutation/equivalent.txt"
ALWAYS = {
    "sync": ["tests/system/test_syncs.py"],
    "permission": ["tests/system/test_modes.py"],
}
"""Tests of whole commands that look for what a rule guards, in any module."""

KILLED, SURVIVED, IS_EQUIVALENT, GONE = "killed", "survived", "equivalent", "gone"
_MEMORY = 6 << 30
"""The most bytes of memory of a test's process, because a mutant may lack a limit."""


def sample(seed: str, count: int) -> list[Mutant]:
    """Choose *count* mutants of each rule; which ones depends on the seed and on the candidates only."""
    every = candidates(CHECKOUT / "arstore")
    chosen = []
    for rule in RULES:
        of_rule = [mutant for mutant in every if mutant.rule == rule]
        picked = random.Random(f"{seed} {rule}").sample(of_rule, min(count, len(of_rule)))
        chosen += sorted(picked, key=lambda mutant: (mutant.path, mutant.start))
    return chosen


def listed(path: Path) -> list[tuple[str, str]]:
    """The rules and names of the mutants in a list; lines that begin with # are comments."""
    lines = [line for line in path.read_text().splitlines() if line and not line.startswith("#")]
    return [(rule, name) for rule, _, name in (line.partition(" ") for line in lines)]


def equivalents() -> dict[str, str]:
    """The mutants that count as equivalent, each with its proof: an indented line after its name."""
    found: dict[str, str] = {}
    name = ""
    for line in EQUIVALENT.read_text().splitlines() if EQUIVALENT.exists() else ():
        if line.startswith(" "):
            found[name] = line.strip()
        elif line and not line.startswith("#"):
            name = line.partition(" ")[2]
    return found


class Map:
    """Test files near a module: its own, those that import it, those in the same folder, those of its users."""

    def __init__(self) -> None:
        paths = sorted((CHECKOUT / "tests").rglob("test_*.py"))
        self._tests = {str(path.relative_to(CHECKOUT)): _imported(path.read_text()) for path in paths}
        self._users: dict[str, set[str]] = {}
        for path in sorted((CHECKOUT / "arstore").rglob("*.py")):
            for module in _imported(path.read_text()):
                self._users.setdefault(module, set()).add(_module(str(path.relative_to(CHECKOUT))))

    def tests(self, mutant: Mutant, most: int) -> list[str]:
        """The *most* test files nearest to the mutant's module."""
        module = _module(mutant.path)
        users = self._users.get(module, set())
        folder = os.path.dirname(mutant.path).replace("arstore", "tests", 1) + "/"
        ranked = dict.fromkeys([_own(mutant.path), *ALWAYS.get(mutant.rule, ()), *self._importing({module})])
        ranked.update(dict.fromkeys(name for name in self._tests if os.path.dirname(name) + "/" == folder))
        ranked.update(dict.fromkeys(_own(user.replace(".", "/") + ".py") for user in sorted(users)))
        ranked.update(dict.fromkeys(self._importing(users)))
        return [name for name in ranked if name in self._tests][:most]

    def _importing(self, modules: set[str]) -> list[str]:
        """Test files that import one of *modules*; those that import few others first."""
        found = [(len(known), name) for name, known in self._tests.items() if known & modules]
        return [name for _, name in sorted(found)]


def _imported(text: str) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("arstore"):
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


def _module(path: str) -> str:
    return path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def _own(path: str) -> str:
    """The test file that mirrors the module at *path*."""
    return re.sub(r"([^/]+)$", r"test_\1", path.replace("arstore/", "tests/", 1))


class Bench:
    """A copy of the checkout in which mutants are tried."""

    def __init__(self, scratch: Path, seconds: int) -> None:
        self._copy = scratch / "checkout"
        self._temporary = scratch / "tmp"
        self._seconds = seconds
        self._passing: dict[str, bool] = {}
        shutil.rmtree(self._copy, ignore_errors=True)
        self._temporary.mkdir(parents=True, exist_ok=True)
        files = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            cwd=CHECKOUT,
            check=True,
            capture_output=True,
            text=True,
        )
        for name in filter(None, files.stdout.split("\0")):
            if (CHECKOUT / name).is_file():
                (self._copy / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(CHECKOUT / name, self._copy / name)
        subprocess.run([sys.executable, "-m", "compileall", "-q", "arstore", "tests"], cwd=self._copy, check=False)

    def noticed_by(self, mutant: Mutant, tests: list[str]) -> str:
        """The first of *tests* that fails with the mutant and passes without it; "" if there is none."""
        path = self._copy / mutant.path
        before, source = path.stat(), path.read_bytes()
        for test in tests:
            path.write_bytes(mutant.applied(source))
            try:
                failed = not self._passes(test)
            finally:
                path.write_bytes(source)
                # Its compiled form is valid again.
                os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
            if failed and self._passes_as_it_is(test):
                return test
        return ""

    def _passes_as_it_is(self, test: str) -> bool:
        if test not in self._passing:
            self._passing[test] = self._passes(test)
            if not self._passing[test]:
                print(f"{test} fails without any mutant, and counts for nothing", file=sys.stderr)
        return self._passing[test]

    def _passes(self, test: str) -> bool:
        """Whether a test file passes. Its mounts end with its mount namespace; its processes are killed."""
        place = tempfile.mkdtemp(dir=self._temporary)
        inner = f'ulimit -d {_MEMORY >> 10}; exec timeout -k 5 {self._seconds} nice -n 5 "$@"'
        pytest = [sys.executable, "-m", "pytest", "-p", "no:xdist", "-p", "no:cacheprovider", "-x", "-q", test]
        words = ["unshare", "--mount", "bash", "-c", inner, "bash"]
        environment = {**os.environ, "PYTHONPATH": str(self._copy), "PYTHONDONTWRITEBYTECODE": "1", "TMPDIR": place}
        with open(self._temporary / "last.txt", "wb") as output:
            done = subprocess.run(
                [*words, *pytest, f"--basetemp={place}/base"],
                cwd=self._copy,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                check=False,
            )
        _end_orphans()
        subprocess.run(["rm", "-rf", "--one-file-system", place], check=False)
        # 5: every test was skipped, or there are none.
        return done.returncode in (0, 5)


_SERVER = """
import importlib, os, sys, time
for name in ("pytest", "hypothesis", "cryptography.x509", "cryptography.hazmat.primitives.serialization", "click"):
    importlib.import_module(name)
import pytest
sys.path[:0] = [os.getcwd(), os.path.join(os.getcwd(), "tests")]
for line in sys.stdin:
    test, place, seconds = line.rstrip("\\n").split("\\t")
    child = os.fork()
    if not child:
        null = os.open(os.devnull, os.O_RDWR)
        for fd in range(3):
            os.dup2(null, fd)
        plugins = ["-p", "no:xdist", "-p", "no:cacheprovider"]
        os._exit(pytest.main([*plugins, "-x", "-q", test, f"--basetemp={place}/base"]))
    until = time.monotonic() + int(seconds)
    done, status = 0, 0
    while not done and time.monotonic() < until:
        done, status = os.waitpid(child, os.WNOHANG)
        if not done:
            time.sleep(0.02)
    if not done:
        os.kill(child, 9)
        os.waitpid(child, 0)
    print(os.waitstatus_to_exitcode(status) if done else -9, flush=True)
"""


class QuickBench(Bench):
    """The same in forks of one process that has imported the tests' dependencies, and no module of arstore.

    For tests that neither start lasting programs nor mount anything.
    """

    def __init__(self, scratch: Path, seconds: int) -> None:
        super().__init__(scratch, seconds)
        environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1", "TMPDIR": str(self._temporary)}
        environment.pop("PYTHONPATH", None)
        self._server = subprocess.Popen(
            [sys.executable, "-c", _SERVER],
            cwd=self._copy,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def _passes(self, test: str) -> bool:
        place = tempfile.mkdtemp(dir=self._temporary)
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        self._server.stdin.write(f"{test}\t{place}\t{self._seconds}\n")
        self._server.stdin.flush()
        code = int(self._server.stdout.readline())
        shutil.rmtree(place, ignore_errors=True)
        return code in (0, 5)


def _adopt_orphans() -> None:
    """Become the parent of processes whose parent ends: PR_SET_CHILD_SUBREAPER of prctl(2)."""
    ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)


def _end_orphans() -> None:
    """Kill the children that this process has now, and those that it inherits from them."""
    while children := Path(f"/proc/self/task/{os.getpid()}/children").read_text().split():
        for pid in map(int, children):
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


def run(asked: argparse.Namespace) -> int:
    """Try the mutants of a list; return 1 if the bar is missed."""
    wanted = listed(asked.list)
    every = candidates(CHECKOUT / "arstore")
    if any(rule == "condition" for rule, _ in wanted):
        paths = {CHECKOUT / name.partition(" ")[0] for _, name in wanted}
        every += conditions([path for path in paths if path.exists()], CHECKOUT)
    known = {(mutant.rule, mutant.name): mutant for mutant in every}
    proofs = equivalents()
    done: dict[str, list[str]] = {}
    if asked.results.exists():
        done = {name: verdict for name, *verdict in map(json.loads, asked.results.read_text().splitlines())}
    near = Map()
    bench = None
    asked.scratch.mkdir(parents=True, exist_ok=True)
    _adopt_orphans()
    verdicts = []
    for rule, name in wanted:
        if asked.only not in name:
            continue
        mutant = known.get((rule, name)) or written(rule, name, CHECKOUT)
        verdict, by = GONE, ""
        if mutant is None:
            pass
        elif name in proofs:
            verdict, by = IS_EQUIVALENT, proofs[name]
        elif name in done and (done[name][0] == KILLED or not asked.again):
            verdict, by = done[name]
        else:
            bench = bench or (QuickBench if asked.quick else Bench)(asked.scratch, asked.seconds)
            began = time.monotonic()
            by = bench.noticed_by(mutant, asked.tests or near.tests(mutant, asked.files))
            verdict = KILLED if by else SURVIVED
            with open(asked.results, "a") as file:
                print(json.dumps([name, verdict, by]), file=file)
            print(f"{time.monotonic() - began:.0f} s: ", end="", file=sys.stderr)
        print(f"{verdict} {rule} {name} {f'({by})' if by else ''}", flush=True)
        verdicts.append((rule, verdict))
    return _table(Counter(verdicts))


def _table(counted: Counter[tuple[str, str]]) -> int:
    """Print the rates: how many of the mutants that are not equivalent were killed."""
    print("\n| rule | mutants | killed | survived | equivalent | rate |\n|---|---:|---:|---:|---:|---:|")
    missed = False
    every = tuple(dict.fromkeys(rule for rule, _ in counted))
    for title, rules in [*((rule, (rule,)) for rule in every), ("all", every)]:
        killed, survived, equivalent = (
            sum(counted[rule, verdict] for rule in rules) for verdict in (KILLED, SURVIVED, IS_EQUIVALENT)
        )
        total = killed + survived + equivalent
        if total:
            rate = killed / (killed + survived) if killed + survived else 1.0
            missed |= title == "all" and (rate < 0.95 or equivalent > 0.05 * total)
            print(f"| {title} | {total} | {killed} | {survived} | {equivalent} | {rate:.0%} |")
    return int(missed)


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    sampling = commands.add_parser("sample", help="print a sample of mutants")
    sampling.add_argument("--seed", default="16")
    sampling.add_argument("--count", type=int, default=20, help="mutants of each rule (default 20)")
    negating = commands.add_parser("conditions", help="print every condition of a folder, negated")
    negating.add_argument("folder", type=Path)
    trying = commands.add_parser("run", help="try the mutants of a list")
    trying.add_argument("list", type=Path)
    trying.add_argument("--files", type=int, default=6, help="test files to run for each (default 6)")
    trying.add_argument("--seconds", type=int, default=120, help="for each test file (default 120); more is a failure")
    trying.add_argument("--tests", nargs="+", metavar="TEST", help="run these instead, by pytest's names")
    trying.add_argument("--quick", action="store_true", help="run tests in forks of one process")
    trying.add_argument("--scratch", type=Path, default=Path("/var/tmp/arstore-mutants"), help="where the copy lies")
    trying.add_argument("--results", type=Path, default=None, help="verdicts so far, which are not tried again")
    trying.add_argument("--again", action="store_true", help="try those again that have survived")
    trying.add_argument("--only", default="", metavar="TEXT", help="only those with this in their names")
    asked = parser.parse_args()
    if asked.command == "sample":
        print(f"# tools/mutate.py sample --seed {asked.seed} --count {asked.count}")
        for mutant in sample(asked.seed, asked.count):
            print(mutant.rule, mutant.name)
        return 0
    if asked.command == "conditions":
        print(f"# tools/mutate.py conditions {asked.folder}")
        for mutant in conditions((CHECKOUT / asked.folder).rglob("*.py"), CHECKOUT):
            print(mutant.rule, mutant.name)
        return 0
    asked.results = asked.results or asked.scratch / "results.jsonl"
    return run(asked)


if __name__ == "__main__":
    sys.exit(main())
