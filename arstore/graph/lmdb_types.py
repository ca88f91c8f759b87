"""The parts of LMDB's transactions and cursors that are used, with their types without `buffers`: bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator


class Transaction(Protocol):
    """The part of an LMDB transaction that is used."""

    def get(self, key: bytes, /) -> bytes | None:
        """Return the value of *key*."""

    def put(self, key: bytes, value: bytes, /) -> bool:
        """Write a value; return whether it was written."""

    def delete(self, key: bytes, /) -> bool:
        """Delete *key*; return whether it existed."""

    def cursor(self) -> Cursor:
        """Return a cursor over all keys."""

    def id(self) -> int:
        """Return the number of the transaction."""


class Cursor(Protocol):
    """The part of an LMDB cursor that is used."""

    def set_range(self, key: bytes, /) -> bool:
        """Go to the first key that is not smaller than *key*; return whether there is one."""

    def key(self) -> bytes:
        """Return the key at the cursor."""

    def value(self) -> bytes:
        """Return the value at the cursor."""

    def iternext(self, keys: bool, values: bool, /) -> Iterator[bytes]:
        """Yield the keys, or the values, from the cursor on."""

    def __iter__(self) -> Iterator[tuple[bytes, bytes]]: ...
