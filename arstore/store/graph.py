"""The graph: layers, trees, images, names and containers in one LMDB environment.

Readers see one consistent moment and never wait. There is one writer at a time across all processes, and a write
transaction ends with an fsync, so what belongs together is written together. Files are renamed into place *inside*
the write transaction that records them, and leave their place inside one that finds them unrecorded: the writer's
lock is the only lock there is, and no bytes move under it.

All tables share LMDB's one unnamed database, with the table's name before each key (`names/busybox:latest`): handles of
named databases cannot be opened without the writer's lock, and no reader may wait for it.

Rules that LMDB sets (`lmdb.h`, and py-lmdb's documentation): the environment is opened once in a process, never used
after a fork (`release` it before), its map is reserved once at its full size and never grown, and nobody else opens
`lock.mdb`.
"""

from __future__ import annotations

import os
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import lmdb

from arstore.errors import (
    ArstoreError,
    HostError,
    NoSpaceError,
    PermissionDeniedError,
    StoreDamagedError,
    StoreVersionError,
)
from arstore.store import faults, lockfile
from arstore.store.change import Change
from arstore.store.datafile import DAMAGE_HINT
from arstore.store.environment import address_limit, no_addresses, opened
from arstore.store.home import settle
from arstore.store.seal import BrokenSealError, sealed, unsealed
from arstore.store.snapshot import FORMAT_KEY, Snapshot, record_key, unreadable
from arstore.store.spare import SPARE, Spare
from arstore.trace import reached

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

FORMAT = 2
"""Version of the store's format that this code writes."""

READABLE = ("1", "2")
"""Versions that it reads; the first change of an older store makes it one of FORMAT."""

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
"""What LMDB says of a file that is not as it left it; nothing that is asked of it here is wrong by itself."""

_REOPENINGS = 8
"""How often an environment is opened anew because others have made it larger meanwhile."""


class Graph:
    """The LMDB environment in one directory, opened when it is first used."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._environment: lmdb.Environment | None = None
        self._opening = threading.Lock()
        self._is_older = False
        self._lock_file = -1
        self._living = 0
        self._spare = Spare(f"{path}/{SPARE}")

    @contextmanager
    def read(self, lenient: bool = False) -> Iterator[Snapshot]:
        """A snapshot for the length of the context; *lenient* for who looks for damage and has to see the rest.

        Raises StoreVersionError, StoreDamagedError, PermissionDeniedError, HostError.
        """
        with self._errors(), self._begun() as transaction:
            yield Snapshot(transaction, lenient)

    @contextmanager
    def _begun(self, write: bool = False) -> Iterator[lmdb.Transaction]:
        """A transaction, for the length of the context; the environment is opened anew where others made it larger."""
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
        """Whether other processes have the graph open, as far as they have read it. Raises as `read`."""
        with self._errors():
            environment = self._open()
            environment.reader_check()
            lines = environment.readers().splitlines()[1:]
        return any(words and words[0] != str(os.getpid()) for words in map(str.split, lines))

    @contextmanager
    def write(self, lenient: bool = False) -> Iterator[Change]:
        """A write transaction: committed, and durable, when the context ends without an exception, else undone.

        Raises as `read`, and NoSpaceError.
        """
        with self._errors(), self._begun(write=True) as transaction:
            if self._is_older:
                transaction.put(FORMAT_KEY, sealed(FORMAT_KEY, str(FORMAT).encode()))
            yield Change(transaction, lenient)
        self._is_older = False

    def release(self) -> None:
        """Close the environment, as must be done before a fork; the next transaction opens it again."""
        with self._opening:
            if self._environment is not None:
                self._close(self._environment)
                self._environment = None

    def _close(self, environment: lmdb.Environment) -> None:
        environment.close()
        self._let_go()

    def _let_go(self) -> None:
        faults.unwatch()
        if self._lock_file >= 0:
            os.close(self._lock_file)
            self._lock_file = -1

    def _open(self) -> lmdb.Environment:
        with self._opening:
            if self._environment is None:
                self._lock_file = lockfile.prepare(self.path, self._spare)
                self._spare.set_aside()
                faults.watch(self.path)
                try:
                    environment = opened(self.path)
                except BaseException:
                    self._let_go()
                    raise
                try:
                    self._is_older = _verify_format(environment) != str(FORMAT)
                    settle(environment, self.path)
                    environment.reader_check()
                except BaseException:
                    self._close(environment)
                    raise
                self._environment = environment
            return self._environment

    def spare_given_up(self) -> AbstractContextManager[None]:
        """For the length of what frees space: give back the space that is set aside for that."""
        return self._spare.given_up()

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """Turn what LMDB raises into errors of ours."""
        try:
            yield
        except lmdb.Error as error:
            raise self._meaning(error) from error

    def _meaning(self, error: lmdb.Error) -> ArstoreError:
        """The error of ours that says what *error* does."""
        text = str(error).rpartition(": ")[2]
        why = text[:1].lower() + text[1:]
        if isinstance(error, lmdb.MapFullError | lmdb.MapResizedError) and address_limit() is not None:
            return no_addresses(self.path)
        if isinstance(error, lmdb.DiskError | lmdb.MapFullError) or "No space left" in text:
            return NoSpaceError(self.path, why, "free some space, or `arstore gc`")
        if isinstance(error, lmdb.LockError | lmdb.ReadonlyError):
            return PermissionDeniedError(self.path, why)
        if isinstance(error, lmdb.VersionMismatchError):
            return StoreVersionError(self.path, why)
        if isinstance(error, _DAMAGE) or "data format" in text:
            return StoreDamagedError(self.path, why, DAMAGE_HINT)
        if "Permission denied" in text or "Read-only file system" in text:
            return PermissionDeniedError(self.path, why)
        # What LMDB means by these depends on what it read.
        return faults.damage_of_pages(self.path) or HostError(self.path, why)


def _verify_format(environment: lmdb.Environment) -> str:
    """The format of the environment, one that can be read; a fresh one gets ours. Raises StoreVersionError."""
    with environment.begin() as transaction:
        version = transaction.get(FORMAT_KEY)
    if version is None:
        reached("store.graph-opened")
        with environment.begin(write=True) as transaction:
            version = transaction.get(FORMAT_KEY)
            if version is None:
                created = record_key("meta", "created")
                version = sealed(FORMAT_KEY, str(FORMAT).encode())
                transaction.put(FORMAT_KEY, version)
                transaction.put(created, sealed(created, str(int(time.time())).encode()))
    try:
        text = unsealed(FORMAT_KEY, version).decode("ascii", "replace")
    except BrokenSealError as error:
        raise unreadable(FORMAT_KEY) from error
    if text not in READABLE:
        reads = " and ".join(READABLE)
        raise StoreVersionError(
            environment.path(), f"has store format {text}, this arstore reads {reads}", "use the arstore that wrote it"
        )
    return text
