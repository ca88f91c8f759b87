"""The identity of a store: which graph and which root belong together.

A store has a random id, in two places: in the graph (`meta/id`), and in a file of the root. Blobs are garbage unless
the graph knows them, so a graph that is not the root's own must never be believed. Emptiness tells nothing: a first
import that was killed also leaves blobs beside an empty graph.

The order makes every moment readable. A new store: the graph's first transaction commits the id; then the file is
written; only then comes the first blob or container. So with a file and no such id in the graph, the graph is lost or
foreign; with blobs and no file, the file is lost. A store of format 1 or 2 gets its id in the same order with its first
change, and becomes one of format 3 in the transaction of that change: an arstore that knows format 2 alone may have
made a fresh graph meanwhile, which has no id.

The graph also has a *lineage* (`meta/lineage`): another random id, new whenever the graph is rebuilt from documents.
"""

from __future__ import annotations

import enum
import json
import os
from contextlib import suppress
from typing import TYPE_CHECKING

from arstore.digest import HEX_LENGTHS
from arstore.disk.owner import Owner
from arstore.disk.paths import STORE_FILE, sync_directory
from arstore.errors import NoStoreError, StoreDamagedError
from arstore.linux.files.writing import replace_file
from arstore.trace import reached
from arstore.values import NamedTuple

if TYPE_CHECKING:
    from arstore.disk.paths import Directories
    from arstore.graph.snapshot import Snapshot

UNFINISHED = "what is there was never finished"
"""What a store is whose making was killed before it had its id."""

ID, LINEAGE = "id", "lineage"
"""The keys of both ids in the table `meta`."""

_LENGTH = 32
_LARGEST = 4096
"""Bytes of the file that are read."""


class IdentityKind(enum.Enum):
    """What is the matter with a store's identity."""

    LOST = "lost"
    """The graph is missing or empty."""
    FOREIGN = "foreign"
    """The graph is another store's."""
    UNNAMED = "unnamed"
    """One of the two ids is missing or cannot be read."""
    UNFINISHED = "unfinished"
    """A store whose making was killed before it had its file; there is nothing in it."""


class IdentityFault(NamedTuple):
    """Graph and root do not belong together, or cannot be shown to. *what* is relative to the root."""

    kind: IdentityKind
    what: str
    why: str

    def error(self, root: str) -> StoreDamagedError:
        """The error of every command but `check`."""
        hint = "nothing was changed; `arstore check --repair` mends it"
        return StoreDamagedError(f"{root}/{self.what}", self.why, hint)


def new_id() -> str:
    """A random id, 32 hexadecimal digits."""
    return os.urandom(_LENGTH // 2).hex()


def read(root: str) -> str | None:
    """The id in the root's file; None where there is no file, "" where it cannot be read. Raises PermissionError."""
    try:
        fd = os.open(f"{root}/{STORE_FILE}", os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except PermissionError:
        raise
    except OSError:
        return ""
    try:
        found = json.loads(os.read(fd, _LARGEST))[ID]
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        return ""
    finally:
        os.close(fd)
    is_id = isinstance(found, str) and len(found) == _LENGTH and set(found) <= set("0123456789abcdef")
    return found if is_id else ""


def write(directories: Directories, store_id: str) -> None:
    """Put the id into the root's file, durably. Raises OSError."""
    path = f"{directories.root}/{STORE_FILE}"
    temporary = f"{path}.{Owner.announced(directories.graph).directory_name()}"
    document = json.dumps({ID: store_id}).encode() + b"\n"
    replace_file(path, document, temporary, durable=True, written=lambda: reached("store.id-written"))
    sync_directory(directories.root)
    reached("store.id-placed")


def holds_content(directories: Directories) -> bool:
    """Whether there is a blob or a container, which comes after the id. Raises OSError."""
    places = [directories.containers, *(f"{directories.root}/blobs/{algorithm}" for algorithm in HEX_LENGTHS)]
    for place in places:
        with suppress(FileNotFoundError, NotADirectoryError), os.scandir(place) as entries:
            if next(entries, None) is not None:
                return True
    return False


def without_graph(directories: Directories, how: str) -> IdentityFault | None:
    """What it means that the graph is not there, or has nothing in it; *how* says which. Raises OSError."""
    holds = holds_content(directories)
    # Read last: what another process is making at this moment has the file before it has content.
    if read(directories.root) is None and not holds:
        return None
    return IdentityFault(IdentityKind.LOST, "graph", f"{how}, and the store's files are there")


def between(snapshot: Snapshot, directories: Directories, is_older: bool) -> IdentityFault | None:
    """What is the matter with a graph and its root.

    *is_older* says that the graph is of format 1 or 2. Raises OSError.
    """
    own, known = read(directories.root), snapshot.own(ID)
    if own and own == known:
        return None
    if known is None:
        return IdentityFault(IdentityKind.UNNAMED, "graph", "the record of its id is damaged")
    holds = snapshot.holds_records() or holds_content(directories)
    # Once more, after all that comes later than it.
    own = read(directories.root)
    if own == "":
        return IdentityFault(IdentityKind.UNNAMED, STORE_FILE, "cannot be read")
    if own is not None:
        if own == known:
            return None
        why = f"belongs to the store {known}, this is {own}" if known else f"was made anew, this is the store {own}"
        return IdentityFault(IdentityKind.FOREIGN, "graph", why)
    if is_older:
        return _of_an_older_store(snapshot, directories)
    if holds:
        return IdentityFault(IdentityKind.UNNAMED, STORE_FILE, "is missing, and the store's files are there")
    return IdentityFault(IdentityKind.UNFINISHED, STORE_FILE, "is missing, and nothing is there yet")


def _of_an_older_store(snapshot: Snapshot, directories: Directories) -> IdentityFault | None:
    from arstore.graph.loss import is_lost

    if is_lost(snapshot, directories):
        return IdentityFault(IdentityKind.LOST, "graph", "is empty, and index.json lists images that are there")
    return None


def none_at(root: str, why: str) -> NoStoreError:
    """The error for a root where no store was ever finished."""
    hint = "check --root and whether its file system is mounted; `arstore import` makes a store"
    return NoStoreError(root, f"there is no store: {why}", hint)
