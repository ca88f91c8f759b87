"""Leases: what a living process works with is not collected, although no name, container or mount holds it.

A lease dies with its process: it records pid, start time and boot, and no timer. For what lasts longer than a moment
and leaves no other trace, such as unpacking an image.
"""

from __future__ import annotations

import os
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from arstore.errors import NotFoundError
from arstore.store.ingest import Owner
from arstore.store.records import LeaseRecord
from arstore.trace import reached

if TYPE_CHECKING:
    from collections.abc import Iterator

    from arstore.store.graph import Graph


@contextmanager
def leased(graph: Graph, image: str, purpose: str) -> Iterator[None]:
    """Hold the image of this digest for the length of the context.

    Raises NotFoundError when it is not (any more) there, and the errors of Graph.
    """
    owner = Owner.current()
    lease_id = os.urandom(8).hex()
    with graph.write() as change:
        if change.image(image) is None:
            raise NotFoundError(f"image {image}", "was removed")
        change.put_lease(lease_id, LeaseRecord((image,), purpose, owner.pid, owner.start, owner.boot, time.time()))
    reached("lease.taken")
    try:
        yield
    finally:
        with graph.write() as change:
            change.delete("leases", lease_id)
        reached("lease.returned")
