"""What a look at the root finds, and what the graph knows of it, as values (`walk` does the looking).

Sizes are bytes allocated on disk (`st_blocks` of 512), as `du -B1` counts them, and like there a file with several hard
links counts once, where it is first met.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from arstore.maintenance.scan.size_table import Sizes
from arstore.values import NamedTuple
from arstore.workers.wire import answer

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet

    from arstore.graph.snapshot import Snapshot

_TABLES = ("blobs", "trees", "containers", "ingests", "strange")


@answer
@dataclass(slots=True)
class Survey:
    """Bytes by what they belong to; `frame` is the directories and files of the layout itself, the graph among them."""

    frame: int = 0
    blobs: Sizes = field(default_factory=Sizes)
    trees: Sizes = field(default_factory=Sizes)
    containers: Sizes = field(default_factory=Sizes)
    ingests: Sizes = field(default_factory=Sizes)
    exchange: int = 0
    strange: Sizes = field(default_factory=Sizes)
    linked: dict[int, tuple[str, str, int]] = field(default_factory=dict, compare=False, repr=False)
    """The files with several hard links, by numbers of device and inode, with the table and key where they count, and
    their bytes.
    """
    marks: dict[int, int] = field(default_factory=dict, compare=False, repr=False)
    """What `Listings` can remember of directories that had to be listed, by inode."""

    def add(self, other: Survey) -> None:
        """Take in what *other* has found elsewhere below the same root; what is linked from both counts here alone."""
        self.frame += other.frame
        self.exchange += other.exchange
        self.marks.update(other.marks)
        for name in _TABLES:
            getattr(self, name).extend(getattr(other, name))
        for inode, (name, key, size) in other.linked.items():
            if inode in self.linked:
                self._discount(name, key, size)
        self.linked = {**other.linked, **self.linked}

    def _discount(self, name: str, key: str, size: int) -> None:
        if name in _TABLES:
            getattr(self, name).lessen(key, size)
        else:
            setattr(self, name, getattr(self, name) - size)

    @property
    def total(self) -> int:
        """All of it: what `du -sB1 ROOT/` says."""
        tables: list[Sizes] = [getattr(self, name) for name in _TABLES]
        return self.frame + self.exchange + sum(table.total for table in tables)


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
