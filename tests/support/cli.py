"""The command line as a black box: `python -m arstore` in a separate process, on a separate store."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from support import started
from support.waiting import eventually

REPOSITORY = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Outcome:
    """How a command ended."""

    command: tuple[str, ...]
    status: int
    out: bytes = field(repr=False)
    err: str

    @property
    def text(self) -> str:
        """stdout as text."""
        return self.out.decode()

    @property
    def json(self) -> Any:
        """stdout as the one JSON document that it must be."""
        return json.loads(self.out)


class CommandError(AssertionError):
    """A command failed that had to succeed."""


_BEGUN = """
import os, sys
sys.argv[0] = "arstore"
import arstore
os.write(1, b"+")
from arstore.__main__ import main
main()
"""


class Arstore:
    """One store, and the commands on it."""

    def __init__(self, root: Path, runroot: Path, prefix: tuple[str, ...] = ()) -> None:
        self.root = root
        self.runroot = runroot
        self.prefix = prefix
        """Words before the interpreter, such as setpriv's, to run as another user."""

    def words(self, *arguments: str | Path | bytes) -> list[str]:
        """The whole command line."""
        options = ["--root", str(self.root), "--runroot", str(self.runroot)]
        return [*self.prefix, sys.executable, "-m", "arstore", *options, *map(os.fsdecode, arguments)]

    def environment(self, **variables: str) -> dict[str, str]:
        """The environment of a command: without any variable that would change its behaviour."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("ARSTORE_")}
        return {**kept, "PYTHONPATH": str(REPOSITORY), "PYTHONDONTWRITEBYTECODE": "1", **variables}

    def run(
        self,
        *arguments: str | Path | bytes,
        data: bytes | None = None,
        timeout: float = 120,
        cwd: Path | None = None,
        **variables: str,
    ) -> Outcome:
        """Run a command to its end, however it ends."""
        words, environment = self.words(*arguments), self.environment(**variables)
        done = None
        if not self.prefix and words[1:3] == ["-m", "arstore"] and (server := started.server(environment)) is not None:
            done = server.run(words[1:], environment, os.fspath(cwd or "/"), data or b"", timeout)
        if done is None:
            done = subprocess.run(
                words,
                input=data or b"",
                capture_output=True,
                check=False,
                timeout=timeout,
                cwd=cwd or "/",
                env=environment,
            )
        return Outcome(tuple(words), done.returncode, done.stdout, done.stderr.decode("utf-8", "backslashreplace"))

    def ok(self, *arguments: str | Path | bytes, **more: Any) -> Outcome:
        """Run a command that must end with 0."""
        outcome = self.run(*arguments, **more)
        if outcome.status != 0:
            raise CommandError(f"{' '.join(outcome.command)} ended with {outcome.status}: {outcome.err[-2000:]}")
        return outcome

    def json(self, *arguments: str | Path | bytes, **more: Any) -> Any:
        """Run a command with --json that must end with 0, and return its document."""
        command, *rest = arguments
        return self.ok(command, "--json", *rest, **more).json

    def fails(self, kind: str, *arguments: str | Path | bytes, **more: Any) -> str:
        """Run a command that must fail with this kind of error, in one line on stderr; return the line.

        *kind* is the name of a class of arstore.errors without `Error`.
        """
        outcome = self.run(*arguments, **more)
        expected = exit_status(kind)
        lines = outcome.err.splitlines()
        if outcome.status != expected:
            raise CommandError(f"ended with {outcome.status}, not {expected} ({kind}): {outcome.err[-2000:]}")
        last = lines[-1] if lines else ""
        if not last.startswith("arstore: ") or "Traceback" in outcome.err:
            raise CommandError(f"not one line for people: {outcome.err[-2000:]}")
        return last

    def start(self, *arguments: str | Path | bytes, **variables: str) -> subprocess.Popen[bytes]:
        """Start a command in a new session, for `kill`."""
        return subprocess.Popen(
            self.words(*arguments),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            cwd="/",
            env=self.environment(**variables),
            start_new_session=True,
        )

    def begun(self, *arguments: str | Path | bytes) -> subprocess.Popen[bytes]:
        """Start a command, and wait until the interpreter has started: before that, Python answers signals itself."""
        process = subprocess.Popen(
            [sys.executable, "-c", _BEGUN, *self.words(*arguments)[len(self.prefix) + 3 :]],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd="/",
            env=self.environment(),
            start_new_session=True,
        )
        assert process.stdout is not None
        assert process.stdout.read(1) == b"+"
        return process

    def total(self) -> int:
        """The bytes of the store that `du` reports."""
        total = self.json("du")["total"]
        assert isinstance(total, int)
        return total

    def bill(self) -> dict[str, int]:
        """The parts of `du`'s total without the graph's pages, which grow by a few with any transaction."""
        bill = self.json("du")
        return {part: bill[part] for part in ("blobs", "trees", "containers", "ingest", "orphans", "reclaimable")}

    def files(self) -> set[str]:
        """Every path below the root, without the graph's files, whose pages may move."""
        found = set()
        for directory, names, files in os.walk(self.root):
            where = os.path.relpath(directory, self.root)
            if where.split("/")[0] != "graph":
                found.update(os.path.normpath(os.path.join(where, name)) for name in [*names, *files])
        return found


def exit_status(kind: str) -> int:
    """The documented exit status of a kind of error, from docs/design/exit-statuses.md."""
    for line in (REPOSITORY / "docs" / "design" / "exit-statuses.md").read_text().splitlines():
        cells = [cell.strip() for cell in line.split("|")]
        if len(cells) > 3 and cells[2] == kind:
            return int(cells[1])
    raise LookupError(f"no error of the kind {kind} is documented")


def kill(process: subprocess.Popen[bytes]) -> None:
    """End a started command at once (SIGKILL to itself alone, as the kernel's OOM killer does).

    Its workers, which are in its process group, end with it, a moment later.
    """
    process.send_signal(signal.SIGKILL)
    process.wait()
    eventually(lambda: not _has_group(process.pid))
    if process.stderr is not None:
        process.stderr.close()


def _has_group(number: int) -> bool:
    try:
        os.killpg(number, 0)
    except ProcessLookupError:
        return False
    return True
