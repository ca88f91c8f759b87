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
from itertools import islice
from typing import TYPE_CHECKING, TypeVar, cast

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
from arstore.store.records import (
    KINDS,
    BlobRecord,
    Codec,
    ContainerRecord,
    ImageRecord,
    LayerRecord,
    LeaseRecord,
    Record,
    TreeRecord,
)
from arstore.store.seal import BrokenSealError, sealed, unsealed
from arstore.trace import reached

if TYPE_CHECKING:
    from collections.abc import Iterator

    from arstore.store.transaction import Transaction

FORMAT = 2
"""Version of the store's format that this code writes."""

READABLE = ("1", "2")
"""Versions that it reads; the first change of an older store makes it one of FORMAT."""

FORMAT_KEY = b"meta/format"
"""Where the version stands."""

MAP_SIZE = 16 << 30
"""Address space reserved for the environment, in bytes; the file grows only as it is written."""

SPARE, SPARE_SIZE = "spare", 512 << 10
"""A file beside LMDB's own that holds nothing but space, and its bytes."""

HOME = "home"
"""An empty file beside them, by which a store finds out that it was copied, and the key of what is known of it."""
_COPIED_FORM = "directory"
"""The form of trees whose copies may lack what their files had, and look well: times, owners, attributes, links."""

_NO_MEMBERS = b'"members":[]}'
"""How the record of a tree ends that is over no others."""

_BATCH = 1000
"""Records that are decoded together."""

_SMALLEST_SPARE = 16 << 10

_READERS, _READER_SIZE = 2048, 64
"""Transactions that may read at once, over all processes, and the bytes of each one's slot in the lock file."""
_LOCK_SIZE = (_READERS + 16) * _READER_SIZE

_PATIENCE, _PAUSE = 10.0, 0.02
"""Seconds that another process with this one's pid is waited for, and seconds between two tries."""

_T = TypeVar("_T", bound=Record)


class Snapshot:
    """The graph at one moment.

    A record that cannot be read is a StoreDamagedError; with *lenient*, it is as if it were not there.
    """

    def __init__(self, transaction: lmdb.Transaction, lenient: bool = False) -> None:
        # A transaction without buffers gives bytes.
        self._txn = cast("Transaction", transaction)
        self._lenient = lenient
        self.passed_over: set[bytes] = set()
        """The keys of the records that were passed over so far, as they stand in the database."""
        self._runs: list[tuple[str, TreeRecord]] | None = None
        self._loaded: dict[str, dict[str, Record]] = {}

    def load(self, *tables: str) -> None:
        """Read these tables whole, for who will ask for most of their records one by one."""
        for table in tables:
            if table not in self._loaded:
                self._loaded[table] = dict(self._all(table, KINDS[table]))

    def keys(self, table: str) -> Iterator[str]:
        """The keys of *table*, sorted; what stands under them is not looked at."""
        start = _key(table, "")
        cursor = self._txn.cursor()
        if cursor.set_range(start):
            for name in cursor.iternext(keys=True, values=False):
                if not name.startswith(start):
                    return
                yield name[len(start) :].decode("utf-8", "backslashreplace")

    def _get(self, table: str, kind: type[_T], key: str) -> _T | None:
        if table in self._loaded:
            return cast("_T | None", self._loaded[table].get(key))
        name = _key(table, key)
        data = self._txn.get(name)
        try:
            return None if data is None else Codec.decode(kind, unsealed(name, data))
        except (ValueError, TypeError, RecursionError) as error:
            self._pass_over(name, error)
            return None

    def _all(self, table: str, kind: type[_T]) -> Iterator[tuple[str, _T]]:
        if table in self._loaded:
            yield from cast("dict[str, _T]", self._loaded[table]).items()
            return
        rows = self._rows(table)
        while batch := list(islice(rows, _BATCH)):
            try:
                records = Codec.decode_all(kind, [data for _, data in batch])
            except (ValueError, TypeError, RecursionError):
                yield from self._each(table, kind, batch)
            else:
                yield from zip([key for key, _ in batch], records, strict=True)

    def _each(self, table: str, kind: type[_T], rows: list[tuple[str, bytes]]) -> Iterator[tuple[str, _T]]:
        for key, data in rows:
            try:
                yield key, Codec.decode(kind, data)
            except (ValueError, TypeError, RecursionError) as error:
                self._pass_over(_key(table, key), error)

    def _rows(self, table: str, prefix: str = "") -> Iterator[tuple[str, bytes]]:
        start = _key(table, prefix)
        skip = len(table) + 1
        cursor = self._txn.cursor()
        if not cursor.set_range(start):
            return
        for name, data in cursor:
            if not name.startswith(start):
                return
            try:
                yield name[skip:].decode(), unsealed(name, data)
            except ValueError as error:
                self._pass_over(name, error)

    def _pass_over(self, key: bytes, error: Exception) -> None:
        if not self._lenient:
            raise _unreadable(key) from error
        self.passed_over.add(key)

    def has(self, table: str, key: str) -> bool:
        """Whether there is a record of this key, readable or not."""
        return self._txn.get(_key(table, key)) is not None

    def blob(self, digest: str) -> BlobRecord | None:
        """The blob of this digest."""
        return self._get("blobs", BlobRecord, digest)

    def blobs(self) -> Iterator[tuple[str, BlobRecord]]:
        """All blobs, by digest."""
        return self._all("blobs", BlobRecord)

    def layer(self, chain_id: str) -> LayerRecord | None:
        """The layer of this chain ID."""
        return self._get("layers", LayerRecord, chain_id)

    def layers(self) -> Iterator[tuple[str, LayerRecord]]:
        """All layers, by chain ID."""
        return self._all("layers", LayerRecord)

    def chain(self, top: str) -> list[tuple[str, LayerRecord]]:
        """The layers from the bottom up to *top*, with their chain IDs; empty for "".

        Raises StoreDamagedError when a parent is missing or the chain never ends.
        """
        found: list[tuple[str, LayerRecord]] = []
        seen: set[str] = set()
        chain_id = top
        while chain_id:
            layer = self.layer(chain_id)
            if layer is None or chain_id in seen:
                why = "its record is missing" if layer is None else "it is its own ancestor"
                raise StoreDamagedError(f"layer {chain_id}", why, "`arstore check` tells what else is damaged")
            seen.add(chain_id)
            found.append((chain_id, layer))
            chain_id = layer.parent
        found.reverse()
        return found

    def tree(self, key: str) -> TreeRecord | None:
        """The tree of this key."""
        return self._get("trees", TreeRecord, key)

    def trees(self) -> Iterator[tuple[str, TreeRecord]]:
        """All trees, by key."""
        return self._all("trees", TreeRecord)

    def runs(self) -> list[tuple[str, TreeRecord]]:
        """The merged indexes among the trees, by key."""
        if self._runs is None:
            if "trees" in self._loaded:
                every = self.trees()
            else:
                # Of all trees only these list members: to decode the others would be the most of it.
                some = [(key, data) for key, data in self._rows("trees") if not data.endswith(_NO_MEMBERS)]
                every = self._each("trees", TreeRecord, some)
            self._runs = [(key, tree) for key, tree in every if tree.members]
        return self._runs

    def image(self, digest: str) -> ImageRecord | None:
        """The image of this manifest (or index) digest."""
        return self._get("images", ImageRecord, digest)

    def images(self) -> Iterator[tuple[str, ImageRecord]]:
        """All images and indexes, by digest."""
        return self._all("images", ImageRecord)

    def images_with_prefix(self, prefix: str) -> list[str]:
        """Digests of the images whose digest starts with *prefix* (`sha256:` and hexadecimal digits); at most two."""
        return [key for key, _ in islice(self._rows("images", prefix), 2)]

    def name(self, name: str) -> str | None:
        """The digest of the image that *name* stands for."""
        key = _key("names", name)
        data = self._txn.get(key)
        try:
            return None if data is None else unsealed(key, data).decode()
        except ValueError as error:
            self._pass_over(key, error)
            return None

    def names(self) -> Iterator[tuple[str, str]]:
        """All names with the digests they stand for, sorted by name."""
        for name, data in self._rows("names"):
            try:
                yield name, data.decode()
            except ValueError as error:
                self._pass_over(_key("names", name), error)

    def names_by_digest(self) -> dict[str, list[str]]:
        """The names of each image that has some."""
        found: dict[str, list[str]] = {}
        for name, digest in self.names():
            found.setdefault(digest, []).append(name)
        return found

    def container(self, container_id: str) -> ContainerRecord | None:
        """The container of this id."""
        return self._get("containers", ContainerRecord, container_id)

    def containers(self) -> Iterator[tuple[str, ContainerRecord]]:
        """All containers, by id."""
        return self._all("containers", ContainerRecord)

    def number(self) -> int:
        """How many transactions have been committed to the graph since it was made."""
        return int(self._txn.id())

    def home(self) -> str:
        """What told the store's files from a copy when it was last found to be at home; "" when it never was."""
        key = _key("meta", HOME)
        data = self._txn.get(key)
        try:
            return "" if data is None else unsealed(key, data).decode("ascii", "replace")
        except BrokenSealError:
            return "unreadable"

    def leases(self) -> Iterator[tuple[str, LeaseRecord]]:
        """All leases, by id, of the living and the dead."""
        return self._all("leases", LeaseRecord)


class Change(Snapshot):
    """The graph in a write transaction: reads see what this transaction has written."""

    def number(self) -> int:
        """The transaction's number: each that changes something has the next one, and asking for it makes it do so."""
        value = self._txn.get(FORMAT_KEY)
        if value is not None:
            self._txn.put(FORMAT_KEY, value)
        return self._txn.id()

    def _put(self, table: str, key: str, record: Record) -> None:
        self._loaded.pop(table, None)
        name = _key(table, key)
        self._txn.put(name, sealed(name, Codec.encode(record)))

    def raw(self, key: bytes) -> bytes | None:
        """The value under *key*, table and seal and all."""
        return self._txn.get(key)

    def rows(self) -> list[tuple[bytes, bytes]]:
        """All keys and values as they stand."""
        return list(self._txn.cursor())

    def put_raw(self, key: bytes, value: bytes) -> None:
        """Write a value as it stands; only for who mends."""
        self._runs = None
        self._loaded.clear()
        self._txn.put(key, value)

    def delete_raw(self, key: bytes) -> None:
        """Remove what stands under *key*."""
        self._runs = None
        self._loaded.clear()
        self._txn.delete(key)

    def put_blob(self, digest: str, record: BlobRecord) -> None:
        """Record a blob that is in its place."""
        self._put("blobs", digest, record)

    def put_layer(self, chain_id: str, record: LayerRecord) -> None:
        """Record a layer whose parent is recorded."""
        self._put("layers", chain_id, record)

    def put_tree(self, key: str, record: TreeRecord) -> None:
        """Record a tree that is in its place."""
        self._runs = None
        self._put("trees", key, record)

    def put_image(self, digest: str, record: ImageRecord) -> None:
        """Record an image whose blobs and layers are recorded."""
        self._put("images", digest, record)

    def put_name(self, name: str, digest: str) -> None:
        """Let *name* stand for the image *digest* from now on."""
        key = _key("names", name)
        self._txn.put(key, sealed(key, digest.encode()))

    def put_container(self, container_id: str, record: ContainerRecord) -> None:
        """Record a container."""
        self._put("containers", container_id, record)

    def put_lease(self, lease_id: str, record: LeaseRecord) -> None:
        """Record a lease."""
        self._put("leases", lease_id, record)

    def put_home(self, home: str) -> None:
        """Record where the store is now."""
        key = _key("meta", HOME)
        self._txn.put(key, sealed(key, home.encode()))

    def delete(self, table: str, key: str) -> bool:
        """Remove the record *key* of *table*; whether there was one."""
        self._runs = None
        self._loaded.pop(table, None)
        return bool(self._txn.delete(_key(table, key)))


class Graph:
    """The LMDB environment in one directory, opened when it is first used."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._environment: lmdb.Environment | None = None
        self._opening = threading.Lock()
        self._is_older = False
        self._frees = False

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
                self._set_spare_aside()
                environment = _environment(self.path)
                try:
                    self._is_older = _verify_format(environment) != str(FORMAT)
                    _verify_home(environment, self.path)
                    environment.reader_check()
                except BaseException:
                    environment.close()
                    raise
                self._environment = environment
            return self._environment

    @contextmanager
    def spare_given_up(self) -> Iterator[None]:
        """For the length of what frees space: give back the space that is set aside for that.

        Even a removal has to write new pages, and a full disk must not be a reason not to remove.
        """
        self._frees = True
        with suppress(FileNotFoundError):
            os.unlink(f"{self.path}/{SPARE}")
            reached("store.spare-given-up")
        try:
            yield
        finally:
            self._frees = False
            self._set_spare_aside()

    def _set_spare_aside(self) -> None:
        """Make the spare file where it is missing or short, as large as there is room for, unless it was given up."""
        if self._frees:
            return
        path = f"{self.path}/{SPARE}"
        with suppress(FileNotFoundError):
            if os.stat(path).st_size == SPARE_SIZE:
                return
        with suppress(OSError):
            fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
            reached("store.spare-made")
            try:
                _reserve(fd)
            finally:
                os.close(fd)

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
            _allocate(fd, f"{self.path}/{SPARE}")
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


def _allocate(fd: int, spare: str) -> None:
    """Have the whole lock file allocated, out of the *spare* file where there is no other room. Raises OSError."""
    try:
        os.posix_fallocate(fd, 0, _LOCK_SIZE)
    except OSError:
        with suppress(FileNotFoundError):
            os.unlink(spare)
        os.posix_fallocate(fd, 0, _LOCK_SIZE)


def _reserve(fd: int) -> None:
    """Have as much of the spare file allocated as there is room for: a full disk still gives a few pages of it back."""
    size = SPARE_SIZE
    while size >= _SMALLEST_SPARE:
        try:
            os.posix_fallocate(fd, 0, size)
        except OSError:
            # Some file systems keep what they had allocated by then.
            os.ftruncate(fd, 0)
            size //= 2
        else:
            return


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
                created = _key("meta", "created")
                version = sealed(FORMAT_KEY, str(FORMAT).encode())
                transaction.put(FORMAT_KEY, version)
                transaction.put(created, sealed(created, str(int(time.time())).encode()))
    try:
        text = unsealed(FORMAT_KEY, version).decode("ascii", "replace")
    except BrokenSealError as error:
        raise _unreadable(FORMAT_KEY) from error
    if text not in READABLE:
        reads = " and ".join(READABLE)
        raise StoreVersionError(
            environment.path(), f"has store format {text}, this arstore reads {reads}", "use the arstore that wrote it"
        )
    return text


def _verify_home(environment: lmdb.Environment, path: str) -> None:
    """Find out whether the store was copied since somebody last opened it, and if so, distrust what copies may lack.

    A full disk is no reason to refuse: the next process tries again.
    """
    with environment.begin() as transaction:
        recorded = Snapshot(transaction).home()
    if recorded and recorded == _sign(path):
        return
    with suppress(lmdb.DiskError, lmdb.MapFullError, OSError), environment.begin(write=True) as transaction:
        _settle(Change(transaction, lenient=True), path)


def _settle(change: Change, path: str) -> None:
    """Take the store as being at home where it is; unless it is new, no tree of files is trusted any more."""
    recorded = change.home()
    if recorded and recorded == _sign(path):
        # Another process was first.
        return
    fd = os.open(f"{path}/{HOME}", os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    os.close(fd)
    reached("store.home-made")
    if recorded:
        for key, tree in list(change.trees()):
            if tree.form == _COPIED_FORM:
                change.put_tree(key, tree._replace(synced=False, boot=""))
    change.put_home(_sign(path))


def _sign(path: str) -> str:
    """What tells the files of this very store from a copy: the inode number of one, and the time of its last change,
    which no copier can set; "" while it is missing.
    """
    try:
        status = os.stat(f"{path}/{HOME}", follow_symlinks=False)
    except FileNotFoundError:
        return ""
    return f"{status.st_ino} {status.st_ctime_ns}"


def _key(table: str, key: str) -> bytes:
    return f"{table}/{key}".encode()


def _unreadable(key: bytes) -> StoreDamagedError:
    table, _, name = key.decode("utf-8", "backslashreplace").partition("/")
    return StoreDamagedError(f"{table} record {name}", "cannot be read", "`arstore check --repair` may mend it")
