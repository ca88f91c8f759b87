"""Cost of finding where a layer's members and marks belong: steps for the paths, memory for the remembered ones."""

from __future__ import annotations

import pytest

from arstore.errors import LimitError
from arstore.store.ingest.chain import _Capped
from arstore.tar.entry import Entry, Kind
from arstore.tar.limits import ACCEPTED
from arstore.tar.steps import ENTRY, Steps
from arstore.trees.relocation import Relocation


class Below:
    """Lower layers that have one directory, and one symlink to it."""

    def link(self, path):
        return b"real" if path == b"d" else None

    def is_directory(self, path):
        return path in (b"", b"real")

    def resolve(self, path):
        return b"real" + path[1:]


class Own:
    """A layer with members in that directory alone."""

    def replaces(self, _path):
        return False


def relocation(**limits):
    made, steps = Relocation(Below(), Own()), Steps(ACCEPTED.steps)
    made.pay(steps, ACCEPTED._replace(**limits))
    return made, steps


def file(path):
    return Entry(path, Kind.FILE)


@pytest.mark.parametrize(
    ("path", "steps", "memory"),
    [
        # A mark is remembered; where a symlink leads it, the layer itself is searched too.
        (b"x/.wh.f", 16 * 2, 400 + 8 * 3),
        (b"d/.wh.f", 16 * 2 + 2 * 300, 400 + 8 * 3),
        (b"d/.wh..wh..opq", 16 + 2 * 300, 400 + 8),
    ],
)
def test_marks(path, steps, memory):
    made, taken = relocation(memory=memory)
    made.survey([file(path)])
    assert taken.taken == steps
    with pytest.raises(LimitError, match="--limit memory="):
        relocation(memory=memory - 1)[0].survey([file(path)])


def test_one_with_a_cap_costs_the_same():
    made, steps = relocation()
    capped = _Capped(made, [], frozenset())
    capped.pay(counted := Steps(ACCEPTED.steps), ACCEPTED)
    capped.survey([file(b"x/.wh.f")])
    assert (steps.taken, counted.taken) == (0, 32)
    _Capped(None, [], frozenset()).pay(counted, ACCEPTED)


@pytest.mark.parametrize(
    ("entry", "steps", "memory"),
    [
        (file(b"f"), 1, 0),
        (file(b"a/b/f"), 2 + 2 * ENTRY + 16 * 3, 2 * 900 + 9 * 2 + 9 * 4),
        (file(b"d/f"), 1 + 1 + ENTRY + 16, 900 + 9 * 5),
        (Entry(b"new", Kind.DIRECTORY), 1, 900 + 4),
    ],
)
def test_members(entry, steps, memory):
    made, taken = relocation(memory=memory)
    made.resolve([])
    (moved,) = [moved for moved, _ in made.entries([entry])]
    assert moved.path == entry.path.replace(b"d/", b"real/")
    assert taken.taken == steps
    if memory:
        made = relocation(memory=memory - 1)[0]
        made.resolve([])
        with pytest.raises(LimitError, match="--limit memory="):
            list(made.entries([entry]))
