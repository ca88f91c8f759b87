"""The bounds of documents, from the limits that a user may change. Not in scope: reading documents (`oci.document`)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from arstore.errors import UsageError
from arstore.oci.document import STORED, Bounds
from arstore.tar.limits import raising

if TYPE_CHECKING:
    from arstore.tar.limits import Limits

_NAMES = ("document", "json_depth", "layers", "manifests", "index_depth", "listing")


def bounds_of(limits: Limits) -> Bounds:
    """The bounds of documents in *limits*. Raises UsageError for more than a store can read again."""
    for name in _NAMES:
        asked, most = getattr(limits, name), getattr(STORED, name)
        if asked > most:
            flag = f"--limit {name.replace('_', '-')}={asked}"
            raise UsageError(flag, "is more than a store can read again", f"the most is {most}")
    return Bounds(
        limits.document,
        limits.json_depth,
        limits.layers,
        limits.manifests,
        limits.index_depth,
        limits.listing,
        raising("{}"),
    )
