"""Memory budget that several processes share: the limit for all layers that are read at the same time.

Each process has an account, a word of a page that all of them share. It draws in steps of a MiB, after looking at all
accounts. Two processes that look at the same moment may both take the last step: the budget is exceeded by one step per
process at most. Work is counted together in the same way, one layer at a time (`Tally`). Not here: the limit for one
layer, and what is counted (`trees.memory_quota`, `tar.steps`).
"""

from __future__ import annotations

import mmap

STEP = 1 << 20
"""Bytes that are drawn at a time."""
_WORD = 8


class Budget:
    """*total* bytes, and a number of accounts. Create it before the processes, which inherit the page."""

    def __init__(self, total: int, accounts: int) -> None:
        self.total = total
        self._page = memoryview(mmap.mmap(-1, _WORD * max(accounts, 1))).cast("Q")

    def account(self, number: int) -> Account:
        """Return the account of the process with this number."""
        return Account(self, number)

    def draw(self, number: int, count: int) -> int:
        """Add up to *count* bytes to an account, as many as are left; return how many."""
        count = max(min(count, self.total - sum(self._page)), 0)
        self._page[number] += count
        return count

    def drawn(self, number: int) -> int:
        """Return the bytes drawn by an account."""
        return self._page[number]

    def give_back(self, number: int) -> None:
        """Return all bytes of an account to the budget, after its process has ended."""
        self._page[number] = 0


class Account:
    """One process's share of a budget. Kept until the process ends: memory that was freed stays in the process."""

    __slots__ = ("_budget", "_number")

    def __init__(self, budget: Budget, number: int) -> None:
        self._budget = budget
        self._number = number

    @property
    def drawn(self) -> int:
        """Bytes drawn so far."""
        return self._budget.drawn(self._number)

    def draw(self, count: int) -> int:
        """Draw up to *count* bytes more; return how many, 0 when nothing is left."""
        return self._budget.draw(self._number, count)


class Tally:
    """Steps that all layers together have taken, out of *most*; noted by the processes that read the layers.

    The steps of a layer do not depend on which process reads it, when, or what else is read, and a layer that is read
    again counts once. So whichever note comes last shows whether all layers together exceed *most*.

    For each of the *promised* bytes, *per_byte* steps of *most* are available only after the byte has arrived (`come`):
    a network may announce more than it sends. *least* steps are available in any case.
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
        """Note that the layer of this number has taken *count* steps; return whether all together exceed the limit."""
        self._page[number] = max(self._page[number], count)
        missing = max(self._promised - sum(self._came), 0) if self._promised else 0
        return sum(self._page) > max(self.most - self._per_byte * missing, min(self._least, self.most))

    def come(self, number: int, count: int) -> None:
        """Note that *count* more bytes of the layer of this number have arrived."""
        self._came[number] += count

    def noted(self, number: int) -> int:
        """Return the steps noted for a layer."""
        return self._page[number]
