"""Detection of a lost graph in an older store: images exist, but the graph is empty.

Stores of format 3 detect it by their ids (`identity`). Before, LMDB created an empty environment if there was none, so
a deleted graph looks like that of a new store. `index.json` shows the difference.
"""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

from arstore.digest import is_digest
from arstore.graph.records import SUBJECT
from arstore.graph.snapshot import HOME
from arstore.linux.files.reading import read_file
from arstore.oci.descriptor import REF_NAME

if TYPE_CHECKING:
    from arstore.disk.paths import Directories
    from arstore.graph.snapshot import Snapshot

_EMPTIED = 4
"""The first transaction that can have removed the last image: format, home and an import come before it."""


def is_lost(snapshot: Snapshot, directories: Directories) -> bool:
    """Return whether the graph is not the one that listed the existing images. Raises OSError.

    A lost graph is younger than index.json: a graph that was emptied has rewritten index.json, or is about to. In a
    copied store the times are useless, but a graph that was emptied has committed more transactions than a new one.
    """
    if snapshot.number() >= _EMPTIED or any(snapshot.keys(table) for table in ("blobs", "images")):
        return False
    try:
        made = os.stat(f"{directories.graph}/{HOME}").st_ctime_ns
        is_younger = made > os.stat(f"{directories.root}/index.json").st_mtime_ns
    except FileNotFoundError:
        return False
    return is_younger and holds_images(directories)


def holds_images(directories: Directories) -> bool:
    """Return whether index.json lists an image whose manifest is among the blobs."""
    return any(os.path.exists(directories.blob(digest)) for digest in listed(directories))


def listed(directories: Directories) -> dict[str, list[str]]:
    """Return the digests of images in index.json, with their names there; nothing if the file cannot be read."""
    return read_list(directories) or {}


def listed_attachments(directories: Directories) -> list[tuple[str, str, str]]:
    """Return the attachments in index.json: digests of subject and manifest, and the suffix of the tag, "" for none.

    Empty if the file cannot be read.
    """
    try:
        document: Any = json.loads(read_file(f"{directories.root}/index.json"))
        found = []
        for entry in document["manifests"]:
            notes = entry["annotations"]
            digest, name, subject = entry["digest"], notes[REF_NAME], notes.get(SUBJECT, "")
            if is_digest(digest) and is_digest(subject):
                found.append((subject, digest, "" if name == digest else str(name).rpartition(".")[2]))
        return found
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return []


def read_list(directories: Directories) -> dict[str, list[str]] | None:
    """Like `listed`, but return None if index.json is missing or cannot be read."""
    try:
        document: Any = json.loads(read_file(f"{directories.root}/index.json"))
        found: dict[str, list[str]] = {}
        for entry in document["manifests"]:
            digest, name = entry["digest"], entry["annotations"][REF_NAME]
            if is_digest(digest) and SUBJECT not in entry["annotations"]:
                found.setdefault(digest, [])
                if name != digest and name not in found[digest]:
                    found[digest].append(name)
        return found
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return None
