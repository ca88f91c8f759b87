"""Mutants: the rules find guards, each change removes exactly one, and lists can be read."""

from __future__ import annotations

import ast
import importlib.util
import sys

import pytest
from support.cli import REPOSITORY

SOURCE = """
import os
LIMIT = 10
class Reader:
    def read(self, fd, digest, found, size):
        if len(found) > LIMIT:
            raise ValueError("é")
        os.fdatasync(fd)
        os.fdatasync(fd)
        replace(durable=True)
        fd = os.open("a", os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        if LIMIT < size or os.fstat(fd).st_uid != os.geteuid():
            return None
        return found == digest
    def other(self, count):
        return count > 3 and count == 2 and 0o644
"""
EXPECTED = {
    ("limit", "len(found) > LIMIT", "False", 1),
    ("sync", "os.fdatasync(fd)", "pass", 1),
    ("sync", "os.fdatasync(fd)", "pass", 2),
    ("sync", "True", "False", 1),
    ("permission", "os.O_RDONLY | os.O_NOFOLLOW", "os.O_RDONLY", 1),
    ("permission", "0o600", "0o666", 1),
    ("limit", "LIMIT < size", "False", 1),
    ("permission", "os.fstat(fd).st_uid != os.geteuid()", "False", 1),
    ("verify", "found == digest", "True", 1),
}


@pytest.fixture(scope="module")
def mutants():
    spec = importlib.util.spec_from_file_location("mutants", REPOSITORY / "tools" / "mutants.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["mutants"] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules["mutants"]


@pytest.fixture
def package(tmp_path):
    (tmp_path / "made").mkdir()
    (tmp_path / "made/reader.py").write_text(SOURCE)
    return tmp_path / "made"


def test_guards_are_found_by_rule(mutants, package):
    found = mutants.candidates(package)
    assert {(one.rule, one.guard, one.text, one.number) for one in found} == EXPECTED
    assert {one.function for one in found} == {"Reader.read"}


def test_each_mutant_changes_one_place_and_parses(mutants, package):
    source = SOURCE.encode()
    for one in mutants.candidates(package):
        changed = one.applied(source)
        ast.parse(changed)
        assert source[one.start : one.end].decode() == one.guard
        assert changed == source[: one.start] + one.text.encode() + source[one.end :]


def test_a_mutant_that_no_rule_finds_can_be_written(mutants, package):
    name = "made/reader.py Reader.other: count == 2 -> True"
    one = mutants.written("recheck", name, package.parent)
    assert one.applied(SOURCE.encode()).decode() == SOURCE.replace("count == 2", "True")
    assert mutants.written("recheck", name.replace("other", "read"), package.parent) is None
    assert mutants.written("recheck", name.replace("reader.py", "none.py"), package.parent) is None


def test_the_lists_describe_mutants(mutants):
    """Lines that have changed since count as gone; most must exist, or the sample means nothing."""
    known = {(one.rule, one.name) for one in mutants.candidates(REPOSITORY / "arstore")}
    for path in sorted((REPOSITORY / "tests/mutation").glob("*.txt")):
        lines = [line for line in path.read_text().splitlines() if line and not line.startswith(("#", " "))]
        parts = [(rule, name) for rule, _, name in (line.partition(" ") for line in lines)]
        there = [part for part in parts if part in known or mutants.written(*part, REPOSITORY)]
        assert len(there) > 0.8 * len(parts), path


def test_every_equivalent_mutant_has_a_proof():
    lines = (REPOSITORY / "tests/mutation/equivalent.txt").read_text().splitlines()
    named = [number for number, line in enumerate(lines) if not line.startswith(("#", " "))]
    assert named
    for number in named:
        assert lines[number + 1].startswith("    ")


CONDITIONS = """
from typing import TYPE_CHECKING
if TYPE_CHECKING:
    from x import y
    z = 1 if y else 2
def judge(found, wanted):
    if found and not wanted:
        return found == wanted
    assert found
    return [one for one in found if one] or (1 if wanted else 2) or any(one > 2 for one in found)
"""
NEGATED = {
    "found and not wanted": 1,
    "found": 1,
    "not wanted": 1,
    "found == wanted": 1,
    "one": 1,
    "[one for one in found if one]": 1,
    "1 if wanted else 2": 1,
    "any(one > 2 for one in found)": 1,
    "wanted": 1,
    "one > 2": 1,
}


def test_every_condition_is_negated_once(mutants, tmp_path):
    path = tmp_path / "judging.py"
    path.write_text(CONDITIONS)
    found = mutants.conditions([path], tmp_path)
    assert {one.guard: one.number for one in found} == NEGATED
    assert len(found) == len(NEGATED)
    for mutant in found:
        changed = mutant.applied(path.read_bytes())
        ast.parse(changed)
        assert f"(not ({mutant.guard}))".encode() in changed


def test_the_list_of_the_evaluators_conditions_is_current(mutants):
    path = REPOSITORY / "tests" / "mutation" / "policy.txt"
    listed = {line for line in path.read_text().splitlines() if not line.startswith("#")}
    modules = (REPOSITORY / "arstore" / "trust" / "policy").rglob("*.py")
    found = {f"{one.rule} {one.name}" for one in mutants.conditions(modules, REPOSITORY)}
    assert listed == found, "tools/mutate.py conditions arstore/trust/policy"
