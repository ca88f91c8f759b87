"""Removal of images that were not used for a time, with everything that only they need.

Images stay if they are protected or held (a container, a mount, a reading process), and if an index that stays lists
them. An index counts as used when one of its images was. Images without a name are left to `gc`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from arstore.errors import InUseError
from arstore.maintenance.remove import Disposal, plan_removal, remove_images
from arstore.maintenance.scan.totals import NOTHING
from arstore.store.collect.holders import image_holders
from arstore.store.collect.protected import protected
from arstore.store.collect.sweep import Removed
from arstore.store.last_use import last_uses

if TYPE_CHECKING:
    from arstore.graph.snapshot import Snapshot
    from arstore.store.store import Store

_ATTEMPTS = 5
_NONE = Disposal((), Removed(), 0, NOTHING)


def plan_prune(store: Store, unused_since: float) -> Disposal:
    """Return what `prune` would remove now: images whose last use was before *unused_since* (seconds since the epoch).

    Raises OSError and the errors of Graph.
    """
    with store.graph.read() as snapshot:
        chosen = _unused(store, snapshot, unused_since)
    return plan_removal(store, chosen) if chosen else _NONE


def prune(store: Store, unused_since: float) -> Disposal:
    """Remove these images, all or none, and return what was removed.

    Raises InUseError if other processes keep using images that were chosen, OSError and the errors of Graph.
    """
    for attempt in range(_ATTEMPTS):
        with store.graph.read() as snapshot:
            chosen = _unused(store, snapshot, unused_since)
        if not chosen:
            return _NONE
        try:
            return remove_images(store, chosen)
        except InUseError:
            # One of them has just come into use: it is not chosen again.
            if attempt == _ATTEMPTS - 1:
                raise
    raise AssertionError("the last attempt returns or raises")


def _unused(store: Store, snapshot: Snapshot, unused_since: float) -> list[str]:
    """Return the digests of the named images and indexes to remove."""
    noted = last_uses(snapshot)
    names = snapshot.names_by_digest()
    records = dict(snapshot.images())
    uses = {digest: max(record.imported, noted.get(digest, 0.0)) for digest, record in records.items()}
    for digest, record in records.items():
        uses[digest] = max([uses[digest], *(uses[member] for member in record.manifests if member in uses)])
    kept = protected(snapshot, store.protects) | image_holders(store.directories, snapshot).keys()
    old = {digest for digest, used in uses.items() if used < unused_since and digest not in kept}
    # An index stays if one of its images does, and then all of its images stay.
    changed = True
    while changed:
        staying = {
            digest
            for digest, record in records.items()
            if digest in old and any(one in records and one not in old for one in record.manifests)
        }
        listed = {
            member
            for digest, record in records.items()
            if record.is_index and (digest not in old or digest in staying)
            for member in record.manifests
        }
        changed = bool(old & (staying | listed))
        old -= staying | listed
    return sorted(digest for digest in old if names.get(digest))
