"""What is used of LMDB's transactions and cursors, with the types that they have without `buffers`: bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator


class Transaction(Protocol):
    """What is used of an LMDB transaction."""

    def get(self, key: bytes, /) -> bytes | None:
        """The value under *key*."""

    def put(self, key: bytes, value: bytes, /) -> bool:
        """Write a value; whether that was done."""

    def delete(self, key: bytes, /) -> bool:
        """Remove what stands under *key*; whether there was something."""

    def cursor(self) -> Cursor:
        """A cursor over everything."""

    def id(self) -> int:
        """The number of the transaction."""


class Cursor(Protocol):
    """What is used of a cursor."""

    def set_range(self, key: bytes, /) -> bool:
        """Go to the first key that is not smaller; whether there is one."""

    def key(self) -> bytes:
        """The key where it is."""

    def value(self) -> bytes:
        """The value where it is."""

    def iternext(self, keys: bool, values: bool, /) -> Iterator[bytes]:
        """The keys, or the values, from here on."""

    def __iter__(self) -> Iterator[tuple[bytes, bytes]]: ...
