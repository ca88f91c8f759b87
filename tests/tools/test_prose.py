"""The check of the English: it finds the patterns of the table where people read them, and nowhere else."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def prose():
    spec = importlib.util.spec_from_file_location("prose", CHECKOUT / "tools" / "prose.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def patterns(prose):
    return prose.patterns(prose.STYLE.read_text())


def test_every_row_of_the_table_finds_its_own_example(prose, patterns):
    table = prose.STYLE.read_text().split("## Patterns to avoid", 1)[1].split("\n## ", 1)[0]
    rows = [re.split(r"(?<!\\)\|", line) for line in table.splitlines() if line.startswith("| `")]
    assert len(rows) == len(patterns) > 10
    for row, pattern in zip(rows, patterns, strict=True):
        assert pattern.search(row[3].strip()), row[3]
        assert not pattern.search(row[4].strip()), row[4]


@pytest.mark.parametrize(
    ("name", "text", "lines"),
    [
        ("a.md", "It tells all.\n\n    tells\n\n```\ntells\n```\n`tells`\nIt told.\n", [1, 9]),
        ("a.py", '"""It tells.\n\nIt tells.\n"""\n', [1, 3]),
        ("a.py", 'def f():\n    """What it is."""\n', [2]),
        ("a.py", 'def f():\n    """It is.\n\n    What it is.\n    """\n', []),
        ("a.py", 'x = 1\n"""What it is."""\n', [2]),
        ("a.py", "x = 1  # it tells\n", [1]),
        ("a.py", "x = 'it tells'\n", []),
        ("a.py", "raise SomeError(x, f'it tells {x}')\n", [1]),
        ("a.py", "session.warn(f'it tells {x}')\n", [1]),
        ("a.py", "option('--x', help='Tell it.')\n", [1]),
        ("a.py", "parser(description='Tell it.')\n", [1]),
        ("a.py", "pytest.skip('it tells')\n", [1]),
        ("a.py", "raise SomeError(x, 'it tells')  # prose: ok\n", []),
        ("a", "#!/bin/sh\n# it tells\necho tells\n", [2]),
    ],
)
def test_it_looks_where_people_read(prose, patterns, tmp_path, name, text, lines):
    path = tmp_path / name
    path.write_text(text)
    assert sorted(place.line for place in prose.found(path, patterns)) == lines


def test_documents_have_no_findings(prose, patterns):
    paths = [path for path in prose.files() if path.is_relative_to(CHECKOUT / "docs")]
    assert len(paths) > 50
    assert [str(found) for path in paths for found in prose.found(path, patterns)] == []


def test_it_looks_at_the_whole_checkout(prose):
    names = {str(path.relative_to(CHECKOUT)) for path in prose.files()}
    assert {
        "README.md",
        "docs/cli.md",
        "arstore/errors.py",
        "tools/test",
        "tools/prose.py",
        "benchmarks/run",
        "tests/conftest.py",
    } <= names


@pytest.mark.parametrize("room", ["arstore", "benchmarks", "tests", "tools"])
def test_the_code_has_none_of_the_patterns(prose, patterns, room):
    """Run the check over one room: it must not find anything."""
    paths = [path for path in prose.files() if path.is_relative_to(CHECKOUT / room)]
    assert paths
    assert [str(place) for path in paths for place in prose.found(path, patterns)] == []
