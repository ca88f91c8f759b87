"""A table of numbers by key on its way between processes: 10^5 rows are one text and one array, and quick to pickle."""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING, NamedTuple

from arstore.store.answers import answer

if TYPE_CHECKING:
    from collections.abc import Mapping

_BETWEEN = "\0"


@answer
class Packed(NamedTuple):
    """Keys without a NUL in them, one after the other, and their numbers of 64 bits."""

    keys: str
    values: bytes

    @classmethod
    def of(cls, table: Mapping[str, int]) -> Packed:
        """Pack *table*."""
        return cls(_BETWEEN.join(table), array("q", table.values()).tobytes())

    def unpacked(self) -> dict[str, int]:
        """The table, in its order."""
        if not self.values:
            return {}
        return dict(zip(self.keys.split(_BETWEEN), memoryview(self.values).cast("q"), strict=True))
