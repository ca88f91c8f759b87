"""docs/README.md lists every page once, and the program that makes it takes new pages by itself."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]
TOOL = CHECKOUT / "tools" / "docs_index.py"
DOCS = CHECKOUT / "docs"


@pytest.fixture(scope="module")
def index():
    sys.path.insert(0, str(TOOL.parent))
    try:
        spec = importlib.util.spec_from_file_location("docs_index", TOOL)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(TOOL.parent))
    return module


def test_the_index_is_current():
    made = subprocess.run([sys.executable, TOOL], capture_output=True, text=True, check=True).stdout
    assert (DOCS / "README.md").read_text() == made, "run tools/docs_index.py --write"


def test_every_page_is_listed_once_and_answers_something():
    rows = re.findall(r"^(?:\| |- )\[.*?\]\(([^)]*)\)(?: \| (.*) \|)?$", (DOCS / "README.md").read_text(), re.MULTILINE)
    names = {str(path.relative_to(DOCS)) for path in DOCS.rglob("*.md")} - {"README.md"}
    assert sorted(name for name, _ in rows) == sorted(names)
    assert [name for name, answer in rows if not answer and not name.startswith("design/decisions/")] == []


def test_a_new_page_is_listed_with_its_first_sentence(index, tmp_path):
    (tmp_path / "design" / "decisions").mkdir(parents=True)
    (tmp_path / "install.md").write_text(
        "# Install [it](x.md)\n\n```sh\npip\n```\n\nHow to [install](a.md) it. More.\n"
    )
    (tmp_path / "zebra.md").write_text("# Zebra\n\n| a | b |\n|---|---|\n\nA `zebra`\nis striped.\n\nMore.\n")
    (tmp_path / "backup.md").write_text("# Backups\n\nText.\n")
    (tmp_path / "design" / "deep.md").write_text("# Deep\n\nIt is deep: very.\n")
    (tmp_path / "design" / "decisions" / "0001-x.md").write_text("# 1. A decision\n\nDate.\n")
    text = index.document(tmp_path)
    operators, _, rest = text.partition("## For users of the library")
    rows = [line for line in operators.splitlines() if line.startswith("| [")]
    assert rows[0] == "| [Install it](install.md) | How to install it |"
    assert rows[1].startswith("| [Backups](backup.md) | How to back up")
    assert rows[2] == "| [Zebra](zebra.md) | A `zebra` is striped |"
    assert "| [Deep](design/deep.md) | It is deep |" in rest
    assert rest.endswith("- [1. A decision](design/decisions/0001-x.md)\n")


def test_a_page_without_a_heading_is_an_error(index, tmp_path):
    (tmp_path / "page.md").write_text("no heading\n")
    with pytest.raises(ValueError, match="no heading"):
        index.document(tmp_path)
