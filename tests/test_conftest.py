"""The finaliser of conftest.py: a mount that a test leaves behind fails that test, and is gone afterwards."""

from __future__ import annotations

import re
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
    done = run(tmp_path, test)
    assert "mounts left behind" in done.stdout
    assert "2 passed, 1 error" in done.stdout
    assert str(tmp_path / "base") not in Path("/proc/self/mountinfo").read_text()


@pytest.mark.parametrize("workers", [(), ("-n", "2")], ids=["alone", "xdist"])
def test_a_failure_is_printed_when_it_happens(tmp_path, workers):
    test = tmp_path / "test_fails.py"
    test.write_text(
        "import time, pytest\n"
        "def test_passes(): pass\n"
        "def test_fails(): assert 1 + 1 == 3, 'wrong sum'\n"
        "@pytest.fixture\n"
        "def broken(): raise OSError('no disk')\n"
        "def test_errs(broken): pass\n"
        "def test_last(): pass\n"
    )
    done = run(tmp_path, test, *workers)
    before, after = done.stdout.split("= FAILURES =")[0].split("= ERRORS =")
    assert re.search(r"^FAILED .*::test_fails: AssertionError: wrong sum$", before, re.MULTILINE)
    assert re.search(r"^ERROR in setup .*::test_errs: OSError: no disk$", before, re.MULTILINE)
    assert "def broken()" in after


def run(tmp_path, test, *options):
    """Run pytest on *test* in a separate process, with the conftest of these tests."""
    here = ["-p", "no:cacheprovider", "-c", str(REPOSITORY / "pyproject.toml"), f"--basetemp={tmp_path / 'base'}"]
    conftest = ["--confcutdir", str(REPOSITORY), "-p", "conftest"]
    return subprocess.run(
        [sys.executable, "-m", "pytest", *here, *conftest, *options, str(test)],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
