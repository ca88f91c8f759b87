"""Bytes by key, for 10^5 keys: two lists, which are fast as a whole, sent between processes as a text and an array."""

from __future__ import annotations

import operator
from array import array
from collections.abc import Iterator, Mapping
from itertools import count, filterfalse, repeat
from typing import TYPE_CHECKING

from arstore.workers.wire import answer

if TYPE_CHECKING:
    from collections.abc import Collection, Container, Iterable

    from arstore.graph.key_numbers import Numbers

_BETWEEN = "\0"
"""A character that no key contains."""


@answer
class Sizes(Mapping[str, int]):
    """A mapping that is filled key by key, each once."""

    __slots__ = ("_keys", "_places", "_table", "_values")

    def __init__(self, keys: Iterable[str] = (), values: Iterable[int] = ()) -> None:
        self._keys = list(keys)
        self._values = list(values)
        self._table: dict[str, int] | None = None
        self._places: dict[str, int] | None = None
        if len(self._keys) != len(self._values):
            raise ValueError("as many keys as values")

    def as_answer(self) -> tuple[object, ...]:
        """Return the arguments of `of_answer`, for another process."""
        return _BETWEEN.join(self._keys), array("q", self._values).tobytes()

    @classmethod
    def of_answer(cls, keys: str, values: bytes) -> Sizes:
        """Return a table from the values of `as_answer`."""
        return cls(keys.split(_BETWEEN) if values else (), array("q", values))

    def put(self, key: str, size: int) -> None:
        """Add a key that is not in the table yet."""
        self._keys.append(key)
        self._values.append(size)
        self._table = None

    def extend(self, others: Sizes) -> None:
        """Add keys that are not in the table yet, with their sizes."""
        self._keys += others._keys
        self._values += others._values
        self._table = None

    def sort(self) -> None:
        """Sort the keys as in the graph; comparisons with keys in the same order are much faster."""
        pairs = sorted(zip(self._keys, self._values, strict=True))
        self._keys, self._values = [key for key, _ in pairs], [size for _, size in pairs]
        self._places = None

    def lessen(self, key: str, size: int) -> None:
        """Subtract *size* bytes from those of *key*."""
        if self._places is None or len(self._places) != len(self._keys):
            self._places = dict(zip(self._keys, count(), strict=False))
        self._values[self._places[key]] -= size
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
        """Return the keys that are not in *known*, sorted."""
        if self._is(known):
            return []
        is_known: Container[str] = known if isinstance(known, frozenset) else frozenset(known)
        return sorted(filterfalse(is_known.__contains__, self._keys))

    def differing(self, others: Mapping[str, int]) -> list[str]:
        """Return the keys for which *others* has a different size."""
        if list(map(others.get, self._keys, self._values)) == self._values:
            return []
        return [key for key, size in zip(self._keys, self._values, strict=True) if others.get(key, size) != size]

    def by_number(self, numbers: Numbers) -> list[int]:
        """Return the bytes of each numbered key, 0 for keys that are not in the table."""
        if self._is(numbers.recorded):
            return [*self._values, *repeat(0, len(numbers.keys) - len(self._values))]
        table = dict(zip(self._keys, self._values, strict=True))
        return list(map(table.get, numbers.keys, repeat(0)))

    def _is(self, keys: Collection[str]) -> bool:
        """Whether *keys* are the keys, in this order. Usually they are: all files are recorded, and vice versa."""
        return len(keys) == len(self._keys) and all(map(operator.eq, keys, self._keys))
