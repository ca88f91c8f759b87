"""Results of a scan of the root, and the keys that the graph records, as values (`walk` does the scan).

Sizes are bytes allocated on disk (`st_blocks` of 512), as `du -B1` counts them. As there, a file with several hard
links counts once, where it is first found.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from arstore.dataclass import dataclass, field
from arstore.maintenance.scan.size_table import Sizes
from arstore.values import NamedTuple
from arstore.workers.wire import answer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from collections.abc import Set as AbstractSet

    from arstore.graph.snapshot import Snapshot


@answer
@dataclass(slots=True)
class Survey:
    """Bytes by owner; `frame` is the layout itself: its directories and files, including the graph."""

    frame: int = 0
    blobs: Sizes = field(default_factory=Sizes)
    trees: Sizes = field(default_factory=Sizes)
    containers: Sizes = field(default_factory=Sizes)
    volumes: Sizes = field(default_factory=Sizes)
    ingests: Sizes = field(default_factory=Sizes)
    exchange: int = 0
    strange: Sizes = field(default_factory=Sizes)
    linked: dict[int, tuple[str, str, int]] = field(default_factory=dict, compare=False, repr=False)
    """The files with several hard links, by device and inode, with the table and key under which they count, and their
    bytes.
    """
    owners: dict[int, set[tuple[str, str]]] = field(default_factory=dict, compare=False, repr=False)
    """The tables and keys that have names of each of these files, by device and inode."""
    marks: dict[int, int] = field(default_factory=dict, compare=False, repr=False)
    """Marks for `Listings` of directories that had to be listed, by inode."""

    def add(self, other: Survey) -> None:
        """Add the results of *other*, from elsewhere below the same root; files linked from both count only here."""
        self.frame += other.frame
        self.exchange += other.exchange
        self.marks.update(other.marks)
        for table, found in zip(self.tables().values(), other.tables().values(), strict=True):
            table.extend(found)
        for inode, (name, key, size) in other.linked.items():
            if inode in self.linked:
                self._discount(name, key, size)
        self.linked = {**other.linked, **self.linked}
        for inode, owners in other.owners.items():
            self.owners.setdefault(inode, set()).update(owners)

    def _discount(self, name: str, key: str, size: int) -> None:
        if name == "frame":
            self.frame -= size
        elif name == "exchange":
            self.exchange -= size
        else:
            self.tables()[name].lessen(key, size)

    def shared(self) -> Iterator[tuple[int, set[tuple[str, str]]]]:
        """Yield bytes and owners of each file that belongs to several; the bytes no longer count in any table.

        The owners are pairs of a table and a key.
        """
        for inode, owners in self.owners.items():
            if len(owners) > 1:
                name, key, size = self.linked[inode]
                self._discount(name, key, size)
                yield size, owners

    def tables(self) -> dict[str, Sizes]:
        """Return the tables of bytes by key, by the name of their kind."""
        return {
            "blobs": self.blobs,
            "trees": self.trees,
            "containers": self.containers,
            "volumes": self.volumes,
            "ingests": self.ingests,
            "strange": self.strange,
        }

    @property
    def total(self) -> int:
        """All bytes, as `du -sB1 ROOT/` prints them."""
        return self.frame + self.exchange + sum(table.total for table in self.tables().values())


class Freed(NamedTuple):
    """Bytes on disk that a removal frees. A file that a blob and a tree share counts as the first of them that goes."""

    blobs: int = 0
    trees: int = 0
    containers: int = 0
    ingests: int = 0
    others: int = 0

    @property
    def total(self) -> int:
        """All bytes."""
        return sum(self)


NOTHING = Freed()


class Known(NamedTuple):
    """The keys that the graph records."""

    blobs: AbstractSet[str]
    trees: AbstractSet[str]
    containers: AbstractSet[str]

    @classmethod
    def of(
        cls, snapshot: Snapshot, blobs: AbstractSet[str] | None = None, trees: AbstractSet[str] | None = None
    ) -> Known:
        """Return all keys, sorted; *blobs* and *trees* if the caller has read them. Raises the errors of Graph."""

        def keys(table: str) -> AbstractSet[str]:
            return dict.fromkeys(snapshot.keys(table)).keys()

        return cls(
            keys("blobs") if blobs is None else blobs,
            keys("trees") if trees is None else trees,
            keys("containers"),
        )

    def names(self) -> dict[str, frozenset[str]]:
        """Return the names of their files and directories, by the directory that contains these."""
        blobs, trees = (frozenset(key.partition(":")[2] for key in keys) for keys in (self.blobs, self.trees))
        return {"blobs": blobs, "trees": trees, "containers": frozenset(self.containers)}
