"""Another process that works on a store on request: until it ends, a living process holds everything it began."""

from __future__ import annotations

import json
import os
import signal
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from support.forking import guarded

from arstore.disk.staging import Ingest
from arstore.rootfs import mount as rootfs
from arstore.store.collect.lease import leased
from arstore.store.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable


class Colleague:
    """A forked process with the store open. It never finishes the work that it has begun."""

    def __init__(self, store: Store) -> None:
        store.graph.release()
        asking, told = os.pipe()
        saying, heard = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            os.close(told)
            os.close(saying)
            directories = store.directories
            guarded(lambda: _work(directories.root, directories.runroot, asking, heard))
        os.close(asking)
        os.close(heard)
        self._orders = os.fdopen(told, "w")
        self._answers = os.fdopen(saying)

    def _do(self, *order: str) -> Any:
        self._orders.write(json.dumps(order) + "\n")
        self._orders.flush()
        return json.loads(self._answers.readline())

    def ingest(self) -> str:
        """Begin an ingest with a file in it; return the name of its directory."""
        return str(self._do("ingest"))

    def lease(self, image: str) -> str:
        """Hold the image of this digest; return the lease's id."""
        return str(self._do("lease", image))

    def container(self, image: str, name: str) -> None:
        """Make a container that belongs to the process."""
        self._do("container", image, name)

    def kill(self) -> None:
        """Kill it with SIGKILL."""
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        self._orders.close()
        self._answers.close()


def _work(root: str, runroot: str, orders: int, answers: int) -> None:
    with Store(root, runroot) as store, ExitStack() as held, os.fdopen(orders) as lines:
        doings: dict[str, Callable[..., str]] = {
            "ingest": lambda: _ingest(store, held),
            "lease": lambda image: _lease(store, held, image),
            "container": lambda image, name: rootfs.create_container(store, store.find(image), name, ephemeral=True).id,
        }
        for line in lines:
            word, *rest = json.loads(line)
            os.write(answers, json.dumps(doings[word](*rest)).encode() + b"\n")
        # The parent is gone: end without cleaning up.
        os._exit(0)


def _ingest(store: Store, held: ExitStack) -> str:
    ingest = held.enter_context(Ingest(store.directories))
    with open(ingest.file("half"), "wb") as file:
        file.write(b"half")
    return os.path.basename(ingest.path)


def _lease(store: Store, held: ExitStack, image: str) -> str:
    with store.graph.read() as snapshot:
        before = {key for key, _ in snapshot.leases()}
    held.enter_context(leased(store.graph, image, "a test"))
    with store.graph.read() as snapshot:
        (made,) = {key for key, lease in snapshot.leases() if lease.pid == os.getpid()} - before
    return made
