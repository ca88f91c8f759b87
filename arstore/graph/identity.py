"""The identity of a store: which graph and which root belong together.

A store has a random id in two places: in the graph (`meta/id`), and in a file of the root. Blobs that the graph does
not know are garbage, so a graph of another root must never be trusted. An empty graph proves nothing: a first import
that was killed also leaves blobs next to an empty graph.

The order of writing makes every moment unambiguous. A new store: the graph's first transaction commits the id; then the
file is written; only then comes the first blob or container. So with a file but without its id in the graph, the graph
is lost or foreign; with blobs but without a file, the file is lost. A store of format 1 or 2 gets its id in the same
order with its first change, and becomes one of format 3 in the transaction of that change. The order matters because an
arstore that knows only format 2 may have made a new graph in the meantime, which has no id.

The graph also has a *lineage* (`meta/lineage`): another random id, new whenever the graph is rebuilt from documents.

Besides the id, the file has the lineage and the number of the last committed transaction (`Seen`). It is written after
the commit, so it may lag behind but is never ahead: a graph with a smaller number, or with another lineage, is an older
one that was put back. And `index.json` begins with the id (`witness`), so that a graph and a file that were both
replaced by those of another store are not trusted either.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from enum import Enum
from typing import TYPE_CHECKING

from arstore.digest import HEX_LENGTHS
from arstore.disk.owner import Owner
from arstore.disk.paths import STORE_FILE
from arstore.errors import NoStoreError, StoreDamagedError
from arstore.linux.files.reading import read_start
from arstore.linux.files.sync import sync_directory
from arstore.linux.files.writing import replace_file
from arstore.pattern import pattern
from arstore.trace import reached
from arstore.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

    from arstore.disk.paths import Directories
    from arstore.graph.snapshot import Snapshot

UNFINISHED = "its creation was never finished"
"""Reason why a store does not exist whose creation was killed before it had its id."""

ID, LINEAGE = "id", "lineage"
"""The keys of both ids in the table `meta`."""

ANNOTATION = "arstore.store"
"""The annotation of `index.json` that has the id of the store; it comes before the list."""

_LENGTH = 32
_DIGITS = 20
"""Digits of a transaction's number in the file, which is written in place and never changes its length."""
_LARGEST = 4096
"""Bytes of the file that are read."""
_WITNESS = pattern(rf'"{ANNOTATION.replace(".", "[.]")}": "([0-9a-f]{{{_LENGTH}}})"'.encode())
_HEAD = 512
"""Bytes of `index.json` that are read: the annotation is in them."""


class IdentityKind(Enum):
    """Kind of fault of a store's identity."""

    LOST = "lost"
    """The graph is missing or empty."""
    FOREIGN = "foreign"
    """The graph belongs to another store."""
    OLDER = "older"
    """The graph belongs to the store, but lacks changes that the store has seen."""
    UNNAMED = "unnamed"
    """One of the two ids is missing or cannot be read."""
    UNFINISHED = "unfinished"
    """A store whose creation was killed before it had its file; it is empty."""


class Seen(NamedTuple):
    """The last transaction noted in the root's file: *number* in a graph of this *lineage*."""

    lineage: str
    number: int


class IdentityFault(NamedTuple):
    """Graph and root do not belong together, or this cannot be verified. *what* is relative to the root."""

    kind: IdentityKind
    what: str
    why: str

    def error(self, root: str) -> StoreDamagedError:
        """Return the error that every command but `check` raises."""
        hint = "nothing was changed; `arstore check --repair` repairs it"
        return StoreDamagedError(f"{root}/{self.what}", self.why, hint)


def new_id() -> str:
    """Return a random id, 32 hexadecimal digits."""
    return os.urandom(_LENGTH // 2).hex()


def read(root: str) -> str | None:
    """Return the id in the root's file; None if there is no file, "" if it is unreadable. Raises PermissionError."""
    try:
        return _parsed(read_start(f"{root}/{STORE_FILE}", _LARGEST))[0]
    except FileNotFoundError:
        return None
    except PermissionError:
        raise
    except OSError:
        return ""


def read_seen(root: str) -> Seen | None:
    """Return the last transaction in the root's file; None if it has none, or cannot be read."""
    try:
        return _parsed(read_start(f"{root}/{STORE_FILE}", _LARGEST))[1]
    except OSError:
        return None


def _parsed(data: bytes) -> tuple[str, Seen | None]:
    """Return the id in the file's *data*, "" for none, and the last transaction."""
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
    """Write the id to the root's file, durably, with the last transaction that was *seen*. Raises OSError."""
    _replace(directories, _document(store_id, seen), lambda: reached("store.id-written"))
    sync_directory(directories.root)
    reached("store.id-placed")


def _replace(directories: Directories, document: bytes, written: Callable[[], None] = lambda: None) -> None:
    path = f"{directories.root}/{STORE_FILE}"
    temporary = f"{path}.{Owner.announced(directories.graph).directory_name()}"
    replace_file(path, document, temporary, durable=True, written=written)


def note(directories: Directories, seen: Seen, own: str | None) -> None:
    """Note a committed transaction in the root's file; *own* is the graph's id.

    The file may be missing: a process that created the store and had nothing to import removes it, perhaps at the
    moment when others open the store.

    It is written in place and not synced: after a power cut it may name an earlier transaction, which is not a fault.
    Errors of writing, such as a full disk, have the same effect, and are ignored.
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
    """Return the id of the store that wrote `index.json`; "" if it has none."""
    try:
        found = _WITNESS.search(read_start(f"{root}/index.json", _HEAD).partition(b'"manifests"')[0])
    except OSError:
        return ""
    return found[1].decode() if found else ""


def holds_content(directories: Directories) -> bool:
    """Return whether there is a blob or a container; these are created after the id. Raises OSError."""
    places = [directories.containers, *(f"{directories.root}/blobs/{algorithm}" for algorithm in HEX_LENGTHS)]
    for place in places:
        with suppress(FileNotFoundError, NotADirectoryError), os.scandir(place) as entries:
            if next(entries, None) is not None:
                return True
    return False


def without_graph(directories: Directories, how: str) -> IdentityFault | None:
    """Return the fault of a missing or empty graph, None for a new store; *how* describes the graph. Raises OSError."""
    holds = holds_content(directories)
    # Read last: a store that another process is creating has the file before it has content.
    if read(directories.root) is None and not holds:
        return None
    return IdentityFault(IdentityKind.LOST, "graph", f"{how}, but the store's files exist")


def between(
    snapshot: Snapshot, directories: Directories, is_older: bool, seen: Seen | None = None
) -> IdentityFault | None:
    """Return the fault of a graph and its root, or None.

    *is_older*: the graph has format 1 or 2. *seen* is the last transaction in the root's file, read before the snapshot
    was taken. Raises OSError.
    """
    own, known = read(directories.root), snapshot.own(ID)
    if own and own == known:
        return _against_witness(own, directories) or (_against_seen(snapshot, seen) if seen else None)
    if known is None:
        return IdentityFault(IdentityKind.UNNAMED, "graph", "the record of its id is damaged")
    holds = snapshot.holds_records() or holds_content(directories)
    # Read again, after everything that is created later.
    own = read(directories.root)
    if own == "":
        return IdentityFault(IdentityKind.UNNAMED, STORE_FILE, "cannot be read")
    if own is not None:
        if own == known:
            return None
        why = f"belongs to the store {known}, this is {own}" if known else f"is new, but this is the store {own}"
        return IdentityFault(IdentityKind.FOREIGN, "graph", why)
    if is_older:
        return _of_an_older_store(snapshot, directories)
    if holds:
        return IdentityFault(IdentityKind.UNNAMED, STORE_FILE, "is missing, but the store's files exist")
    return IdentityFault(IdentityKind.UNFINISHED, STORE_FILE, "is missing, and the store is still empty")


def _against_witness(own: str, directories: Directories) -> IdentityFault | None:
    wrote = witness(directories.root)
    if wrote in {"", own}:
        return None
    why = f"and {STORE_FILE} belong to the store {own}, but the files belong to the store {wrote}"
    return IdentityFault(IdentityKind.FOREIGN, "graph", why)


def _against_seen(snapshot: Snapshot, seen: Seen) -> IdentityFault | None:
    lineage = snapshot.own(LINEAGE)
    if not lineage:
        # It is damaged, and `check` reports that.
        return None
    if lineage != seen.lineage:
        return IdentityFault(IdentityKind.OLDER, "graph", "is older than the last rebuild of the store's graph")
    if snapshot.number() < seen.number:
        why = f"is outdated: it ends with change {snapshot.number()}, but the store has seen change {seen.number}"
        return IdentityFault(IdentityKind.OLDER, "graph", why)
    return None


def _of_an_older_store(snapshot: Snapshot, directories: Directories) -> IdentityFault | None:
    from arstore.graph.loss import is_lost

    if is_lost(snapshot, directories):
        return IdentityFault(IdentityKind.LOST, "graph", "is empty, but index.json lists images that exist")
    return None


def none_at(root: str, why: str) -> NoStoreError:
    """Return the error for a root where no store was ever finished."""
    hint = "check --root and whether its file system is mounted; `arstore import` creates a store"
    return NoStoreError(root, f"there is no store: {why}", hint)
