"""Records of a newer arstore, in a format that this one reads: seen, left alone, and never lost.

Two things may be added to the graph without another format: a table, and a field of a record. The seal tells them from
damage. An arstore that does not know them reads on without them, but does not know what they hold or ask for: it
refuses to write anything while there is an unknown table, and to replace or remove a record with an unknown field.
What an older arstore may well ignore, and even lose, belongs into the table of hints (`hints`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from arstore.errors import StoreVersionError
from arstore.graph.record_checksum import is_sealed, unsealed
from arstore.graph.records import KINDS, TABLES, RecordCodec

if TYPE_CHECKING:
    from collections.abc import Iterable

    import lmdb

    from arstore.graph.lmdb_types import Transaction

_TABLES = frozenset(table.encode() for table in TABLES)
_BEHIND = b"0"
"""What follows the slash between table and key in the order of bytes."""


def refuse_unknown_tables(transaction: lmdb.Transaction) -> None:
    """Raise StoreVersionError when there is a table that only a newer arstore knows. One look for each known table."""
    # A transaction without buffers gives bytes.
    cursor = cast("Transaction", transaction).cursor()
    start = b""
    while cursor.set_range(start):
        key = cursor.key()
        table, slash, _ = key.partition(b"/")
        if slash and table in _TABLES:
            start = table + _BEHIND
        elif is_sealed(key, cursor.value()):
            raise newer_error(key)
        else:
            start = key + b"\0"


def refuse_newer(rows: Iterable[tuple[bytes, bytes]]) -> None:
    """Raise StoreVersionError when one of *rows*, keys and values, was written by a newer arstore."""
    for key, value in rows:
        table, slash, _ = key.partition(b"/")
        is_known = slash and table in _TABLES
        if is_newer(key, value) if is_known else is_sealed(key, value):
            raise newer_error(key)


def is_newer(key: bytes, value: bytes) -> bool:
    """Whether a record of a known table has fields that only a newer arstore knows."""
    kind = KINDS.get(key.partition(b"/")[0].decode("utf-8", "replace"))
    return kind is not None and is_sealed(key, value) and RecordCodec.has_more(kind, unsealed(key, value))


def newer_error(key: bytes) -> StoreVersionError:
    """The error for the record *key*, which a newer arstore has written."""
    table = key.partition(b"/")[0].decode("utf-8", "backslashreplace")
    why = f"a newer arstore has written records of {table} that this one does not understand"
    return StoreVersionError("the store", f"{why}: it can be read, not changed", "use the newer arstore")
