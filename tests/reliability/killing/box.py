"""A store that is worked on and killed at: one place, put back to where it was before each try.

What it holds is told from outside: paths, kinds and sizes of all files, the kernel's mounts and control groups.
"""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
from glob import glob
from pathlib import Path
from typing import TYPE_CHECKING, Any

from arstore.store.cgroups import cgroups_path
from arstore.store.store import Store
from reliability.killing.victim import Ended, Order, command, guarded

if TYPE_CHECKING:
    from collections.abc import Callable

Files = dict[str, tuple[str, int]]
"""Kind and size (of what is no regular file, 0) by path."""

PAGES = ("root/graph/data.mdb", "root/graph/lock.mdb")
"""LMDB's own files: what their pages are used for now does not make them larger or smaller."""
FRAME = {"root/graph/claims", "run/forms.json", "run/runtime.json", "run/mounts", "run/blank"}
FRAME |= {f"run/blank/{number}" for number in range(2)}
"""What any command may make when it first needs it: a file to lock, and what is known about this boot."""


class CommandFailedError(Exception):
    """A command that was not killed did not do what it must."""


class Box:
    """A directory with a store in `root` and `run`, and what is used to work on it."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.store = place / "s"
        self.desk = place / "desk"
        self.desk.mkdir(parents=True, exist_ok=True)

    @property
    def root(self) -> Path:
        """The store's root."""
        return self.store / "root"

    # --- commands ---------------------------------------------------------------------------------------------------

    def places(self) -> tuple[str, ...]:
        """The global options that name this store."""
        return "--root", str(self.root), "--runroot", str(self.store / "run")

    def run(self, *words: str, **more: Any) -> Ended:
        """Run a command on the store to its end, whatever that is; *more* as `victim.Order` has it."""
        return command(Order((*self.places(), *words), self.desk, **more))

    def ok(self, *words: str, **more: Any) -> Ended:
        """Run a command that has to end with 0, and without a traceback, and leaves no process."""
        ended = self.run(*words, **more)
        if ended.status or ended.survivors or "Traceback" in ended.err:
            said = f"{ended.err[-1500:]}{ended.survivors}"
            raise CommandFailedError(f"{' '.join(words)} ended with {ended.status}: {said}")
        return ended

    def inside(self, work: Callable[[Store], object]) -> None:
        """Do *work* with the store in a process of its own."""
        child = os.fork()
        if child == 0:
            guarded(lambda: work(Store(str(self.root), str(self.store / "run"))))
        if os.waitpid(child, 0)[1]:
            raise CommandFailedError("what was to be done with the store has failed")

    def images(self) -> dict[str, tuple[str, ...]]:
        """The names of the images by digest."""
        return {one["digest"]: tuple(sorted(one["names"])) for one in self.ok("images", "--json").document}

    def findings(self) -> list[dict[str, Any]]:
        """What a deep check finds."""
        ended = self.run("check", "--json")
        try:
            return list(ended.document["findings"])
        except ValueError:
            raise CommandFailedError(f"check ended with {ended.status}: {ended.err[-1500:]}") from None

    # --- putting it back --------------------------------------------------------------------------------------------

    def clear(self) -> None:
        """Have no store at all."""
        for mount in self.mounts():
            subprocess.run(["umount", "--lazy", "--no-canonicalize", mount], check=False)
        shutil.rmtree(self.store, ignore_errors=False) if self.store.exists() else None
        self.store.mkdir()

    def keep(self, name: str) -> None:
        """Keep the store as it is under *name*."""
        subprocess.run(["cp", "-a", self.store, self.place / f"kept-{name}"], check=True)

    def put_back(self, name: str) -> None:
        """Have the store that was kept under *name*."""
        self.clear()
        self.store.rmdir()
        subprocess.run(["cp", "-a", self.place / f"kept-{name}", self.store], check=True)

    def made(self, name: str, prepare: Callable[[Box], None]) -> None:
        """Keep under *name* what *prepare* makes of no store at all."""
        self.clear()
        prepare(self)
        self.keep(name)

    # --- looking at it ----------------------------------------------------------------------------------------------

    def files(self) -> Files:
        """Everything below root and runroot; what is mounted there is not entered."""
        found: Files = {}
        mounted = set(self.mounts())
        for directory, names, plain in os.walk(self.store):
            for name in [*names, *plain]:
                path = os.path.join(directory, name)
                status = os.lstat(path)
                kind = stat.filemode(status.st_mode)[0]
                key = os.path.relpath(path, self.store)
                if key in FRAME:
                    continue
                found[key] = (kind, status.st_size if kind == "-" and key not in PAGES else 0)
            names[:] = [name for name in names if os.path.join(directory, name) not in mounted]
        return found

    def mounts(self) -> list[str]:
        """Where something is mounted below the store, the deepest first."""
        prefix = f"{self.store.resolve()}/"
        points = [line.split(" ")[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
        return sorted((point for point in points if point.startswith(prefix)), key=len, reverse=True)

    def recorded_mounts(self) -> list[str]:
        """Where the store says that something is mounted."""
        return [one["path"] for one in self.ok("mounts", "--json").document if one["state"] == "mounted"]

    def cgroups(self) -> set[str]:
        """The control groups of this store's containers, and of the trials in its runroot."""
        tops = ["/sys/fs/cgroup/arstore", *glob("/sys/fs/cgroup/*/arstore")]
        found = {(top, name) for top in tops if os.path.isdir(top) for name in next(os.walk(top))[1]}
        return {f"{top}/{name}" for top, name in found if self._is_own(name)}

    def _is_own(self, group: str) -> bool:
        parents = (self.root / "containers", self.store / "run")
        return any(cgroups_path(str(place / group[:-9])).endswith(f"/{group}") for place in parents)
