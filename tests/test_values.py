"""Our named tuples behave as `typing.NamedTuple`, and our frozen classes as those of `dataclasses`."""

from __future__ import annotations

import collections
import copy
import dataclasses
import pickle
import subprocess
import sys
import typing
from pathlib import Path

import pytest

from arstore.values import NamedTuple, frozen

REPOSITORY = Path(__file__).resolve().parents[1]


class Ours(NamedTuple):
    """A point."""

    x: int
    y: list[str]
    z: int = 3
    label: str = ""

    @property
    def total(self):
        return self.x + self.z

    @classmethod
    def of(cls, x):
        return cls(x, [])


class Theirs(typing.NamedTuple):
    """A point."""

    x: int
    y: list[str]
    z: int = 3
    label: str = ""

    @property
    def total(self):
        return self.x + self.z

    @classmethod
    def of(cls, x):
        return cls(x, [])


@pytest.mark.parametrize(
    "look",
    [
        lambda kind: kind(1, ["a"]),
        lambda kind: kind(1, y=[], label="l"),
        lambda kind: kind(x=1, y=[], z=5)._replace(z=9, label="n"),
        lambda kind: kind(1, [])._asdict(),
        lambda kind: kind._make([1, [], 2, "x"]),
        lambda kind: kind.of(4).total,
        lambda kind: kind(1, [])[1:],
        lambda kind: kind(1, []) == (1, [], 3, ""),
        lambda kind: hash(kind(1, (), 2)),
        lambda kind: kind(1, []) < kind(2, []),
        lambda kind: repr(kind(1, ["b"])).replace(kind.__name__, ""),
        lambda kind: kind._fields,
        lambda kind: kind._field_defaults,
        lambda kind: kind.__match_args__,
        lambda kind: kind.__doc__,
        lambda kind: kind.__annotations__.keys(),
        lambda kind: isinstance(kind(1, []), tuple),
        lambda kind: copy.deepcopy(kind(1, [])),
        lambda kind: pickle.loads(pickle.dumps(kind(1, []))),
        lambda kind: hasattr(kind(1, []), "__dict__"),
    ],
)
def test_it_is_alike(look):
    assert look(Ours) == look(Theirs)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda kind: kind(),
        lambda kind: kind(1),
        lambda kind: kind(1, 2, 3, 4, 5),
        lambda kind: kind(1, 2, nonsense=3),
        lambda kind: kind(1, 2, x=3),
        lambda kind: kind._make([1]),
        lambda kind: setattr(kind(1, 2), "x", 5),
        lambda kind: setattr(kind(1, 2), "other", 5),
    ],
)
def test_errors_are_alike(wrong):
    with pytest.raises((TypeError, AttributeError)) as ours:
        wrong(Ours)
    with pytest.raises((TypeError, AttributeError)) as theirs:
        wrong(Theirs)
    assert type(ours.value) is type(theirs.value)


def test_an_unknown_field_cannot_be_replaced():
    with pytest.raises((TypeError, ValueError), match="nonsense"):
        Ours(1, [])._replace(nonsense=2)


def test_matching():
    match Ours(1, ["a"], label="q"):
        case Ours(x, y, label="q"):
            assert (x, y) == (1, ["a"])
        case _:
            raise AssertionError


def test_a_subclass_is_made_as_itself():
    class Sub(Ours):
        pass

    class Single(NamedTuple):
        one: int

    assert type(Sub(1, [])) is Sub
    assert type(Ours(1, [])) is Ours
    assert Single(5).one == 5
    assert type(collections.namedtuple("Example", "a").a) is type(Single.one)


def test_a_field_without_a_default_comes_first():
    with pytest.raises(TypeError, match="default"):

        class Wrong(NamedTuple):
            x: int = 1
            y: int


def test_the_first_use_may_be_in_any_way():
    code = """
from __future__ import annotations
from arstore.values import NamedTuple, frozen
class A(NamedTuple):
    x: int
    y: int = 2
class B(A):
    pass
class C(NamedTuple):
    x: int = 1
class D(NamedTuple):
    x: int
"""
    code += "print(B(1), A._make((1, 3)), C(), C()._replace(x=4), D.__new__(D, 5), list(map(D, [1, 2])))\n"
    done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert done.stdout == "B(x=1, y=2) A(x=1, y=3) C(x=1) C(x=4) D(x=5) [D(x=1), D(x=2)]\n"


@frozen
class _Point:
    """A point."""

    x: int
    y: tuple[int, ...] = ()

    @property
    def double(self) -> int:
        return 2 * self.x


def test_a_frozen_class_is_a_data_class():
    one = _Point(1)
    assert (one.x, one.y, one.double) == (1, (), 2)
    assert one == _Point(x=1, y=()) != _Point(2)
    assert hash(one) == hash(_Point(1))
    assert repr(one) == "_Point(x=1, y=())"
    assert one != (1, ())
    assert dataclasses.asdict(one) == {"x": 1, "y": ()}
    assert dataclasses.replace(one, y=(3,)) == _Point(1, (3,))
    assert [(field.name, field.type) for field in dataclasses.fields(_Point)] == [
        ("x", "int"),
        ("y", "tuple[int, ...]"),
    ]
    assert copy.deepcopy(one) == pickle.loads(pickle.dumps(one)) == one
    match one:
        case _Point(x, y):
            assert (x, y) == (1, ())


@pytest.mark.parametrize(
    "wrong", [lambda: _Point(), lambda: _Point(1, (), 2), lambda: _Point(1, x=2), lambda: _Point(1, z=2)]
)
def test_wrong_values_of_a_frozen_class_are_refused(wrong):
    with pytest.raises(TypeError, match="_Point"):
        wrong()


def test_a_frozen_class_is_frozen():
    one = _Point(1)
    with pytest.raises(dataclasses.FrozenInstanceError):
        one.x = 2
    with pytest.raises(dataclasses.FrozenInstanceError):
        del one.x
    assert one.x == 1
