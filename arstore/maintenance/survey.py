"""What a look at the root finds, and what the graph knows of it, as values (`surveyor` does the looking).

Sizes are bytes allocated on disk (`st_blocks` of 512), as `du -B1` counts them, and like there a file with several hard
links counts once, where it is first met.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from arstore.store.answers import answer
from arstore.store.packed import Packed

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet

    from arstore.store.snapshot import Snapshot

_TABLES = ("blobs", "trees", "containers", "ingests", "strange")


@answer
@dataclass(slots=True)
class Survey:
    """Bytes by what they belong to; `frame` is the directories and files of the layout itself, the graph among them."""

    frame: int = 0
    blobs: dict[str, int] = field(default_factory=dict)
    trees: dict[str, int] = field(default_factory=dict)
    containers: dict[str, int] = field(default_factory=dict)
    ingests: dict[str, int] = field(default_factory=dict)
    exchange: int = 0
    strange: dict[str, int] = field(default_factory=dict)
    linked: dict[int, tuple[str, str, int]] = field(default_factory=dict, compare=False, repr=False)
    """The inodes of files with several hard links, with the table and key where they count, and their bytes."""

    def as_answer(self) -> tuple[object, ...]:
        """What goes to another process, which makes it of that again."""
        return self.frame, self.exchange, self.linked, *(Packed.of(getattr(self, name)) for name in _TABLES)

    @classmethod
    def of_answer(cls, frame: int, exchange: int, linked: dict[int, tuple[str, str, int]], *tables: Packed) -> Survey:
        """From what `as_answer` gives."""
        unpacked = {name: table.unpacked() for name, table in zip(_TABLES, tables, strict=True)}
        return cls(frame, exchange=exchange, linked=linked, **unpacked)

    def add(self, other: Survey) -> None:
        """Take in what *other* has found elsewhere below the same root; what is linked from both counts here alone."""
        self.frame += other.frame
        self.exchange += other.exchange
        for name in _TABLES:
            getattr(self, name).update(getattr(other, name))
        for inode, (name, key, size) in other.linked.items():
            if inode in self.linked:
                self._count(name, key, -size)
        self.linked = {**other.linked, **self.linked}

    def _count(self, name: str, key: str, size: int) -> None:
        if name in _TABLES:
            getattr(self, name)[key] += size
        else:
            setattr(self, name, getattr(self, name) + size)

    @property
    def total(self) -> int:
        """All of it: what `du -sxB1 ROOT` says."""
        return self.frame + self.exchange + sum(sum(getattr(self, name).values()) for name in _TABLES)


class Known(NamedTuple):
    """Keys that the graph has records of."""

    blobs: AbstractSet[str]
    trees: AbstractSet[str]
    containers: AbstractSet[str]

    @classmethod
    def of(cls, snapshot: Snapshot, **there: AbstractSet[str]) -> Known:
        """All keys, sorted, of which some are already *there*. Raises the errors of Graph."""
        return cls(*(there.get(table) or dict.fromkeys(snapshot.keys(table)).keys() for table in cls._fields))

    def names(self) -> dict[str, frozenset[str]]:
        """What their files and directories are called, by the directory that these are in."""
        blobs, trees = (frozenset(key.partition(":")[2] for key in keys) for keys in (self.blobs, self.trees))
        return {"blobs": blobs, "trees": trees, "containers": frozenset(self.containers)}
