"""Leases: content that a live process works with is not collected, even if no name, container or mount holds it.

A lease ends with its process: it records pid, start time and boot, and has no timer. It is for work that takes a while
and leaves no other trace, such as unpacking an image.
"""

from __future__ import annotations

import os
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from arstore.disk.access import Access
from arstore.disk.owner import Owner
from arstore.errors import NotFoundError
from arstore.graph.records import LeaseRecord
from arstore.trace import reached

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import TypeVar

    from arstore.graph.graph import Graph
    from arstore.graph.snapshot import Snapshot

    T = TypeVar("T")


@contextmanager
def leased(graph: Graph, image: str, purpose: str) -> Iterator[None]:
    """Hold the image with this digest during the context.

    Raises NotFoundError if it is not in the store (any more), and the errors of Graph.
    """
    with some_leased(graph, (image,), purpose):
        yield


@contextmanager
def some_leased(graph: Graph, images: Sequence[str], purpose: str) -> Iterator[None]:
    """Hold these images during the context. Raises NotFoundError, and the errors of Graph."""

    def choose(snapshot: Snapshot) -> tuple[tuple[str, ...], None]:
        for image in images:
            if snapshot.image(image) is None:
                raise NotFoundError(f"image {image}", "was removed")
        return tuple(images), None

    with _held(graph, purpose, choose):
        yield


@contextmanager
def all_leased(graph: Graph, purpose: str, look: Callable[[Snapshot], T]) -> Iterator[T]:
    """Hold all images and indexes during the context; yield the result of *look* from the same snapshot.

    Raises the errors of Graph.
    """
    with _held(graph, purpose, lambda now: (tuple(digest for digest, _ in now.images()), look(now))) as found:
        yield found


@contextmanager
def _held(graph: Graph, purpose: str, choose: Callable[[Snapshot], tuple[tuple[str, ...], T]]) -> Iterator[T]:
    """Hold the images that *choose* returns, in the transaction in which it is called; yield its other result.

    A store that no process can change needs no lease, and in one that this process may only read it can take none.
    """
    if graph.access in {Access.FROZEN, Access.READER}:
        with graph.read() as snapshot:
            _, found = choose(snapshot)
        yield found
        return
    owner = Owner.announced(graph.path)
    lease_id = os.urandom(8).hex()
    with graph.write(guest=True) as change:
        # Leases of killed processes hold nothing, and each can list every image of the store.
        for dead in [
            key for key, one in change.leases() if not Owner(one.pid, one.start, one.boot).is_alive(graph.path)
        ]:
            change.delete("leases", dead)
        images, found = choose(change)
        change.put_lease(lease_id, LeaseRecord(images, purpose, owner.pid, owner.start, owner.boot, time.time()))
    reached("lease.taken")
    try:
        yield found
    finally:
        with graph.write(guest=True) as change:
            change.delete("leases", lease_id)
        reached("lease.returned")
