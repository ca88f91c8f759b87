"""The example of docs/pipelines.md, run as printed: builder image, load, run."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from support.cli import REPOSITORY

pytestmark = [
    pytest.mark.root,
    pytest.mark.mounts,
    pytest.mark.runtime,
    pytest.mark.long,
    pytest.mark.tools("mmdebstrap", "buildah"),
]


def blocks() -> list[str]:
    text = (REPOSITORY / "docs/pipelines.md").read_text()
    return re.findall(r"^```sh\n(.*?)^```$", text[text.index("## Example") :], re.DOTALL | re.MULTILINE)


def test_the_worked_example(tmp_path, store):
    make, use = blocks()
    sources = Path("/etc/apt/sources.list.d/debian.sources")
    if sources.exists():
        # This machine's mirror, in place of the usual one.
        make = make.replace(" stable root.tar", f" stable root.tar {sources}")
        make = make.replace(" stable ", f" {release()} ")
    bin_directory = tmp_path / "bin"
    bin_directory.mkdir()
    wrapper = bin_directory / "arstore"
    wrapper.write_text(f'#!/bin/sh\nexec {" ".join(map(str, store.words()))} "$@"\n')
    wrapper.chmod(0o755)
    environment = os.environ | {
        "PATH": f"{bin_directory}:{os.environ['PATH']}",
        "PYTHONPATH": str(REPOSITORY),
        "STORAGE_DRIVER": "vfs",
        "CONTAINERS_STORAGE_CONF": str(storage(tmp_path)),
    }
    place = tmp_path / "empty"
    place.mkdir()
    try:
        subprocess.run(["sh", "-ec", make], cwd=place, env=environment, check=True, timeout=900)
        words = ["sh", "-ec", use]
        done = subprocess.run(words, cwd=place, env=environment, check=True, capture_output=True, timeout=300)
    finally:
        shutil.rmtree(tmp_path / "storage", ignore_errors=True)
    assert "built" in done.stdout.decode().split()
    assert "built:1" in {name for image in store.json("images") for name in image["names"]}


def release() -> str:
    fields = dict(line.split("=", 1) for line in Path("/etc/os-release").read_text().splitlines() if "=" in line)
    return fields["VERSION_CODENAME"].strip('"')


def storage(tmp_path: Path) -> Path:
    """Settings that keep buildah's storage below the test's directory."""
    path = tmp_path / "storage.conf"
    root = tmp_path / "storage"
    path.write_text(f'[storage]\ndriver = "vfs"\nrunroot = "{root}/run"\ngraphroot = "{root}/root"\n')
    return path
