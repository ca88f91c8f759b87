"""The finaliser of conftest.py: a mount that a test leaves behind fails that test, and is gone afterwards."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent


@pytest.mark.root
@pytest.mark.mounts
def test_a_mount_left_behind_fails_the_test(tmp_path):
    test = tmp_path / "test_leaves.py"
    test.write_text(
        "import subprocess\n"
        "def test_leaves(tmp_path):\n"
        "    place = tmp_path / 'a b\u6d41'\n"
        "    place.mkdir()\n"
        "    subprocess.run(['mount', '-t', 'tmpfs', 'none', str(place)], check=True)\n"
        "def test_other(tmp_path):\n"
        "    pass\n"
    )
    options = ["-p", "no:cacheprovider", "-c", str(REPOSITORY / "pyproject.toml"), f"--basetemp={tmp_path / 'base'}"]
    conftest = ["--confcutdir", str(REPOSITORY), "-p", "conftest"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, *conftest, str(test)],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "mounts left behind" in done.stdout
    assert "2 passed, 1 error" in done.stdout
    assert str(tmp_path / "base") not in Path("/proc/self/mountinfo").read_text()
