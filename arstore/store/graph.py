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

import errno
import os
import threading
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import lmdb

from arstore.errors import (
    HostError,
    InUseError,
    NoSpaceError,
    PermissionDeniedError,
    StoreDamagedError,
    StoreVersionError,
    from_os_error,
)
from arstore.store.change import Change
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

MAP_SIZE = 16 << 30
"""Address space reserved for the environment, in bytes; the file grows only as it is written."""

_READERS, _READER_SIZE = 2048, 64
"""Transactions that may read at once, over all processes, and the bytes of each one's slot in the lock file."""
_LOCK_SIZE = (_READERS + 16) * _READER_SIZE

_PATIENCE, _PAUSE = 10.0, 0.02
"""Seconds that another process with this one's pid is waited for, and seconds between two tries."""


class Graph:
    """The LMDB environment in one directory, opened when it is first used."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._environment: lmdb.Environment | None = None
        self._opening = threading.Lock()
        self._is_older = False
        self._spare = Spare(f"{path}/{SPARE}")

    @contextmanager
    def read(self, lenient: bool = False) -> Iterator[Snapshot]:
        """A snapshot for the length of the context; *lenient* for who looks for damage and has to see the rest.

        Raises StoreVersionError, StoreDamagedError, PermissionDeniedError, HostError.
        """
        with self._errors(), self._open().begin() as transaction:
            yield Snapshot(transaction, lenient)

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
        with self._errors(), self._open().begin(write=True) as transaction:
            if self._is_older:
                transaction.put(FORMAT_KEY, sealed(FORMAT_KEY, str(FORMAT).encode()))
            yield Change(transaction, lenient)
        self._is_older = False

    @property
    def is_open(self) -> bool:
        """Whether this process has the environment open."""
        return self._environment is not None

    def release(self) -> None:
        """Close the environment, as must be done before a fork; the next transaction opens it again."""
        with self._opening:
            if self._environment is not None:
                self._environment.close()
                self._environment = None

    def _open(self) -> lmdb.Environment:
        with self._opening:
            if self._environment is None:
                self._reserve_lock_file()
                self._spare.set_aside()
                environment = _environment(self.path)
                try:
                    self._is_older = _verify_format(environment) != str(FORMAT)
                    settle(environment, self.path)
                    environment.reader_check()
                except BaseException:
                    environment.close()
                    raise
                self._environment = environment
            return self._environment

    def spare_given_up(self) -> AbstractContextManager[None]:
        """For the length of what frees space: give back the space that is set aside for that."""
        return self._spare.given_up()

    def _reserve_lock_file(self) -> None:
        """Have the whole lock file on disk before LMDB maps it: a page that a full disk cannot give is a SIGBUS then.

        Only a file that is not there yet is touched, or one that a power cut has left short. To open and close one that
        LMDB uses would drop its locks, which are this process's; here this process has none, because the environment
        is not open.
        """
        path = f"{self.path}/lock.mdb"
        with suppress(FileNotFoundError):
            if os.stat(path).st_size >= _LOCK_SIZE:
                return
        try:
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError:
            return  # LMDB says what is the matter
        try:
            self._spare.allocated(fd, _LOCK_SIZE)
        except OSError as error:
            os.ftruncate(fd, 0)
            raise from_os_error(error, path) from error
        finally:
            os.close(fd)
        reached("store.lock-file-reserved")

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """Turn what LMDB raises into errors of ours."""
        try:
            yield
        except (lmdb.DiskError, lmdb.MapFullError) as error:
            raise NoSpaceError(self.path, str(error), "free some space, or `arstore gc`") from error
        except (lmdb.LockError, lmdb.ReadonlyError) as error:
            raise PermissionDeniedError(self.path, str(error)) from error
        except (lmdb.CorruptedError, lmdb.InvalidError, lmdb.PageNotFoundError, lmdb.PanicError) as error:
            raise StoreDamagedError(self.path, str(error)) from error
        except lmdb.VersionMismatchError as error:
            raise StoreVersionError(self.path, str(error)) from error
        except lmdb.Error as error:
            text = str(error)
            if "No space left" in text:
                raise NoSpaceError(self.path, text, "free some space, or `arstore gc`") from error
            if "Permission denied" in text or "Read-only file system" in text:
                raise PermissionDeniedError(self.path, text) from error
            raise HostError(self.path, text) from error


def _environment(path: str) -> lmdb.Environment:
    """The environment in the directory *path*, open.

    LMDB keeps readers apart by their pids. One in another pid namespace that has the pid which this process has is
    waited for, as long as that can be expected to help: processes close the graph while bytes move.
    """
    patience = time.monotonic() + _PATIENCE
    while True:
        try:
            return lmdb.open(path, map_size=MAP_SIZE, mode=0o600, readahead=False, max_readers=_READERS)
        except lmdb.LockError as error:
            if os.strerror(errno.EAGAIN) not in str(error):
                raise
            if time.monotonic() > patience:
                why = f"a process in another pid namespace that also has the pid {os.getpid()} uses the store"
                raise InUseError(path, why, "wait until it has ended, or use another pid namespace") from error
        time.sleep(_PAUSE)


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
