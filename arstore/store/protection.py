"""Protected images: `gc` and `prune` keep them, with or without a name.

Those that a user has protected have a hint, so that older versions can still use the store. A graph that is rebuilt
from `index.json` and blobs has no hints: the images have to be protected again. Others match one of the patterns in the
configuration (`Store.protects`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from arstore.graph.hints import delete_hint, hint, put_hint
from arstore.store.collect.protected import PROTECTED

if TYPE_CHECKING:
    from collections.abc import Iterable

    from arstore.store.store import Store


def protect(store: Store, texts: Iterable[str]) -> list[str]:
    """Protect the images that *texts* mean; return their digests. Raises the errors of `Store.find`."""
    digests = _digests(store, texts)
    with store.graph.write() as change:
        for digest in digests:
            put_hint(change, PROTECTED, digest, "by the user")
    return digests


def unprotect(store: Store, texts: Iterable[str]) -> list[str]:
    """End the protection of these images; return the digests of those that were protected.

    Raises the errors of `Store.find`.
    """
    digests = _digests(store, texts)
    with store.graph.write() as change:
        ended = [digest for digest in digests if hint(change, PROTECTED, digest)]
        for digest in ended:
            delete_hint(change, PROTECTED, digest)
    return ended


def _digests(store: Store, texts: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(str(store.find(text, exact=True).digest) for text in texts))
