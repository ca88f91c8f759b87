"""The table of podman's options: complete, and as the programs say it."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def tool():
    sys.path.insert(0, str(CHECKOUT / "tools"))
    try:
        spec = importlib.util.spec_from_file_location("run_options", CHECKOUT / "tools" / "run_options.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(CHECKOUT / "tools"))
    return module


def test_the_page_is_up_to_date(tool):
    assert tool.TARGET.read_text() == tool.document(), "run tools/run_options.py --write"


def test_each_option_of_podman_is_here_or_has_a_reason(tool):
    version, rows = tool.podman(tool.HELP.read_text())
    assert version.startswith("5.")
    assert len(rows) > 140
    mine, _ = tool.ours()
    known = mine.keys() | tool.OTHER_NAMES.keys() | tool.REASONS.keys()
    assert [row.name for row in rows if row.name not in known] == []


def test_no_reason_is_left_over(tool):
    _, rows = tool.podman(tool.HELP.read_text())
    mine, _ = tool.ours()
    names = {row.name for row in rows}
    why = "the option is here now, or podman has none of this name: delete its reason"
    assert [name for name in tool.REASONS if name in mine or name not in names] == [], why
    assert [name for name in tool.DIFFERENCES if name not in mine or name not in names | {"--hooks-dir"}] == []


def test_every_line_of_the_help_is_read(tool):
    text = tool.HELP.read_text()
    lines = [line for line in text[text.index("\nOptions:\n") :].split("\n") if line.strip().startswith("-")]
    assert len(lines) == len(tool.podman(text)[1])


def test_short_names_are_the_same(tool):
    _, rows = tool.podman(tool.HELP.read_text())
    mine, _ = tool.ours()
    assert [row.name for row in rows if row.short and row.name in mine and row.short not in mine[row.name]] == []
