"""Protected images: `gc` and `prune` keep them, with or without a name.

Those that a user has protected have a hint, so that older versions can still use the store. A graph that is rebuilt
from `index.json` and blobs has no hints: the images have to be protected again. Others match one of the patterns in the
configuration (`Store.protects`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from arstore.graph.hints import delete_hint, hint, hints, put_hint

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from arstore.graph.snapshot import Snapshot
    from arstore.store.store import Store

_TABLE = "protected"
"""The table of hints."""


def protected(snapshot: Snapshot, patterns: Sequence[str] = ()) -> frozenset[str]:
    """Return the digests of all protected images and indexes.

    They have a hint, or one of *patterns* (`oci.name_pattern`) matches one of their names, or their digest.
    """
    found = {one.subject for one in hints(snapshot, _TABLE)}
    if patterns:
        from arstore.oci.name_pattern import NamePatterns

        protecting = NamePatterns(patterns)
        found.update(filter(protecting.match_digest, snapshot.keys("images")))
        found.update(digest for name, digest in snapshot.names() if protecting.match(name))
    return frozenset(found)


def protect(store: Store, texts: Iterable[str]) -> list[str]:
    """Protect the images that *texts* mean; return their digests. Raises the errors of `Store.find`."""
    digests = _digests(store, texts)
    with store.graph.write() as change:
        for digest in digests:
            put_hint(change, _TABLE, digest, "by the user")
    return digests


def unprotect(store: Store, texts: Iterable[str]) -> list[str]:
    """End the protection of these images; return the digests of those that were protected.

    Raises the errors of `Store.find`.
    """
    digests = _digests(store, texts)
    with store.graph.write() as change:
        ended = [digest for digest in digests if hint(change, _TABLE, digest)]
        for digest in ended:
            delete_hint(change, _TABLE, digest)
    return ended


def _digests(store: Store, texts: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(str(store.find(text, exact=True).digest) for text in texts))
