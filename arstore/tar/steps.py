"""Steps: the work that hostile bytes ask for, counted, so that one input gets one verdict on every machine.

A step is about as much as it takes to follow one component of a path, some 100 ns here. Everything that is gone
through one by one has its price in steps: headers, entries, records, attributes, runs of sparse files, components of
paths, looks into the trees below. Nothing is measured, so no clock and no load changes what is refused. What the prices
come to in seconds is in docs/design/threat-model.md, "Work".

Not in scope: bytes of content, which are bounded by `inflated` and `ratio`, and how a source's processes count together
(`workers.shared_budget.Tally`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from arstore.errors import LimitError
from arstore.tar.limits import raising

if TYPE_CHECKING:
    from collections.abc import Callable

LAYER = 40_000
"""A layer, whatever is in it: a pass, a few files, a tree, records."""
HEADER = 60
"""A header block, whatever it announces."""
ENTRY = 140
"""An entry, besides its header: it is placed, and becomes an inode of an index. A directory that is implied, too."""
EXTRACTED = 1600
"""A name that is made on disk, besides, and goes again when the layer is refused."""
RECORD = 40
"""A record of an extended header; a global one when what it says is gone through."""
ATTRIBUTE = 100
"""An extended attribute of a member, one from a global record too: it is sifted, set and listed."""
NUMBER = 8
"""A number of a sparse file's map, and a byte of an attribute's name that is quoted."""
COMPONENT = 2
"""A component of a name that has to be resolved."""
LIST = 1
"""A byte of an access control list as text."""
DECODED = 1
"""Eight bytes of an extended header that has attributes as base64."""
LOOK = 1_000_000
"""Steps between two looks at what all processes of one import have taken."""


class Steps:
    """The steps that are left of *most*, or, with *told*, of what *told* lets go on.

    *told* gets the steps taken so far whenever a million more were, and returns whether that is too much; *taken* are
    those of an earlier reading of the same. Who takes many may count `left` down by itself, and calls `look` when it is
    below 0.
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
        """The steps taken so far."""
        return self._granted - self.left

    def take(self, count: int) -> None:
        """Take so many. Raises LimitError past the limit."""
        self.left -= count
        if self.left < 0:
            self.look()

    def look(self) -> None:
        """Compare what was taken with what may be. Raises LimitError past the limit."""
        taken = self.taken
        if taken > self._most or (self._told is not None and self._told(taken)):
            why = f"asks for more than {self._most} steps of work"
            raise LimitError("the source", why, raising("steps"))
        self._grant()

    def _grant(self) -> None:
        """Have some more steps until the next look, all of them where nobody else counts."""
        taken = self.taken
        self._granted = self._most if self._told is None else min(taken + LOOK, self._most)
        self.left = self._granted - taken
