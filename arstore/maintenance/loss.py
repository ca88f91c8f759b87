"""Whether the graph has been lost: there are images, and it knows nothing.

LMDB makes an empty environment where there is none, so a graph that was deleted looks like that of a new store. All
blobs are garbage to it then, and index.json is the witness that they are not.
"""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

from arstore.digest import is_digest
from arstore.store.layout import REF_NAME
from arstore.store.snapshot import HOME

if TYPE_CHECKING:
    from arstore.store.directories import Directories
    from arstore.store.store import Store

_EMPTIED = 4
"""The first transaction that can have removed the last image: format, home and an import come before it."""


def is_lost(store: Store) -> bool:
    """Whether the graph is not the one that has known the images that are there. Raises the errors of Graph.

    It is younger than index.json then: one that was emptied has written that, or is about to. In a copied store times
    tell nothing, but in a graph that was emptied more has been committed than in a new one.
    """
    with store.graph.read(lenient=True) as snapshot:
        if snapshot.number() >= _EMPTIED:
            return False
        if any(True for table in ("blobs", "images") for _ in snapshot.keys(table)):
            return False
    try:
        made = os.stat(f"{store.directories.graph}/{HOME}").st_ctime_ns
        is_younger = made > os.stat(f"{store.directories.root}/index.json").st_mtime_ns
    except FileNotFoundError:
        return False
    return is_younger and holds_images(store.directories)


def holds_images(directories: Directories) -> bool:
    """Whether index.json lists an image whose manifest lies among the blobs."""
    return any(os.path.exists(directories.blob(digest)) for digest in listed(directories))


def listed(directories: Directories) -> dict[str, list[str]]:
    """The digests in index.json with the names that they have there; empty where it cannot be read."""
    try:
        with open(f"{directories.root}/index.json", "rb") as file:
            document: Any = json.loads(file.read())
        found: dict[str, list[str]] = {}
        for entry in document["manifests"]:
            digest, name = entry["digest"], entry["annotations"][REF_NAME]
            if is_digest(digest):
                found.setdefault(digest, [])
                if name != digest and name not in found[digest]:
                    found[digest].append(name)
        return found
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return {}
