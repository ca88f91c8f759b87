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

The file has, besides the id, the lineage and the number of the last transaction that was committed (`Seen`). It is
written after the commit, so it may lag behind and never runs ahead: a graph with a smaller number, or with another
lineage, is an older one that somebody has put back. And `index.json` begins with the id (`witness`), so that a graph
and a file that were both replaced by another store's are not believed either.
"""

from __future__ import annotations

import enum
import json
import os
import re
from contextlib import suppress
from typing import TYPE_CHECKING

from arstore.digest import HEX_LENGTHS
from arstore.disk.owner import Owner
from arstore.disk.paths import STORE_FILE
from arstore.errors import NoStoreError, StoreDamagedError
from arstore.linux.files.reading import read_start
from arstore.linux.files.sync import sync_directory
from arstore.linux.files.writing import replace_file
from arstore.trace import reached
from arstore.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

    from arstore.disk.paths import Directories
    from arstore.graph.snapshot import Snapshot

UNFINISHED = "what is there was never finished"
"""What a store is whose making was killed before it had its id."""

ID, LINEAGE = "id", "lineage"
"""The keys of both ids in the table `meta`."""

ANNOTATION = "arstore.store"
"""The annotation of `index.json` that has the id of the store; it stands before the list."""

_LENGTH = 32
_DIGITS = 20
"""Digits of a transaction's number in the file, which is written in place and never changes its length."""
_LARGEST = 4096
"""Bytes of the file that are read."""
_WITNESS = re.compile(rf'"{re.escape(ANNOTATION)}": "([0-9a-f]{{{_LENGTH}}})"'.encode())
_HEAD = 512
"""Bytes of `index.json` that are read: the annotation stands in them."""


class IdentityKind(enum.Enum):
    """What is the matter with a store's identity."""

    LOST = "lost"
    """The graph is missing or empty."""
    FOREIGN = "foreign"
    """The graph is another store's."""
    OLDER = "older"
    """The graph is the store's, and lacks changes that the store has seen."""
    UNNAMED = "unnamed"
    """One of the two ids is missing or cannot be read."""
    UNFINISHED = "unfinished"
    """A store whose making was killed before it had its file; there is nothing in it."""


class Seen(NamedTuple):
    """The last transaction that the root's file tells of: *number* in a graph of this *lineage*."""

    lineage: str
    number: int


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
        return _parsed(read_start(f"{root}/{STORE_FILE}", _LARGEST))[0]
    except FileNotFoundError:
        return None
    except PermissionError:
        raise
    except OSError:
        return ""


def read_seen(root: str) -> Seen | None:
    """What the root's file says of the last transaction; None where it does not say so, or cannot be read."""
    try:
        return _parsed(read_start(f"{root}/{STORE_FILE}", _LARGEST))[1]
    except OSError:
        return None


def _parsed(data: bytes) -> tuple[str, Seen | None]:
    """The id in the file's *data*, "" for none, and what it says of the last transaction."""
    try:
        document = json.loads(data)
        store_id = document[ID]
    except (ValueError, LookupError, TypeError, RecursionError):
        return "", None
    lineage, number = document.get(LINEAGE), document.get("number")
    knows = _is_id(lineage) and isinstance(number, str) and number.isascii() and number.isdigit()
    return (store_id if _is_id(store_id) else ""), (Seen(lineage, int(number)) if knows else None)


def _is_id(found: object) -> bool:
    return isinstance(found, str) and len(found) == _LENGTH and set(found) <= set("0123456789abcdef")


def _document(store_id: str, seen: Seen | None) -> bytes:
    document = {ID: store_id}
    if seen is not None:
        document |= {LINEAGE: seen.lineage, "number": f"{seen.number:0{_DIGITS}}"}
    return json.dumps(document).encode() + b"\n"


def write(directories: Directories, store_id: str, seen: Seen | None = None) -> None:
    """Put the id into the root's file, durably, with the last transaction that was *seen*. Raises OSError."""
    _replace(directories, _document(store_id, seen), lambda: reached("store.id-written"))
    sync_directory(directories.root)
    reached("store.id-placed")


def _replace(directories: Directories, document: bytes, written: Callable[[], None] = lambda: None) -> None:
    path = f"{directories.root}/{STORE_FILE}"
    temporary = f"{path}.{Owner.announced(directories.graph).directory_name()}"
    replace_file(path, document, temporary, durable=True, written=written)


def note(directories: Directories, seen: Seen, own: str | None) -> None:
    """Have the root's file tell of a transaction that was committed; *own* is the graph's id.

    A file that is missing was taken by who made the store and had nothing for it, at the moment when others opened it.

    Written in place and not synced: after a power cut it may tell of an earlier one, which is no fault. What keeps it
    from being written, such as a full disk, has the same effect, and is passed over.
    """
    with suppress(OSError):
        try:
            fd = os.open(f"{directories.root}/{STORE_FILE}", os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except FileNotFoundError:
            if own:
                write(directories, own, seen)
            return
        try:
            old = os.read(fd, _LARGEST)
            store_id, known = _parsed(old)
            if not store_id or (known and known.lineage == seen.lineage and known.number >= seen.number):
                return
            document = _document(store_id, seen)
            if len(document) == len(old):
                os.pwrite(fd, document, 0)
            else:
                # It has the id alone: an earlier arstore wrote it.
                _replace(directories, document)
        finally:
            os.close(fd)


def witness(root: str) -> str:
    """The id of the store that wrote `index.json`; "" where none is there."""
    try:
        found = _WITNESS.search(read_start(f"{root}/index.json", _HEAD).partition(b'"manifests"')[0])
    except OSError:
        return ""
    return found[1].decode() if found else ""


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


def between(
    snapshot: Snapshot, directories: Directories, is_older: bool, seen: Seen | None = None
) -> IdentityFault | None:
    """What is the matter with a graph and its root.

    *is_older* says that the graph is of format 1 or 2, and *seen* is what the root's file said of the last transaction
    before the snapshot was taken. Raises OSError.
    """
    own, known = read(directories.root), snapshot.own(ID)
    if own and own == known:
        return _against_witness(own, directories) or (_against_seen(snapshot, seen) if seen else None)
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


def _against_witness(own: str, directories: Directories) -> IdentityFault | None:
    wrote = witness(directories.root)
    if wrote in {"", own}:
        return None
    why = f"and {STORE_FILE} belong to the store {own}, the files are of the store {wrote}"
    return IdentityFault(IdentityKind.FOREIGN, "graph", why)


def _against_seen(snapshot: Snapshot, seen: Seen) -> IdentityFault | None:
    lineage = snapshot.own(LINEAGE)
    if not lineage:
        # It is damaged, and `check` says so.
        return None
    if lineage != seen.lineage:
        return IdentityFault(IdentityKind.OLDER, "graph", "is one from before the store's graph was made again")
    if snapshot.number() < seen.number:
        why = f"is an older one: it ends with change {snapshot.number()}, and the store has seen change {seen.number}"
        return IdentityFault(IdentityKind.OLDER, "graph", why)
    return None


def _of_an_older_store(snapshot: Snapshot, directories: Directories) -> IdentityFault | None:
    from arstore.graph.loss import is_lost

    if is_lost(snapshot, directories):
        return IdentityFault(IdentityKind.LOST, "graph", "is empty, and index.json lists images that are there")
    return None


def none_at(root: str, why: str) -> NoStoreError:
    """The error for a root where no store was ever finished."""
    hint = "check --root and whether its file system is mounted; `arstore import` makes a store"
    return NoStoreError(root, f"there is no store: {why}", hint)
