"""The allowance of one layer: what is kept in memory of its entries, and the steps that its paths take, are counted.

Both grow with what an archive says, so a builder tells of them as they come. Counts are estimates from above, made once
and never given back: what is replaced later has been kept as well. Past its allowance a layer is refused: in the
directory form, which keeps nothing of files in memory, it would take an inode for each of them. Only what the store has
accepted once is extracted then. Where several layers are read at a time, what they hold comes from one budget
(`workers.shared_budget`), and one that finds nothing left there has to be read once more.

Not in scope: buffers, and what one entry may have (`tar.limits`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from arstore.errors import LimitError
from arstore.tar.limits import ACCEPTED, Limits, raising
from arstore.tar.steps import Steps
from arstore.trees.format import UnrepresentableError
from arstore.workers.shared_budget import STEP

if TYPE_CHECKING:
    from arstore.tar.entry import Entry
    from arstore.workers.shared_budget import Account

DIRECTORY = 900
"""Bytes of a directory: its object, its entry, its tables, its inode; the path, and what it takes more, besides."""
NAME = 400
"""Bytes of anything else that has a name: the name in two tables, an inode."""
_WRITTEN = 8
"""Bytes for each byte of a path that `needs.json` will have: as text with escapes, and in the list."""
_LOOKED_UP = 16
"""Steps for each component of a path that will have to be looked up in the trees below."""
_LOOK = 300
"""Steps for each component of a path, and for the tree itself, when one is looked up in a tree below."""


class CrowdedError(UnrepresentableError):
    """Other layers have the memory that this one needs; alone it may be within its limits."""


class Allowance:
    """What is left of the bytes and the steps that *limits* give a layer; *index* when the index form is built.

    The bytes are drawn from *account* as they are needed; without one they are there. The steps are taken from *steps*,
    where several count together.
    """

    __slots__ = ("_account", "_granted", "_index", "_limits", "_memory", "_most", "_steps")

    def __init__(
        self,
        limits: Limits = ACCEPTED,
        *,
        index: bool = False,
        account: Account | None = None,
        steps: Steps | None = None,
    ) -> None:
        self._limits = limits
        self._index = index
        self._account = account
        self._most = most_held(limits, index=index)
        # What this process has drawn for layers before this one it has still.
        self._memory = self._granted = self._most if account is None else min(account.drawn, self._most)
        self._steps = Steps(limits.steps) if steps is None else steps

    def hold(self, count: int) -> None:
        """Count bytes. Raises LimitError past the limit, CrowdedError; for a stored layer UnrepresentableError."""
        self._memory -= count
        if self._memory < 0:
            self._draw()

    def _draw(self) -> None:
        while self._memory < 0:
            if self._granted >= self._most or self._account is None:
                raise self._past_memory()
            step = self._account.draw(min(STEP, self._most - self._granted))
            if not step:
                raise CrowdedError(b"", "other layers have the memory")
            self._granted += step
            self._memory += step

    def _past_memory(self) -> LimitError | UnrepresentableError:
        if not self._index:
            why = f"its directories, links and attributes take more than {self._most} bytes of memory"
            return LimitError("the layer", why, raising("memory"))
        if self._limits.extracts_large:
            return UnrepresentableError(b"", "more entries than are kept in memory")
        why = f"its entries take more than {self._most} bytes of memory"
        return LimitError("the layer", why, raising("index-memory"))

    def hold_directory(self, path: int) -> None:
        """Count a directory whose path has so many bytes."""
        self.hold(DIRECTORY + path)

    def hold_implied(self, path: int, depth: int) -> None:
        """Count what a directory takes that the layer has no entry for. Raises as `hold` and `step`."""
        self.hold(_WRITTEN * path)
        self.step(_LOOKED_UP * depth)

    def hold_passed(self, path: bytes) -> None:
        """Count a path whose kind in lower layers matters. Raises as `hold` and `step`."""
        self.hold(NAME + _WRITTEN * len(path))
        self.step(_LOOKED_UP * (path.count(b"/") + 1))

    def hold_link(self, entry: Entry) -> None:
        """Count a hard link to what a lower layer has. Raises as `hold`."""
        self.hold(NAME + _WRITTEN * (len(entry.path) + len(entry.link)))

    def hold_xattrs(self, entry: Entry) -> None:
        """Count extended attributes, which are kept and then written. Raises as `hold`."""
        self.hold(sum(NAME + 2 * (len(name) + len(value)) for name, value in entry.xattrs.items()))

    def look_up(self, path: bytes, trees: int) -> None:
        """Count what it takes to find a path in so many trees. Raises as `step`."""
        self.step(_LOOK * (path.count(b"/") + 2) * trees)

    def step(self, count: int) -> None:
        """Count components that a path takes. Raises LimitError past the limit."""
        steps = self._steps
        steps.left -= count
        if steps.left < 0:
            steps.look()

    def settle(self) -> None:
        """Count what was taken so far with what others have taken. Raises LimitError past the limit."""
        self._steps.look()


def most_held(limits: Limits, *, index: bool) -> int:
    """The bytes that *limits* let a layer hold for an index, or while its files are extracted."""
    return limits.index_memory if index else limits.memory
