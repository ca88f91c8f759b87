"""The tool that prints figures about the code."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
TOOL = REPOSITORY / "tools" / "house.py"


@pytest.fixture
def checkout(tmp_path):
    """A checkout with two packages; the top exports a name, and a module below reads the version from it."""
    for name, text in {
        "__init__.py": "__version__ = '1'\ndef f():\n    from arstore.high.one import X\n",
        "errors.py": "",
        "high/__init__.py": "",
        "high/one.py": "from arstore.low.two import X\nfrom arstore import errors\n",
        "low/__init__.py": "",
        "low/two.py": "from arstore import __version__\nimport arstore.errors\n",
    }.items():
        path = tmp_path / "arstore" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path


def printed(*words):
    return subprocess.run([sys.executable, TOOL, *words], capture_output=True, text=True, check=True).stdout


def test_figures(checkout):
    assert printed("--checkout", str(checkout)).splitlines() == [
        "6 files, 7 lines",
        "files of a folder: arstore 1, arstore/high 1, arstore/low 1",
        "lines of a room: (top) 3 (43%), high 2 (29%), low 2 (29%)",
        "floors: 3; the longest chain: arstore.high.one > arstore.low.two > arstore.errors",
    ]


def test_a_cycle_is_shown(checkout):
    (checkout / "arstore/errors.py").write_text("import arstore.high.one\n")
    words = [sys.executable, TOOL, "--checkout", str(checkout)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("house: a cycle of imports: ")
    *names, last = done.stderr.split(": ")[2].strip().split(" > ")
    assert {"arstore.errors", "arstore.high.one"} <= set(names)
    assert last == names[0]


@pytest.mark.long
def test_this_checkout():
    assert "floors: " in printed()
