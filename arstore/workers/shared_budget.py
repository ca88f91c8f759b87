"""Memory that several processes draw on: what all layers may take together that are read at a time.

Each process has an account, a word of a page that all of them share. It draws in steps of a MiB, and looks at all
accounts before it does. Two that look at the same moment may both find the last step free: never more than a step a
process is drawn too much. Work is counted together in the same way, a layer at a time (`Tally`). Out of scope: what one
layer may take, and what is counted (`trees.memory_quota`, `tar.steps`).
"""

from __future__ import annotations

import mmap

STEP = 1 << 20
"""Bytes that are drawn at a time."""
_WORD = 8


class Budget:
    """*total* bytes, and so many accounts. It is made before the processes are, which inherit the page."""

    def __init__(self, total: int, accounts: int) -> None:
        self.total = total
        self._page = memoryview(mmap.mmap(-1, _WORD * max(accounts, 1))).cast("Q")

    def account(self, number: int) -> Account:
        """The account of the process with this number."""
        return Account(self, number)

    def draw(self, number: int, count: int) -> int:
        """Note up to *count* bytes more for an account, as many as there are; how many that is."""
        count = max(min(count, self.total - sum(self._page)), 0)
        self._page[number] += count
        return count

    def drawn(self, number: int) -> int:
        """What stands in an account."""
        return self._page[number]

    def give_back(self, number: int) -> None:
        """Give back what stands in an account, whose process has ended."""
        self._page[number] = 0


class Account:
    """One process's part of a budget, which it keeps until it ends: memory that was freed stays with a process."""

    __slots__ = ("_budget", "_number")

    def __init__(self, budget: Budget, number: int) -> None:
        self._budget = budget
        self._number = number

    @property
    def drawn(self) -> int:
        """What was drawn so far, in bytes."""
        return self._budget.drawn(self._number)

    def draw(self, count: int) -> int:
        """Draw up to *count* bytes more; how many there were, 0 when the others have what is left."""
        return self._budget.draw(self._number, count)


class Tally:
    """What so many layers have taken of *most* steps all together, noted by the processes that read them.

    What a layer takes does not depend on who reads it, when and beside what, and one that is read again counts once: so
    the last note tells whether all of them are past *most*, whichever that is.

    Of *most*, *per_byte* for each of the *promised* bytes counts only when the byte has come (`come`): a network may
    announce more than it sends. *least* may be taken in any case.
    """

    def __init__(self, most: int, layers: int, promised: int = 0, per_byte: int = 0, least: int = 0) -> None:
        self.most = most
        self._least = least
        self._promised = promised
        self._per_byte = per_byte
        words = max(layers, 1)
        page = memoryview(mmap.mmap(-1, 2 * _WORD * words)).cast("Q")
        self._page, self._came = page[:words], page[words:]

    def note(self, number: int, count: int) -> bool:
        """Note that the layer of this number has taken *count* steps; whether all together have taken too many."""
        self._page[number] = max(self._page[number], count)
        missing = max(self._promised - sum(self._came), 0) if self._promised else 0
        return sum(self._page) > max(self.most - self._per_byte * missing, min(self._least, self.most))

    def come(self, number: int, count: int) -> None:
        """Note that *count* more bytes of the layer of this number have come."""
        self._came[number] += count

    def noted(self, number: int) -> int:
        """What was noted of a layer."""
        return self._page[number]
