"""Trace points: the registered points are those that the code calls, and a call does what it says."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from arstore import trace

PACKAGE = Path(trace.__file__).resolve().parent


def calls(text):
    """The names of the points that *text*, a module, reaches; None for one that is not a literal."""
    return [
        node.args[0].value if isinstance(node.args[0], ast.Constant) else None
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "reached"
    ]


def called():
    """The number of calls of each point in the package."""
    return Counter(name for path in PACKAGE.rglob("*.py") for name in calls(path.read_text()))


def test_every_call_is_registered_and_every_point_is_called():
    assert called().keys() == trace.POINTS.keys()


def test_a_call_without_a_literal_is_found():
    assert calls("reached(name)\nif a:\n    reached('x.y')") == [None, "x.y"]


@pytest.mark.parametrize("area", trace.AREAS)
def test_an_area_has_points_of_one_prefix_and_each_says_something(area):
    points = trace.AREAS[area]
    assert len({name.partition(".")[0] for name in points}) == 1
    assert all(point.done and point.then for point in points.values())


def test_no_name_is_registered_twice():
    assert len(trace.POINTS) == sum(map(len, trace.AREAS.values()))


def test_a_listener_is_told_and_so_are_forked_processes():
    reading, writing = os.pipe()
    trace.listen(lambda name: os.write(writing, f"{name}\n".encode()))
    try:
        trace.reached("ingest.made")
        child = os.fork()
        if child == 0:
            trace.reached("ingest.removed")
            os._exit(0)
        os.waitpid(child, 0)
    finally:
        trace.listen(None)
    trace.reached("take.claimed")
    os.close(writing)
    with open(reading, "rb") as file:
        assert file.read() == b"ingest.made\ningest.removed\n"


def test_the_table_of_the_documentation_is_current():
    tool = PACKAGE.parent / "tools" / "crash_safety.py"
    made = subprocess.run([sys.executable, tool], capture_output=True, text=True, check=True).stdout
    written = (PACKAGE.parent / "docs" / "design" / "crash-safety.md").read_text()
    assert written == made, "run tools/crash_safety.py --write"
