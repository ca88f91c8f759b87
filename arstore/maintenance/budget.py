"""The size that a store may have: cached trees are given up before an image is refused.

    most    the store takes at most so many bytes, or nothing is brought in
    high    if it takes more than this, trees are given up ...
    low     ... until it takes only this

Sizes are those of `du`: everything below the root. What this process has in flight does not count, because it is
deleted or becomes what is brought in, which is counted apart. The records of an image, in the graph's file, are not
counted in advance. Trees that are made again for a mount are never refused.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from arstore.disk.owner import Owner
from arstore.errors import BudgetError
from arstore.maintenance.scan.walk import Parts, weigh
from arstore.maintenance.trim import Goal, trim
from arstore.values import NamedTuple
from arstore.workers.pool import divided

if TYPE_CHECKING:
    from collections.abc import Sequence

    from arstore.store.ingest.need import Need
    from arstore.store.store import Store


class Budget(NamedTuple):
    """Bytes; 0 for no limit. *low* is at most *high*."""

    most: int = 0
    high: int = 0
    low: int = 0


def keep_within(store: Store, budget: Budget, need: Need, staged: Sequence[str] = ()) -> None:
    """Give up trees so that *need* fits into *budget*, those that were not used for longest first.

    *staged* are the paths of what is about to be published: then its size is known, and counts instead. What is only
    guessed does not count.
    If `most` cannot be reached, and the need may be refused, nothing is given up, and BudgetError is raised.
    Raises OSError and the errors of Graph.
    """
    if staged:
        root = store.directories.root
        need = need._replace(bytes=weigh(store.directories, [os.path.relpath(path, root) for path in staged]))
    total = _taken(store) + need.bytes
    if budget.most and total > budget.most:
        over = total - budget.most
        total -= give_up(store, Goal(freed=over, least=over if need.is_refusable else 0, sparing=need.sparing))
        if total > budget.most and need.is_refusable:
            raise _refused(store, total, need, budget.most)
    if budget.high and total > budget.high:
        give_up(store, Goal(freed=total - budget.low, sparing=need.sparing))


def give_up(store: Store, goal: Goal) -> int:
    """Give up trees for something that is brought in; return the bytes freed, which the store also keeps a count of.

    Raises the errors of `trim`.
    """
    done = trim(store, goal)
    images, count = store.given_up
    store.given_up = images + len(done.images), count + done.freed
    return done.freed


def _taken(store: Store) -> int:
    """Return the bytes of everything below the root, except what this process has in flight."""
    # Processes are forked, which must not inherit the open graph.
    store.release()
    parts = Parts(store.directories)
    with divided(parts.survey, parts.COUNT) as surveyed:
        found, *others = surveyed()
    for other in others:
        found.add(other)
    parts.remember(found)
    own = Owner.current()
    return found.total - sum(found.ingests[name] for name in found.ingests if Owner.of_directory(name) == own)


def _refused(store: Store, total: int, need: Need, most: int) -> BudgetError:
    why = f"{total} bytes would be in use, {need.bytes} of them new, and at most {most} may be"
    return BudgetError(store.directories.root, why, "remove images, or change max-size")
