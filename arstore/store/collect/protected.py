"""The images that `gc` and `prune` keep, with or without a name (`store.protection` says who protects them)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from arstore.graph.hints import hints

if TYPE_CHECKING:
    from collections.abc import Sequence

    from arstore.graph.snapshot import Snapshot

PROTECTED = "protected"
"""The table of hints with the images that a user has protected."""


def protected(snapshot: Snapshot, patterns: Sequence[str] = ()) -> frozenset[str]:
    """Return the digests of all protected images and indexes.

    They have a hint, or one of *patterns* (`oci.name_pattern`) matches one of their names, or their digest.
    """
    found = {one.subject for one in hints(snapshot, PROTECTED)}
    if patterns:
        from arstore.oci.name_pattern import NamePatterns

        protecting = NamePatterns(patterns)
        found.update(filter(protecting.match_digest, snapshot.keys("images")))
        found.update(digest for name, digest in snapshot.names() if protecting.match(name))
    return frozenset(found)
