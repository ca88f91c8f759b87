"""Disk usage of additional stores, and the bytes there that this store needs. Its total does not include them."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from arstore.errors import ArstoreError
from arstore.maintenance.scan.walk import weigh
from arstore.values import NamedTuple

if TYPE_CHECKING:
    from arstore.store.additional import AdditionalStore
    from arstore.store.store import Store


class LenderUsage(NamedTuple):
    """One additional store: bytes allocated below its root, None if it is absent; `error` gives the reason.

    `needed` are the bytes of the blobs there that images of this store need.
    """

    root: str
    size: int | None
    needed: int
    error: str = ""


def measure_lenders(store: Store) -> list[LenderUsage]:
    """Return every additional store, named or needed by images. Raises the errors of Graph."""
    with store.graph.read() as snapshot:
        lent = [record for _, record in snapshot.all_lent()]
    needed: dict[tuple[str, str], int] = {}
    for record in lent:
        place = (record.store, record.place)
        needed[place] = needed.get(place, 0) + record.size
    found = []
    for root, lender in [] if store.elsewhere is None else store.elsewhere.stores.every():
        if isinstance(lender, ArstoreError):
            mine = [place for place in needed if place[1] == root]
            found.append(LenderUsage(root, None, sum(map(needed.pop, mine)), str(lender)))
        else:
            mine = [place for place in needed if place == (lender.id, root) or (place[0] and place[0] == lender.id)]
            found.append(LenderUsage(root, _allocated(lender), sum(map(needed.pop, mine))))
    for (_, root), size in sorted(needed.items()):
        found.append(LenderUsage(root, None, size, f"additional store {root}: is needed, but is not named now"))
    return found


def _allocated(lender: AdditionalStore) -> int:
    """Return the bytes below its root, as du(1) counts them. Raises OSError."""
    names = os.listdir(lender.root)
    return os.lstat(lender.root).st_blocks * 512 + weigh(lender.directories, names)
