"""Limits for one layer: the memory for its entries, and the steps that its paths take.

Both grow with the content of the archive, so a builder reports them as they come. The counts are upper estimates, made
once and never given back, because entries that are replaced later were also kept. A layer beyond its limit is refused:
the directory form keeps nothing about files in memory, but would need an inode for each. Only layers that the store has
accepted before are extracted then. If several layers are read at a time, their memory comes from one budget
(`workers.shared_budget`); a layer that finds the budget used up has to be read again.

Not here: buffers, and limits on one entry (`tar.limits`).
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
"""Bytes for a directory: its object, its entry, its tables, its inode. The path is added to that."""
NAME = 400
"""Bytes for any other name: the name in two tables, an inode."""
_WRITTEN = 8
"""Bytes per byte of a path that will be in `needs.json`: as escaped text, and in the list."""
_LOOKED_UP = 16
"""Steps per component of a path that will be looked up in the trees below."""
_LOOK = 300
"""Steps per component of a path, and for the tree itself, of a lookup in a tree below."""


class CrowdedError(UnrepresentableError):
    """Other layers use the memory that this one needs; alone it may be within its limits."""


class Allowance:
    """Bytes and steps that are left of the *limits* for a layer; *index*: the index form is being built.

    Bytes are drawn from *account* as needed; without an account they are all available. Steps are taken from *steps*,
    which several layers may share.
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
        # Memory that this process has drawn for earlier layers is still available to it.
        self._memory = self._granted = self._most if account is None else min(account.drawn, self._most)
        self._steps = Steps(limits.steps) if steps is None else steps

    def hold(self, count: int) -> None:
        """Count bytes. Raises LimitError past the limit, CrowdedError; UnrepresentableError for an accepted layer."""
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
        """Count a directory whose path has *path* bytes. Raises the errors of `hold`."""
        self.hold(DIRECTORY + path)

    def hold_implied(self, path: int, depth: int) -> None:
        """Count a directory without an entry in the layer. Raises the errors of `hold` and `step`."""
        self.hold(_WRITTEN * path)
        self.step(_LOOKED_UP * depth)

    def hold_passed(self, path: bytes) -> None:
        """Count a path whose kind in lower layers matters. Raises the errors of `hold` and `step`."""
        self.hold(NAME + _WRITTEN * len(path))
        self.step(_LOOKED_UP * (path.count(b"/") + 1))

    def hold_link(self, entry: Entry) -> None:
        """Count a hard link to a file of a lower layer. Raises the errors of `hold`."""
        self.hold(NAME + _WRITTEN * (len(entry.path) + len(entry.link)))

    def hold_xattrs(self, entry: Entry) -> None:
        """Count extended attributes, which are kept and later written. Raises the errors of `hold`."""
        self.hold(sum(NAME + 2 * (len(name) + len(value)) for name, value in entry.xattrs.items()))

    def look_up(self, path: bytes, trees: int) -> None:
        """Count the lookup of a path in *trees* trees. Raises LimitError past the limit."""
        self.step(_LOOK * (path.count(b"/") + 2) * trees)

    def step(self, count: int) -> None:
        """Count *count* steps. Raises LimitError past the limit."""
        steps = self._steps
        steps.left -= count
        if steps.left < 0:
            steps.look()

    def settle(self) -> None:
        """Compare the steps of all processes together with the limit. Raises LimitError past the limit."""
        self._steps.look()


def most_held(limits: Limits, *, index: bool) -> int:
    """Return the bytes that *limits* permit a layer for an index, or (not *index*) for extraction."""
    return limits.index_memory if index else limits.memory
