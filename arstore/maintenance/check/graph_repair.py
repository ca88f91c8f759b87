"""Mending the graph: single records in a transaction, or all of it, where its pages are damaged.

A record in which one bit has flipped is put right by its seal. What else is lost is made again from documents
(`rebuild_records`). A graph with damaged pages is not written to: a new one is made of all records that can be reached
in it, and of what the documents tell about the others. The old file gets a second name below `graph.damaged-<time>`,
and the new one takes its place by one rename(2): at every moment there is a graph, and LMDB's lock file and those of
owners and claims stay what they are, so that whoever waited to open the graph locks what all others lock. It needs the
store alone, because who has the old file open would go on writing there. Whatever dies before the rename has changed
nothing.
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
"""LMDB's file."""


def mend_records(store: Store, names: Iterable[str]) -> None:
    """Put right what can be of the records with these shown keys, all in one transaction.

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
    """Record what the recorded images, and those that names and containers stand for, need and lack in the graph.

    These *containers*, which have no record, get one.
    Raises OSError and the errors of Graph.
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
    """Replace these records by what documents and files tell; what they tell nothing of stays as it is."""
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
            # Only additional stores know of it; one that is not there now may be, another time.
            record = lent_again(store, shown_key(key).partition("/")[2])
        if record is not None:
            change.put_raw(key, _value(key, record))
        elif key == f"meta/{LINEAGE}".encode():
            # The file has the same one, unless an earlier arstore wrote it.
            seen = identity.read_seen(store.directories.root)
            change.put_own(LINEAGE, seen.lineage if seen else new_id())
        elif key.startswith((b"trees/", b"hints/", b"meta/created")) or not _may_be_ours(key):
            # A cache, a hint, a date, or no record of ours at all.
            change.delete_raw(key)


def _attachment_of(name: str, tag: str = "") -> tuple[str, str, str] | None:
    """The digests in the shown key *name* of an attachment's record, and *tag*; None for any other key."""
    table, _, key = name.partition("/")
    subject, _, digest = key.partition("/")
    is_one = table == "attachments" and is_digest(subject) and is_digest(digest)
    return (subject, digest, tag) if is_one else None


def _attachments_in(records: Records) -> Iterator[tuple[str, str, str]]:
    """The attachments that have *records*."""
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
    """Those of *rows* that can be read, as records."""
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
    """Records of what index.json lists; *search* says not to rely on it alone, as where it lists nothing."""
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
    """Make a new graph of what the old one and the documents hold; where the old one is kept, "" if there was none.

    A graph that is another store's tells nothing. Raises InUseError while another process has the store open,
    StoreVersionError when a newer arstore has written there, OSError and the errors of Graph.
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
            # What index.json says comes from there, too, when an older arstore has gone on with a graph made anew.
            strange, records = records, {}
            has_written = all(f"images/{digest}" in strange for digest in listed(store.directories))
            records = _reconstructed(store, records, search=has_written).records
        elif not is_whole or not any(name.startswith("images/") for name in records):
            records = _reconstructed(store, records).records
        else:
            # It can be read, and is not believed: changes are missing in it.
            records = _reconstructed(store, _still_there(store.directories, records), search=True).records
        fresh = Graph(ingest.directory("graph"))
        with fresh.write() as change:
            for name, record in records.items():
                key = name.encode()
                # What a new graph says of itself it knows better.
                if not key.startswith(b"meta/"):
                    change.put_raw(key, _value(key, record))
            change.put_own(ID, store_id)
            change.put_own(LINEAGE, new_id())
            # Where it is it will find out in its place.
            change.delete("meta", HOME)
        with fresh.read() as snapshot:
            seen = identity.Seen(snapshot.own(LINEAGE) or "", snapshot.number())
        fresh.release()
        reached("repair.graph-made")
        # The old graph is none of this lineage: whatever dies here, it is not believed any more.
        set_aside(store.directories, STORE_FILE)
        identity.write(store.directories, store_id, seen)
        aside = _kept(store, path)
        reached("repair.graph-kept")
        os.rename(f"{fresh.path}/{_DATA}", f"{path}/{_DATA}")
        sync_directory(path)
        reached("repair.graph-replaced")
    return aside


def restore_id(store: Store) -> bool:
    """Bring the root's file and the graph's id together again, if the graph is this store's; else False.

    Raises as `rebuild_graph`.
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
    """The id that the store is to have, and whether *records* are of this store's own graph.

    What can be read of a damaged graph is taken for the store's, unless it has another id. One that *is_whole* and has
    no id, where the root has one, was made anew by an older arstore.
    """
    # Of three places two may have been replaced together; what lies beside the blobs is the store's.
    own = identity.witness(store.directories.root) or identity.read(store.directories.root)
    known = records.get(f"meta/{ID}")
    if own:
        return own, own == known or (known is None and not is_whole)
    is_own = not is_whole or _knows_what_is_there(store.directories, records)
    return known if is_own and isinstance(known, str) else new_id(), is_own


def _knows_what_is_there(directories: Directories, records: Records) -> bool:
    """Whether *records*, where ids cannot tell, are of the graph that knows what is under the root.

    It has all images that index.json lists and whose manifests are there, at least one of its own images is there,
    and every container has its record.
    """
    images = {key.partition("/")[2] for key in records if key.startswith("images/")}
    there = {digest for digest in {*images, *listed(directories)} if os.path.exists(directories.blob(digest))}
    containers = {f"containers/{name}" for name in os.listdir(directories.containers)}
    if not there <= images or not containers <= records.keys():
        return False
    return bool(images & there) or not (images or any(manifests(directories)))


def _still_there(directories: Directories, records: Records) -> Records:
    """Those of an older graph's *records* whose files are there, and what index.json does not contradict.

    What was removed since then is gone from there.
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
    """Move what is in the place *name* below the root, and is of the wrong kind, to a name of its own. Raises OSError.

    Documents are files, and all else are directories; `gc` leaves it alone there.
    """
    path = f"{directories.root}/{name}"
    with suppress(FileNotFoundError):
        kind = os.lstat(path).st_mode
        if stat.S_ISDIR(kind) is (name in {STORE_FILE, "index.json", "oci-layout"}):
            os.rename(
                path, f"{directories.root}/{name.replace('/', '-')}-{time.strftime('%Y%m%dT%H%M%S')}-{os.getpid()}"
            )


def _kept(store: Store, path: str) -> str:
    """Give the damaged graph's file a second name, in a directory of its own, which is returned. Raises OSError."""
    old = f"{path}/{_DATA}"
    if not os.path.lexists(old):
        return ""
    aside = f"{store.directories.root}/{KEPT_ASIDE}{time.strftime('%Y%m%dT%H%M%S')}-{os.getpid()}"
    os.mkdir(aside, 0o700)
    try:
        os.link(old, f"{aside}/{_DATA}", follow_symlinks=False)
    except OSError:
        # No file system for hard links; or no file, and then no graph either.
        if os.path.isfile(old):
            shutil.copyfile(old, f"{aside}/{_DATA}", follow_symlinks=False)
        else:
            os.rename(old, f"{aside}/{_DATA}")
    sync_directory(aside)
    sync_directory(store.directories.root)
    return aside


def _salvaged(path: str) -> tuple[dict[bytes, bytes], bool]:
    """The records that can be reached and are well, or were but for one bit; whether these are all."""
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
    """For the length of the context, nobody else has the graph open: LMDB keeps a lock on its lock file for that."""
    fd = os.open(f"{path}/lock.mdb", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError) as error:
            why = "is damaged and has to be made again, and another process has it open"
            raise InUseError(path, why, "wait until it has ended, or stop it") from error
        yield
    finally:
        os.close(fd)
