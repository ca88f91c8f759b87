"""What the graph says at one moment: records by key, whole tables, and changes to them in a write transaction.

Tables are read in batches, a thousand records at a time, which takes a fifth of reading them one by one: a store may
have 10^5 layers, and `gc` asks for all of them.
"""

from __future__ import annotations

from contextlib import suppress
from itertools import chain, islice
from typing import TYPE_CHECKING, Any, TypeVar, cast

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
from arstore.values import NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import lmdb

    from arstore.graph.lmdb_types import Transaction

FORMAT_KEY = b"meta/format"
"""Where the version of the store's format stands."""

HOME = "home"
"""The key of what is known of where the store is, and the name of an empty file that tells a copy from it."""

_NO_MEMBERS = b'"members":[]'
"""What the record of a tree has that is over no others."""

_BEHIND = b"0"
"""What follows the slash between table and key in the order of bytes."""

_FIRST, _BATCH = 16, 1024
"""Records that are read together, at first and at last."""
_PIECE = 1 << 20
"""Bytes of records that are decoded together: as objects they take several times as much."""

_SHAREABLE = {str, tuple, int}
"""Kinds of values of which one object stands for all that are equal."""

_T = TypeVar("_T", bound=Record)
_R = TypeVar("_R")
_P = TypeVar("_P", bound=NamedTuple)


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

    def keys(self, table: str) -> list[str]:
        """The keys of *table*, sorted; what stands under them is not looked at."""
        start = record_key(table, "")
        found: list[str] = []
        for batch in self._keys(start):
            # Cut off and decoded all together, which takes a quarter of doing so one by one.
            whole = b"\0".join([b"", *batch])
            if whole.count(b"\0" + start) != len(batch):  # a key of no table, among those of this one
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

    def _get(self, table: str, kind: type[_T], key: str) -> _T | None:
        name = record_key(table, key)
        data = self._txn.get(name)
        try:
            return None if data is None else decoded(kind, name, data)
        except (ValueError, TypeError, RecursionError) as error:
            self._pass_over(name, error)
            return None

    def every(self, table: str, part: type[_P]) -> dict[str, _P]:
        """Of all records of *table* the fields that the named tuple *part* has, by key: far quicker than all fields."""
        return dict(self._parts(table, part))

    def columns(self, table: str, part: type[_P], start: str = "", stop: str = "") -> tuple[list[str], _P]:
        """The same as lists: the keys, and a *part* that has a list of each field. Quicker still.

        Only of keys from *start* on and before *stop*, where they are given.
        """
        keys: list[str] = []
        found: list[list[Any]] = [[] for _ in part._fields]
        for some, columns in self._columns(table, part._fields, start, stop):
            keys += some
            for column, values in zip(found, columns, strict=True):
                column += values
        return keys, part._make(found)

    def batches(self, table: str, part: type[_P]) -> Iterator[tuple[list[str], _P]]:
        """As `columns`, some records at a time: of a large table, nothing else is held."""
        for keys, columns in self._columns(table, part._fields):
            yield keys, part._make(columns)

    def _parts(self, table: str, part: type[_P]) -> Iterator[tuple[str, _P]]:
        for keys, columns in self._columns(table, part._fields):
            yield from zip(keys, map(part._make, zip(*columns, strict=True)), strict=True)

    def _columns(
        self, table: str, fields: Sequence[str], start: str = "", stop: str = ""
    ) -> Iterator[tuple[list[str], list[list[Any]]]]:
        """Some records at a time: their keys, and a list of each of these *fields*."""
        kind = KINDS[table]
        shared: dict[Any, Any] = {}
        for batch in chain.from_iterable(map(_pieces, self._rows(table, start, stop))):
            try:
                keys = [name[len(table) + 1 :].decode() for name, _ in batch]
                columns = RecordCodec.decode_columns(kind, fields, all_unsealed(batch))
            except (ValueError, TypeError, RecursionError):
                records = dict(self._each(table, kind, batch))
                keys, columns = list(records), [[getattr(one, name) for one in records.values()] for name in fields]
            with suppress(TypeError):  # a record with a list in a list, which is told where it is used
                columns = [_sharing(column, shared) for column in columns]
            yield keys, columns

    def _each(self, table: str, kind: type[_T], rows: list[tuple[bytes, bytes]]) -> Iterator[tuple[str, _T]]:
        """As `_parts` for these *rows*, of which some cannot be read."""
        for name, value in rows:
            try:
                yield name[len(table) + 1 :].decode(), decoded(kind, name, value)
            except (ValueError, TypeError, RecursionError) as error:
                self._pass_over(name, error)

    def _texts(self, table: str) -> Iterator[tuple[str, str]]:
        """The keys of a table of texts, with these."""
        for batch in self._rows(table):
            yield from self._as_texts(table, batch)

    def _as_texts(self, table: str, rows: list[tuple[bytes, bytes]]) -> Iterator[tuple[str, str]]:
        for name, value in rows:
            try:
                yield name[len(table) + 1 :].decode(), unsealed(name, value).decode()
            except ValueError as error:
                self._pass_over(name, error)

    def _keys(self, start: bytes) -> Iterator[list[bytes]]:
        """All keys that begin with *start*, as they stand in the database, some at a time."""
        cursor = self._txn.cursor()
        if cursor.set_range(start):
            yield from _in_batches(cursor.iternext(True, False), lambda name: name.startswith(start))

    def _rows(self, table: str, start: str = "", stop: str = "") -> Iterator[list[tuple[bytes, bytes]]]:
        """What *table* has from the key *start* on and before *stop*, seals and all, some rows at a time."""
        end = record_key(table, stop) if stop else table.encode() + _BEHIND
        cursor = self._txn.cursor()
        if cursor.set_range(record_key(table, start)):
            # The record of an image lists its layers, of which it may have thousands.
            most = _FIRST if table == "images" else _BATCH
            yield from _in_batches(iter(cursor), lambda row: row[0] < end, most)

    def _pass_over(self, key: bytes, error: Exception) -> None:
        if not self._lenient:
            raise unreadable(key) from error
        self.passed_over.add(key)

    def has(self, table: str, key: str) -> bool:
        """Whether there is a record of this key, readable or not."""
        return self._txn.get(record_key(table, key)) is not None

    def raw(self, key: bytes) -> bytes | None:
        """The value under *key*, table and seal and all."""
        return self._txn.get(key)

    def blob(self, digest: str) -> BlobRecord | None:
        """The blob of this digest."""
        return self._get("blobs", BlobRecord, digest)

    def blobs(self) -> Iterator[tuple[str, BlobRecord]]:
        """All blobs, by digest."""
        return self._parts("blobs", BlobRecord)

    def lent(self, digest: str) -> LentRecord | None:
        """The blob of this digest that lies in an additional store, and that images here need."""
        return self._get("lent", LentRecord, digest)

    def all_lent(self) -> Iterator[tuple[str, LentRecord]]:
        """All of these, by digest."""
        return self._parts("lent", LentRecord)

    def layer(self, chain_id: str) -> LayerRecord | None:
        """The layer of this chain ID."""
        return self._get("layers", LayerRecord, chain_id)

    def layers(self) -> Iterator[tuple[str, LayerRecord]]:
        """All layers, by chain ID."""
        return self._parts("layers", LayerRecord)

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
        return self._parts("trees", TreeRecord)

    def runs(self) -> list[tuple[str, TreeRecord]]:
        """The merged indexes among the trees, by key."""
        if self._runs is None:
            self._runs = [(key, tree) for key, tree in self._with_members() if tree.members]
        return self._runs

    def _with_members(self) -> Iterator[tuple[str, TreeRecord]]:
        """At least those trees that list members, of which few do: to decode the others would be the most of it."""
        for batch in self._rows("trees"):
            yield from self._each("trees", TreeRecord, [row for row in batch if _NO_MEMBERS not in row[1]])

    def image(self, digest: str) -> ImageRecord | None:
        """The image of this manifest (or index) digest."""
        return self._get("images", ImageRecord, digest)

    def images(self) -> Iterator[tuple[str, ImageRecord]]:
        """All images and indexes, by digest."""
        return self._parts("images", ImageRecord)

    def attachment(self, subject: str, digest: str) -> AttachmentRecord | None:
        """The attachment *digest* of the manifest *subject*."""
        return self._get("attachments", AttachmentRecord, f"{subject}/{digest}")

    def attachments(self) -> Iterator[tuple[str, AttachmentRecord]]:
        """All attachments, by the digests of the subject and of the manifest with a slash between them."""
        return self._parts("attachments", AttachmentRecord)

    def attachments_of(self, subject: str) -> list[tuple[str, AttachmentRecord]]:
        """The attachments of the manifest *subject*, by digest, without the attachments of these."""
        found = []
        for batch in self._rows("attachments", f"{subject}/", f"{subject}0"):
            found += [(key.partition("/")[2], one) for key, one in self._each("attachments", AttachmentRecord, batch)]
        return found

    def images_with_prefix(self, prefix: str) -> list[str]:
        """Digests of the images whose digest starts with *prefix* (`sha256:` and hexadecimal digits); at most two."""
        return self._with_prefix("images", prefix, 2)

    def containers_with_prefix(self, prefix: str, most: int) -> list[str]:
        """Ids of containers that start with *prefix*, sorted; at most *most*."""
        return self._with_prefix("containers", prefix, most)

    def _with_prefix(self, table: str, prefix: str, most: int) -> list[str]:
        found = (name for batch in self._keys(record_key(table, prefix)) for name in batch)
        return [name.decode("utf-8", "backslashreplace").partition("/")[2] for name in islice(found, most)]

    def name(self, name: str) -> str | None:
        """The digest of the image that *name* stands for."""
        key = record_key("names", name)
        data = self._txn.get(key)
        try:
            return None if data is None else unsealed(key, data).decode()
        except ValueError as error:
            self._pass_over(key, error)
            return None

    def names(self) -> Iterator[tuple[str, str]]:
        """All names with the digests they stand for, sorted by name."""
        return self._texts("names")

    def names_by_digest(self) -> dict[str, list[str]]:
        """The names of each image that has some."""
        found: dict[str, list[str]] = {}
        for name, digest in self.names():
            found.setdefault(digest, []).append(name)
        return found

    def names_of(self, digest: str) -> tuple[str, ...]:
        """The names of one image, sorted."""
        wanted = digest.encode()
        found = [row for batch in self._rows("names") for row in batch if row[1].startswith(wanted)]
        return tuple(name for name, one in self._as_texts("names", found) if one == digest)

    def container(self, container_id: str) -> ContainerRecord | None:
        """The container of this id."""
        return self._get("containers", ContainerRecord, container_id)

    def containers(self) -> Iterator[tuple[str, ContainerRecord]]:
        """All containers, by id."""
        return self._parts("containers", ContainerRecord)

    def number(self) -> int:
        """How many transactions have been committed to the graph since it was made."""
        return int(self._txn.id())

    def home(self) -> str:
        """What told the store's files from a copy when it was last found to be at home; "" when it never was."""
        key = record_key("meta", HOME)
        data = self._txn.get(key)
        try:
            return "" if data is None else unsealed(key, data).decode("ascii", "replace")
        except BrokenSealError:
            return "unreadable"

    def own(self, key: str) -> str | None:
        """What the graph says of itself under *key*; "" for nothing, None for a record without the right seal."""
        name = record_key("meta", key)
        data = self._txn.get(name)
        if data is None:
            return ""
        return unsealed(name, data).decode("ascii", "replace") if is_sealed(name, data) else None

    def holds_records(self) -> bool:
        """Whether there is any record besides what the graph says of itself, readable or not."""
        cursor = self._txn.cursor()
        if not cursor.set_range(b""):
            return False
        return cursor.key() < record_key("meta", "") or cursor.set_range(b"meta" + _BEHIND)

    def leases(self) -> Iterator[tuple[str, LeaseRecord]]:
        """All leases, by id, of the living and the dead."""
        return self._parts("leases", LeaseRecord)


def _sharing(column: list[Any], shared: dict[Any, Any]) -> list[Any]:
    """*column* with values that repeat as one object each, which *shared* has by itself.

    A hundred thousand layers may name one blob and one tree: as many strings would be most of what a command holds.
    Where most values differ, as on most stores, they stay as they are.
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
    """What gives the one object for each of *values*."""
    return {value: shared.setdefault(value, value) for value in values}.__getitem__


def _pieces(rows: list[tuple[bytes, bytes]]) -> Iterator[list[tuple[bytes, bytes]]]:
    """*rows* in lists of about as much as is decoded together; as a rule that is all."""
    start = size = 0
    for number, (_, value) in enumerate(rows):
        size += len(value)
        if size >= _PIECE:
            yield rows[start : number + 1]
            start, size = number + 1, 0
    if start < len(rows):
        yield rows[start:]


def _in_batches(rows: Iterator[_R], belongs: Callable[[_R], bool], most: int = _BATCH) -> Iterator[list[_R]]:
    """The *rows* that belong, which stand together at the beginning, in lists that grow: most tables are short."""
    count = _FIRST
    while batch := list(islice(rows, count)):
        if not belongs(batch[-1]):
            yield list(filter(belongs, batch))
            return
        yield batch
        count = min(count * 4, most)


def decoded(kind: type[_T], key: bytes, value: bytes) -> _T:
    """The record of *kind* in a *value*. Raises ValueError, TypeError or RecursionError when it holds none.

    Fields that are not known are passed over only under the right seal: without one, a flipped bit makes such.
    """
    text = unsealed(key, value)
    try:
        return RecordCodec.decode(kind, text)
    except TypeError:
        if text is value:
            raise
        return RecordCodec.decode_newer(kind, text)


def record_key(table: str, key: str) -> bytes:
    """The key in the database of the record *key* of *table*, which may be any file name."""
    return f"{table}/{key}".encode("utf-8", "surrogateescape")


def unreadable(key: bytes) -> StoreDamagedError:
    """The error for the record *key*, as it stands in the database."""
    table, _, name = key.decode("utf-8", "backslashreplace").partition("/")
    return StoreDamagedError(f"{table} record {name}", "cannot be read", "`arstore check --repair` may mend it")
