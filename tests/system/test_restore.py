"""Restores of large backups, as docs/backup.md describes them."""

from __future__ import annotations

import json
import re
import shlex
import sys

import pytest
from support.cli import REPOSITORY, Arstore
from support.largestore import Shape, fill

from arstore.store.store import Store
from arstore.tar.limits import DEFAULT_LIMITS

MEASURE = """
import os, resource, subprocess, sys
status = subprocess.run(sys.argv[1:]).returncode
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, file=sys.stderr)
sys.exit(status)
"""


def documented(directory):
    """The words of the restoring command, after `arstore`."""
    text = (REPOSITORY / "docs" / "backup.md").read_text()
    (line,) = re.findall(
        r"^    arstore (import .*)$", text.partition("**Restore**")[2].partition("\n## ")[0], re.MULTILINE
    )
    return [str(directory) if word == "/mnt/disk/images" else word for word in shlex.split(line)]


@pytest.mark.parametrize("count", [pytest.param(10_000, marks=pytest.mark.long), pytest.param(600)])
def test_a_store_of_small_images_comes_back_as_documented(tmp_path, count):
    with Store(str(tmp_path / "root"), str(tmp_path / "run")) as store:
        fill(store, Shape(count, own=2, base=1, bases=1), tmp_path)
    store = Arstore(tmp_path / "root", tmp_path / "run")
    store.ok("-q", "backup", tmp_path / "backup", timeout=600)
    words = Arstore(tmp_path / "new", tmp_path / "new-run", (sys.executable, "-c", MEASURE))
    done = words.ok("-q", *documented(tmp_path / "backup"), timeout=600)
    restored = Arstore(tmp_path / "new", tmp_path / "new-run")
    lists = [json.loads((one.root / "index.json").read_bytes())["manifests"] for one in (restored, store)]
    assert lists[0] == lists[1]
    assert len(restored.json("images")) == count
    restored.ok("check", "--quick")
    assert int(done.err.splitlines()[-1]) < 300 << 10
    mounted = restored.run("unpack", "project-1/app:3", tmp_path / "unpacked")
    assert mounted.status == 0
    assert (tmp_path / "unpacked/file").stat().st_size == 32


def test_what_a_large_store_has_is_within_the_limits():
    """The numbers in docs/backup.md."""
    assert DEFAULT_LIMITS.images == 20_000
    assert DEFAULT_LIMITS.manifests == 50_000
    assert DEFAULT_LIMITS.listing == 16 << 20
