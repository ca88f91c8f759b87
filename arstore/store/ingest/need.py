"""The space that a piece of work still needs."""

from __future__ import annotations

from arstore.values import NamedTuple


class Need(NamedTuple):
    """*bytes* that the store will have in addition, and a *guess* for trees: their size is known when they are made.

    *staged* is the part of *bytes* that this process has already written. So many bytes, the *reserve*, have to stay
    free on the file system; None is the default of `disk.free_space`. The trees *sparing* are needed themselves. A need
    *is_refusable* unless the store has accepted its content before.
    """

    bytes: int = 0
    guess: int = 0
    staged: int = 0
    reserve: int | None = None
    sparing: frozenset[str] = frozenset()
    is_refusable: bool = True


NO_NEED = Need()
