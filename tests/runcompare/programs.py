"""podman and arstore as commands named `prog`, `run`, `keep` and `bare` in a directory for PATH."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

REPOSITORY = Path(__file__).resolve().parents[2]
QUIET = {"PODMAN_IGNORE_CGROUPSV1_WARNING": "1", "TMPDIR": "/var/tmp"}
"""Variables that podman sets or reads, for both programs: `--env-host` shows them."""


class Left(NamedTuple):
    """A container that is left after a row."""

    name: str
    state: str
    status: int


class Program:
    """One of the programs, with its storage below *place*."""

    name = ""
    keep = ""
    """Option for a container to be kept, with a space; "" if that is the default."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.bin = place / "bin"
        self.bin.mkdir(parents=True)
        words = shlex.join(self.words())
        run, keep = "run --rm --network none ", f"run {self.keep}--network none "
        for name, more in {"prog": "", "bare": "run ", "run": run, "keep": keep}.items():
            script = self.bin / name
            script.write_text(f'#!/bin/sh\nexec {words} {more}"$@"\n')
            script.chmod(0o755)

    def words(self) -> list[str]:
        """Return the program's command line, with its global options."""
        raise NotImplementedError

    def call(self, *words: str | Path, check: bool = True) -> str:
        """Run the program and return its stdout.

        Raises RuntimeError if it fails.
        """
        command = [str(self.bin / "prog"), *map(str, words)]
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=300,
            check=False,
            # PYTHONPATH is that of the runner, and leads to another arstore with --arstore.
            env={**{name: value for name, value in os.environ.items() if name != "PYTHONPATH"}, **QUIET},
        )
        if check and done.returncode:
            raise RuntimeError(f"{self.name} {' '.join(map(str, words))}: {done.stderr.strip()[-500:]}")
        return done.stdout

    def version(self) -> str:
        """Return the name with the version."""
        return self.call("--version").strip()

    def load(self, archives: Mapping[str, Path]) -> None:
        """Bring the images into the storage."""
        raise NotImplementedError

    def containers(self) -> list[Left]:
        """Return the containers that there are."""
        raise NotImplementedError

    def volumes(self) -> list[str]:
        """Return the names of the volumes that there are."""
        return self.call("volume", "ls", "-q", check=False).split()

    def clear(self) -> None:
        """Remove all containers and volumes."""
        raise NotImplementedError

    def close(self) -> None:
        """End everything and remove the storage."""
        self.clear()


class Podman(Program):
    """podman with crun, and with cgroupfs since the compared system has no systemd."""

    name = "podman"

    def words(self) -> list[str]:
        places = ["--root", str(self.place / "root"), "--runroot", str(self.place / "run")]
        where = ["--tmpdir", str(self.place / "tmp"), "--volumepath", str(self.place / "volumes")]
        more = ["--cgroup-manager", "cgroupfs", "--events-backend", "none", "--storage-driver", "overlay"]
        program = shutil.which("podman") or "podman"
        return [program, *places, *where, *more]

    def load(self, archives: Mapping[str, Path]) -> None:
        for path in archives.values():
            self.call("load", "-q", "-i", path)

    def containers(self) -> list[Left]:
        listed = json.loads(self.call("ps", "-a", "--external=false", "--format", "json") or "[]")
        return [Left(one["Names"][0], one["State"], one["ExitCode"] if one["Exited"] else 0) for one in listed]

    def clear(self) -> None:
        self.call("rm", "-fa", "-t", "0", check=False)
        self.call("pod", "rm", "-fa", "-t", "0", check=False)
        self.call("volume", "rm", "-fa", check=False)

    def close(self) -> None:
        self.call("system", "reset", "-f", check=False)


class Arstore(Program):
    """arstore from this checkout, with a Python of the compared system, and no variable set for it."""

    name = "arstore"
    keep = "--keep "

    def words(self) -> list[str]:
        places = ["--root", str(self.place / "root"), "--runroot", str(self.place / "run")]
        # -P: the current directory is not a place to import from.
        return [sys.executable, "-P", "-m", "arstore", *places]

    def load(self, archives: Mapping[str, Path]) -> None:
        for path in archives.values():
            self.call("-q", "import", path)

    def containers(self) -> list[Left]:
        listed = json.loads(self.call("ps", "-a", "--json"))
        return [Left(*one.get("names", [one["id"]]), one["status"], one["exit_code"] or 0) for one in listed]

    def clear(self) -> None:
        ids = [one.name for one in self.containers()]
        if ids and "Usage" not in self.call("container", "rm", "-f", *ids, check=False):
            self.call("kill", "-s", "KILL", *ids, check=False)
            self.call("wait", *ids, check=False)
            self.call("container", "rm", *ids, check=False)
        if names := self.volumes():
            self.call("volume", "rm", "--force", *names, check=False)


def pair(place: Path) -> Sequence[Program]:
    """Return arstore and podman, with storage below *place*."""
    return Arstore(place / "ours"), Podman(place / "them")
