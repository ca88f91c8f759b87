"""The graph at one moment: records by key, and whole tables.

Tables are read in batches of a thousand records, which takes a fifth of the time of single reads: a store may have 10^5
layers, and `gc` needs all of them.
"""

from __future__ import annotations

from contextlib import suppress
from itertools import chain, islice
from typing import TYPE_CHECKING, cast

from arstore.errors import StoreDamagedError
from arstore.graph.record_checksum import BrokenSealError, all_unsealed, is_sealed, unsealed
from arstore.graph.records import (
    KINDS,
    AttachmentRecord,
    BlobRecord,
    ContainerRecord,
    ImageRecord,
    LayerRecord,
    LeaseRecord,
    LentRecord,
    Record,
    RecordCodec,
    TreeRecord,
)
from arstore.graph.residency import Residency, read_ahead
from arstore.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import Any, TypeVar

    import lmdb

    from arstore.graph.lmdb_types import Transaction

    _T = TypeVar("_T", bound=Record)
    _R = TypeVar("_R")
    _P = TypeVar("_P", bound=NamedTuple)

FORMAT_KEY = b"meta/format"
"""The key of the version of the store's format."""

HOME = "home"
"""The key of the record about the store's place, and the name of an empty file that is different in a copy."""

_NO_MEMBERS = b'"members":[]'
"""Part of the record of a tree without members."""

_BEHIND = b"0"
"""The byte after the slash between table and key, in byte order."""

_FIRST, _BATCH = 16, 1024
"""Records that are read together, at first and at last."""
_PIECE = 1 << 20
"""Bytes of records that are decoded together: as objects they take several times as much memory."""

_USUAL = 512
"""Bytes of a usual record with its key."""

_SHAREABLE = {str, tuple, int}
"""Kinds of values of which equal ones can share one object."""


class Snapshot:
    """The graph at one moment.

    An unreadable record raises StoreDamagedError; with *lenient*, it counts as missing.
    """

    def __init__(self, transaction: lmdb.Transaction, lenient: bool = False) -> None:
        # A transaction without buffers returns bytes.
        self._txn = cast("Transaction", transaction)
        self._lenient = lenient
        self.passed_over: set[bytes] = set()
        """The keys of the records that were skipped so far, as they are in the database."""
        self._runs: list[tuple[str, TreeRecord]] | None = None
        self._residency = Residency()

    @staticmethod
    def read_ahead() -> None:
        """Let the kernel read the graph's file meanwhile, because most of it will be needed."""
        read_ahead()

    def keys(self, table: str) -> list[str]:
        """Return the keys of *table*, sorted; the values are not read."""
        start = record_key(table, "")
        found: list[str] = []
        for batch in self._keys(start):
            # Prefixes are cut off and keys decoded all at once, which takes a quarter of the time.
            whole = b"\0".join([b"", *batch])
            if whole.count(b"\0" + start) != len(batch):  # a key of another table, among those of this one
                batch = self._in_order(batch, start)
                whole = b"\0".join([b"", *batch])
            whole = whole.replace(b"\0" + start, b"\0")
            names = whole.decode("utf-8", "backslashreplace").split("\0")[1:]
            if len(names) != len(batch):  # a NUL in a key, which is not one of ours
                names = [name[len(start) :].decode("utf-8", "backslashreplace") for name in batch]
            found += names
        return found

    def _in_order(self, batch: list[bytes], start: bytes) -> list[bytes]:
        for name in batch:
            if not name.startswith(start):
                self._pass_over(name, ValueError("out of order"))
        return [name for name in batch if name.startswith(start)]

    def _value(self, key: bytes) -> bytes | None:
        self._residency.note()
        return self._txn.get(key)

    def _get(self, table: str, kind: type[_T], key: str) -> _T | None:
        name = record_key(table, key)
        data = self._value(name)
        try:
            return None if data is None else decoded(kind, name, data)
        except (ValueError, TypeError, RecursionError) as error:
            self._pass_over(name, error)
            return None

    def every(self, table: str, part: type[_P]) -> dict[str, _P]:
        """Return, by key, the fields of the named tuple *part* of all records of *table*. Faster than all fields."""
        return dict(self._parts(table, part))

    def columns(self, table: str, part: type[_P], start: str = "", stop: str = "") -> tuple[list[str], _P]:
        """Return the keys, and a *part* that has a list of values for each field. Even faster than `every`.

        With *start* or *stop*, only keys from *start* on and before *stop*.
        """
        keys: list[str] = []
        found: list[list[Any]] = [[] for _ in part._fields]
        for some, columns in self._columns(table, part._fields, start, stop):
            keys += some
            for column, values in zip(found, columns, strict=True):
                column += values
        return keys, part._make(found)

    def batches(self, table: str, part: type[_P]) -> Iterator[tuple[list[str], _P]]:
        """Like `columns`, some records at a time: of a large table, only these are in memory."""
        for keys, columns in self._columns(table, part._fields):
            yield keys, part._make(columns)

    def texts(self, table: str) -> Iterator[tuple[list[tuple[bytes, bytes]], list[bytes]]]:
        """Yield rows of *table* with their texts, which are verified, some at a time."""
        for rows in self._rows(table):
            try:
                yield rows, all_unsealed(rows)
            except BrokenSealError:
                sound = []
                for key, value in rows:
                    try:
                        unsealed(key, value)
                        sound.append((key, value))
                    except BrokenSealError as error:
                        self._pass_over(key, error)
                yield sound, all_unsealed(sound)

    def parsed(self, table: str, part: type[_P], rows: list[tuple[bytes, bytes]]) -> tuple[list[str], _P]:
        """Return the keys of *rows* from `texts`, and a *part* that has a list of values for each field."""
        records = dict(self._each(table, KINDS[table], rows))
        return list(records), part._make([getattr(one, name) for one in records.values()] for name in part._fields)

    def _parts(self, table: str, part: type[_P]) -> Iterator[tuple[str, _P]]:
        for keys, columns in self._columns(table, part._fields):
            yield from zip(keys, map(part._make, zip(*columns, strict=True)), strict=True)

    def _columns(
        self, table: str, fields: Sequence[str], start: str = "", stop: str = ""
    ) -> Iterator[tuple[list[str], list[list[Any]]]]:
        """Yield some records at a time: their keys, and a list for each of these *fields*."""
        kind = KINDS[table]
        shared: dict[Any, Any] = {}
        for batch in chain.from_iterable(map(_pieces, self._rows(table, start, stop))):
            try:
                keys = [name[len(table) + 1 :].decode() for name, _ in batch]
                columns = RecordCodec.decode_columns(kind, fields, all_unsealed(batch))
            except (ValueError, TypeError, RecursionError):
                records = dict(self._each(table, kind, batch))
                keys, columns = list(records), [[getattr(one, name) for one in records.values()] for name in fields]
            with suppress(TypeError):  # a record with a list in a list, which is reported where it is used
                columns = [_sharing(column, shared) for column in columns]
            yield keys, columns

    def _each(self, table: str, kind: type[_T], rows: list[tuple[bytes, bytes]]) -> Iterator[tuple[str, _T]]:
        """Like `_parts` for these *rows*, some of which are unreadable."""
        for name, value in rows:
            try:
                yield name[len(table) + 1 :].decode(), decoded(kind, name, value)
            except (ValueError, TypeError, RecursionError) as error:
                self._pass_over(name, error)

    def _texts(self, table: str) -> Iterator[tuple[str, str]]:
        """Yield the keys and texts of a table of texts."""
        for batch in self._rows(table):
            yield from self._as_texts(table, batch)

    def _as_texts(self, table: str, rows: list[tuple[bytes, bytes]]) -> Iterator[tuple[str, str]]:
        for name, value in rows:
            try:
                yield name[len(table) + 1 :].decode(), unsealed(name, value).decode()
            except ValueError as error:
                self._pass_over(name, error)

    def _keys(self, start: bytes) -> Iterator[list[bytes]]:
        """Yield all keys that begin with *start*, as they are in the database, some at a time."""
        cursor = self._txn.cursor()
        if cursor.set_range(start):
            for batch in _in_batches(cursor.iternext(True, False), lambda name: name.startswith(start)):
                # The values are on the same pages.
                self._residency.note(len(batch) * _USUAL)
                yield batch

    def _rows(self, table: str, start: str = "", stop: str = "") -> Iterator[list[tuple[bytes, bytes]]]:
        """Yield rows of *table* with keys from *start* on and before *stop*, with seals, some at a time."""
        end = record_key(table, stop) if stop else table.encode() + _BEHIND
        cursor = self._txn.cursor()
        if cursor.set_range(record_key(table, start)):
            # The record of an image lists its layers, of which it may have thousands.
            most = _FIRST if table == "images" else _BATCH
            for batch in _in_batches(iter(cursor), lambda row: row[0] < end, most):
                self._residency.note(sum(len(value) for _, value in batch))
                yield batch

    def _pass_over(self, key: bytes, error: Exception) -> None:
        if not self._lenient:
            raise unreadable(key) from error
        self.passed_over.add(key)

    def has(self, table: str, key: str) -> bool:
        """Return whether there is a record with this key, readable or not."""
        return self._value(record_key(table, key)) is not None

    def raw(self, key: bytes) -> bytes | None:
        """Return the value of the complete *key* (with the table), with its seal."""
        return self._value(key)

    def blob(self, digest: str) -> BlobRecord | None:
        """Return the record of the blob with this digest."""
        return self._get("blobs", BlobRecord, digest)

    def blobs(self) -> Iterator[tuple[str, BlobRecord]]:
        """Yield all blobs, by digest."""
        return self._parts("blobs", BlobRecord)

    def lent(self, digest: str) -> LentRecord | None:
        """Return the record of a blob that is in an additional store and that images here need."""
        return self._get("lent", LentRecord, digest)

    def all_lent(self) -> Iterator[tuple[str, LentRecord]]:
        """Yield all records of lent blobs, by digest."""
        return self._parts("lent", LentRecord)

    def layer(self, chain_id: str) -> LayerRecord | None:
        """Return the layer with this chain ID."""
        return self._get("layers", LayerRecord, chain_id)

    def layers(self) -> Iterator[tuple[str, LayerRecord]]:
        """Yield all layers, by chain ID."""
        return self._parts("layers", LayerRecord)

    def chain(self, top: str) -> list[tuple[str, LayerRecord]]:
        """Return the layers from the bottom up to *top*, with their chain IDs; none for "".

        Raises StoreDamagedError when a parent is missing or the chain never ends.
        """
        found: list[tuple[str, LayerRecord]] = []
        seen: set[str] = set()
        chain_id = top
        while chain_id:
            layer = self.layer(chain_id)
            if layer is None or chain_id in seen:
                why = "its record is missing" if layer is None else "it is its own ancestor"
                raise StoreDamagedError(f"layer {chain_id}", why, "`arstore check` shows what else is damaged")
            seen.add(chain_id)
            found.append((chain_id, layer))
            chain_id = layer.parent
        found.reverse()
        return found

    def tree(self, key: str) -> TreeRecord | None:
        """Return the tree with this key."""
        return self._get("trees", TreeRecord, key)

    def trees(self) -> Iterator[tuple[str, TreeRecord]]:
        """Yield all trees, by key."""
        return self._parts("trees", TreeRecord)

    def runs(self) -> list[tuple[str, TreeRecord]]:
        """Return the merged indexes among the trees, by key."""
        if self._runs is None:
            self._runs = [(key, tree) for key, tree in self._with_members() if tree.members]
        return self._runs

    def _with_members(self) -> Iterator[tuple[str, TreeRecord]]:
        """Yield at least the trees that list members. Few do, and decoding the others would take most of the time."""
        for batch in self._rows("trees"):
            yield from self._each("trees", TreeRecord, [row for row in batch if _NO_MEMBERS not in row[1]])

    def image(self, digest: str) -> ImageRecord | None:
        """Return the image with this manifest (or index) digest."""
        return self._get("images", ImageRecord, digest)

    def images(self) -> Iterator[tuple[str, ImageRecord]]:
        """Yield all images and indexes, by digest."""
        return self._parts("images", ImageRecord)

    def attachment(self, subject: str, digest: str) -> AttachmentRecord | None:
        """Return the attachment *digest* of the manifest *subject*."""
        return self._get("attachments", AttachmentRecord, f"{subject}/{digest}")

    def attachments(self) -> Iterator[tuple[str, AttachmentRecord]]:
        """Yield all attachments, by the digests of the subject and of the manifest with a slash between them."""
        return self._parts("attachments", AttachmentRecord)

    def attachments_of(self, subject: str) -> list[tuple[str, AttachmentRecord]]:
        """Return the attachments of the manifest *subject*, by digest, without the attachments of these."""
        found = []
        for batch in self._rows("attachments", f"{subject}/", f"{subject}0"):
            found += [(key.partition("/")[2], one) for key, one in self._each("attachments", AttachmentRecord, batch)]
        return found

    def images_with_prefix(self, prefix: str) -> list[str]:
        """Return digests of images that start with *prefix* (`sha256:` and hexadecimal digits); at most two."""
        return self._with_prefix("images", prefix, 2)

    def containers_with_prefix(self, prefix: str, most: int) -> list[str]:
        """Return ids of containers that start with *prefix*, sorted; at most *most*."""
        return self._with_prefix("containers", prefix, most)

    def container_named(self, name: str) -> str | None:
        """Return the id of the container that was given this *name*, other than its id; None if there is none."""
        # Few containers were ever renamed: only their records are decoded.
        for batch in self._rows("containers"):
            renamed = [row for row in batch if b'"name":' in row[1]]
            for key, record in self._each("containers", ContainerRecord, renamed):
                if record.name == name:
                    return key
        return None

    def _with_prefix(self, table: str, prefix: str, most: int) -> list[str]:
        found = (name for batch in self._keys(record_key(table, prefix)) for name in batch)
        return [name.decode("utf-8", "backslashreplace").partition("/")[2] for name in islice(found, most)]

    def name(self, name: str) -> str | None:
        """Return the digest of the image that *name* points to."""
        key = record_key("names", name)
        data = self._value(key)
        try:
            return None if data is None else unsealed(key, data).decode()
        except ValueError as error:
            self._pass_over(key, error)
            return None

    def names(self) -> Iterator[tuple[str, str]]:
        """Yield all names with the digests of their images, sorted by name."""
        return self._texts("names")

    def names_by_digest(self) -> dict[str, list[str]]:
        """Return the names of each image that has some."""
        found: dict[str, list[str]] = {}
        for name, digest in self.names():
            found.setdefault(digest, []).append(name)
        return found

    def names_of(self, digest: str) -> tuple[str, ...]:
        """Return the names of one image, sorted."""
        wanted = digest.encode()
        found = [row for batch in self._rows("names") for row in batch if row[1].startswith(wanted)]
        return tuple(name for name, one in self._as_texts("names", found) if one == digest)

    def container(self, container_id: str) -> ContainerRecord | None:
        """Return the container with this id."""
        return self._get("containers", ContainerRecord, container_id)

    def containers(self) -> Iterator[tuple[str, ContainerRecord]]:
        """Yield all containers, by id."""
        return self._parts("containers", ContainerRecord)

    def number(self) -> int:
        """Return how many transactions have been committed to the graph since it was made."""
        return int(self._txn.id())

    def home(self) -> str:
        """Return the mark of the store's original files when they were last verified; "" if they never were."""
        key = record_key("meta", HOME)
        data = self._value(key)
        try:
            return "" if data is None else unsealed(key, data).decode("ascii", "replace")
        except BrokenSealError:
            return "unreadable"

    def own(self, key: str) -> str | None:
        """Return a fact about the graph itself; "" for none, None for a record without the right seal."""
        name = record_key("meta", key)
        data = self._value(name)
        if data is None:
            return ""
        return unsealed(name, data).decode("ascii", "replace") if is_sealed(name, data) else None

    def holds_records(self) -> bool:
        """Return whether there is any record, readable or not, except facts about the graph itself."""
        cursor = self._txn.cursor()
        if not cursor.set_range(b""):
            return False
        return cursor.key() < record_key("meta", "") or cursor.set_range(b"meta" + _BEHIND)

    def leases(self) -> Iterator[tuple[str, LeaseRecord]]:
        """Yield all leases, by id, of living and dead processes."""
        return self._parts("leases", LeaseRecord)


def _sharing(column: list[Any], shared: dict[Any, Any]) -> list[Any]:
    """Return *column* with repeated values replaced by one object each, kept in *shared*.

    A hundred thousand layers may name the same blob and tree; as separate strings these would take most of a command's
    memory. If most values differ, as in most stores, they stay as they are.
    """
    kind = type(column[0]) if column else None
    if kind is tuple and any(len(value) > 1 for value in column):
        return [
            value if 2 * len(some := set(value)) > len(value) else tuple(map(_one_of(some, shared), value))
            for value in column
        ]
    if kind in _SHAREABLE and 2 * len(some := set(column)) <= len(column):
        return list(map(_one_of(some, shared), column))
    return column


def _one_of(values: set[Any], shared: dict[Any, Any]) -> Callable[[Any], Any]:
    """Return a function that returns the shared object for each of *values*."""
    return {value: shared.setdefault(value, value) for value in values}.__getitem__


def _pieces(rows: list[tuple[bytes, bytes]]) -> Iterator[list[tuple[bytes, bytes]]]:
    """Yield *rows* in lists of about the size that is decoded together; usually that is one list."""
    start = size = 0
    for number, (_, value) in enumerate(rows):
        size += len(value)
        if size >= _PIECE:
            yield rows[start : number + 1]
            start, size = number + 1, 0
    if start < len(rows):
        yield rows[start:]


def _in_batches(rows: Iterator[_R], belongs: Callable[[_R], bool], most: int = _BATCH) -> Iterator[list[_R]]:
    """Yield the *rows* that belong, which are together at the beginning, in growing lists: most tables are short."""
    count = _FIRST
    while batch := list(islice(rows, count)):
        if not belongs(batch[-1]):
            yield list(filter(belongs, batch))
            return
        yield batch
        count = min(count * 4, most)


def decoded(kind: type[_T], key: bytes, value: bytes) -> _T:
    """Decode a record of *kind* in a *value*. Raises ValueError, TypeError or RecursionError for anything else.

    Unknown fields are ignored only under the right seal: without one, a flipped bit could have made them.
    """
    text = unsealed(key, value)
    try:
        return RecordCodec.decode(kind, text)
    except TypeError:
        if text is value:
            raise
        return RecordCodec.decode_newer(kind, text)


def record_key(table: str, key: str) -> bytes:
    """Return the key in the database of the record *key* of *table*, which may be any file name."""
    return f"{table}/{key}".encode("utf-8", "surrogateescape")


def unreadable(key: bytes) -> StoreDamagedError:
    """Return the error for the record *key*, as it is in the database."""
    table, _, name = key.decode("utf-8", "backslashreplace").partition("/")
    return StoreDamagedError(f"{table} record {name}", "cannot be read", "`arstore check --repair` may repair it")
