"""The contenders' programs: the name of each, and how it imports an archive into an empty store."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from benchmarks.ground import CHECKOUT, PATH
from benchmarks.measure import Contender, UnavailableError
from benchmarks.process import Command

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from benchmarks.ground import Ground
    from benchmarks.measure import Values


class Engine:
    """A program with its own store, in the directory *tag* of the ground."""

    label = ""
    """Name of its import in the results."""
    program = ""
    peer = True

    def __init__(self, ground: Ground, tag: str) -> None:
        self.ground = ground
        self.tag = tag
        self.home = f"{ground.work}/{tag}"

    @property
    def place(self) -> str:
        """The store's directory, as the program sees it."""
        return self.ground.seen(self.home) if self.peer else self.home

    def require(self) -> None:
        """Raise UnavailableError if the program is not installed."""
        root = self.ground.peers_root.rstrip("/")
        if not any(os.access(f"{root}{place}/{self.program}", os.X_OK) for place in PATH.split(":")):
            raise UnavailableError(f"{self.program} is not installed")

    def version(self) -> str:
        """The version that the program prints. Raises MeasurementError."""
        self.require()
        said = self.ground.execute(self.plain("--version")).stdout.strip()
        return said.splitlines()[0] if said else ""

    def plain(self, *arguments: str) -> Command:
        """The program with *arguments*, without its store."""
        return Command((self.program, *arguments), self.ground.environment(peer=True), self.ground.peers_root)

    def fresh(self) -> None:
        """Begin with an empty store. Raises UnavailableError if the program is not installed."""
        self.require()
        self.ground.fresh(self.tag)

    def discard(self) -> None:
        """Remove the store."""
        self.ground.remove(self.home)

    def import_command(self, archive: str, name: str) -> Command:
        """The command that imports *archive* as the image *name*."""
        raise UnavailableError(f"{self.program} imports nothing")

    def import_(self, archive: str, name: str) -> Values:
        """Import; return the seconds of the command, its CPU seconds, and the seconds to sync what it wrote."""
        done = self.ground.execute(self.import_command(archive, name))
        return {"seconds": [done.seconds], "cpu": [done.cpu], "sync": [self.ground.settle()]}

    def importing(self, archive: str, name: str) -> Contender:
        """A contender that imports *archive*, which is in the page cache, into an empty store."""

        def prepare() -> None:
            self.fresh()
            self.ready(archive)

        return Contender(
            self.label,
            lambda: self.import_(self.ground.archive(archive), name),
            prepare=prepare,
            clear=self.discard,
        )

    def ready(self, *archives: str) -> None:
        """Load these archives into the page cache, and write all dirty pages to disk."""
        for archive in archives:
            self.ground.warm(self.ground.archive(archive))
        self.ground.settle()


class Arstore(Engine):
    """arstore, as `python -m arstore` of this checkout; *tree* is the format of the trees that it makes."""

    label = "arstore"
    program = "arstore"
    peer = False

    def __init__(self, ground: Ground, tag: str, tree: str = "auto") -> None:
        super().__init__(ground, tag)
        self.tree = tree
        if tree != "auto":
            self.label = f"arstore --tree {tree}"
        self.root, self.runroot = f"{self.home}/root", f"{self.home}/run"

    def require(self) -> None:
        """Do nothing: it is always there."""

    def plain(self, *arguments: str) -> Command:
        """arstore with *arguments*: the program that pip installed next to this Python, or else the module."""
        environment = self.ground.environment() | {"PYTHONPATH": str(CHECKOUT)}
        program = os.path.join(os.path.dirname(sys.executable), "arstore")
        words = (program,) if os.access(program, os.X_OK) else self.ground.python("-m", "arstore")
        return Command((*words, *arguments), environment)

    def command(self, *arguments: str) -> Command:
        """arstore with *arguments*, on its store."""
        return self.plain("--root", self.root, "--runroot", self.runroot, "--quiet", *arguments)

    def import_command(self, archive: str, name: str) -> Command:
        """`arstore import`."""
        return self.command("import", "--name", name, "--tree", self.tree, archive)

    def run_command(self, name: str, *arguments: str, options: Sequence[str] = ()) -> Command:
        """`arstore run` of a command through crun, without a network."""
        return self.command("run", "--rm", "--network", "none", "--runtime", "crun", *options, name, *arguments)

    def worker(self, *arguments: str) -> Command:
        """`benchmarks.inside` with *arguments*: the library calls, measured in a separate process."""
        environment = self.ground.environment() | {"PYTHONPATH": str(CHECKOUT)}
        return Command(self.ground.python("-m", "benchmarks.inside", self.root, self.runroot, *arguments), environment)


class Curl(Engine):
    """curl of this host: the cost of the same bytes without any verification."""

    label = "curl"
    program = "curl"
    peer = False

    def require(self) -> None:
        """Raise UnavailableError if this host has no curl."""
        if not any(os.access(f"{place}/{self.program}", os.X_OK) for place in PATH.split(":")):
            raise UnavailableError(f"{self.program} is not installed")

    def fetching(self, urls: Mapping[str, str]) -> Command:
        """Download all *urls* at once, into files of these names."""
        words = ["--silent", "--show-error", "--fail", "--parallel", "--parallel-immediate"]
        for name, url in urls.items():
            words += ["--output", f"{self.home}/{name}", url]
        return self.plain(*words)

    def plain(self, *arguments: str) -> Command:
        """curl with *arguments*, and without a configuration file."""
        return Command((self.program, "--disable", *arguments), self.ground.environment())


class Bare(Engine):
    """Our Python, started to do nothing."""

    label = "python -c pass"
    program = "python"
    peer = False

    def require(self) -> None:
        """Do nothing: it is always there."""

    def plain(self, *arguments: str) -> Command:
        """The interpreter with nothing to do."""
        return Command(self.ground.python("-c", "pass"), self.ground.environment())


class Floor(Engine):
    """`benchmarks.floor`: the minimum cost of the same bytes."""

    label = "floor"
    program = "floor"
    peer = False

    def require(self) -> None:
        """Do nothing: it is always there."""

    def __init__(self, ground: Ground, tag: str, *, sync: bool = False) -> None:
        """With *sync*, each layer is synced."""
        super().__init__(ground, tag)
        self._more = ("--sync",) if sync else ()

    def import_command(self, archive: str, name: str) -> Command:
        """The floor of all layers of *archive*."""
        return self.command(archive, *self._more)

    def command(self, archive: str, *more: str) -> Command:
        """The floor of *archive*."""
        environment = self.ground.environment() | {"PYTHONPATH": str(CHECKOUT)}
        return Command(self.ground.python("-m", "benchmarks.floor", archive, self.home, *more), environment)

    def import_(self, archive: str, name: str) -> Values:
        """The seconds that the floor itself reports."""
        return self.run(self.import_command(archive, name))

    def run(self, command: Command) -> Values:
        """Run the command. Raises MeasurementError."""
        import json

        done = self.ground.execute(command)
        seconds = float(json.loads(done.stdout)["seconds"])
        return {"seconds": [seconds], "sync": [self.ground.settle()]}
