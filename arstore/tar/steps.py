"""Steps: a count of the work that hostile bytes cause, so that an input gets the same verdict on every machine.

A step is about the work of following one component of a path, some 100 ns on our machine. Everything that is processed
item by item has a price in steps: headers, entries, records, attributes, runs of sparse files, components of paths,
lookups in the trees below. No time is measured, so neither the clock nor the load changes a verdict.
docs/design/threat-model.md, "Work", has the prices in seconds.

Not here: bytes of content, which `inflated` and `ratio` limit, and how the processes of one source count together
(`workers.shared_budget.Tally`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from arstore.errors import LimitError
from arstore.tar.limits import raising

if TYPE_CHECKING:
    from collections.abc import Callable

LAYER = 40_000
"""A layer, whatever it contains: a pass, a few files, a tree, records."""
HEADER = 60
"""A header block, whatever its type."""
ENTRY = 140
"""An entry, in addition to its header: it is placed, and becomes an inode of an index. Also an implied directory."""
EXTRACTED = 1600
"""A name that is created on disk, in addition, and removed again if the layer is refused."""
RECORD = 40
"""A record of an extended header; for a global record, each time it is evaluated."""
ATTRIBUTE = 100
"""An extended attribute of a member, also one from a global record: it is checked, set and listed."""
NUMBER = 8
"""A number in a sparse file's map, and a quoted byte in an attribute's name."""
COMPONENT = 2
"""A component of a name that has to be resolved."""
LIST = 1
"""A byte of an access control list as text."""
DECODED = 1
"""Eight bytes of an extended header that has attributes as base64."""
LOOK = 1_000_000
"""Steps between two comparisons with the total of all processes of one import."""


class Steps:
    """The steps that are left of *most*; the function `told` adds a limit that several processes share.

    That function is called with the steps taken so far after every million; it returns whether that is too much.
    *taken* are the steps of an earlier reading of the same bytes. In hot loops the caller may count `left` down itself,
    and call `look` when it is below 0.
    """

    __slots__ = ("_granted", "_most", "_told", "left")

    def __init__(self, most: int, told: Callable[[int], bool] | None = None, taken: int = 0) -> None:
        self._most = most
        self._told = told
        self._granted = taken
        self.left = 0
        self._grant()

    @property
    def taken(self) -> int:
        """Steps taken so far."""
        return self._granted - self.left

    def take(self, count: int) -> None:
        """Take *count* steps. Raises LimitError past the limit."""
        self.left -= count
        if self.left < 0:
            self.look()

    def look(self) -> None:
        """Compare the steps taken with the limit. Raises LimitError past the limit."""
        taken = self.taken
        if taken > self._most or (self._told is not None and self._told(taken)):
            why = f"needs more than {self._most} steps of work"
            raise LimitError("the source", why, raising("steps"))
        self._grant()

    def _grant(self) -> None:
        """Grant steps until the next comparison; all of them if no other process counts."""
        taken = self.taken
        self._granted = self._most if self._told is None else min(taken + LOOK, self._most)
        self.left = self._granted - taken
