"""Bytes by key, of 10^5 keys: two lists, of which all at once is quick, and a text and an array between processes."""

from __future__ import annotations

import operator
from array import array
from collections.abc import Iterator, Mapping
from itertools import filterfalse, repeat
from typing import TYPE_CHECKING

from arstore.workers.wire import answer

if TYPE_CHECKING:
    from collections.abc import Collection, Container, Iterable

    from arstore.graph.key_numbers import Numbers

_BETWEEN = "\0"
"""What is in no key."""


@answer
class Sizes(Mapping[str, int]):
    """A mapping that is filled key by key, each once."""

    __slots__ = ("_keys", "_table", "_values")

    def __init__(self, keys: Iterable[str] = (), values: Iterable[int] = ()) -> None:
        self._keys = list(keys)
        self._values = list(values)
        self._table: dict[str, int] | None = None
        if len(self._keys) != len(self._values):
            raise ValueError("as many keys as values")

    def as_answer(self) -> tuple[object, ...]:
        """What goes to another process, which makes it of that again."""
        return _BETWEEN.join(self._keys), array("q", self._values).tobytes()

    @classmethod
    def of_answer(cls, keys: str, values: bytes) -> Sizes:
        """From what `as_answer` gives."""
        return cls(keys.split(_BETWEEN) if values else (), array("q", values))

    def put(self, key: str, size: int) -> None:
        """Add a key that is not there."""
        self._keys.append(key)
        self._values.append(size)
        self._table = None

    def extend(self, others: Sizes) -> None:
        """Add keys that are not there, with their sizes."""
        self._keys += others._keys
        self._values += others._values
        self._table = None

    def sort(self) -> None:
        """Put the keys in order, as they are in the graph: with these in the same order much is quicker."""
        pairs = sorted(zip(self._keys, self._values, strict=True))
        self._keys, self._values = [key for key, _ in pairs], [size for _, size in pairs]

    def lessen(self, key: str, size: int) -> None:
        """Take *size* bytes from those of *key*."""
        self._values[self._keys.index(key)] -= size
        self._table = None

    def __getitem__(self, key: str, /) -> int:
        if self._table is None:
            self._table = dict(zip(self._keys, self._values, strict=True))
        return self._table[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._keys)

    def __len__(self) -> int:
        return len(self._keys)

    def __repr__(self) -> str:
        return f"Sizes({dict(self)})"

    @property
    def total(self) -> int:
        """All bytes."""
        return sum(self._values)

    def besides(self, known: Collection[str]) -> list[str]:
        """The keys that are not among *known*, sorted."""
        if self._is(known):
            return []
        is_known: Container[str] = known if isinstance(known, frozenset) else frozenset(known)
        return sorted(filterfalse(is_known.__contains__, self._keys))

    def differing(self, others: Mapping[str, int]) -> list[str]:
        """The keys for which *others* has other bytes."""
        if list(map(others.get, self._keys, self._values)) == self._values:
            return []
        return [key for key, size in zip(self._keys, self._values, strict=True) if others.get(key, size) != size]

    def by_number(self, numbers: Numbers) -> list[int]:
        """The bytes of each key that has a number, 0 for what is not here."""
        if self._is(numbers.recorded):
            return [*self._values, *repeat(0, len(numbers.keys) - len(self._values))]
        table = dict(zip(self._keys, self._values, strict=True))
        return list(map(table.get, numbers.keys, repeat(0)))

    def _is(self, keys: Collection[str]) -> bool:
        """Whether these are the keys, in this order: as a rule all that is there has a record, and nothing else has."""
        return len(keys) == len(self._keys) and all(map(operator.eq, keys, self._keys))
