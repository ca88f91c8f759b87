"""Records of a newer arstore in a format that this one can read: recognized, left alone, and never lost.

Two things may be added to the graph without a new format: a table, and a field of a record. The seal distinguishes them
from damage. An arstore that does not know them can read the rest, but does not know what they contain or require. So it
refuses to write anything while there is an unknown table, and to replace or remove a record with an unknown field. Data
that an older arstore may ignore, or even lose, belongs in the table of hints (`hints`).
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
"""The byte after the slash between table and key, in byte order."""


def refuse_unknown_tables(transaction: lmdb.Transaction) -> None:
    """Raise StoreVersionError if there is a table that this arstore does not know. Takes one lookup per known table."""
    # A transaction without buffers returns bytes.
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
    """Raise StoreVersionError if one of *rows*, keys and values, was written by a newer arstore."""
    for key, value in rows:
        table, slash, _ = key.partition(b"/")
        is_known = slash and table in _TABLES
        if is_newer(key, value) if is_known else is_sealed(key, value):
            raise newer_error(key)


def is_newer(key: bytes, value: bytes) -> bool:
    """Return whether a record of a known table has fields that this arstore does not know."""
    kind = KINDS.get(key.partition(b"/")[0].decode("utf-8", "replace"))
    return kind is not None and is_sealed(key, value) and RecordCodec.has_more(kind, unsealed(key, value))


def newer_error(key: bytes) -> StoreVersionError:
    """Return the error for the record *key*, which a newer arstore has written."""
    table = key.partition(b"/")[0].decode("utf-8", "backslashreplace")
    why = f"a newer arstore has written records of {table} that this one does not understand"
    return StoreVersionError("the store", f"{why}: it can be read but not changed", "use the newer arstore")
