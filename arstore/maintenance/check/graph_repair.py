"""Repair of the graph: single records in a transaction, or, if pages are damaged, the whole graph.

A record in which one bit has flipped is corrected by its seal. Other lost records are rebuilt from documents
(`rebuild_records`). A graph with damaged pages is not written to. Instead a new one is made from all records that can
be reached in it, and from the documents. The old file gets a second name below `graph.damaged-<time>`, and the new one
replaces it by one rename(2). So there is a graph at every moment, and LMDB's lock file and the lock files of owners and
claims stay the same: a process that waited to open the graph locks the same file as all others. The rebuild needs
exclusive use of the store, because a process with the old file open would keep writing there. A crash before the rename
changes nothing.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import stat
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from arstore.digest import is_digest
from arstore.disk.paths import KEPT_ASIDE, STORE_FILE
from arstore.disk.staging import Ingest
from arstore.errors import InUseError
from arstore.graph import identity
from arstore.graph.datafile import MAP_SIZE
from arstore.graph.graph import OLDER, Graph
from arstore.graph.identity import ID, LINEAGE, new_id
from arstore.graph.lmdb_pages import walk
from arstore.graph.loss import listed, listed_attachments, read_list
from arstore.graph.newer import refuse_newer
from arstore.graph.record_checksum import mended, sealed, unsealed
from arstore.graph.records import KINDS, AttachmentRecord, ContainerRecord, ImageRecord, LayerRecord, RecordCodec
from arstore.graph.snapshot import HOME, decoded
from arstore.linux.files.sync import sync_directory
from arstore.maintenance.check.blob_repair import lent_again
from arstore.maintenance.check.graph import is_well, shown_key
from arstore.maintenance.check.rebuild_records import Reconstruction, manifests, referring
from arstore.trace import reached

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from arstore.disk.paths import Directories
    from arstore.graph.records import Record
    from arstore.graph.write import Change
    from arstore.store.store import Store

    Records = dict[str, Record | str]

_BY_DIGEST = frozenset({"blobs", "layers", "trees", "images"})
_DATA = "data.mdb"
"""File name of LMDB's data."""


def mend_records(store: Store, names: Iterable[str]) -> None:
    """Repair the records with these keys (in the form of `shown_key`) where possible, all in one transaction.

    Raises OSError and the errors of Graph.
    """
    wanted = set(names)
    with store.graph.write(lenient=True) as change:
        bad = [(key, value) for key, value in change.rows() if shown_key(key) in wanted]
        left = []
        for key, value in bad:
            fixed = None if is_well(key, value) else mended(key, value)
            if fixed is None:
                left.append((key, value))
                continue
            change.delete_raw(key)
            change.put_raw(*fixed)
        if left:
            _make_again(store, change, left)
    reached("repair.records-mended")


def complete_records(store: Store, containers: Iterable[str] = ()) -> None:
    """Record everything that is missing in the graph for recorded images, and for images of names and containers.

    The unrecorded *containers* get a record. Raises OSError and the errors of Graph.
    """
    with store.graph.write(lenient=True) as change:
        known = _typed(change.rows())
        found = Reconstruction(store.directories, known)
        images = [key.partition("/")[2] for key in known if key.startswith("images/")]
        images += [record for key, record in known.items() if key.startswith("names/") and isinstance(record, str)]
        found.add_containers(containers)
        images += [record.image for record in found.records.values() if isinstance(record, ContainerRecord)]
        found.add_images(dict.fromkeys(images))
        found.add_attachments([*listed_attachments(store.directories), *_attachments_in(known)])
        for name, record in found.records.items():
            if known.get(name) != record:
                key = name.encode()
                change.put_raw(key, _value(key, record))
    reached("repair.records-completed")


def _make_again(store: Store, change: Change, left: list[tuple[bytes, bytes]]) -> None:
    """Replace these records from documents and files; records that cannot be rebuilt stay as they are."""
    names = {shown_key(key) for key, _ in left}
    rows = list(change.rows())
    known = _typed((key, value) for key, value in rows if shown_key(key) not in names)
    found = _reconstructed(store, known)
    found.add_attachments(pair for name in names if (pair := _attachment_of(name)) is not None)
    made = found.records
    for key, value in left:
        record = made.get(shown_key(key))
        old = _typed([(key, value)]).get(shown_key(key))
        if isinstance(record, ImageRecord) and isinstance(old, ImageRecord):
            record = record._replace(imported=old.imported, cap=old.cap)
        elif isinstance(record, AttachmentRecord) and isinstance(old, AttachmentRecord):
            record = record._replace(imported=old.imported)
        elif isinstance(record, LayerRecord) and isinstance(old, LayerRecord):
            record = record._replace(tree=old.tree)
        if key.startswith(b"lent/"):
            # Only additional stores know of it; one that is absent now may come back.
            record = lent_again(store, shown_key(key).partition("/")[2])
        if record is not None:
            change.put_raw(key, _value(key, record))
        elif key == f"meta/{LINEAGE}".encode():
            # The file has the same value, unless an earlier arstore wrote it.
            seen = identity.read_seen(store.directories.root)
            change.put_own(LINEAGE, seen.lineage if seen else new_id())
        elif key.startswith((b"trees/", b"hints/", b"meta/created")) or not _may_be_ours(key):
            # A cache, a hint, a date, or a key that is not ours.
            change.delete_raw(key)


def _attachment_of(name: str, tag: str = "") -> tuple[str, str, str] | None:
    """Return the digests in the shown key *name* of an attachment's record, and *tag*; None for any other key."""
    table, _, key = name.partition("/")
    subject, _, digest = key.partition("/")
    is_one = table == "attachments" and is_digest(subject) and is_digest(digest)
    return (subject, digest, tag) if is_one else None


def _attachments_in(records: Records) -> Iterator[tuple[str, str, str]]:
    """Yield the attachments in *records*."""
    for name, record in records.items():
        if isinstance(record, AttachmentRecord) and (found := _attachment_of(name, record.tag)) is not None:
            yield found


def _may_be_ours(key: bytes) -> bool:
    """Whether a record can have this key: most are digests."""
    table, slash, name = shown_key(key).partition("/")
    if table == "attachments":
        return _attachment_of(shown_key(key)) is not None
    return bool(slash) and (is_digest(name) if table in _BY_DIGEST else table in {*KINDS, "names", "meta"})


def _typed(rows: Iterable[tuple[bytes, bytes]]) -> Records:
    """Return the readable ones of *rows*, as records."""
    found: Records = {}
    for key, value in rows:
        if is_well(key, value):
            table = key.partition(b"/")[0].decode()
            text = unsealed(key, value)
            kind = KINDS.get(table)
            found[key.decode()] = text.decode() if kind is None else decoded(kind, key, value)
    return found


def _value(key: bytes, record: Record | str) -> bytes:
    return sealed(key, record.encode() if isinstance(record, str) else RecordCodec.encode(record))


def _reconstructed(store: Store, known: Records, search: bool = False) -> Reconstruction:
    """Rebuild the records of images in index.json; with *search*, or if it lists none, search all blobs too."""
    found = Reconstruction(store.directories, known)
    names = listed(store.directories)
    found.add_images(names)
    found.add_names(names)
    found.add_attachments(listed_attachments(store.directories))
    if search or not names:
        found.add_found(manifests(store.directories))
        found.add_attachments(referring(store.directories))
    found.add_containers(os.listdir(store.directories.containers))
    return found


def rebuild_graph(store: Store) -> str:
    """Make a new graph from the old one and the documents; return where the old one is kept, "" if there was none.

    Records of another store's graph are not used. Raises InUseError while another process has the store open,
    StoreVersionError if a newer arstore has written there, OSError and the errors of Graph.
    """
    store.graph.release()
    path = store.directories.graph
    set_aside(store.directories, "graph")
    os.makedirs(path, mode=0o700, exist_ok=True)
    with _alone(path), Ingest(store.directories) as ingest:
        rows, is_whole = _salvaged(f"{path}/{_DATA}")
        records = _typed(rows.items())
        store_id, is_own = _store_identity(store, records, is_whole)
        if is_own:
            refuse_newer(rows.items())
        if not is_own:
            # index.json may come from that graph, too, if an older arstore has continued with a newly made one.
            strange, records = records, {}
            has_written = all(f"images/{digest}" in strange for digest in listed(store.directories))
            records = _reconstructed(store, records, search=has_written).records
        elif not is_whole or not any(name.startswith("images/") for name in records):
            records = _reconstructed(store, records).records
        else:
            # It can be read, but is not trusted: changes are missing in it.
            records = _reconstructed(store, _still_there(store.directories, records), search=True).records
        fresh = Graph(ingest.directory("graph"))
        with fresh.write() as change:
            for name, record in records.items():
                key = name.encode()
                # The new graph has its own records about itself.
                if not key.startswith(b"meta/"):
                    change.put_raw(key, _value(key, record))
            change.put_own(ID, store_id)
            change.put_own(LINEAGE, new_id())
            # It records its home once it is in place.
            change.delete("meta", HOME)
        with fresh.read() as snapshot:
            seen = identity.Seen(snapshot.own(LINEAGE) or "", snapshot.number())
        fresh.release()
        reached("repair.graph-made")
        # The old graph has another lineage: after a crash here it is no longer trusted.
        set_aside(store.directories, STORE_FILE)
        identity.write(store.directories, store_id, seen)
        aside = _kept(store, path)
        reached("repair.graph-kept")
        os.rename(f"{fresh.path}/{_DATA}", f"{path}/{_DATA}")
        sync_directory(path)
        reached("repair.graph-replaced")
    return aside


def restore_id(store: Store) -> bool:
    """Make the id in the root's file and in the graph agree, if the graph is this store's; else return False.

    Raises the errors of `rebuild_graph`.
    """
    store.graph.release()
    directories = store.directories
    with _alone(directories.graph):
        rows, is_whole = _salvaged(f"{directories.graph}/{_DATA}")
        records = _typed(rows.items())
        known = records.get(f"meta/{ID}")
        if not is_whole or not _knows_what_is_there(directories, records):
            return False
        if identity.witness(directories.root) not in {"", known}:
            return False
        if isinstance(known, str):
            set_aside(directories, STORE_FILE)
            identity.write(directories, known)
        elif records.get("meta/format") in OLDER:
            # It gets its id with its next change.
            os.unlink(f"{directories.root}/{STORE_FILE}")
        else:
            return False
    return True


def _store_identity(store: Store, records: Records, is_whole: bool) -> tuple[str, bool]:
    """Return the id for the store, and whether *records* come from this store's own graph.

    Readable records of a damaged graph count as the store's, unless it has another id. A graph that *is_whole* and has
    no id, although the root has one, was newly made by an older arstore.
    """
    # Two of the three places may have been replaced together; the file next to the blobs is the store's.
    own = identity.witness(store.directories.root) or identity.read(store.directories.root)
    known = records.get(f"meta/{ID}")
    if own:
        return own, own == known or (known is None and not is_whole)
    is_own = not is_whole or _knows_what_is_there(store.directories, records)
    return known if is_own and isinstance(known, str) else new_id(), is_own


def _knows_what_is_there(directories: Directories, records: Records) -> bool:
    """Whether *records* belong to the content under the root; used if ids cannot decide.

    They must have all images that index.json lists and whose manifests exist. The manifest of at least one of their
    images must exist, and every container must have a record.
    """
    images = {key.partition("/")[2] for key in records if key.startswith("images/")}
    there = {digest for digest in {*images, *listed(directories)} if os.path.exists(directories.blob(digest))}
    containers = {f"containers/{name}" for name in os.listdir(directories.containers)}
    if not there <= images or not containers <= records.keys():
        return False
    return bool(images & there) or not (images or any(manifests(directories)))


def _still_there(directories: Directories, records: Records) -> Records:
    """Return those of an older graph's *records* whose files exist, and that index.json does not contradict.

    Files removed since then no longer exist.
    """
    names = read_list(directories)

    def stays(key: str, record: Record | str) -> bool:
        table, _, name = key.partition("/")
        if table == "names":
            return names is None or name in names.get(str(record), [])
        if table == "images":
            return name in (names or {}) or os.path.exists(directories.blob(name))
        if table == "attachments":
            return os.path.exists(directories.blob(name.rpartition("/")[2]))
        if table == "blobs":
            return os.path.exists(directories.blob(name))
        if table == "trees":
            return os.path.isdir(directories.tree(name))
        if isinstance(record, LayerRecord):
            return any(os.path.exists(directories.blob(blob)) or f"lent/{blob}" in records for blob in record.blobs)
        return table != "leases" and (table != "containers" or os.path.isdir(directories.container(name)))

    return {key: record for key, record in records.items() if stays(key, record)}


def set_aside(directories: Directories, name: str) -> None:
    """Rename *name* below the root if it is of the wrong kind (file or directory). Raises OSError.

    Documents must be files, everything else directories; `gc` leaves renamed ones alone.
    """
    path = f"{directories.root}/{name}"
    with suppress(FileNotFoundError):
        kind = os.lstat(path).st_mode
        if stat.S_ISDIR(kind) is (name in {STORE_FILE, "index.json", "oci-layout"}):
            os.rename(
                path, f"{directories.root}/{name.replace('/', '-')}-{time.strftime('%Y%m%dT%H%M%S')}-{os.getpid()}"
            )


def _kept(store: Store, path: str) -> str:
    """Give the damaged graph's file a second name in a new directory; return that directory. Raises OSError."""
    old = f"{path}/{_DATA}"
    if not os.path.lexists(old):
        return ""
    aside = f"{store.directories.root}/{KEPT_ASIDE}{time.strftime('%Y%m%dT%H%M%S')}-{os.getpid()}"
    os.mkdir(aside, 0o700)
    try:
        os.link(old, f"{aside}/{_DATA}", follow_symlinks=False)
    except OSError:
        # The file system has no hard links; or this is not a file, and then not a graph either.
        if os.path.isfile(old):
            shutil.copyfile(old, f"{aside}/{_DATA}", follow_symlinks=False)
        else:
            os.rename(old, f"{aside}/{_DATA}")
    sync_directory(aside)
    sync_directory(store.directories.root)
    return aside


def _salvaged(path: str) -> tuple[dict[bytes, bytes], bool]:
    """Return the records that can be reached and are valid, or were before one bit flipped; and whether all are."""
    rows: dict[bytes, bytes] = {}
    lost = 0

    def visit(key: bytes, value: bytes) -> None:
        nonlocal lost
        if is_well(key, value):
            rows[key] = value
        elif (fixed := mended(key, value)) is not None:
            rows.setdefault(*fixed)
        else:
            lost += 1

    is_whole = False
    with suppress(OSError):
        is_whole = walk(path, MAP_SIZE, visit).is_whole
    return rows, is_whole and not lost


@contextmanager
def _alone(path: str) -> Iterator[None]:
    """Keep other processes from opening the graph during the context, with the lock that LMDB uses for that."""
    fd = os.open(f"{path}/lock.mdb", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError) as error:
            why = "is damaged and has to be rebuilt, and another process has it open"
            raise InUseError(path, why, "wait until that process has ended, or stop it") from error
        yield
    finally:
        os.close(fd)
