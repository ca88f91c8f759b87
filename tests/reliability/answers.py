"""The answers of `find` about a store, by which the index of contents is judged.

The index is a cache, so its files may be missing, doubled or damaged. What must not happen is a wrong answer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from arstore.maintenance.find.query import parse
from arstore.maintenance.find.search import search

if TYPE_CHECKING:
    from collections.abc import Mapping

    from arstore.store.store import Store

_MOST = 100_000
Shown = dict[str, list[Any]]
"""By path: kind, size and digest ("" if unknown) of what an image shows there."""


def answers(store: Store) -> dict[str, Any]:
    """Return what `find` says about every path of every image, by digest, and whether some layers are unknown to it."""
    found = search(store, parse("**"), (), _MOST)
    if found.is_cut:
        raise ValueError("there are too many paths for this exercise")
    shown: dict[str, Shown] = {}
    for path, places in found.paths.items():
        name = path.decode(errors="surrogateescape")
        for place in places:
            for where in place.images:
                if not where.how:
                    shown.setdefault(where.digest, {})[name] = [place.kind, place.size, place.digest]
    return {"shown": shown, "unknown": bool(found.unlisted)}


def fuller(one: Mapping[str, Shown], other: Mapping[str, Shown]) -> dict[str, Shown]:
    """Return, for each image, the answer with more paths, or else with more digests."""
    return {
        digest: max(one.get(digest, {}), other.get(digest, {}), key=_weight) for digest in one.keys() | other.keys()
    }


def _weight(shown: Shown) -> tuple[int, int]:
    return len(shown), sum(bool(digest) for _, _, digest in shown.values())


def wrong(said: Mapping[str, Any], known: Mapping[str, Shown]) -> list[str]:
    """Return what is wrong in an answer, for images whose right answer is *known*.

    A digest may be missing, and paths may if the answer says that layers are unknown.
    """
    faults = []
    for digest, shown in said["shown"].items():
        if digest not in known:
            continue
        right = known[digest]
        more = sorted(shown.keys() - right.keys())
        less = sorted(right.keys() - shown.keys())
        other = sorted(
            path
            for path in shown.keys() & right.keys()
            if shown[path][:2] != right[path][:2] or (shown[path][2] and right[path][2] not in ("", shown[path][2]))
        )
        if more or other or (less and not said["unknown"]):
            faults.append(f"find about {digest}: too much {more[:5]}, too little {less[:5]}, other {other[:5]}")
    return faults
