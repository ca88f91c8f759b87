"""A store on which commands run and are killed: one directory, restored before each try.

Its state is seen from outside: paths, kinds and sizes of all files, the kernel's mounts and control groups.
"""

from __future__ import annotations

import json
import os
import shutil
import stat
import subprocess
import sys
import time
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING, Any

import lmdb
from support import stores
from support.forking import guarded
from support.groups import groups_below

from arstore.graph.datafile import MAP_SIZE
from arstore.graph.snapshot import HOME
from arstore.maintenance.check import check
from arstore.maintenance.gc import collect
from arstore.maintenance.remove import remove_images
from arstore.mounts.table import MountState, MountTable
from arstore.rootfs.mount import remove_container
from arstore.store.container_document import RUN_NAME, is_unattended
from arstore.store.store import Store
from reliability.answers import answers
from reliability.killing.victim import CHECKOUT, Ended, Order, command

if TYPE_CHECKING:
    from collections.abc import Callable

Files = dict[str, tuple[str, int]]
"""Kind and size (0 for anything but a regular file) by path."""

PAGES = ("root/graph/data.mdb", "root/graph/lock.mdb", "backup/backup.json", "root/pipeline/.load")
"""Files whose size means nothing: LMDB's files, one with a transaction's number, and the lock of a load."""
FRAME = {"root/graph/claims", "run/forms.json", "run/runtime.json", "root/mounts", "run/mounts", "run/blank"}
FRAME |= {"root/ids.json", "root/graph/namespaces"}
FRAME |= {f"run/blank/{number}" for number in range(2)}
"""Files that any command may make when it first needs them: locks, and facts about this boot."""
CACHE = "root/graph/contents"
"""The index of contents, which is judged by the answers of `find`."""
VARYING = ("root/containers/*/record", "root/containers/*/state.json")
"""Files of a container that have times and processes in them."""
_PATIENCE = 20.0
"""Seconds that launchers have to end."""
KEPT = "root/graph.damaged-"
"""Prefix of a damaged graph that a repair has set aside for the administrator."""


@dataclass(frozen=True)
class Look:
    """The state that a store reports: its images' names by digest, the findings of a deep check, its mounts, the
    containers that are there to stay, and what `find` answers.
    """

    images: dict[str, list[str]]
    findings: list[dict[str, Any]]
    mounts: list[str]
    containers: list[str]
    said: dict[str, Any]


def _looked(store: Store) -> dict[str, Any]:
    findings = [{"kind": f.damage.value, "what": f.what, "why": f.why, "harmless": f.harmless} for f in check(store)]
    entries = MountTable(store.directories).list()
    said = answers(store)
    store.release()
    return {
        "said": said,
        "images": {image.digest: sorted(image.names) for image in store.images()},
        "findings": findings,
        "containers": [container.id for container in store.containers.list() if not container.record.ephemeral],
        "mounts": [entry.record.target for entry in entries if entry.state is MountState.MOUNTED],
    }


def _wiped(store: Store) -> None:
    stores.umount_all(store)
    for container in store.containers.list():
        remove_container(store, container.id)
    if images := [image.digest for image in store.images()]:
        remove_images(store, images)
    collect(store)


def homeless(store: Store) -> None:
    """Make the graph forget its place, so that a copy of the store is taken for the store itself.

    The graph is changed without arstore, so that an older store stays one.
    """
    store.graph.release()
    with lmdb.open(store.graph.path, map_size=MAP_SIZE) as environment, environment.begin(write=True) as transaction:
        transaction.delete(f"meta/{HOME}".encode())


class CommandFailedError(Exception):
    """A command that was not killed did not do what it must."""


class Box:
    """A directory with a store in `root` and `run`, and the means to work on it."""

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
        """Run a command on the store to its end, however it ends; *more* as in `victim.Order`."""
        return command(Order((*self.places(), *words), self.desk, **more))

    def ok(self, *words: str, **more: Any) -> Ended:
        """Run a command that must end with 0, without a traceback, and without leaving a process."""
        ended = self.run(*words, **more)
        if ended.status or ended.survivors or "Traceback" in ended.err:
            said = f"{ended.err[-1500:]}{ended.survivors}"
            raise CommandFailedError(f"{' '.join(words)} ended with {ended.status}: {said}")
        return ended

    def begin(self, *words: str) -> None:
        """Run a command that leaves a process on purpose, from outside the victims."""
        argv = [sys.executable, "-m", "arstore", *self.places(), *words]
        subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, cwd=CHECKOUT, check=True)

    def await_launchers(self) -> None:
        """Wait until no launcher is alive. Raises CommandFailedError if one is after a while."""
        until = time.monotonic() + _PATIENCE
        while left := [path.name for path in self._documents() if not is_unattended(str(path))]:
            if time.monotonic() > until:
                raise CommandFailedError(f"launchers are still alive: {left}")
            time.sleep(0.005)

    def _documents(self) -> list[Path]:
        return [path.parent for path in self.root.glob(f"containers/*/{RUN_NAME}")]

    def inside(self, work: Callable[[Store], Any]) -> Any:
        """Run *work* with the store in a new process; return its result, which must survive JSON."""
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(reading)
            guarded(lambda: self._answer(work, writing))
        os.close(writing)
        with open(reading, "rb") as file:
            said = file.read()
        if os.waitpid(child, 0)[1]:
            raise CommandFailedError("the work on the store has failed")
        return json.loads(said)

    def _answer(self, work: Callable[[Store], Any], pipe: int) -> None:
        with Store(str(self.root), str(self.store / "run")) as store:
            answer = json.dumps(work(store)).encode()
        with open(pipe, "wb") as file:
            file.write(answer)

    def look(self) -> Look:
        """The state that the store reports."""
        return Look(**self.inside(_looked))

    def wipe(self) -> None:
        """Remove all images and containers, and the garbage that they leave."""
        self.inside(_wiped)

    # --- restoring it -----------------------------------------------------------------------------------------------

    def clear(self) -> None:
        """Remove the store."""
        for mount in self.mounts():
            subprocess.run(["umount", "--lazy", "--no-canonicalize", mount], check=False)
        shutil.rmtree(self.store, ignore_errors=False) if self.store.exists() else None
        self.store.mkdir()

    def keep(self, name: str, readable: bool = True) -> None:
        """Save the store under *name*; its graph must be *readable*, or `homeless` already."""
        if self.root.exists() and readable:
            self.inside(homeless)
        subprocess.run(["cp", "-a", self.store, self.place / f"kept-{name}"], check=True)

    def put_back(self, name: str) -> None:
        """Restore the store that was saved under *name*."""
        self.clear()
        self.store.rmdir()
        subprocess.run(["cp", "-a", self.place / f"kept-{name}", self.store], check=True)

    def made(self, name: str, prepare: Callable[[Box], None], readable: bool = True) -> None:
        """Save under *name* the store that *prepare* makes from nothing; *readable* as for `keep`."""
        self.clear()
        prepare(self)
        self.keep(name, readable)

    # --- looking at it ----------------------------------------------------------------------------------------------

    def files(self) -> Files:
        """Everything below root and runroot, without the content of mounts."""
        found: Files = {}
        mounted = set(self.mounts())
        for directory, names, plain in os.walk(self.store):
            for name in [*names, *plain]:
                path = os.path.join(directory, name)
                status = os.lstat(path)
                kind = stat.filemode(status.st_mode)[0]
                key = os.path.relpath(path, self.store)
                if key in FRAME or key.startswith((KEPT, CACHE)):
                    continue
                tells = kind == "-" and key not in PAGES and not any(fnmatch(key, one) for one in VARYING)
                found[key] = (kind, status.st_size if tells else 0)
            names[:] = [name for name in names if os.path.join(directory, name) not in mounted]
        return found

    def mounts(self) -> list[str]:
        """The mount points below the store, the deepest first."""
        prefix = f"{self.store.resolve()}/"
        table = Path("/proc/self/mountinfo").read_text(errors="surrogateescape")
        points = [line.split(" ")[4] for line in table.splitlines()]
        return sorted((point for point in points if point.startswith(prefix)), key=len, reverse=True)

    def cgroups(self) -> set[str]:
        """The control groups of this store's containers, and of the trials in its runroot."""
        return set(groups_below(self.root / "containers", self.store / "run"))
