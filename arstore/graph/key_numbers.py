"""Numbers for the keys of one table, valid during one read of the graph.

A large store has a million references between 10^5 keys. Following a reference by its key is slow, because most of the
time is spent waiting for memory. So each key is looked up once, and counting and marking work on numbers.
"""

from __future__ import annotations

from itertools import count, repeat
from typing import TYPE_CHECKING

from arstore.builtin import cast

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, KeysView, Sequence

UNKNOWN = -1
"""The number of an unknown key."""


class Numbers:
    """Numbers from 0: first the keys with records, in their order, then other keys that are needed."""

    def __init__(self, recorded: Iterable[str]) -> None:
        self._keys = list(recorded)
        self._recorded = dict(zip(self._keys, count()))
        self._others: dict[str, int] = {}

    @property
    def recorded(self) -> KeysView[str]:
        """The keys with records."""
        return self._recorded.keys()

    @property
    def keys(self) -> list[str]:
        """All keys that have a number, by number."""
        return self._keys

    def of(self, key: str) -> int:
        """Return the number of *key*; assign one if needed."""
        number = self._recorded.get(key)
        if number is None:
            number = self._others.get(key)
        if number is None:
            number = self._others[key] = len(self._keys)
            self._keys.append(key)
        return number

    def all_of(self, keys: Sequence[str]) -> list[int]:
        """Return the numbers of *keys*; assign some if needed."""
        found = list(map(self._recorded.get, keys))
        # Most keys have records; then one lookup for all of them is enough.
        return [self.of(key) for key in keys] if None in found else cast("list[int]", found)

    def known(self, keys: Iterable[str]) -> list[int]:
        """Return the numbers of *keys*, UNKNOWN for keys without a record."""
        return list(map(self._recorded.get, keys, repeat(UNKNOWN)))

    def besides(self, numbers: Container[int]) -> list[str]:
        """Return the keys with records whose numbers are not among *numbers*, in their order."""
        return [key for key, number in self._recorded.items() if number not in numbers]
