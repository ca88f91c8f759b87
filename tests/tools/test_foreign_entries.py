"""The tool that removes answers to commands and options that arstore has."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
TOOL = REPOSITORY / "tools" / "foreign_entries.py"


@pytest.fixture
def tool(monkeypatch):
    """The tool as a module, for an arstore that has `top` and `run --dns`."""
    spec = importlib.util.spec_from_file_location("foreign_entries", TOOL)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    known = {"top": {"--help"}, "run": {"--dns", "-p", "--publish"}, "load": {"--dns"}}
    monkeypatch.setattr(module, "names_of", known.get)
    return module


def test_commands(tool):
    source = (
        'COMMANDS: dict = {\n    "tac": ("é", ""),\n    "top": (\n        "",\n        "x",\n    ),\n    "x": _X,\n}\n'
    )
    stale, edits = tool.command_edits(source)
    assert stale == ["top"]
    assert tool.edited(source, edits) == 'COMMANDS: dict = {\n    "tac": ("é", ""),\n    \n    "x": _X,\n}\n'


def test_options(tool, monkeypatch):
    rows = ((frozenset({"run", "load", "new"}), "--dns --pod", "", "a"), (frozenset({"run"}), "-p --publish", "", "b"))
    monkeypatch.setattr("arstore.cli.foreign.options.OPTIONS", rows)
    source = 'OPTIONS: tuple = (\n    (_RUN, "--dns " "--pod", "", "a"),\n    (_ONE, "-p --publish", "", "b"),\n)\n'
    stale, edits = tool.option_edits(source)
    assert stale == ["load, new, run: --dns", "run: --publish", "run: -p"]
    assert tool.edited(source, edits) == 'OPTIONS: tuple = (\n    (_RUN, \n"--pod", "", "a"),\n    \n)\n'


def test_there_is_nothing_to_remove():
    done = subprocess.run([sys.executable, TOOL], capture_output=True, text=True, check=True)
    assert done.stdout == ""
