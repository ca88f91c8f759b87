"""Keys of one table by number, as long as a look at the graph lasts.

A large store has a million references between 10^5 keys. To follow one by its key is a walk through memory, of which
most of the time is spent waiting; so each is looked up once, and what is counted and marked afterwards are numbers.
"""

from __future__ import annotations

from itertools import count, repeat
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, KeysView, Sequence

UNKNOWN = -1
"""The number of no key."""


class Numbers:
    """First come the keys with records, from 0 in their order, then those that are needed and have none."""

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
        """The number of *key*, which gets one."""
        number = self._recorded.get(key)
        if number is None:
            number = self._others.get(key)
        if number is None:
            number = self._others[key] = len(self._keys)
            self._keys.append(key)
        return number

    def all_of(self, keys: Sequence[str]) -> list[int]:
        """The numbers of *keys*, which get some."""
        found = list(map(self._recorded.get, keys))
        # Most have records, and are told in one go.
        return [self.of(key) for key in keys] if None in found else cast("list[int]", found)

    def known(self, keys: Iterable[str]) -> list[int]:
        """The numbers of *keys*, UNKNOWN for each that has no record."""
        return list(map(self._recorded.get, keys, repeat(UNKNOWN)))

    def besides(self, numbers: Container[int]) -> list[str]:
        """The keys with records whose numbers are not among *numbers*, in their order."""
        return [key for key, number in self._recorded.items() if number not in numbers]
