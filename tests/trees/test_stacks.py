"""Random stacks of layers in every view, compared with the model; `tools/reliability stacks` tries more."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from reliability.stacks import Task, examine
from support import programs
from trees.erofs.trees import mountable

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.root, pytest.mark.mounts, mountable]

_A_TEST = 40


@pytest.mark.parametrize("part", [0, 1, *(pytest.param(n, marks=pytest.mark.long) for n in range(2, 5))])
def test_every_view_is_as_the_specification_has_it(tmp_path: Path, part: int) -> None:
    umoci = programs.program("umoci") is not None
    for number in range(part * _A_TEST, (part + 1) * _A_TEST):
        task = Task(1914, number, number % 20 == 0, umoci and number % 8 == 0, str(tmp_path))
        assert examine(task).differing == [], task.stack()


def test_a_seed_makes_the_same_stacks() -> None:
    one, other = (Task(7, 3, store=False, umoci=False, place="").stack() for _ in range(2))
    assert one == other
    assert 2 <= len(one) <= 5


@pytest.mark.long
def test_many_stacks(tmp_path: Path) -> None:
    for number in range(2000):
        task = Task(19, number, number % 50 == 0, umoci=False, place=str(tmp_path))
        assert examine(task).differing == [], task.stack()
