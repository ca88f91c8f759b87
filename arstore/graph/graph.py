"""The graph: layers, trees, images, names and containers in one LMDB environment.

Readers see one consistent moment and never wait. There is one writer at a time across all processes, and a write
transaction ends with an fsync, so records that belong together are written together. Files are renamed into place
*inside* the write transaction that records them. They are removed inside a transaction that finds them unrecorded. So
the writer's lock protects both, and no data is copied while it is held.

All tables share LMDB's unnamed database, with the table's name before each key (`names/busybox:latest`): handles of
named databases cannot be opened without the writer's lock, and a reader must not wait for it.

Rules of LMDB (`lmdb.h`, and py-lmdb's documentation): a process opens the environment once; it must not be used after a
fork (`release` it before); its map is reserved once at its full size and never grown; and only LMDB opens `lock.mdb`
(see `lockfile` for the exception).
"""

from __future__ import annotations

import os
import stat
import time
from contextlib import contextmanager
from threading import Lock
from typing import TYPE_CHECKING

import lmdb

from arstore.disk.access import Access, access_to, require_local, require_lockless, require_writable, unreadable_store
from arstore.disk.paths import STORE_FILE
from arstore.disk.reserve import SPARE, Spare
from arstore.errors import (
    ArstoreError,
    HostError,
    NoSpaceError,
    PermissionDeniedError,
    StoreDamagedError,
    StoreVersionError,
)
from arstore.graph import faults, identity, lockfile
from arstore.graph.copy_detection import detect_copy, is_at_home
from arstore.graph.datafile import DAMAGE_HINT
from arstore.graph.environment import address_limit, no_addresses, opened
from arstore.graph.newer import refuse_unknown_tables
from arstore.graph.record_checksum import BrokenSealError, sealed, unsealed
from arstore.graph.snapshot import FORMAT_KEY, Snapshot, unreadable
from arstore.graph.write import Change
from arstore.linux.mounting.filesystem import nobody_can_write
from arstore.trace import reached

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from arstore.disk.paths import Directories

FORMAT = 3
"""Version of the store's format that this code writes."""

READABLE = ("1", "2", "3")
"""Versions that it reads; the first change of an older store converts it to FORMAT."""

OLDER = READABLE[:-1]
"""Versions without ids."""

_DAMAGE = (
    lmdb.BadTxnError,
    lmdb.BadValsizeError,
    lmdb.CorruptedError,
    lmdb.CursorFullError,
    lmdb.IncompatibleError,
    lmdb.InvalidError,
    lmdb.MapResizedError,
    lmdb.PageFullError,
    lmdb.PageNotFoundError,
    lmdb.PanicError,
)
"""LMDB's errors about a damaged file. Our requests are valid, so these errors have no other cause."""

_REOPENINGS = 8
"""How often an environment is reopened because other processes have made the file larger."""


class Graph:
    """The LMDB environment in one directory, opened at its first use."""

    def __init__(
        self,
        path: str,
        store: Directories | None = None,
        create: bool = True,
        survives_copy: Callable[[str], bool] = lambda _form: False,
        only_read: bool = False,
        void: bool = False,
    ) -> None:
        """*store* is the store that the graph belongs to; without it, the graph is independent.

        Without *create*, a store that was never finished counts as missing, and is not finished. *survives_copy* is a
        function of a form's name: whether trees of that form can be relied on after the store was copied. *only_read*
        is for an additional store: nothing is written there, no lock and no lease, even by its owner. *void* is for a
        store that does not exist: its graph is empty, and nothing can be put there.
        """
        self._void = void
        self.path = path
        self._only_read = only_read
        self._is_copied = False
        self._store = store
        self._create = create
        self._survives_copy = survives_copy
        self._root = os.path.dirname(path)
        self._environment: lmdb.Environment | None = None
        self._opening = Lock()
        self._is_older = False
        self._fault: identity.IdentityFault | None = None
        self._access: Access | None = None
        self._is_copy = False
        self._lock_file = -1
        self._living = 0
        self._spare = Spare(f"{path}/{SPARE}")

    @contextmanager
    def read(self, lenient: bool = False) -> Iterator[Snapshot]:
        """Open a snapshot during the context; *lenient* skips unreadable records.

        Raises NoStoreError, StoreVersionError, StoreDamagedError, PermissionDeniedError, HostError.
        """
        with self._errors(), self._begun() as transaction:
            yield Snapshot(transaction, lenient)

    @contextmanager
    def _begun(self, write: bool = False) -> Iterator[lmdb.Transaction]:
        """Begin a transaction, during the context; reopen the environment if other processes made the file larger."""
        for _ in range(_REOPENINGS):
            try:
                transaction = self._open().begin(write=write)
                break
            except lmdb.MapResizedError:
                if self._living or address_limit() is None:
                    raise
                self.release()
        else:
            raise no_addresses(self.path)
        self._living += 1
        try:
            with transaction:
                yield transaction
        finally:
            self._living -= 1

    def has_others(self) -> bool:
        """Return whether other processes have the graph open and have read it. Raises the errors of `read`."""
        with self._errors():
            environment = self._open()
            environment.reader_check()
            lines = environment.readers().splitlines()[1:]
        return any(words and words[0] != str(os.getpid()) for words in map(str.split, lines))

    @contextmanager
    def write(self, lenient: bool = False, guest: bool = False) -> Iterator[Change]:
        """Begin a write transaction: committed durably when the context ends without an exception, else undone.

        The first one by the store's owner converts an older store to this format. Raises the errors of `read`,
        NoSpaceError, and PermissionDeniedError for a store that may only be read. *guest* permits the few writes that
        are allowed in another user's store.
        """
        self._require_own()
        if not (guest and self.access is Access.GUEST):
            require_writable(self._root)
        with self._errors():
            environment = self._open()
            advances = self._is_older and self.access is Access.OWNER
            if advances and self._store is not None:
                self._name(environment, self._store)
            with self._begun(write=True) as transaction:
                refuse_unknown_tables(transaction)
                if advances:
                    _advance(transaction)
                change = Change(transaction, lenient)
                yield change
                lineage, store_id = change.own(identity.LINEAGE), change.own(identity.ID)
            self._note(lineage, store_id)
        if advances:
            self._is_older = False

    def _require_own(self) -> None:
        if self._only_read:
            raise PermissionDeniedError(self._root, "is an additional store, which is never written to")
        if self._void:
            raise identity.none_at(os.path.dirname(self.path), "it does not exist")

    def unmake(self) -> None:
        """Turn an empty store that no other process uses into one that was never finished.

        For a process that created the store and then had nothing to import. Raises the errors of `write`.
        """
        if self._store is None:
            return
        with self._errors(), self._begun(write=True) as transaction:
            # New content is placed inside a transaction, and every process that opens the graph is a reader of it.
            if Snapshot(transaction).holds_records() or identity.holds_content(self._store) or self.has_others():
                return
            os.unlink(f"{self._store.root}/{STORE_FILE}")

    def _note(self, lineage: str | None, store_id: str | None) -> None:
        """Note the last committed transaction in the root's file; *lineage* is the graph's."""
        if self._store is None or self._environment is None or not lineage or self.access is not Access.OWNER:
            return
        reached("store.change-committed")
        # Not the transaction's own number: LMDB has none for a transaction without changes.
        identity.note(self._store, identity.Seen(lineage, self._environment.info()["last_txnid"]), store_id)

    @contextmanager
    def unchanging(self) -> Iterator[Snapshot]:
        """Hold one moment during the context: no process removes or replaces anything.

        That takes the writer's lock, which is held here; on a read-only file system no process can do it. Raises the
        errors of `write`.
        """
        if self.access is Access.FROZEN:
            with self.read() as snapshot:
                yield snapshot
        else:
            with self.write() as change:
                yield change

    def verify(self) -> None:
        """Check that the graph can be read and is the store's; finish a new store. Raises the errors of `read`."""
        with self.read():
            pass

    def fault(self) -> identity.IdentityFault | None:
        """Return the fault of the store's identity, which makes all other methods fail, or None."""
        try:
            with self.read():
                return None
        except StoreDamagedError:
            if self._fault is None:
                raise
            return self._fault

    def distrusts(self, form: str) -> bool:
        """Return whether trees of the form with this name may be incomplete because the store was copied.

        Only for a store that is only read, after it was opened: in other stores the records of trees have this
        information (`copy_detection`).
        """
        return self._is_copy and not self._survives_copy(form)

    @property
    def is_open(self) -> bool:
        """Whether this process has the environment open."""
        return self._environment is not None

    def release(self) -> None:
        """Close the environment, which is necessary before a fork; the next transaction opens it again."""
        with self._opening:
            if self._environment is not None:
                self._close(self._environment)
                self._environment = None

    def _close(self, environment: lmdb.Environment) -> None:
        environment.close()
        self._let_go()

    def _let_go(self) -> None:
        faults.unwatch(self.path)
        if self._lock_file >= 0:
            os.close(self._lock_file)
            self._lock_file = -1

    def _open(self) -> lmdb.Environment:
        with self._opening:
            if self._environment is None:
                self._fault = None
                if self._void:
                    self._environment = self._empty()
                    return self._environment
                self._look_for_graph()
                self._environment = self._verified()
            return self._environment

    @staticmethod
    def _empty() -> lmdb.Environment:
        from arstore.graph.snapshot_copy import opened_empty

        return opened_empty([(FORMAT_KEY, sealed(FORMAT_KEY, str(FORMAT).encode()))])

    def _verified(self) -> lmdb.Environment:
        """Open the environment, and verify that it belongs to this store."""
        for attempt in range(_REOPENINGS):
            environment = self._opened()
            try:
                self._is_older = self._format_of(environment) != str(FORMAT)
                self._verify_identity(environment)
                if self.access is Access.OWNER:
                    detect_copy(environment, self.path, self._survives_copy)
                else:
                    self._is_copy = not is_at_home(environment, self.path)
                environment.reader_check()
            except BaseException as error:
                self._close(environment)
                # A copy may show a moment before the one in the root's file.
                if self._is_copied and isinstance(error, StoreDamagedError) and attempt + 1 < _REOPENINGS:
                    continue
                raise
            return environment
        raise AssertionError("the last attempt returns or raises")

    def _opened(self) -> lmdb.Environment:
        """Open the environment as far as this process may."""
        if self._only_read:
            return self._opened_only_read()
        if self.access is Access.READER:
            try:
                return self._opened_only_read()
            except PermissionError as error:
                raise unreadable_store(self._root) from error
        require_local(self._root, self.path)
        if self.access is Access.FROZEN:
            require_lockless(self._root, self.path)
        else:
            self._lock_file = lockfile.prepare(self.path, self._spare)
            if self.access is Access.OWNER:
                self._spare.set_aside()
        faults.watch(self.path)
        try:
            return opened(self.path, frozen=self.access is Access.FROZEN)
        except BaseException:
            self._let_go()
            raise

    def _opened_only_read(self) -> lmdb.Environment:
        """Open the graph of an additional store: the file itself if no process can change it, else a copy."""
        self._is_copied = not nobody_can_write(self.path)
        faults.watch(self.path)
        try:
            if not self._is_copied:
                return opened(self.path, frozen=True)
            from arstore.graph.snapshot_copy import opened_copy

            return opened_copy(self.path)
        except BaseException:
            self._let_go()
            raise

    def is_settled(self) -> bool:
        """Return whether no process can change anything in the store. Raises the errors of `read`."""
        self.verify()
        return self.access is Access.FROZEN and not self._is_copied

    @property
    def access(self) -> Access:
        """Kind of access that this process has. Raises OSError."""
        if self._access is None:
            self._access = Access.FROZEN if self._only_read or self._void else access_to(self._root)
        return self._access

    def _look_for_graph(self) -> None:
        """Keep LMDB from creating a graph where one existed before. Raises StoreDamagedError, NoStoreError."""

        def how() -> str:
            try:
                status = os.stat(f"{self.path}/data.mdb")
            except FileNotFoundError:
                return "is missing"
            except NotADirectoryError:
                return "is not a directory"
            except PermissionError:
                # LMDB reports it.
                return ""
            if not stat.S_ISREG(status.st_mode):
                return "has a data.mdb that is not a regular file"
            return "" if status.st_size else "is empty"

        self._may_begin(how)

    def _may_begin(self, how: Callable[[], str]) -> None:
        """Refuse to start a graph where one existed before; *how* returns why it is missing, or "" if it exists."""
        if self._store is None or not (missing := how()):
            return
        fault = identity.without_graph(self._store, missing)
        # Another process may have created the store in the meantime.
        if fault is not None and how():
            self._refuse(fault)
        if fault is None and not self._create:
            raise identity.none_at(self._store.root, identity.UNFINISHED)

    def _refuse(self, fault: identity.IdentityFault | None) -> None:
        if fault is not None and self._store is not None:
            self._fault = fault
            raise fault.error(self._store.root)

    def _format_of(self, environment: lmdb.Environment) -> str:
        """Return the format of the environment; a new one gets FORMAT. Raises StoreVersionError."""

        def version() -> bytes | None:
            with environment.begin() as transaction:
                return Snapshot(transaction).raw(FORMAT_KEY)

        found = version()
        if found is None:
            self._may_begin(lambda: "is empty" if version() is None else "")
            self._require_own()
            require_writable(self._root)
            reached("store.graph-opened")
            found = _begun(environment, named=self._store is not None)
            reached("store.graph-named")
        return _readable(found, self.path)

    def _verify_identity(self, environment: lmdb.Environment) -> None:
        """Verify that the graph belongs to this store; write a new store's root file. Raises the errors of `read`."""
        if self._store is None:
            return
        fault = None
        for _ in range(3):
            # Check again in another snapshot: an older store gets its id in the graph first, and a file after the
            # snapshot. The file may also be read while it is being written.
            seen = identity.read_seen(self._store.root)
            with environment.begin() as transaction:
                fault = identity.between(Snapshot(transaction), self._store, self._is_older, seen)
            if fault is None:
                return
        if fault is None or fault.kind is not identity.IdentityKind.UNFINISHED:
            self._refuse(fault)
        elif self._create:
            require_writable(self._root)
            self._name(environment, self._store)
        else:
            raise identity.none_at(self._store.root, identity.UNFINISHED)

    def _name(self, environment: lmdb.Environment, store: Directories) -> None:
        """Write the store's id to both places: first to the graph, durably, then to the root's file."""
        with environment.begin() as transaction:
            store_id = Snapshot(transaction).own(identity.ID)
        if not store_id:
            with environment.begin(write=True) as transaction:
                change = Change(transaction)
                # Unless another process was first.
                store_id = change.own(identity.ID) or identity.new_id()
                change.put_own(identity.ID, store_id)
            reached("store.older-named")
        if identity.read(store.root) != store_id:
            with environment.begin() as transaction:
                snapshot = Snapshot(transaction)
                lineage, number = snapshot.own(identity.LINEAGE), snapshot.number()
            identity.write(store, store_id, identity.Seen(lineage, number) if lineage else None)

    def spare_given_up(self) -> AbstractContextManager[None]:
        """Release the reserved space during an operation that frees space.

        Raises PermissionDeniedError for a store that may only be read.
        """
        self._require_own()
        require_writable(self._root)
        return self._spare.given_up()

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """Convert LMDB's errors to ours."""
        try:
            yield
        except lmdb.Error as error:
            raise self._meaning(error) from error

    def _meaning(self, error: lmdb.Error) -> ArstoreError:
        """Return our error for *error*."""
        text = str(error).rpartition(": ")[2]
        why = text[:1].lower() + text[1:]
        if isinstance(error, lmdb.MapFullError | lmdb.MapResizedError) and address_limit() is not None:
            return no_addresses(self.path)
        if isinstance(error, lmdb.DiskError | lmdb.MapFullError) or "No space left" in text:
            return NoSpaceError(self.path, why, "free some space, or run `arstore gc`")
        if isinstance(error, lmdb.LockError | lmdb.ReadonlyError):
            return PermissionDeniedError(self.path, why)
        if isinstance(error, lmdb.VersionMismatchError):
            return StoreVersionError(self.path, why)
        if isinstance(error, _DAMAGE) or "data format" in text or "Invalid argument" in text:
            return StoreDamagedError(self.path, why, DAMAGE_HINT)
        if "Permission denied" in text or "Read-only file system" in text:
            return PermissionDeniedError(self.path, why)
        # The meaning of these errors depends on what LMDB read.
        return faults.damage_of_pages(self.path) or HostError(self.path, why)


def _begun(environment: lmdb.Environment, named: bool) -> bytes:
    """Make the first transaction of a new graph, unless another process was first; return the version recorded."""
    with environment.begin(write=True) as transaction:
        change = Change(transaction)
        version = change.raw(FORMAT_KEY)
        if version is None:
            version = sealed(FORMAT_KEY, str(FORMAT).encode())
            transaction.put(FORMAT_KEY, version)
            change.put_own("created", str(int(time.time())))
            if named:
                change.put_own(identity.ID, identity.new_id())
                change.put_own(identity.LINEAGE, identity.new_id())
    return version


def _advance(transaction: lmdb.Transaction) -> None:
    """Convert an older graph to this format, unless another process was first."""
    change = Change(transaction)
    version = change.raw(FORMAT_KEY)
    if version is not None and _readable(version, "") != str(FORMAT):
        transaction.put(FORMAT_KEY, sealed(FORMAT_KEY, str(FORMAT).encode()))
        change.put_own(identity.LINEAGE, identity.new_id())


def _readable(version: bytes, path: str) -> str:
    """Return the version in the record of the format. Raises StoreVersionError, StoreDamagedError."""
    try:
        text = unsealed(FORMAT_KEY, version).decode("ascii", "replace")
    except BrokenSealError as error:
        raise unreadable(FORMAT_KEY) from error
    if text not in READABLE:
        reads = f"{', '.join(READABLE[:-1])} and {READABLE[-1]}"
        why = f"has store format {text}, but this arstore reads {reads}"
        raise StoreVersionError(path, why, "use the arstore that wrote it")
    return text
