"""docs/cli.md matches the help of the program."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from arstore.cli.clicked import WIDEST, clicked
from arstore.cli.command import command
from arstore.cli.parameter import option

REPOSITORY = Path(__file__).resolve().parents[2]


def test_the_reference_is_current():
    tool = REPOSITORY / "tools" / "cli_reference.py"
    made = subprocess.run([sys.executable, tool], capture_output=True, text=True, check=True).stdout
    assert (REPOSITORY / "docs" / "cli.md").read_text() == made, "run tools/cli_reference.py --write"


PARTS = re.findall(r"^## (.+?)\n\n```text\n(.*?)\n```\n", (REPOSITORY / "docs" / "cli.md").read_text(), re.M | re.S)


@pytest.mark.parametrize(("path", "text"), PARTS, ids=[path for path, _ in PARTS])
def test_it_is_the_help_of_a_wide_terminal(arstore, monkeypatch, path, text):
    for columns in (WIDEST, 3 * WIDEST):
        monkeypatch.setenv("COLUMNS", str(columns))
        assert arstore.ok(*path.split()[1:], "--help").text == f"{text}\n"


def test_the_help_of_a_narrow_terminal_fits(arstore, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    for path, _ in PARTS:
        lines = arstore.ok(*path.split()[1:], "--help").text.splitlines()
        assert [line for line in lines if len(line) > 80 and "|" not in line and "[" not in line] == []


def test_a_command_with_an_option_h_has_help_by_its_long_name_only():
    @command("made")
    @option("-h", "--host", help="A host.")
    def made(session):
        """Do nothing."""

    assert [one.opts for one in clicked(made).get_params(clicked(made).make_context("made", []))][-1] == ["--help"]
