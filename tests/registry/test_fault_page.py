"""docs/design/registry-faults.md names existing tests, and the errors that they assert."""

import ast
import re
from pathlib import Path

import pytest

from arstore import errors

REPOSITORY = Path(__file__).resolve().parents[2]
PAGE = (REPOSITORY / "docs/design/registry-faults.md").read_text()
ROWS = [
    tuple(cell.strip() for cell in line.strip("|").split("|"))
    for line in PAGE.splitlines()
    if line.startswith("| ") and not line.startswith(("| fault", "| **"))
]
LEAST = 25
ALL_OF = ("cli/registries/test_faults.py", "cli/registries/test_push.py")


def functions_of(file):
    tree = ast.parse((REPOSITORY / "tests" / file).read_text())
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")}


def named(cell):
    """The tests in a cell, by file: `FILE`: `NAME`, `NAME`; …"""
    found = {}
    for part in cell.split("; "):
        file, *names = re.findall("`([^`]+)`", part)
        found[file] = {f"test_{name}" for name in names}
    return found


def test_there_are_enough_classes_and_each_stands_once():
    classes = [row[0] for row in ROWS]
    assert len(classes) >= LEAST
    assert len(set(classes)) == len(classes)


@pytest.mark.parametrize("row", ROWS, ids=[row[0][:40] for row in ROWS])
def test_every_class_is_shown_by_tests_that_there_are(row):
    _, outcome, shown = row
    assert outcome
    found = named(shown)
    assert all(found.values())
    for file, names in found.items():
        assert names <= functions_of(file), f"{file} has no {names - functions_of(file)}"


def test_every_status_is_one_of_arstores():
    numbers = {int(one) for row in ROWS for one in re.findall(r"(?:error|errors) ([0-9]+)", row[1])}
    assert numbers <= {one.exit_code for one in errors.error_classes()}


@pytest.mark.parametrize("file", ALL_OF)
def test_no_test_of_these_files_is_left_out(file):
    found = set().union(*(named(row[2]).get(file, set()) for row in ROWS))
    assert functions_of(file) - found == set()
