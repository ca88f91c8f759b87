"""The compared system: a root directory made by `tools/peers`, or this host."""

from __future__ import annotations

import json
import os
import queue
import shutil
import subprocess
import sys
import tomllib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from support import programs as host

from runcompare import image
from runcompare.programs import REPOSITORY
from runcompare.row import Row
from runcompare.running import Outcome

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


class CannotError(Exception):
    """The comparison cannot be made here; the text is the reason."""


class Line(NamedTuple):
    """A row with the outcomes of arstore and podman."""

    row: Row
    ours: Outcome
    theirs: Outcome


class System:
    """Runs the rows, in a directory *place*, which is visible at the same path in the root directory *peers*, if given.

    arstore is that of the directory *checkout*.
    """

    def __init__(self, place: Path, peers: str = "", checkout: Path = REPOSITORY) -> None:
        self._place = place
        self._peers = peers
        self._checkout = checkout
        self.versions: Sequence[str] = ()
        self.missing: Sequence[str] = ()
        """podman's options that arstore does not have, without dashes; known with the first row, as the order is."""
        self.order: Sequence[Row] = ()

    def rows(self, only: str = "", jobs: int = 1) -> Iterator[Line]:
        """Run the rows whose keys match *only*, and the baseline; yield *jobs* rows at a time, as they end.

        Raises CannotError.
        """
        python = self._prepare()
        found: queue.Queue[dict[str, Any] | None] = queue.Queue()
        with ThreadPoolExecutor(jobs) as threads:
            running = [threads.submit(self._run, python, only, part, jobs, found) for part in range(jobs)]
            while jobs:
                document = found.get()
                if document is None:
                    jobs -= 1
                elif "versions" in document:
                    self.versions, self.missing = document["versions"], document["missing"]
                    self.order = [Row(*row) for row in document["rows"]]
                else:
                    yield Line(Row(*document["row"]), *(Outcome(*one) for one in document["outcomes"]))
        for one in running:
            if status := one.result():
                raise CannotError(f"the runner ended with status {status}")

    def _run(self, python: str, only: str, part: int, parts: int, found: queue.Queue[dict[str, Any] | None]) -> int:
        """Run a part of the rows, with its own stores; put its lines and then None into *found*; return its status."""
        place = self._place / f"part-{part}"
        place.mkdir()
        (place / "images").symlink_to(self._place / "images")
        words = [str(place), "--only", only, "--part", str(part), "--parts", str(parts)]
        command = [*self._prefix(), python, "-m", "runcompare.inside", *words]
        environment = {**os.environ, "PEERS_BIND": f"{self._checkout}:{self._place}", "PYTHONDONTWRITEBYTECODE": "1"}
        environment["PYTHONPATH"] = f"{REPOSITORY}:{REPOSITORY}/tests"
        try:
            with subprocess.Popen(
                command, stdout=subprocess.PIPE, text=True, env=environment, cwd=REPOSITORY
            ) as process:
                assert process.stdout is not None
                for line in process.stdout:
                    found.put(json.loads(line))
            return process.returncode
        finally:
            found.put(None)

    def _prefix(self) -> list[str]:
        return [str(REPOSITORY / "tools/peers"), "run", self._peers] if self._peers else []

    def _prepare(self) -> str:
        """Write the images, and give the system's Python arstore's dependencies. Return the Python."""
        box = host.busybox()
        if box is None:
            raise CannotError("busybox-static is not installed")
        (self._place / "images").mkdir()
        shutil.copy(box, self._place / "images/busybox")
        image.write(self._place / "images", Path(box))
        if not self._peers:
            if shutil.which("podman") is None:
                raise CannotError("podman is not installed")
            version = "{}.{}".format(*sys.version_info)
            packages = _environment(self._place / "venv", version, Path(sys.base_prefix, "bin/python3"))
            _write_paths(packages, self._checkout, *filter(os.path.isdir, sys.path))
        else:
            version = self._version()
            packages = _environment(self._place / "venv", version, Path("/usr/bin/python3"))
            _write_paths(packages, self._checkout)
            _install(packages, version)
        python = str(self._place / "venv/bin/python")
        self._compile(python, packages)
        return python

    def _compile(self, python: str, packages: Path) -> None:
        """Compile arstore for that Python, which takes longer than most commands; the checkout is left alone."""
        code = self._place / "bytecode"
        with open(packages / "compared.pth", "a", encoding="utf-8") as file:
            file.write(f"import sys; sys.pycache_prefix = {str(code)!r}\n")
        places = [packages, *(self._checkout / name for name in ("arstore", "tests/runcompare", "tests/support"))]
        command = [*self._prefix(), python, "-m", "compileall", "-q", *map(str, places)]
        environment = {**os.environ, "PEERS_BIND": f"{self._checkout}:{self._place}"}
        subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, check=False)

    def _version(self) -> str:
        """Version of the system's Python, as 3.14."""
        text = "import sys; print('%d.%d' % sys.version_info[:2])"
        command = [*self._prefix(), "python3", "-c", text]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise CannotError(f"{self._peers}: {done.stderr.strip()[-200:]}")
        return done.stdout.strip()


def _environment(place: Path, version: str, python: Path) -> Path:
    """Make a virtual environment for a Python that may be one of another system. Return its directory of packages."""
    packages = place / f"lib/python{version}/site-packages"
    packages.mkdir(parents=True)
    (place / "bin").mkdir()
    (place / "bin/python").symlink_to(python)
    (place / "pyvenv.cfg").write_text(f"home = {python.parent}\n")
    return packages


def _write_paths(packages: Path, *paths: str | Path) -> None:
    """Let that Python import from *paths* too. A variable would be seen by the containers of `--env-host`."""
    (packages / "compared.pth").write_text("".join(f"{path}\n" for path in paths))


def _install(packages: Path, version: str) -> None:
    """Install arstore's dependencies from here: the compared system has no pip."""
    wanted = ["--python-version", version, "--only-binary", ":all:", "--no-compile"]
    command = [sys.executable, "-m", "pip", "install", "-q", *wanted, "--target", packages, *_requirements(version)]
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, check=False)
    if done.returncode:
        raise CannotError(f"pip: {done.stderr.strip()[-300:]}")


def _requirements(version: str) -> list[str]:
    """arstore's dependencies for that Python. pip judges markers by the Python that it runs with, hence here."""
    from pip._vendor.packaging.requirements import Requirement

    with open(REPOSITORY / "pyproject.toml", "rb") as file:
        listed = [Requirement(text) for text in tomllib.load(file)["project"]["dependencies"]]
    found = []
    there = {"python_version": version, "python_full_version": f"{version}.0"}
    for one in listed:
        if one.marker is None or one.marker.evaluate(there):
            one.marker = None
            found.append(str(one))
    return found
