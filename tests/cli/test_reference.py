"""docs/cli.md matches the help of the program."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]


def test_the_reference_is_current():
    tool = REPOSITORY / "tools" / "cli_reference.py"
    made = subprocess.run([sys.executable, tool], capture_output=True, text=True, check=True).stdout
    assert (REPOSITORY / "docs" / "cli.md").read_text() == made, "run tools/cli_reference.py --write"
